"""Cases as tensors: all of a split in memory, on the model grid, slice by slice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from leanseg.errors import LeanSegError
from leanseg.processing.brain import BrainPreprocessingConfig
from leanseg.processing.preprocess import PreprocessingConfig, preprocess
from leanseg.training.data import select_cases
from leanseg.training.data.brats import BratsCase, load_pair, read_cases, select
from leanseg.training.data.case import LESION_CLASSES, Case, read_pair, read_unlabeled
from leanseg.training.recipe import Recipe

BRATS_FOLDER = "brats18"
"""Below the folder of the data sets."""


@dataclass(frozen=True)
class TrainingArrays:
    """All cases of a split in memory, on the model grid."""

    images: Tensor
    """(image, channel, height, width): gray ultrasound, float32 in [0, 1]; or slices of z-scored sequences, float16;
    or (volume, channel, k, j, i) for 3-D networks"""
    targets: Tensor
    """(image, label, height, width), uint8: lesion; or the nested regions WT, TC, ET"""
    classes: Tensor
    """(image,), index into `LESION_CLASSES`; for slices 1 where there is tumor, else 0"""
    cases: Tensor
    """(image,), index into `ids`: the slices of one volume share it"""
    ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    def drawn(self, empty_fraction: float) -> int:
        """Images of an epoch: all with a lesion, and this fraction of those without."""
        empty = int((self.classes == 0).sum())
        return len(self) - empty + round(empty_fraction * empty)

    def order(self, empty_fraction: float, generator: torch.Generator) -> Tensor:
        """(drawn,) indices of an epoch, shuffled; other empty images each time."""
        order = torch.randperm(len(self), generator=generator)
        is_empty = self.classes[order] == 0
        return order[~is_empty | (is_empty.cumsum(0) <= round(empty_fraction * int(is_empty.sum())))]


def load_arrays(cases: Iterable[Case], config: PreprocessingConfig, labeled: bool = True) -> TrainingArrays:
    """Preprocess every case as in use; the mask follows the image's own grid trace. Not `labeled`: no mask is read."""
    images, targets, classes, ids = [], [], [], []
    for case in cases:
        image, mask = read_pair(case) if labeled else read_unlabeled(case)
        model_input = preprocess(image, config)
        moved = mask.with_array(mask.array.astype(np.float32))
        for step in model_input.trace.steps:
            moved = step.apply(moved)
        images.append(torch.from_numpy(model_input.volume.array[:, 0]))
        targets.append(torch.from_numpy(np.greater_equal(moved.array[:, 0], 0.5).astype(np.uint8)))
        classes.append(LESION_CLASSES.index(case.lesion_class))
        ids.append(case.id)
    if not ids:
        raise LeanSegError("No case is left to train on. Check the recipe's data section.")
    return TrainingArrays(
        torch.stack(images), torch.stack(targets), torch.tensor(classes), torch.arange(len(ids)), tuple(ids)
    )


def load_brain_slices(
    cases: Sequence[BratsCase], config: BrainPreprocessingConfig, labeled: bool = True
) -> TrainingArrays:
    """Every axial slice that holds brain; float16, because a case has 140 slices of four sequences."""
    images, targets, owners = [], [], []
    for n, case in enumerate(cases):
        model_input, regions = load_pair(case, config, labeled)
        images.append(torch.from_numpy(model_input.volume.array).transpose(0, 1).half())
        targets.append(torch.from_numpy(regions).transpose(0, 1))
        owners += [n] * len(images[-1])
    masks = torch.cat(targets).contiguous()
    has_tumor = masks.flatten(1).any(dim=1).long()
    return TrainingArrays(torch.cat(images), masks, has_tumor, torch.tensor(owners), tuple(case.id for case in cases))


def load_brain_volumes(
    cases: Sequence[BratsCase], config: BrainPreprocessingConfig, depth: int, labeled: bool = True
) -> TrainingArrays:
    """Whole volumes, (case, channel, k, j, i): zeros on both sides up to the deepest, and at least to `depth`."""
    pairs = [load_pair(case, config, labeled) for case in cases]
    depth = max(depth, *(regions.shape[1] for _, regions in pairs))
    images, targets = [], []
    for model_input, regions in pairs:
        before = (depth - regions.shape[1]) // 2
        padding = (0, 0, 0, 0, before, depth - regions.shape[1] - before)
        images.append(pad(torch.from_numpy(model_input.volume.array).half(), padding))
        targets.append(pad(torch.from_numpy(regions), padding))
    each = torch.arange(len(cases))
    has_tumor = torch.ones_like(each)
    return TrainingArrays(torch.stack(images), torch.stack(targets), has_tumor, each, tuple(case.id for case in cases))


def load_parts(parts: Sequence[str], root: Path, recipe: Recipe) -> TrainingArrays:
    """The parts of data sets that a recipe names, `root` being the folder that holds the data sets.

    Raises:
        LeanSegError: no such data set or part, or one that does not fit the recipe's preprocessing.
    """
    labeled = recipe.fremae is None
    if recipe.brain is None:
        return load_arrays(select_cases(parts, root, recipe.data.classes), recipe.preprocessing, labeled)
    cases: list[BratsCase] = []
    for part in parts:
        name, _, which = part.partition(":")
        if name != "brats":
            raise LeanSegError(f"A recipe with a [brain] section reads parts of brats; got {part!r}.")
        cases += select(read_cases(root / BRATS_FOLDER), which)
    if recipe.patches is not None:
        return load_brain_volumes(cases, recipe.brain, recipe.patches.size_kji[0], labeled)
    return load_brain_slices(cases, recipe.brain, labeled)
