"""Choices made on the validation split, before the test split is looked at: temperature and postprocessing."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from leanseg.processing.postprocess import PostprocessingConfig, lesion_mask
from leanseg.processing.preprocess import PreprocessingConfig, preprocess
from leanseg.training.data.arrays import TrainingArrays
from leanseg.training.data.case import Case, read_pair

EMPTY_NORMALS_WANTED = 0.85


@dataclass(frozen=True)
class ValidationCase:
    """Probabilities and truth of one image, on the image's own grid."""

    probabilities: NDArray[np.float32]
    """(1, j, i)"""
    truth: NDArray[np.bool_]
    """(1, j, i)"""


def fit_temperature(network: nn.Module, arrays: TrainingArrays) -> float:
    """The temperature in 0.5 ... 4 with the smallest cross-entropy over all pixels (Guo et al., arXiv 1706.04599)."""
    logits, targets = _logits(network, arrays.images), arrays.targets.float()
    candidates = np.geomspace(0.5, 4.0, 61)
    losses = [float(F.binary_cross_entropy_with_logits(logits / t, targets)) for t in candidates]
    return round(float(candidates[int(np.argmin(losses))]), 4)


def _logits(network: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([network(part).float() for part in images.split(16)])


def predict_cases(
    network: nn.Module, cases: Iterable[Case], config: PreprocessingConfig, temperature: float
) -> list[ValidationCase]:
    """Run the network as the engine would: preprocess, predict, restore to the image's grid."""
    results = []
    for case in cases:
        image, mask = read_pair(case)
        model_input = preprocess(image, config)
        logits = _logits(network, torch.from_numpy(model_input.volume.array[:, 0])[np.newaxis])
        volume = model_input.volume.with_array(torch.sigmoid(logits / temperature).numpy())
        results.append(ValidationCase(model_input.trace.restore(volume).array[0], mask.array[0] > 0))
    return results


def choose_postprocessing(cases: Sequence[ValidationCase]) -> tuple[PostprocessingConfig, dict[str, float]]:
    """The setting with the best lesion Dice among those that leave enough normal images empty.

    Enough is 85 %, or the most that any setting reaches. Returns the setting and its figures.
    """
    scored = []
    for threshold, peak, area, largest in itertools.product(
        (0.4, 0.5, 0.6), (0.0, 0.7, 0.8, 0.9, 0.95), (0.0, 0.002, 0.005, 0.01), (False, True)
    ):
        config = PostprocessingConfig(threshold, peak, area, largest)
        dice, empty = [], []
        for case in cases:
            mask = lesion_mask(case.probabilities, config)
            if case.truth.any():
                dice.append(2 * float((mask & case.truth).sum()) / float(mask.sum() + case.truth.sum()))
            else:
                empty.append(not mask.any())
        figures = {"dice": float(np.mean(dice)), "normal_empty": float(np.mean(empty)) if empty else 1.0}
        scored.append((config, figures))
    enough = min(EMPTY_NORMALS_WANTED, max(figures["normal_empty"] for _, figures in scored))
    allowed = [item for item in scored if item[1]["normal_empty"] >= enough]
    return max(allowed, key=lambda item: item[1]["dice"])
