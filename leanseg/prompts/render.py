"""A structured prompt as one sentence: the canonical wording, which `parse` reads back without loss."""

from __future__ import annotations

from leanseg.prompts.structure import NOTHING_SAID, Location, StructuredPrompt

_MODALITIES = {"ultrasound": "ultrasound", "mri": "MRI"}


def render(prompt: StructuredPrompt) -> str:
    """E.g. `One irregular mass, medium size, upper left.`, `No visible tumor.`; `Tumor.` where nothing is said."""
    if prompt == NOTHING_SAID:
        return "Tumor."
    only_no = prompt == StructuredPrompt(number="no", modality=prompt.modality)
    mass = "visible tumor" if only_no else "masses" if prompt.number in ("two", "three", "several") else "mass"
    parts = [" ".join(word for word in (prompt.number, prompt.shape, mass) if word)]
    if prompt.margin:
        parts.append(f"{prompt.margin} margin")
    if prompt.size:
        parts.append(f"{prompt.size} size")
    if prompt.locations:
        parts.append(joined_places(prompt.locations))
    if prompt.modality:
        parts.append(_MODALITIES[prompt.modality])
    sentence = ", ".join(parts)
    return sentence[0].upper() + sentence[1:] + "."


def summary(prompt: StructuredPrompt) -> str:
    """What is said in few words, e.g. `one · irregular · upper left · medium`; "" where nothing is said."""
    margin = prompt.margin and f"{prompt.margin} margin"
    where = " + ".join(str(location) for location in prompt.locations)
    words = (prompt.number, prompt.shape, margin, where, prompt.size, _MODALITIES.get(prompt.modality, ""))
    return " · ".join(word for word in words if word)


def joined_places(locations: tuple[Location, ...]) -> str:
    """E.g. `upper left, middle right and lower left`."""
    words = [str(location) for location in locations]
    if all(location.vertical and location.horizontal for location in locations):
        return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
    return " and ".join(words)  # "left, upper" is one place, "left and upper" are two
