"""Questions that were asked, with their answers: as rows, as text that is saved with the scene, and as CSV."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MOST_ROWS = 500  # what is older goes
MOST_IMAGES = 20  # rows that can be shown in the image again; of older ones the text is left
_FORMAT = 1
_CHOICES = 5  # in the CSV


@dataclass(frozen=True)
class Asked:
    """One row: plain values only."""

    time: str
    """Of this computer, ISO 8601"""
    question: str
    answer: str
    isTold: bool
    probability: float
    questionType: str
    typeProbability: float
    choices: tuple[tuple[str, float], ...]
    warnings: tuple[str, ...]
    image: str
    view: str
    place: str
    """Which slice"""
    segment: str
    """Around which the picture was cut; empty: around none"""
    model: str

    @property
    def where(self) -> str:
        """View, slice and segment."""
        return ", ".join(part for part in (self.view, self.place, self.segment) if part)

    @property
    def about(self) -> str:
        """Image, view, slice and segment."""
        return ", ".join(part for part in (self.image, self.where) if part)


@dataclass(eq=False)
class Entry:
    """A row and, until the scene is closed, what its heat map is made of."""

    asked: Asked
    answer: Any = None
    """`QuestionAnswer`"""
    picture: Any = None
    """`ViewPicture`"""

    @property
    def hasImage(self) -> bool:
        """Whether the image is still the one that was asked about."""
        return self.answer is not None and self.picture.isUpToDate

    def leaveImage(self) -> None:
        """Keep the text alone: a picture and what the network made of it are large."""
        self.answer = self.picture = None


def toText(rows: Sequence[Asked]) -> str:
    """For the scene; empty for no rows."""
    return json.dumps({"format": _FORMAT, "asked": [dataclasses.asdict(row) for row in rows]}) if rows else ""


def fromText(text: str) -> list[Asked]:
    """The inverse of `toText`; what cannot be read, as that of another LeanSeg, is no row."""
    try:
        found = json.loads(text or "{}")
        return [_row(values) for values in found.get("asked", [])] if found.get("format") == _FORMAT else []
    except (ValueError, TypeError, AttributeError, KeyError):
        return []


def _row(values: dict[str, Any]) -> Asked:
    choices = tuple((str(text), float(probability)) for text, probability in values["choices"])
    warnings = tuple(str(line) for line in values["warnings"])
    kinds = {"isTold": bool, "probability": float, "typeProbability": float}
    names = [field.name for field in dataclasses.fields(Asked) if field.name not in ("choices", "warnings")]
    plain = {name: kinds.get(name, str)(values[name]) for name in names}
    return Asked(**plain, choices=choices, warnings=warnings)


def writeCsv(rows: Sequence[Asked], path: str) -> Path:
    """One line of names, one line a question; whole or not at all. A path without a suffix gets `.csv`.

    :raises OutputError: it cannot be written there.
    """
    from leanseg.beside import written_beside

    target = Path(path)
    target = target if target.suffix else target.with_suffix(".csv")
    numbers = range(1, _CHOICES + 1)
    names = ["time", "image", "view", "slice", "segment", "model", "question", "answer", "is_told", "probability"]
    names += ["question_type", "type_probability"]
    names += [name for n in numbers for name in (f"choice_{n}", f"probability_{n}")]
    with written_beside(target) as beside, beside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        for row in rows:
            plain = [row.time, row.image, row.view, row.place, row.segment, row.model, row.question, row.answer]
            plain += [str(row.isTold).lower(), f"{row.probability:.4f}", row.questionType, f"{row.typeProbability:.4f}"]
            for text, probability in [*row.choices, *[("", None)] * _CHOICES][:_CHOICES]:
                plain += [text, "" if probability is None else f"{probability:.4f}"]
            writer.writerow(plain)
    return target
