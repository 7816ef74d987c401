"""Calibration, and whether uncertainty finds errors, over all pixels of a data set; histograms instead of pixels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

_BINS = 4096
_CALIBRATION_BINS = 15
Float32 = NDArray[np.float32]


def auroc(errors: NDArray[np.int64], correct: NDArray[np.int64]) -> float:
    """Probability that an error is more uncertain than a correct pixel, ties counting half.

    Args:
        errors, correct: (bin,) how many pixels have this uncertainty, bins ascending.

    Returns:
        nan where there are no errors, or nothing else.
    """
    if not errors.sum() or not correct.sum():
        return math.nan
    below = np.cumsum(correct) - correct
    return float((errors * (below + correct / 2)).sum() / (float(errors.sum()) * float(correct.sum())))


class PixelStatistics:
    """Grows picture by picture."""

    def __init__(self) -> None:
        self._pictures = 0
        self._histograms = {name: np.zeros((2, _BINS), np.int64) for name in ("vacuity", "entropy")}
        self._gap = np.zeros(_CALIBRATION_BINS)
        self._pixels = 0

    def add(self, probability: Float32, vacuity: Float32, truth: NDArray[np.bool_]) -> None:
        """A picture: probability of tumor, vacuity and truth, each (j, i), the first two from 0 to 1."""
        wrong = (probability > 0.5) != truth
        p = np.clip(probability.astype(np.float64), 1e-7, 1 - 1e-7)
        entropy = -(p * np.log2(p) + (1 - p) * np.log2(1 - p))
        for name, values in (("vacuity", vacuity), ("entropy", entropy)):
            bins = np.minimum((np.clip(values, 0, 1) * _BINS).astype(np.int64), _BINS - 1)
            for row, where in enumerate((wrong, ~wrong)):
                self._histograms[name][row] += np.bincount(bins[where], minlength=_BINS)
        bins = np.minimum((p * _CALIBRATION_BINS).astype(np.int64), _CALIBRATION_BINS - 1)
        self._gap += np.bincount(bins.ravel(), weights=(p - truth).ravel(), minlength=_CALIBRATION_BINS)
        self._pixels += truth.size
        self._pictures += 1

    def summary(self) -> dict[str, dict[str, Any]]:
        """`ece` as in `metrics.expected_calibration_error`, and for both kinds of uncertainty the AUROC of errors."""
        figures = {"ece": float(np.abs(self._gap).sum() / max(self._pixels, 1))}
        for name, (errors, correct) in self._histograms.items():
            figures[f"error_auroc_{name}"] = auroc(errors, correct)
        return {key: {"mean": value, "n": self._pictures} for key, value in figures.items() if not math.isnan(value)}
