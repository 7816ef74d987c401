"""Prediction: what an engine says, on the grid that the network saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from leanseg.volume import Volume


@dataclass(frozen=True, eq=False)
class Prediction:
    """Probabilities on the model grid."""

    probabilities: Volume
    """(label, k, j, i), float32 in [0, 1], in the order of the card's labels"""
    uncertainty: Volume
    """(1, k, j, i), float32 in [0, 1]; defined in `inference/uncertainty.py`"""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """Figures of this run as plain values: `gmacs`, `slices`, ..."""
