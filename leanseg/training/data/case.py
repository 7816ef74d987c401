"""A case of a data set: where its image and its truth are. Without torch, so that the demo can show real cases."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from leanseg.errors import LeanSegError, UnknownNameError, UnreadableFileError
from leanseg.files.images import read_image
from leanseg.processing.intensity import luminance
from leanseg.volume import Volume

LESION_CLASSES = ("normal", "benign", "malignant")


@dataclass(frozen=True)
class Case:
    """One image with its ground truth; the files stay where they are."""

    id: str
    dataset: str
    image: Path
    mask: Path
    lesion_class: str
    """One of `LESION_CLASSES`."""
    split: str
    group: str
    """Near-duplicates and images of one patient share a group; no group may cross splits."""
    is_color: bool = False
    """A stained section, which is read as its luminance: networks of gray images can use no more."""


def read_cases(root: Path, dataset: str, class_column: str, group_column: str) -> list[Case]:
    """Cases of a folder with `images/`, `masks/` and `index.csv`, sorted by file name.

    The index has a row for each image: `file`, `split`, and two columns that differ from set to set. An empty group
    is a group of its own.

    Raises:
        UnreadableFileError: no index, or one without these columns.
        LeanSegError: an unknown lesion class, or a group that crosses splits.
    """
    index = root / "index.csv"
    if not index.is_file():
        raise UnreadableFileError(f"{root} has no index.csv. Give the folder of the data set {dataset}.")
    with index.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    needed = {"file", "split", class_column, group_column}
    if missing := needed - set(rows[0] if rows else ()):
        raise UnreadableFileError(
            f"{index} lacks the columns {', '.join(sorted(missing))}, so it is not of {dataset}. Give its folder."
        )
    cases = [
        Case(
            id=Path(row["file"]).stem,
            dataset=dataset,
            image=root / "images" / row["file"],
            mask=root / "masks" / row["file"],
            lesion_class=row[class_column],
            split=row["split"],
            group=row[group_column] or row["file"],
        )
        for row in rows
    ]
    for case in cases:
        if case.lesion_class not in LESION_CLASSES:
            raise UnknownNameError(f"lesion class ({index})", case.lesion_class, LESION_CLASSES)
    check_groups(cases)
    return sorted(cases, key=lambda case: case.id)


def check_groups(cases: Sequence[Case]) -> None:
    """Raises LeanSegError where a group of near-duplicates lies in two splits."""
    split_of: dict[str, str] = {}
    for case in cases:
        if split_of.setdefault(case.group, case.split) != case.split:
            raise LeanSegError(
                f"Near-duplicates of group {case.group!r} are in the splits {split_of[case.group]!r} and "
                f"{case.split!r}; the score would be too good. Repair index.csv."
            )


def _read(case: Case) -> Volume:
    image = read_image(case.image)
    return image.with_array(luminance(image.array)) if case.is_color else image


def read_unlabeled(case: Case) -> tuple[Volume, Volume]:
    """Image and an empty mask, for what learns without labels; the file of the mask need not be there."""
    image = _read(case)
    return image, image.with_array(np.zeros_like(image.array[:1], dtype=np.uint8))


def read_pair(case: Case) -> tuple[Volume, Volume]:
    """Image and binary mask (uint8, 0 or 1) on one grid."""
    image, mask = _read(case), read_image(case.mask)
    if image.geometry.shape != mask.geometry.shape:
        raise LeanSegError(
            f"{case.id}: the image is {image.geometry.shape}, its mask {mask.geometry.shape}; they must agree."
        )
    return image, mask.with_array(np.not_equal(mask.array[:1], 0).astype(np.uint8))
