"""Section [deployment] of a recipe: how a model that decides for each slice is exported."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DeploymentConfig:
    """How a model that decides for each slice is exported."""

    neighbor_mm: float = 0.0
    """Slices as near as this decide together."""
    skip_bias: float = 0.0
    """Above 0: skip only what is more certainly empty (inference/decisions.py)."""
    probe_mm: float = 0.0
    """Look at one slice in so many mm first where the decision network is not certain; needs `follow`."""
    follow: bool = False
    """Follow a tumor that leaves what was computed, beyond a crop or into skipped slices."""
    keep_fp32: bool = True
    """False: the fp32 graphs of what has INT8 graphs are measured and left out; the bundle is half as large."""
    windows: bool = False
    """Decide as published, for each window of 128 x 128 of a grid of 240 x 240 by itself, and follow nothing."""

    def __post_init__(self) -> None:
        if not self.neighbor_mm >= 0:
            raise ValueError(f"neighbor_mm must be 0 or more; got {self.neighbor_mm}.")
        if not self.probe_mm >= 0 or (self.probe_mm and not self.follow):
            raise ValueError(f"probe_mm must be 0 or more, and 0 unless follow is true; got {self.probe_mm}.")
        if self.windows and (self.neighbor_mm or self.skip_bias or self.follow):
            raise ValueError("with windows each decides alone: set neighbor_mm and skip_bias to 0 and follow to false.")
