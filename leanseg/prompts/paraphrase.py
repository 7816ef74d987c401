"""Many wordings of one prompt, for training: sentences, requests, telegram style, misspellings.

Whatever the wording, `parse` reads the same prompt from it (a test holds them to it). Wordings: inferred.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from leanseg.prompts import words
from leanseg.prompts.render import joined_places, render
from leanseg.prompts.structure import (
    HORIZONTALS,
    MARGINS,
    MODALITIES,
    NOTHING_SAID,
    NUMBERS,
    SHAPES,
    SIZES,
    VERTICALS,
    Location,
    StructuredPrompt,
)

_T = TypeVar("_T")

_NOUNS = ("mass", "lesion", "tumor", "tumour", "nodule")
_PLURALS = ("masses", "lesions", "tumors", "tumours", "nodules")
_NUMBERS = {
    "": ("", "", "the"),
    "no": ("no",),
    "one": ("one", "1", "single", "a single", "solitary"),
    "two": ("two", "2", "two", "a pair of"),
    "three": ("three", "3"),
    "several": ("several", "multiple", "many", "numerous"),
}
_SHAPES = {
    "round": ("round", "roundish", "circular"),
    "oval": ("oval", "ovoid", "elliptical"),
    "irregular": ("irregular", "irregularly shaped", "irregular shaped"),
    "spiculated": ("spiculated", "stellate"),
}
_SIZES = {
    "small": ("small", "tiny", "little", "small-sized"),
    "medium": ("medium", "medium-sized", "moderate", "mid-sized"),
    "large": ("large", "big", "sizable", "large-sized"),
}
_MARGINS = {
    "smooth": ("smooth margin", "well-defined", "smooth margins", "circumscribed", "well defined margin"),
    "indistinct": ("indistinct margin", "ill-defined", "indistinct margins", "blurred margin", "poorly defined"),
}
_MODALITIES = {"ultrasound": ("ultrasound", "sonography", "US image"), "mri": ("MRI", "MR image", "MR")}
_VERTICALS = {
    "": ("",),
    "upper": ("upper", "upper", "top"),
    "middle": ("middle",),
    "lower": ("lower", "lower", "bottom"),
}
_REQUESTS = ("segment", "find", "show", "outline", "mark", "delineate", "please segment", "show me", "contour")
_SAID = ("there is", "seen is", "image shows", "we see", "findings:", "noted:")
_AREAS = ("", "", "", " quadrant", " part", " region", " area", " side")
_PREPOSITIONS = ("in the", "at the", "located in the", "in", "of the")
_GENERIC = (
    "tumor",
    "tumour",
    "mass",
    "lesion",
    "the tumor",
    "the lesion",
    "the mass",
    "breast tumor",
    "any tumor",
    "any mass",
)
_ABSENT = (
    *("no tumor", "no visible tumor", "no mass", "no lesion", "no tumour seen", "no mass visible", "without tumor"),
    *(
        "nothing",
        "no lesion is seen",
        "no visible mass",
        "there is no tumor",
        "no evidence of tumor",
        "normal",
        "healthy",
    ),
    *("tumor-free", "absence of a mass", "normal breast", "no focal lesion", "unremarkable", "negative for tumor"),
)


def paraphrase(prompt: StructuredPrompt, rng: np.random.Generator, misspelled: float = 0.08) -> str:
    """One of many wordings of the prompt; `misspelled` is the probability of one misspelling."""
    if prompt == NOTHING_SAID:
        return generic(rng)
    if prompt == StructuredPrompt(number="no"):
        return absent(rng)
    wording = _pick(rng, (_canonical, _sentence, _sentence, _request, _telegram, _telegram))
    text = wording(prompt, rng)
    return _as_typed(text, rng, misspelled)


def generic(rng: np.random.Generator) -> str:
    """A prompt that says nothing of the tumor but that it is looked for."""
    noun = _pick(rng, _GENERIC)
    request = f"{_pick(rng, _REQUESTS)} " if rng.random() < 0.5 else ""
    return _as_typed(request + noun, rng, 0.0)


def absent(rng: np.random.Generator) -> str:
    """A prompt that says that there is no tumor."""
    return _as_typed(_pick(rng, _ABSENT), rng, 0.0)


def corpus(rng: np.random.Generator, n: int) -> list[str]:
    """`n` prompts of all kinds, for distilling a text encoder; also with words that the grammar has no field for."""
    return [_any_text(rng) for _ in range(n)]


def _any_text(rng: np.random.Generator) -> str:
    draw = rng.random()
    if draw < 0.05:
        return generic(rng)
    if draw < 0.10:
        return absent(rng)
    text = paraphrase(_any_prompt(rng), rng)
    if draw < 0.75:
        return text
    extra = _pick(rng, (words.WITHOUT_FIELD, words.WITHOUT_FIELD, words.OTHER_ORGANS))
    return _pick(rng, (f"{{0}} {text}", f"{text} {{0}}", f"{text}, {{0}}", "{0}")).format(_pick(rng, sorted(extra)))


def _any_prompt(rng: np.random.Generator) -> StructuredPrompt:
    count = int(rng.choice([0, 1, 1, 1, 1, 2, 2, 3]))
    where = tuple(Location(_said(rng, VERTICALS, 0.85), _said(rng, HORIZONTALS, 0.85)) for _ in range(count))
    return StructuredPrompt(
        number=_said(rng, NUMBERS[1:], 0.6),
        shape=_said(rng, SHAPES, 0.6),
        size=_said(rng, SIZES, 0.6),
        locations=where,
        modality=_said(rng, MODALITIES, 0.15),
        margin=_said(rng, MARGINS, 0.2),
    )


def _said(rng: np.random.Generator, known: Sequence[str], probability: float) -> str:
    return _pick(rng, known) if rng.random() < probability else ""


def _canonical(prompt: StructuredPrompt, rng: np.random.Generator) -> str:
    return render(prompt)


def _sentence(prompt: StructuredPrompt, rng: np.random.Generator) -> str:
    begin = f"{_pick(rng, _SAID)} " if rng.random() < 0.3 else ""
    text = begin + _with_places(_mass(prompt, rng, adjectives=True), prompt, rng) + _tail(prompt, rng)
    return text[0].upper() + text[1:] + "."


def _request(prompt: StructuredPrompt, rng: np.random.Generator) -> str:
    mass = _mass(prompt, rng, adjectives=True)
    return f"{_pick(rng, _REQUESTS)} {_with_places(mass, prompt, rng)}{_tail(prompt, rng)}"


def _telegram(prompt: StructuredPrompt, rng: np.random.Generator) -> str:
    """The fields in any order, e.g. `upper left, irregular, 1 mass, medium`."""
    parts = [_mass(prompt, rng, adjectives=False)]
    parts += [_pick(rng, _SHAPES[prompt.shape])] if prompt.shape else []
    parts += [_pick(rng, _SIZES[prompt.size])] if prompt.size else []
    parts += [_pick(rng, _MARGINS[prompt.margin])] if prompt.margin else []
    parts += [_places(prompt.locations, rng)] if prompt.locations else []
    parts += [_pick(rng, _MODALITIES[prompt.modality])] if prompt.modality else []
    if prompt.number != "no":  # which negates what follows it
        parts = [parts[n] for n in rng.permutation(len(parts))]
    return _pick(rng, (", ", ", ", "; ")).join(parts)


def _mass(prompt: StructuredPrompt, rng: np.random.Generator, adjectives: bool) -> str:
    nouns = _PLURALS if prompt.number in ("two", "three", "several") else _NOUNS
    described = []
    if adjectives:
        described = [_pick(rng, _SIZES[prompt.size])] if prompt.size else []
        described += [_pick(rng, _SHAPES[prompt.shape])] if prompt.shape else []
        described = [described[n] for n in rng.permutation(len(described))]
    return " ".join(filter(None, (_pick(rng, _NUMBERS[prompt.number]), *described, _pick(rng, nouns))))


def _with_places(mass: str, prompt: StructuredPrompt, rng: np.random.Generator) -> str:
    if not prompt.locations:
        return mass
    where = _places(prompt.locations, rng)
    if where.lower().startswith("middle"):  # "in the middle" would be the center
        return _pick(rng, (f"{mass} {where}", f"{mass}, {where}"))
    return _pick(rng, (f"{mass} {where}", f"{mass}, {where}", f"{mass} {_pick(rng, _PREPOSITIONS)} {where}"))


def _tail(prompt: StructuredPrompt, rng: np.random.Generator) -> str:
    margin = f", {_pick(rng, _MARGINS[prompt.margin])}" if prompt.margin else ""
    return margin + (f", {_pick(rng, _MODALITIES[prompt.modality])}" if prompt.modality else "")


def _places(locations: tuple[Location, ...], rng: np.random.Generator) -> str:
    if rng.random() < 0.2:
        return joined_places(locations)
    phrases = [_place(location, rng) for location in locations]
    return " and ".join(phrases) + _pick(rng, _AREAS)


def _place(location: Location, rng: np.random.Generator) -> str:
    if location == Location("middle", "central") and rng.random() < 0.5:
        return _pick(rng, ("center", "centre"))
    vertical = _pick(rng, _VERTICALS[location.vertical])
    two = [word for word in (vertical, location.horizontal) if word]
    return " ".join(two[::-1] if rng.random() < 0.2 else two)


def _as_typed(text: str, rng: np.random.Generator, misspelled: float) -> str:
    draw = rng.random()
    text = text.lower() if draw < 0.4 else text.upper() if draw < 0.43 else text
    text = text.rstrip(".") if rng.random() < 0.3 else text
    return _misspell(text, rng) if rng.random() < misspelled else text


def _misspell(text: str, rng: np.random.Generator) -> str:
    """One letter of one long word left out, doubled, or exchanged with the next; never its first."""
    parts = text.split(" ")
    long = [n for n, part in enumerate(parts) if len(part) >= 6 and part.isalpha()]
    if not long:
        return text
    n = _pick(rng, long)
    word = parts[n]
    at = int(rng.integers(1, len(word) - 1))
    parts[n] = _pick(
        rng,
        (
            word[:at] + word[at + 1 :],
            word[:at] + word[at] + word[at:],
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        ),
    )
    return " ".join(parts)


def _pick(rng: np.random.Generator, choices: Sequence[_T]) -> _T:
    return choices[int(rng.integers(len(choices)))]
