"""Choices made before the test split is looked at: temperature and postprocessing on the validation split, ranges of
activations on training images."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from leanseg.errors import LeanSegError
from leanseg.losses.regions import classes_of_regions
from leanseg.processing.postprocess import PostprocessingConfig, lesion_mask
from leanseg.processing.preprocess import PreprocessingConfig, preprocess
from leanseg.quantization.layers import Network, quantized_layers
from leanseg.training.data.arrays import TrainingArrays
from leanseg.training.data.case import Case, read_pair
from leanseg.training.metrics import dice_of_masks

EMPTY_NORMALS_WANTED = 0.85
EQUAL_DICE = 0.01
TEMPERATURE_SLICES = 96
Float32 = NDArray[np.float32]
Predictor = Callable[[Float32], Float32]
"""(1, channel, height, width) image on the model grid -> (1, label, height, width) probabilities"""


@dataclass(frozen=True)
class PredictedCase:
    """Probabilities and truth of one image, on the image's own grid."""

    probabilities: Float32
    """(1, j, i)"""
    truth: NDArray[np.bool_]
    """(1, j, i)"""


def fit_temperature(network: nn.Module, arrays: TrainingArrays) -> float:
    """The temperature in 0.5 ... 4 with the smallest cross-entropy over all pixels (Guo et al., arXiv 1706.04599)."""
    logits, targets = _logits(network, arrays.images), arrays.targets.float()
    return _best_temperature(lambda t: float(F.binary_cross_entropy_with_logits(logits / t, targets)))


def fit_class_temperature(network: nn.Module, arrays: TrainingArrays) -> float:
    """Likewise for four exclusive classes, on at most `TEMPERATURE_SLICES` slices with tumor, evenly spread."""
    candidates = arrays.classes.nonzero().flatten() if arrays.classes.any() else torch.arange(len(arrays))
    chosen = candidates[torch.linspace(0, len(candidates) - 1, TEMPERATURE_SLICES).round().long().unique()]
    logits = _logits(network, arrays.images[chosen].float())
    classes = classes_of_regions(arrays.targets[chosen].float()).argmax(dim=1)
    return _best_temperature(lambda t: float(F.cross_entropy(logits / t, classes)))


def _best_temperature(loss_at: Callable[[float], float]) -> float:
    candidates = np.geomspace(0.5, 4.0, 61)
    return round(float(candidates[int(np.argmin([loss_at(float(t)) for t in candidates]))]), 4)


def _logits(network: nn.Module, images: Tensor, batch_size: int = 16) -> Tensor:
    with torch.no_grad():
        return torch.cat([network(part.float()).float() for part in images.split(batch_size)])


def probabilities_of(network: nn.Module, temperature: float) -> Predictor:
    """The network as `predict_cases` wants it."""

    def predict(image: Float32) -> Float32:
        return np.asarray(torch.sigmoid(_logits(network, torch.from_numpy(image)) / temperature).numpy())

    return predict


def calibrate_inputs_(network: Network, images: Tensor, batch_size: int = 4) -> Network:
    """Let the quantizers of inputs read their ranges from images (case, channel, height, width), and nothing else."""
    network.eval()
    for _, layer in quantized_layers(network):
        layer.inputs.train()
    _logits(network, images, batch_size)
    return network.eval()


def predict_cases(predict: Predictor, cases: Iterable[Case], config: PreprocessingConfig) -> list[PredictedCase]:
    """Run a predictor as the engine would: preprocess, predict, restore to the image's grid."""
    results = []
    for case in cases:
        image, mask = read_pair(case)
        model_input = preprocess(image, config)
        image_array = model_input.volume.array[:, 0].astype(np.float32, copy=False)
        volume = model_input.volume.with_array(predict(image_array[np.newaxis]))
        results.append(PredictedCase(model_input.trace.restore(volume).array[0], mask.array[0] > 0))
    return results


def figures_of(cases: Sequence[PredictedCase], config: PostprocessingConfig) -> dict[str, float]:
    """Mean Dice over the images with a lesion, and the fraction of normal images left empty (absent if there are none).

    Raises:
        LeanSegError: no image has a lesion.
    """
    predicted = [torch.from_numpy(lesion_mask(case.probabilities, config)) for case in cases]
    truths = [torch.from_numpy(case.truth) for case in cases]
    dice = [float(dice_of_masks(p, t)) for p, t in zip(predicted, truths, strict=True)]
    lesions = [d for d, t in zip(dice, truths, strict=True) if t.any()]
    normals = [d for d, t in zip(dice, truths, strict=True) if not t.any()]
    if not lesions:
        raise LeanSegError("No image has a lesion, so nothing can be calibrated. Check the recipe's data.val.")
    figures = {"dice": float(np.mean(lesions))}
    return figures | ({"normal_empty": float(np.mean(normals))} if normals else {})


def choose_postprocessing(cases: Sequence[PredictedCase]) -> PostprocessingConfig:
    """The setting that does least among those with the best lesion Dice that leave enough normal images empty.

    Enough is 85 %, or the most that any setting reaches; without normal images only Dice counts. Up to a point below
    the best Dice counts as equal: the best of 120 settings on 80 images is mostly the luckiest.
    """
    candidates = [
        PostprocessingConfig(*values)
        for values in itertools.product(
            (0.5, 0.4, 0.6), (0.0, 0.7, 0.8, 0.9, 0.95), (0.0, 0.002, 0.005, 0.01), (False, True)
        )
    ]
    scored = [(config, figures_of(cases, config)) for config in candidates]
    enough = min(EMPTY_NORMALS_WANTED, max(figures.get("normal_empty", 1.0) for _, figures in scored))
    allowed = [item for item in scored if item[1].get("normal_empty", 1.0) >= enough]
    best = max(figures["dice"] for _, figures in allowed)
    return next(config for config, figures in allowed if figures["dice"] >= best - EQUAL_DICE)
