"""Words of direction between the patient and the picture, and how they change when a picture is flipped or turned.

The network sees pictures only: left is column 0, upper is row 0. A person means the patient's left, where the image
says where that is. `upper` means superior in pictures that show superior and inferior, and anterior in axial ones
(inferred: so are they shown). Free text therefore goes through `pictured_text` before it is parsed for the network.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from leanseg.errors import IncompatibleInputError
from leanseg.prompts.structure import HORIZONTALS, VERTICALS, Location, StructuredPrompt
from leanseg.prompts.words import LEXICON, Word, recognize
from leanseg.volume import OPPOSITE

_DIRECTIONS = {
    **{"left": "L", "right": "R", "superior": "S", "cranial": "S", "inferior": "I", "caudal": "I"},
    **{"anterior": "A", "ventral": "A", "posterior": "P", "dorsal": "P"},
}
_TOLD = {"A": "anterior", "P": "posterior", "S": "upper", "I": "lower"}
_ANTONYMS = (("upper", "lower"), ("top", "bottom"), ("above", "below"), ("up", "down"), ("superficial", "deep"))
_ANATOMY = (("superior", "inferior"), ("cranial", "caudal"), ("anterior", "posterior"), ("ventral", "dorsal"))
_UPPER, _LOWER = (tuple(pair[side] for pair in (*_ANTONYMS, *_ANATOMY)) for side in (0, 1))
_LEFT_RIGHT = {"left": "right", "right": "left"}
DIRECTION_WORDS = (*_LEFT_RIGHT, *_UPPER, *_LOWER)
_UP_DOWN = {**dict(zip(_UPPER, _LOWER, strict=True)), **dict(zip(_LOWER, _UPPER, strict=True))}
_TURNED = {
    **{"left": "lower", "right": "upper", "middle": "central", "central": "middle"},
    **dict.fromkeys(_UPPER, "left"),
    **dict.fromkeys(_LOWER, "right"),
}
_BOTH_SIDES = "both sides"
_KINDS = ("vertical", "horizontal", _BOTH_SIDES)
"""Of words of places."""
_SUFFIX = re.compile(r"(most|wards?|hand|ly)$")

_Prompt = TypeVar("_Prompt", str, StructuredPrompt)


@dataclass(frozen=True)
class PictureFrame:
    """Where the patient's directions (R, L, A, P, S, I) lie in the pictures of a volume; all "" for ultrasound.

    Raises IncompatibleInputError for anything but one direction along each of the three axes, or none at all.
    """

    left: str = ""
    """Patient direction of the picture's left edge (column 0)"""
    up: str = ""
    """Of its upper edge (row 0)"""
    near: str = ""
    """Of the side where slice k = 0 lies"""

    def __post_init__(self) -> None:
        given = (self.left, self.up, self.near)
        axes = {frozenset((direction, OPPOSITE.get(direction, ""))) for direction in given}
        if any(given) and axes != {frozenset(axis) for axis in ("RL", "AP", "SI")}:
            raise IncompatibleInputError(
                f"A picture frame has the directions {given}; give one of R/L, one of A/P and one of S/I, or none."
            )

    @property
    def edges(self) -> dict[str, str]:
        """The patient's directions that the picture shows -> its edge: left, right, upper, lower."""
        if not self.left:
            return {}
        return {self.left: "left", OPPOSITE[self.left]: "right", self.up: "upper", OPPOSITE[self.up]: "lower"}


def named(prompt: StructuredPrompt, frame: PictureFrame) -> StructuredPrompt:
    """A prompt about the picture as one about the patient: the inverse of what `pictured_word` does to its words.

    In sagittal pictures left and right are left out: they are anterior and posterior, for which prompts have no word.
    """
    inverse = dict.fromkeys((*VERTICALS, *HORIZONTALS), "")
    inverse |= {seen: said for said, seen in _picture_words(frame).items() if seen}
    return _exchanged(prompt, inverse) if frame.left else prompt


def pictured_text(text: str, frame: PictureFrame) -> str:
    """Free text about the patient as text about the picture; only words of direction change, and their case is kept.

    E.g. in an axial picture (left edge R, upper edge A) `anterior right` becomes `upper left`, and `superior` is left
    out (see `unseen`). Without a frame the text stays as it is.
    """
    return _replaced(text, _exchanges(frame)) if frame.left else text


def pictured_word(word: Word, frame: PictureFrame) -> Word:
    """A word of a prompt about the patient as one about the picture; a filler where the picture cannot show it.

    With it `parse` reads what a text says about the picture: superior and anterior are two words there, while a
    structured prompt has one for both.
    """
    new = _exchanged_word(word, _exchanges(frame)) if frame.left and word.kind in _KINDS else None
    if new is None:
        return word
    kind = "vertical" if new in VERTICALS else "horizontal" if new else "filler"
    return replace(word, kind=kind, value=new)


def unseen(prompt: str | StructuredPrompt, frame: PictureFrame) -> tuple[str, ...]:
    """Words of direction in a prompt about the patient that the picture cannot show, e.g. `left` in a sagittal one."""
    text = prompt if isinstance(prompt, str) else " ".join(str(place) for place in prompt.locations)
    hidden = (word.text for word in recognize(text) if word.kind != pictured_word(word, frame).kind == "filler")
    return tuple(dict.fromkeys(hidden))


def told(prompt: StructuredPrompt, frame: PictureFrame, words: Callable[[StructuredPrompt], str]) -> str:
    """A prompt about the picture in words about the patient, e.g. `words=summary`.

    Sagittal pictures show no left and right, and prompts have no anterior and posterior; a text has.
    """
    if not frame.left or "L" in frame.edges:
        return words(named(prompt, frame))
    sides = {edge: _TOLD[direction] for direction, edge in frame.edges.items()}
    return re.sub(r"\b(?:left|right|upper|lower)\b", lambda found: sides[found.group()], words(prompt))


def edge_of(word: str, frame: PictureFrame) -> str:
    """The edge of the picture (left, right, upper, lower) where a person's word of direction lies, e.g. `left` on the
    right of an axial picture; "" where the picture cannot show it. `word`: one of DIRECTION_WORDS."""
    if not frame.left:
        return word if word in _LEFT_RIGHT else "upper" if word in _UPPER else "lower"
    if word in _DIRECTIONS:
        return frame.edges.get(_DIRECTIONS[word], "")
    return _picture_words(frame)["upper" if word in _UPPER else "lower"]


def mirrored(prompt: _Prompt, horizontally: bool = False, vertically: bool = False) -> _Prompt:
    """A prompt, structured or free text, about the picture flipped left-right, upside down, or both."""
    return _reworded(prompt, {**(_LEFT_RIGHT if horizontally else {}), **(_UP_DOWN if vertically else {})})


def turned(prompt: _Prompt, quarter_turns: int) -> _Prompt:
    """A prompt, structured or free text, about the picture turned by `numpy.rot90(picture, quarter_turns)`."""
    for _ in range(quarter_turns % 4):
        prompt = _reworded(prompt, _TURNED)
    return prompt


def _reworded(prompt: _Prompt, words: Mapping[str, str]) -> _Prompt:
    if isinstance(prompt, str):
        return _replaced(prompt, words)
    return _exchanged(prompt, words)


def _exchanges(frame: PictureFrame) -> dict[str, str]:
    """Words of a text about the patient that change -> words about the picture; "" for what it cannot show."""
    edges, picture = frame.edges, _picture_words(frame)
    words = {word: edges.get(direction, "") for word, direction in _DIRECTIONS.items()}
    words |= {word: picture[word] for word in ("central", "middle") if picture[word] != word}
    words |= {} if edges.get("L") in HORIZONTALS else {_BOTH_SIDES: ""}
    for upper, lower in _ANTONYMS:  # where they hold, a person's own words stay
        words |= {upper: picture["upper"], lower: picture["lower"]} if picture["upper"] != "upper" else {}
    return words


def _picture_words(frame: PictureFrame) -> dict[str, str]:
    """A structured prompt's words about the patient -> words about the picture; "" for what it cannot show."""
    edges = frame.edges
    upper = "S" if "S" in edges else "A"
    words = {"left": edges.get("L", ""), "right": edges.get("R", "")}
    words |= {"upper": edges.get(upper, ""), "lower": edges.get(OPPOSITE[upper], "")}
    between = {"left": "central", "right": "central", "upper": "middle", "lower": "middle", "": ""}
    return {**words, "central": between[words["left"]], "middle": between[words["upper"]]}


def _exchanged(prompt: StructuredPrompt, words: Mapping[str, str]) -> StructuredPrompt:
    places = []
    for place in prompt.locations:
        said = {words.get(word, word) for word in (place.vertical, place.horizontal)}
        vertical = next((word for word in VERTICALS if word in said), "")
        places.append(Location(vertical, next((word for word in HORIZONTALS if word in said), "")))
    return replace(prompt, locations=tuple(places))


def _replaced(text: str, words: Mapping[str, str]) -> str:
    """Exchange words of places; misspelled ones too, since `parse` understands them."""
    parts, last, left_out = [], 0, False
    for word in _of_places(text):
        new = _exchanged_word(word, words)
        if new is None:
            continue
        suffix = _SUFFIX.search(word.corrected or word.text.lower())
        with_suffix = new + suffix.group() if new and suffix else ""
        parts += [text[last : word.start], _in_case_of(word.text, with_suffix if with_suffix in LEXICON else new)]
        last = word.end
        left_out |= not new
    replaced = "".join([*parts, text[last:]])
    return re.sub(r" +([,.;:]|$)", r"\1", re.sub(r" {2,}", " ", replaced)).strip() if left_out else replaced


def _exchanged_word(word: Word, words: Mapping[str, str]) -> str | None:
    """A rare word is exchanged as what it means; None where it stays."""
    return words.get(word.kind if word.kind == _BOTH_SIDES else _base(word), words.get(word.value))


def _of_places(text: str) -> list[Word]:
    return [word for word in recognize(text) if word.kind in _KINDS]


def _base(word: Word) -> str:
    """As the lexicon spells it, without `-most`, `-ward`, `-hand`, `-ly`."""
    return _SUFFIX.sub("", word.corrected or word.text.lower())


def _in_case_of(word: str, new: str) -> str:
    return new.upper() if word.isupper() else new.capitalize() if word[0].isupper() else new
