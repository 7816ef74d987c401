"""Two ways to run the same task on one image: how large, how fast, and where they disagree."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from leanseg.errors import IncompatibleInputError
from leanseg.request import Progress, step
from leanseg.segmentation import Segmentation
from leanseg.volume import VolumeGeometry
from leanseg.weights.card import ModelCard

FIRST_ALONE, SECOND_ALONE, OTHER_LABEL = 1, 2, 3


class CardDice(NamedTuple):
    """Mean Dice of cases that a model was not trained on."""

    test: Literal["validation", "cross-validation"]
    """`validation`: of its own validation part. `cross-validation`: of models like it, where it has seen all cases."""
    region: str
    """`WT` of brains; empty where there is one label."""
    mean: float


@dataclass(frozen=True)
class Side:
    """One of the two that are compared."""

    model: str
    precision: str
    bytes: int
    """Of all files that run."""
    seconds: float
    """Median of a segmentation of this image on this machine, without reading it."""
    dice: CardDice | None
    """What the card says of this precision; None where it says nothing."""


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
        """Dice of the second less that of the first, where both cards hold one of the same kind."""
        first, second = self.first.dice, self.second.dice
        if first is None or second is None or first[:2] != second[:2]:
            return None
        return second.mean - first.mean


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


def card_dice(card: ModelCard, precision: str) -> CardDice | None:
    """What the card says of a precision; None where it says nothing."""
    for region in ("", "WT"):
        mean = _figure(card.metrics, "validation", precision, f"dice_{region}".rstrip("_"))
        if mean is not None:
            return CardDice("validation", region, mean)
    mean = _figure(card.metrics, "cross_validation", "dice_WT", "mean")
    if mean is None or card.metrics["cross_validation"].get("precision") != precision:
        return None
    return CardDice("cross-validation", "WT", mean)


def _figure(figures: Any, *keys: str) -> float | None:
    for key in keys:
        figures = figures.get(key) if isinstance(figures, dict) else None
    return float(figures) if isinstance(figures, (int, float)) else None


def _side(runner: Runner, seconds: list[float]) -> Side:
    card, precision = runner.card, runner.precision
    return Side(card.id, precision, card.bytes_of(precision), statistics.median(seconds), card_dice(card, precision))
