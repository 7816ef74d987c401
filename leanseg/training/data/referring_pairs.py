"""Pictures of several objects, and sentences that refer to one of them or to none.

Parts as in all recipes: `busi:train`, `bus_bra:train`, `brats:train:flair`, `glas:train`, and `monuseg_text:train`. A
picture with at least two objects of its own (glands, nuclei, several lesions) is a scene as it is: each 8-connected
component is one object. To a picture with one lesion, others are copied from other pictures of the same part, with soft
edges and the brightness of where they are put; the scene is then synthetic, the tissue is not.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from leanseg.errors import LeanSegError, UnreadableFileError
from leanseg.files.images import read_image
from leanseg.processing.intensity import luminance, rescale_percentiles
from leanseg.prompts.referring import KINDS, MIN_PIXELS, NO_OBJECT, draw_reference, read_scene
from leanseg.prompts.referring_words import NOUNS, sentence
from leanseg.training.data.text_pairs import read_text_cases

MONUSEG = "monuseg_text"
MOST_OBJECTS = 255
_TRIES = 40
_RIM_PX = 6
"""Around a copied lesion, its own tissue, which fades away."""
_GAP_PX = 3
"""At least so much lies between two objects."""
_MUCH, _SLICE_STEP = 0.4, 6
"""Slices of a volume with so much of the largest area, and every which of them."""
_TILE_PX = 80
"""Side of a picture of few nuclei."""
_EIGHT = np.ones((3, 3), bool)


@dataclass(frozen=True)
class Picture:
    """A gray picture in [0, 1] and a label for each object, 0 being background; both (j, i)."""

    image: NDArray[np.float32]
    labels: NDArray[np.uint8]

    @property
    def number(self) -> int:
        """Of objects."""
        return int(self.labels.max())


@dataclass(frozen=True)
class ReferringPair:
    """A picture, what was said, and where that is: nowhere, if there is no such object."""

    image: NDArray[np.float32]
    text: str
    mask: NDArray[np.bool_]
    others: NDArray[np.bool_]
    """Every other object"""
    kind: str
    """One of `prompts.referring.KINDS`"""


def with_objects(image: NDArray[np.generic], mask: NDArray[np.bool_]) -> Picture:
    """A picture whose objects are the 8-connected components of the mask; specks and what lies beyond 255 are none."""
    components, number = ndimage.label(mask, structure=_EIGHT)
    labels, next_label = np.zeros(mask.shape, np.uint8), 1
    for n in range(1, number + 1):
        if next_label <= MOST_OBJECTS and (components == n).sum() >= MIN_PIXELS:
            labels[components == n] = next_label
            next_label += 1
    return Picture(rescale_percentiles(image.astype(np.float32), 0.5, 99.5), labels)


def composed(pictures: Sequence[Picture], rng: np.random.Generator) -> Picture:
    """The first picture with the largest object of each other one copied to a free place, where there is one."""
    image, labels = pictures[0].image.copy(), pictures[0].labels.copy()
    for other in pictures[1:]:
        if other.number == 0 or labels.max() == MOST_OBJECTS:
            continue
        which = np.bincount(other.labels.ravel())[1:].argmax() + 1
        rows, columns = ndimage.find_objects(other.labels)[which - 1]
        window = tuple(slice(max(s.start - _RIM_PX, 0), s.stop + _RIM_PX) for s in (rows, columns))
        mask, tissue = other.labels[window] == which, other.image[window]
        if rng.integers(2):
            mask, tissue = mask[:, ::-1], tissue[:, ::-1]
        place = _free_place(labels, mask, rng)
        if place is None:
            continue
        softness = np.clip(1 - ndimage.distance_transform_edt(~mask) / _RIM_PX, 0, 1)
        around = (softness > 0) & ~mask
        shift = float(np.mean(image[place][around]) - np.mean(tissue[around])) if around.any() else 0.0
        image[place] = (1 - softness) * image[place] + softness * np.clip(tissue + shift, 0, 1)
        labels[place][mask] = labels.max() + 1
    return Picture(image, labels)


def _free_place(
    labels: NDArray[np.uint8], mask: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[slice, slice] | None:
    """A window where a mask of this shape touches no other object; None if none is found."""
    room = [side - own for side, own in zip(labels.shape, mask.shape, strict=True)]
    if min(room) < 0:
        return None
    near = ndimage.binary_dilation(labels > 0, _EIGHT, iterations=_GAP_PX)
    for _ in range(_TRIES):
        j, i = (int(rng.integers(most + 1)) for most in room)
        place = (slice(j, j + mask.shape[0]), slice(i, i + mask.shape[1]))
        if not (near[place] & mask).any():
            return place
    return None


def draw_pair(
    picture: Picture, rng: np.random.Generator, absent_fraction: float = 0.2, kinds: Sequence[str] = KINDS
) -> ReferringPair | None:
    """A sentence of some kind about a picture, and its mask; None where nothing clear can be said of it."""
    scene = read_scene(picture.labels, picture.image)
    absent = bool(rng.random() < absent_fraction)
    reference = draw_reference(scene, rng, absent, kinds) or draw_reference(scene, rng, kinds=kinds)
    if reference is None:
        return None
    text = sentence(reference.expression, NOUNS[int(rng.integers(len(NOUNS)))], rng)
    mask = (picture.labels == reference.label) & (reference.label != NO_OBJECT)
    return ReferringPair(picture.image, text, mask, (picture.labels > 0) & ~mask, reference.expression.kind)


def drawn_scene(
    pictures: Sequence[Picture], which: int, rng: np.random.Generator, most_objects: int = 5, alone: float = 0.0
) -> Picture:
    """A picture as it is if it shows several objects, else with copies from others; left `alone` so often."""
    chosen = pictures[which]
    if chosen.number > 1 or rng.random() < alone:
        return chosen
    others = rng.integers(len(pictures), size=int(rng.integers(1, most_objects)))
    return composed([chosen, *(pictures[int(n)] for n in others)], rng)


def referring_pairs(
    draw_scene: Callable[[np.random.Generator], Picture],
    number: int,
    seed: int,
    absent_fraction: float = 0.2,
    kinds: Sequence[str] = KINDS,
) -> Iterator[ReferringPair]:
    """So many pairs, each about a scene of its own; the same seed gives the same ones.

    Raises:
        LeanSegError: nothing clear can be said of any scene.
    """
    rng, found, failed = np.random.default_rng(seed), 0, 0
    while found < number:
        if failed > _TRIES * (found + 1):
            raise LeanSegError(
                "Nothing clear can be said of these pictures. Give some with objects of 10 pixels or more."
            )
        pair = draw_pair(draw_scene(rng), rng, absent_fraction, kinds)
        found, failed = found + (pair is not None), failed + (pair is None)
        if pair is not None:
            yield pair


def read_pictures(part: str, root: Path) -> list[Picture]:
    """Pictures of a part: of a volume some slices with much tumor, of a picture of nuclei its tiles. `root` is the
    folder that holds the data sets.

    Raises:
        UnknownNameError, LeanSegError: as `text_pairs.read_text_cases`.
        UnreadableFileError: there is no monuseg_text where it should be.
    """
    if part.partition(":")[0] == MONUSEG:
        return list(_nuclei(root / MONUSEG, part.partition(":")[2]))
    pictures = []
    for case in read_text_cases(part, root):
        area = case.truth.sum(axis=(1, 2))
        large = np.flatnonzero(area >= _MUCH * area.max())
        for k in large[len(large) % _SLICE_STEP // 2 :: _SLICE_STEP]:
            pictures.append(with_objects(case.image.array[0, k], case.truth[k]))
    return pictures


def _nuclei(folder: Path, split: str) -> Iterator[Picture]:
    table = folder / "text.csv"
    if not table.is_file():
        raise UnreadableFileError(f"{folder} has no text.csv. Give the folder of {MONUSEG}.")
    with table.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if split in (row["split"], "all")]
    if not rows:
        raise LeanSegError(f"'{MONUSEG}:{split}' selects no picture. Check the split: train, val, test or all.")
    for row in rows:
        (path,) = (folder / "images").glob(f"{row['id']}.*")
        image, mask = luminance(read_image(path).array), read_image(folder / "masks" / f"{row['id']}.png").array
        gray, nuclei = image[0, 0], mask[0, 0] > 0
        for j in range(0, gray.shape[0] - _TILE_PX + 1, _TILE_PX):
            for i in range(0, gray.shape[1] - _TILE_PX + 1, _TILE_PX):
                tile = (slice(j, j + _TILE_PX), slice(i, i + _TILE_PX))
                yield with_objects(gray[tile], nuclei[tile])
