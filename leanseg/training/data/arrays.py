"""Cases as tensors: all of a split in memory, on the model grid."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from leanseg.errors import LeanSegError
from leanseg.processing.preprocess import PreprocessingConfig, preprocess
from leanseg.training.data.case import LESION_CLASSES, Case, read_pair


@dataclass(frozen=True)
class TrainingArrays:
    """All cases of a split in memory, on the model grid."""

    images: Tensor
    """(case, 1, height, width), float32 in [0, 1]"""
    targets: Tensor
    """(case, 1, height, width), uint8"""
    classes: Tensor
    """(case,), index into `LESION_CLASSES`"""
    ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)


def load_arrays(cases: Iterable[Case], config: PreprocessingConfig) -> TrainingArrays:
    """Preprocess every case as in use; the mask follows the image's own grid trace."""
    images, targets, classes, ids = [], [], [], []
    for case in cases:
        image, mask = read_pair(case)
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
    return TrainingArrays(torch.stack(images), torch.stack(targets), torch.tensor(classes), tuple(ids))
