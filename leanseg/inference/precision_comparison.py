"""Two ways to run the same task on one image: how large, how fast, and where they disagree."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leanseg.errors import IncompatibleInputError
from leanseg.request import Progress, step
from leanseg.segmentation import Segmentation
from leanseg.volume import VolumeGeometry
from leanseg.weights.card import ModelCard

FIRST_ALONE, SECOND_ALONE, OTHER_LABEL = 1, 2, 3


@dataclass(frozen=True)
class Side:
    """One of the two that are compared."""

    model: str
    precision: str
    bytes: int
    """Of all files that run."""
    seconds: float
    """Median of a segmentation of this image on this machine, without reading it."""
    validation_dice: float | None
    """On the validation split, from the card; None where it holds none."""


@dataclass(frozen=True, eq=False)
class PrecisionComparison:
    """What changes from the first to the second."""

    first: Side
    second: Side
    disagreement: NDArray[np.uint8]
    """(k, j, i): 0 the same, `FIRST_ALONE` or `SECOND_ALONE` has a label there, `OTHER_LABEL` both, but another."""
    difference: NDArray[np.float32]
    """(label, k, j, i): probabilities of the second less those of the first."""
    geometry: VolumeGeometry

    @property
    def dice_change(self) -> float | None:
        """Validation Dice of the second less that of the first, where both cards hold one."""
        if self.first.validation_dice is None or self.second.validation_dice is None:
            return None
        return self.second.validation_dice - self.first.validation_dice


@dataclass(frozen=True)
class Runner:
    """A model that is loaded, and what runs it on the image."""

    card: ModelCard
    precision: str
    segment: Callable[[], Segmentation]


def compare(first: Runner, second: Runner, repeats: int, progress: Progress) -> PrecisionComparison:
    """Run both in turn, so that what else the machine does meets both alike; a first run of each does not count.

    Raises:
        IncompatibleInputError: other labels.
        InferenceCancelled: `progress` returned False.
    """
    if first.card.labels != second.card.labels:
        raise IncompatibleInputError(
            f"{first.card.id} and {second.card.id} outline other things. Compare two models with the same labels."
        )
    seconds: tuple[list[float], list[float]] = ([], [])
    results: list[Segmentation] = []
    for n in range(repeats + 1):
        results = []
        for runner, times in zip((first, second), seconds, strict=True):
            step(progress, 2 * n + len(results), 2 * repeats + 2, f"{runner.card.id} {runner.precision}")
            started = time.perf_counter()
            results.append(runner.segment())
            times.append(time.perf_counter() - started)
    one, other = results
    return PrecisionComparison(
        _side(first, seconds[0][1:]),
        _side(second, seconds[1][1:]),
        disagreement(one.labelmap, other.labelmap),
        np.subtract(other.probabilities.array, one.probabilities.array, dtype=np.float32),
        one.geometry,
    )


def disagreement(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Where two labelmaps (k, j, i) differ, and how; see `PrecisionComparison.disagreement`."""
    kinds = [(first > 0) & (second == 0), (first == 0) & (second > 0), first != second]
    return np.select(kinds, [FIRST_ALONE, SECOND_ALONE, OTHER_LABEL], default=0).astype(np.uint8)


def validation_dice(card: ModelCard, precision: str) -> float | None:
    """What the card says; None where it does not."""
    figures: Any = card.metrics.get("validation", {})
    for key in (precision, "dice"):
        figures = figures.get(key) if isinstance(figures, dict) else None
    return float(figures) if isinstance(figures, (int, float)) else None


def _side(runner: Runner, seconds: list[float]) -> Side:
    card, precision = runner.card, runner.precision
    return Side(
        card.id, precision, card.bytes_of(precision), statistics.median(seconds), validation_dice(card, precision)
    )
