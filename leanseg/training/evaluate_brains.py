"""Figures of a model on brains with ground truth, through the same path as in use, on each case's own grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from leanseg.api import Model, segment
from leanseg.errors import LeanSegError
from leanseg.processing.brain import BrainPreprocessingConfig, preprocess_brain
from leanseg.report import Stopwatch
from leanseg.request import Progress, no_progress, step
from leanseg.segmentation import Segmentation
from leanseg.training.data.brats import REGIONS, BratsCase, read_regions, read_sequences
from leanseg.training.metrics import dice_of_masks
from leanseg.volume import Volume

SKIPPED = "skip"
THOROUGH = -1e6
"""A cost bias at which no output of a decision network matters."""


class BrainFigures(NamedTuple):
    rows: list[dict[str, Any]]
    """Of each case."""
    mean: dict[str, dict[str, float]]
    """`{name: {"mean": mean, "n": cases behind it}}`; nan with n = 0 where nothing is defined."""
    gmacs: float
    """Mean of a case, everything counted."""


def evaluate_brains(
    model: Model,
    cases: Sequence[BratsCase],
    watch: Stopwatch | None = None,
    progress: Progress = no_progress,
    sequences: Sequence[str] | None = None,
    cost_bias: float = 0.0,
) -> BrainFigures:
    """Dice of WT, TC and ET of each case (1 where truth and prediction are both empty, as BraTS counts), and decisions.

    `tumor_skipped` is the fraction of the slices with tumor that were skipped, `empty_skipped` that of the others.
    `sequences` restricts the cases to some of their images. `cost_bias` as of `api.segment`; `THOROUGH` runs the branch
    that does the most on every slice.

    Raises:
        LeanSegError: a model of something else, a case without truth, or none of these sequences.
    """
    if not isinstance(model.preprocessing, BrainPreprocessingConfig):
        raise LeanSegError(f"{model.card.id} is no model of brains; its inputs are {', '.join(model.card.inputs)}.")
    watch = watch or Stopwatch()
    rows = []
    for n, case in enumerate(cases):
        step(progress, n, len(cases), case.id)
        images = {k: v for k, v in read_sequences(case).items() if sequences is None or k in sequences}
        truth = read_regions(case)
        watch.begin_image()
        segmentation = segment(images, model, cost_bias=cost_bias)
        watch.image_done(segmentation.notes.get("slices", truth.geometry.shape[0]))
        on_model_grid = _on_model_grid(images, truth, model.preprocessing)
        rows.append({"id": case.id, "split": case.split, **_figures(segmentation, truth, on_model_grid)})
    step(progress, len(cases), len(cases), "done")
    numbers = [key for key, value in rows[0].items() if isinstance(value, float)] if rows else []
    mean = {key: _mean([row[key] for row in rows]) for key in numbers}
    return BrainFigures(rows, mean, mean["gmacs"]["mean"] if rows else math.nan)


def _on_model_grid(images: dict[str, Volume], truth: Volume, config: BrainPreprocessingConfig) -> NDArray[np.bool_]:
    """(slice,) whether there is tumor, in the slices that the model saw."""
    for change in preprocess_brain(images, config).trace.steps:
        truth = change.apply(truth)
    return np.asarray((truth.array[0] >= 0.5).any(axis=(1, 2)))


def _figures(segmentation: Segmentation, truth: Volume, has_tumor: NDArray[np.bool_]) -> dict[str, Any]:
    masks = zip(REGIONS, segmentation.nested_masks(), truth.array, strict=True)
    dice = {
        f"dice_{name}": float(dice_of_masks(torch.from_numpy(mask)[None], torch.from_numpy(region > 0)[None]))
        for name, mask, region in masks
    }
    notes = segmentation.notes
    figures = {**dice, "dice": float(np.mean(list(dice.values()))), "gmacs": float(notes["gmacs"])}
    if "slice_decisions" not in notes:  # a network that does the same with every slice or window
        return figures
    skipped = np.array([one["decision"] == SKIPPED for one in notes["slice_decisions"]])
    return {
        **figures,
        "tumor_skipped": float(skipped[has_tumor].mean()) if has_tumor.any() else math.nan,
        "empty_skipped": float(skipped[~has_tumor].mean()) if (~has_tumor).any() else math.nan,
        "bit_weighted_gmacs": float(notes["bit_weighted_gmacs"]),
        "decisions": notes["decisions"],
    }


def _mean(numbers: list[float]) -> dict[str, float]:
    defined = [number for number in numbers if not math.isnan(number)]
    return {"mean": math.fsum(defined) / len(defined) if defined else math.nan, "n": len(defined)}
