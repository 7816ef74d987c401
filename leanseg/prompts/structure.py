"""What a prompt can say, field by field. The grammar is inferred from what TextBCS (arXiv 2603.11206) prompts for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, final

from leanseg import schema
from leanseg.errors import UnknownNameError

NUMBERS = ("no", "one", "two", "three", "several")
SHAPES = ("round", "oval", "irregular", "spiculated")
SIZES = ("small", "medium", "large")
VERTICALS = ("upper", "middle", "lower")
HORIZONTALS = ("left", "central", "right")
MODALITIES = ("ultrasound", "mri")
MARGINS = ("smooth", "indistinct")


def _check(kind: str, word: str, known: Iterable[str]) -> None:
    if word and word not in known:
        raise UnknownNameError(f"{kind} in prompts", word, known)


def _reading_order(location: Location) -> tuple[bool, int, int]:
    """Places with both directions first: "upper and lower left" would be read as "upper left and lower left"."""
    vertical = (*VERTICALS, "").index(location.vertical)
    horizontal = (*HORIZONTALS, "").index(location.horizontal)
    return not (location.vertical and location.horizontal), vertical, horizontal


@dataclass(frozen=True)
class Location:
    """A place on a grid of 3 x 3; a field that is "" leaves that direction open.

    Raises UnknownNameError for a word that is not of the grammar.
    """

    vertical: str = ""
    """One of VERTICALS, or "" """
    horizontal: str = ""
    """One of HORIZONTALS, or "" """

    def __post_init__(self) -> None:
        _check("vertical location", self.vertical, VERTICALS)
        _check("horizontal location", self.horizontal, HORIZONTALS)

    def __str__(self) -> str:
        return f"{self.vertical} {self.horizontal}".strip()


@final
@dataclass(frozen=True)
class StructuredPrompt:
    """What is said about the tumor; "" and () say nothing. Raises UnknownNameError for a word not of the grammar.

    Locations are kept without empty and equal ones and in reading order (row by row, what is open last), so that two
    prompts which say the same are equal.
    """

    number: str = ""
    """One of NUMBERS, or "": how many masses"""
    shape: str = ""
    """One of SHAPES, or "": of the largest mass"""
    size: str = ""
    """One of SIZES, or "": of all masses together"""
    locations: tuple[Location, ...] = ()
    """Where the masses are"""
    modality: str = ""
    """One of MODALITIES, or "" """
    margin: str = ""
    """One of MARGINS, or "" """

    def __post_init__(self) -> None:
        _check("number", self.number, NUMBERS)
        _check("shape", self.shape, SHAPES)
        _check("size", self.size, SIZES)
        _check("modality", self.modality, MODALITIES)
        _check("margin", self.margin, MARGINS)
        said = set(self.locations) - {Location()}
        object.__setattr__(self, "locations", tuple(sorted(said, key=_reading_order)))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "locations": [asdict(location) for location in self.locations]}

    @classmethod
    def from_dict(cls, values: Any) -> StructuredPrompt:
        """The inverse of `to_dict`; missing fields say nothing.

        Raises:
            UnknownNameError: a field or a word that the grammar does not have; the nearest is suggested.
            LeanSegError: a value of the wrong type.
        """
        prompt = schema.parse(cls, values, "prompt")
        assert isinstance(prompt, cls)
        return prompt


NOTHING_SAID = StructuredPrompt()
