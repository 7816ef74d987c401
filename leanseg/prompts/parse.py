"""Free text to a structured prompt: tolerant, and it says what it understood, what not, and what contradicts itself."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, replace

from leanseg.prompts.places import KINDS, places_said
from leanseg.prompts.render import summary
from leanseg.prompts.structure import NOTHING_SAID, NUMBERS, StructuredPrompt
from leanseg.prompts.words import FOREIGN, KNOWN_IMAGES, Word, recognize

__all__ = ["MAX_CHARACTERS", "Parsed", "Span", "parse", "summary"]

MAX_CHARACTERS = 1000
"""Only so many characters of a prompt are read."""

_ATTRIBUTES = ("shape", "size", "superlative", "margin", *KINDS)


@dataclass(frozen=True)
class Span:
    """Characters `start` to `end` (exclusive) of the text, and what they were taken for."""

    start: int
    end: int
    meaning: str
    """E.g. `shape: round`, `place: upper`, `mass`"""


@dataclass(frozen=True)
class Parsed:
    prompt: StructuredPrompt
    understood: tuple[Span, ...] = ()
    """In the order of the text"""
    ignored: tuple[str, ...] = ()
    """Words that were not understood, as typed, each once"""
    warnings: tuple[str, ...] = ()
    """One sentence or two each, for the person who typed the text"""
    refusal: str = ""
    """Why nothing is looked for, and what to say instead, one line; empty where something is"""
    is_partly_unread: bool = False
    """Whether it denies or excepts a part, or leaves a choice: what is typed then means another thing than `prompt`"""


def parse(text: str, meant: Callable[[Word], Word] = lambda word: word) -> Parsed:
    """Read a prompt. Never raises for any text.

    `meant` exchanges words after what they deny was read, e.g. `directions.pictured_word`.

    Words may come in any order, be misspelled (one letter; two in words of eight and more) or be synonyms. What means
    something but fits no field, what is negated, and what contradicts itself is named in the warnings; where a field
    is said twice, the first holds.
    """
    warnings = []
    if len(text) > MAX_CHARACTERS:
        warnings.append(f"The prompt has {len(text)} characters; only the first {MAX_CHARACTERS} are read.")
        text = text[:MAX_CHARACTERS]
    words = [meant(word) for word in _negations(recognize(text))]
    ignored = tuple(dict.fromkeys(word.text for word in words if word.kind == "unknown"))
    prompt, contradictions = _prompt(words)
    warnings += _not_understood(text, words, ignored, prompt)
    warnings += _read_with_care(words)
    warnings += contradictions
    understood = tuple(Span(word.start, word.end, meaning) for word in words if (meaning := _meaning(word)))
    is_partly_unread = bool(_choices(words)) or any(word.kind in ("negated", "excepted") for word in words)
    return Parsed(prompt, understood, ignored, tuple(warnings), is_partly_unread=is_partly_unread)


def _meaning(word: Word) -> str:
    if word.kind in KINDS:
        return f"place: {word.value or 'center'}"
    names = {"absent": "no tumor", "article": "number: one", "both sides": "place: left and right", "mass": "mass"}
    if word.kind == "superlative":
        return f"size: {word.value}, the one"
    return names.get(word.kind) or (f"{word.kind}: {word.value}" if word.value else "")


# ── Fields ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _prompt(words: list[Word]) -> tuple[StructuredPrompt, list[str]]:
    """And the contradictions."""
    places, impossible = places_said(words)
    locations = tuple(places)
    number, wrong = _number(words, len({*places}))
    size, two_sizes = _only(words, ("size", "superlative"), "size")
    shape, two_shapes = _only(words, ("shape",), "shape")
    margin, two_margins = _only(words, ("margin",), "margin")
    modality, two_modalities = _only(words, ("modality",), "kind of image")
    prompt = StructuredPrompt(number, shape, size, locations, modality, margin)
    wrong += two_shapes + two_sizes + two_margins + two_modalities
    wrong += [f'"{said}" contradict each other for one mass; both places are looked at.' for said in impossible]
    wrong += _disagreements(prompt)
    return prompt, wrong


def _only(words: list[Word], kinds: tuple[str, ...], name: str) -> tuple[str, list[str]]:
    said = list({word.value: word for word in reversed(words) if word.kind in kinds}.values())[::-1]
    said.sort(key=lambda word: word.start)
    if len(said) < 2:
        return (said[0].value if said else ""), []
    return said[0].value, [_first_holds(name, said[0], said[1:])]


def _first_holds(field: str, first: Word, others: list[Word]) -> str:
    verb = "is" if len(others) == 1 else "are"
    return f'A prompt has one {field}: "{first.text}" is used, {_quoted([word.text for word in others])} {verb} not.'


def _number(words: list[Word], places: int) -> tuple[str, list[str]]:
    said = [word for word in words if word.kind == "number"]
    values = list(dict.fromkeys(word.value for word in said))
    if any(word.kind == "absent" for word in words):
        more = [word.text for word in said]
        return "no", [f"It says that there is no tumor, and also {_quoted(more)}."] if more else []
    if superlative := [word for word in words if word.kind == "superlative"]:
        before = [word.value for word in said if word.start < superlative[0].start and word.value != "one"]
        return (before or ["one"])[0], []
    if values == ["one"] and len(said) > 1:  # "one on the left and one on the right"
        return NUMBERS[min(len(said), 4)], []
    if len(values) > 1:
        return values[0], [_first_holds("number", said[0], [word for word in said if word.value != values[0]])]
    if not values and places < 2 and any(word.kind == "article" for word in words):
        return "one", []
    return (values or [""])[0], []


def _disagreements(prompt: StructuredPrompt) -> list[str]:
    said = [prompt.shape, prompt.size, prompt.margin and f"{prompt.margin} margin", *map(str, prompt.locations)]
    if prompt.number == "no" and any(said):
        return [
            f"It says that there is no tumor, and also {_quoted([word for word in said if word])}. Nothing is marked."
        ]
    places = len(prompt.locations)
    if prompt.number in ("one", "two", "three") and places > NUMBERS.index(prompt.number):
        masses = "mass" if prompt.number == "one" else "masses"
        return [f"It says {prompt.number} {masses} in {places} places: {_quoted([str(p) for p in prompt.locations])}."]
    return []


# ── Negation ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _negations(words: list[Word]) -> list[Word]:
    """Words as they are meant: `absent` for "no mass", `negated` for "no shadowing", `excepted` for "but the left one",
    `article` only before a mass."""
    meant = list(words)
    for n, word in enumerate(words):
        if meant[n].kind == "filler":  # of a negation or an exception
            continue
        if word.kind == "except":
            end = _excepted(words, n)
            meant[n] = replace(word, kind="excepted", text=_between(words[n : end + 1]), end=words[end].end)
            meant[n + 1 : end + 1] = [replace(other, kind="filler") for other in words[n + 1 : end + 1]]
        elif word.kind in ("no", "not"):
            last = _negated(words, n)
            if last is None or words[last].kind in ("mass", "number"):
                meant[n] = replace(word, kind="absent")
            else:
                meant[n] = replace(word, kind="negated", text=_between(words[n : last + 1]), end=words[last].end)
                meant[n + 1 : last + 1] = [replace(other, kind="filler") for other in words[n + 1 : last + 1]]
        elif word.kind == "nothing":
            meant[n] = replace(word, kind="absent")
        elif word.kind == "normal":
            meant[n] = replace(word, kind="no field" if any(other.kind == "mass" for other in words) else "absent")
        elif word.kind == "article" and not _before_mass(words[n + 1 :]):
            meant[n] = replace(word, kind="filler")
    return meant


def _negated(words: list[Word], n: int) -> int | None:
    """The word that the "no" or "not" at `n` is about; None where it is about the tumor itself."""
    attribute = None
    for m in range(n + 1, len(words)):
        word = words[m]
        if any(sign in word.gap for sign in ",;.:\n"):
            break
        if word.kind == "mass" or word.text.lower() == "one":
            return m
        if word.kind in _ATTRIBUTES and words[n].kind == "not":
            return m
        if word.kind in _ATTRIBUTES:
            attribute = m
        elif word.kind not in ("filler", "article") or word.text.lower() == "more":
            return m
    return attribute if any(word.kind == "mass" for word in words[:n]) else None


def _excepted(words: list[Word], n: int) -> int:
    """The last word of the exception that begins at `n`: that of its clause."""
    ends = (m for m in range(n + 1, len(words)) if any(sign in words[m].gap for sign in ",;.:\n"))
    return next(ends, len(words)) - 1


def _choices(words: list[Word]) -> list[str]:
    """Of places, e.g. `left or right`; of what has one field alone, the first holds."""
    meant = [word for word in words if word.kind not in ("filler", "article")]
    return [
        f"{one.text} or {other.text}"
        for one, join, other in zip(meant, meant[1:], meant[2:], strict=False)
        if join.kind == "join" and join.text.lower() == "or" and {one.kind, other.kind} <= {*KINDS}
    ]


def _before_mass(words: list[Word]) -> bool:
    following = [word for word in words if word.kind not in (*_ATTRIBUTES, "filler", "no field", "unknown")]
    return bool(following) and following[0].kind == "mass"


def _between(words: list[Word]) -> str:
    return "".join(word.gap + word.text for word in words)[len(words[0].gap) :]


# ── Warnings ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _not_understood(text: str, words: list[Word], ignored: tuple[str, ...], prompt: StructuredPrompt) -> list[str]:
    warnings = []
    if not text.strip():
        return ["The prompt is empty: any tumor is looked for."]
    if ignored:
        languages = [name for name, known in FOREIGN.items() if sum(w.lower() in known for w in ignored) > 0]
        english = not languages and all(_is_latin(word) for word in ignored)
        hint = f" It looks {languages[0]}." if languages else ""
        advice = "" if english else f" Prompts are read in English, e.g. upper left.{hint}"
        warnings.append(f"Not understood: {_quoted(ignored)}.{advice}")
    if pictures := [sign for sign in dict.fromkeys(text) if unicodedata.category(sign) in ("So", "Co", "Cs", "Cn")]:
        warnings.append(f"Signs such as {_quoted(pictures)} are not read.")
    if prompt == NOTHING_SAID and not any(word.kind in ("mass", "negated", "excepted") for word in words):
        warnings.append("Nothing of this says what to look for: any tumor is looked for.")
    return warnings


def _read_with_care(words: list[Word]) -> list[str]:
    """Words that were corrected, that are about something else, or that no field holds."""
    warnings = []
    for word in words:
        if word.corrected and word.kind not in ("filler", "no field"):
            warnings.append(f'"{word.text}" is read as "{word.corrected}".')
    for word, after in itertools.pairwise(words):
        if after.kind == "edge" and word.kind == "shape":
            warnings.append(f'"{word.text} {after.text}" is read as the shape of the mass: {word.value}.')
        if after.text.lower() in ("breast", "brain") and word.value in ("left", "right"):
            warnings.append(f'"{word.text} {after.text}" is read as a place in the image: {word.value}.')
    if choices := _choices(words):
        warnings.append(f'"or" is not read: {_quoted(choices)} is taken for "and". Say the one that is meant.')
    said = {kind: list(dict.fromkeys(word.text for word in words if word.kind == kind)) for kind in _ABOUT}
    warnings += [_ABOUT[kind].format(_quoted(texts)) for kind, texts in said.items() if texts]
    if {"outer", "inner", "lateral", "medial"} & {word.text.lower() for word in words}:
        warnings.append("Which side is outer or inner depends on the breast: say left or right.")
    edges = [word.text for word in words if word.kind == "edge"]
    if edges and not any(word.kind in ("margin", "shape", *KINDS, "negated") for word in words):
        warnings.append(f'Of the "{edges[0]}" only smooth or indistinct can be said.')
    return warnings


_ABOUT = {
    "organ": f"{{}}: the model knows {KNOWN_IMAGES}; elsewhere its answers mean nothing.",
    "image": f"{{}}: the model knows {KNOWN_IMAGES}; on other images its answers mean nothing.",
    "no field": "Understood, but without a field in prompts and not used: {}.",
    "measure": "Measures, clock positions and grades are not used: {}. Say e.g. small, and upper left.",
    "excepted": "Exceptions are not read: {}. Say where the tumor is, not where it is not.",
    "negated": "Negations of anything but the tumor are not used: {}.",
}


def _is_latin(word: str) -> bool:
    return all(unicodedata.name(letter, "").startswith(("LATIN", "DIGIT")) for letter in word if letter.isalnum())


def _quoted(words: list[str] | tuple[str, ...], most: int = 8) -> str:
    shown = [f'"{word[:30]}…"' if len(word) > 30 else f'"{word}"' for word in words[:most]]
    return ", ".join(shown) + (f" and {len(words) - most} more" if len(words) > most else "")
