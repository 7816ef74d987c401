"""Models that see a brain in 3-D: they compute all of it, so nothing is decided, and what they cost is said first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from slicer.i18n import tr as _

if TYPE_CHECKING:
    from leanseg.prediction import Prediction
    from leanseg.weights.card import ModelCard

ENGINE = "sliding_window"
VOLUME = "volume"  # the only decision there is
BRAIN_MM = 140.0  # height of a brain, of which a window is a part


def isThorough(card: ModelCard | None) -> bool:
    return card is not None and card.engine == ENGINE


@dataclass(frozen=True)
class Undecided:
    """What takes the place of a config of decisions: every slice is computed, with all the others."""

    macs: int
    """Of a slice"""
    names: tuple[str, ...] = ("skip", VOLUME)
    regions: tuple[str, ...] = ("WT", "TC", "ET")
    decision_macs: int = 0

    def macs_of(self, decision: int, _sizeJi: tuple[int, int]) -> int:
        return self.macs if decision else 0


def undecided(prediction: Prediction) -> Undecided:
    """Of a brain that was computed whole."""
    return Undecided(round(1e9 * prediction.notes["gmacs"] / len(prediction.notes["slice_decisions"])))


def withSlices(prediction: Prediction) -> Prediction:
    """With what every slice cost, as models that decide tell it."""
    geometry = prediction.probabilities.geometry
    depth, height, width = geometry.shape
    middle = np.array([[(width - 1) / 2, (height - 1) / 2, k] for k in range(depth)])
    slices = [
        {"decision": VOLUME, "bits": (), "first": "", "gmacs": prediction.notes["gmacs"] / depth,
         "center_ras_mm": [round(float(mm), 3) for mm in center]}
        for center in geometry.ras_of(middle)
    ]  # fmt: skip
    return replace(prediction, notes={**prediction.notes, "slice_decisions": slices})


def windows(card: ModelCard) -> int:
    """How many cover a brain of usual height on the model grid."""
    from leanseg.inference.sliding_window import SlidingWindowConfig, window_boxes

    config = card.engine_config
    window = tuple(config["window_kji"])
    slices = round(BRAIN_MM / (card.preprocessing.get("spacing_k_mm") or 1.0))
    height, width = card.preprocessing["size_ji"]
    shape = tuple(max(n, side) for n, side in zip((slices, height, width), window, strict=True))
    return len(window_boxes(shape, SlidingWindowConfig(window, config["overlap"])))


def costText(card: ModelCard, secondsHere: float | None = None) -> str:
    """What a brain costs with a model that computes all of it; empty for one that decides.

    `secondsHere`: of a brain on this computer. Until that is known, the time is the one that the export of the model
    has measured, where it has; so is the memory.
    """
    if not isThorough(card):
        return ""
    count = windows(card)
    parts = [_("{gmacs:.0f} GMACs a brain").format(gmacs=count * card.gmacs)]
    measured = card.metrics.get("window", {})
    if secondsHere is not None:
        text = _("about {seconds:.0f} s on this computer") if secondsHere >= 1 else _("below 1 s on this computer")
        parts.append(text.format(seconds=secondsHere))
    elif "seconds" in measured:
        parts.append(_("about {seconds:.0f} s where it was made").format(seconds=count * measured["seconds"]))
    if "peak_mb" in measured:
        parts.append(_("{memory:.1f} GB of memory").format(memory=measured["peak_mb"] / 1000))
    return _("Thorough: all of the brain in 3-D; {cost}.").format(cost=", ".join(parts))
