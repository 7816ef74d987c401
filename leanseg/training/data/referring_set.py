"""Pictures of several objects on the model grid, and the pairs that a network is validated with.

Pictures are brought onto the grid once, so that scenes can be composed anew in every epoch: nothing is resampled for
that. What is padded on the grid is no place for an object.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from leanseg.errors import LeanSegError
from leanseg.processing.preprocess import PreprocessingConfig, preprocess
from leanseg.training.data.arrays import TrainingArrays
from leanseg.training.data.referring_pairs import Picture, ReferringPair, drawn_scene, read_pictures, referring_pairs
from leanseg.training.recipe import Recipe
from leanseg.training.referring_recipe import ReferringTrainingConfig
from leanseg.volume import Volume, VolumeGeometry

Box = tuple[slice, slice]


@dataclass(frozen=True)
class ReferringSet(TrainingArrays):
    """Pictures in memory; `targets` has a label for each object, `cases` is the part that a picture came from."""

    boxes: tuple[Box, ...]
    """Of each image what is not padding"""

    @cached_property
    def members(self) -> list[list[int]]:
        """Images of each part."""
        return [(self.cases == part).nonzero().flatten().tolist() for part in range(len(self.ids))]

    @cached_property
    def _pictures(self) -> list[list[Picture]]:
        """Of each part, without padding."""
        return [[self._picture(n) for n in members] for members in self.members]

    def _picture(self, n: int) -> Picture:
        box = self.boxes[n]
        return Picture(self.images[n, 0].numpy()[box].astype(np.float32), self.targets[n, 0].numpy()[box])

    def scene(self, n: int, rng: np.random.Generator, most_objects: int, alone: float) -> Picture:
        """Image n, with objects of others of its part where it has less than two; on the grid."""
        part = int(self.cases[n])
        scene = drawn_scene(self._pictures[part], n - self.members[part][0], rng, most_objects, alone)
        image, labels = (np.zeros(self.images.shape[2:], kind) for kind in (np.float32, np.uint8))
        image[self.boxes[n]], labels[self.boxes[n]] = scene.image, scene.labels
        return Picture(image, labels)


def on_grid(picture: Picture, size_ji: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.uint8], Box]:
    """As in use the picture is scaled to fit and padded; labels are those of the nearest pixels."""
    height, width = picture.labels.shape
    volume = Volume(picture.image[np.newaxis, np.newaxis], VolumeGeometry((1, height, width), np.eye(4), False))
    image = preprocess(volume, PreprocessingConfig(size_ji)).volume.array[0, 0]
    scale = min(size_ji[0] / height, size_ji[1] / width)
    inner = [max(1, min(side, round(own * scale))) for side, own in zip(size_ji, (height, width), strict=True)]
    start = [(side - own) // 2 for side, own in zip(size_ji, inner, strict=True)]
    box = (slice(start[0], start[0] + inner[0]), slice(start[1], start[1] + inner[1]))
    j, i = (((np.arange(n) + 0.5) * own / n).astype(int) for n, own in zip(inner, (height, width), strict=True))
    labels = np.zeros(size_ji, np.uint8)
    labels[box] = picture.labels[np.ix_(j, i)]
    return np.asarray(image, np.float32), labels, box


def referring_set(parts: Iterable[tuple[str, Sequence[Picture]]], size_ji: tuple[int, int]) -> ReferringSet:
    """Pictures of parts as tensors."""
    images, targets, boxes, owners, ids = [], [], [], [], []
    for number, (name, pictures) in enumerate(parts):
        ids.append(name)
        for picture in pictures:
            image, labels, box = on_grid(picture, size_ji)
            images.append(torch.from_numpy(image).half())
            targets.append(torch.from_numpy(labels))
            boxes.append(box)
            owners.append(number)
    if not images:
        raise LeanSegError("No picture is left to refer to. Check the recipe's data section.")
    masks = torch.stack(targets)[:, None]
    has_object = masks.flatten(1).any(dim=1).long()
    return ReferringSet(torch.stack(images)[:, None], masks, has_object, torch.tensor(owners), tuple(ids), tuple(boxes))


def load_referring_set(parts: Sequence[str], root: Path, recipe: Recipe) -> ReferringSet:
    """Pictures of the parts, `root` being the folder that holds the data sets.

    Raises:
        UnknownNameError, LeanSegError, UnreadableFileError: as `read_pictures`.
    """
    return referring_set(((part, read_pictures(part, root)) for part in parts), recipe.size_ji)


def fixed_pairs(
    pictures: ReferringSet, number: int, seed: int, options: ReferringTrainingConfig
) -> list[ReferringPair]:
    """So many pairs of each part; the same seed gives the same ones.

    Raises:
        LeanSegError: as `referring_pairs`.
    """
    result: list[ReferringPair] = []
    for part in range(len(pictures.ids)):
        members = pictures.members[part]

        def draw(rng: np.random.Generator, members: list[int] = members) -> Picture:
            return pictures.scene(members[int(rng.integers(len(members)))], rng, options.most_objects, alone=0.0)

        result += referring_pairs(draw, number, seed + part, options.absent_fraction, options.kinds)
    return result
