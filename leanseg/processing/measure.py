"""Measurements of a lesion's mask in one slice, as a radiologist takes them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ANGLES = np.deg2rad(np.arange(180))


@dataclass(frozen=True)
class LesionMeasurement:
    """Sizes of all foreground of one slice. Units are mm where the image states its spacing, else pixels."""

    slice: int
    """k, from 0"""
    unit: str
    """`mm` or `px`"""
    area: float
    """unit^2"""
    long_axis: float
    """Largest extent in any direction (to 1 degree)."""
    short_axis: float
    """Extent across the long axis."""
    depth_width_ratio: float
    """Extent along j (away from the transducer) over extent along i; above 1 is "taller than wide"."""


def measure_slice(
    mask: NDArray[np.bool_], spacing_ji: tuple[float, float], k: int = 0, unit: str = "mm"
) -> LesionMeasurement | None:
    """Measure a (j, i) mask; None where it is empty. Extents reach from outer pixel edge to outer pixel edge."""
    j, i = np.nonzero(mask)
    if j.size == 0:
        return None
    dj, di = spacing_ji
    edge = mask & ~(_shifted(mask, 1, 0) & _shifted(mask, -1, 0) & _shifted(mask, 0, 1) & _shifted(mask, 0, -1))
    edge_j, edge_i = np.nonzero(edge)
    corners = [((edge_j + a) * dj, (edge_i + b) * di) for a in (-0.5, 0.5) for b in (-0.5, 0.5)]
    y, x = (np.concatenate(parts) for parts in zip(*corners, strict=True))
    along = np.outer(np.cos(_ANGLES), x) + np.outer(np.sin(_ANGLES), y)
    extents = along.max(axis=1) - along.min(axis=1)
    longest = int(extents.argmax())
    return LesionMeasurement(
        slice=k,
        unit=unit,
        area=float(j.size * dj * di),
        long_axis=float(extents[longest]),
        short_axis=float(extents[(longest + 90) % 180]),
        depth_width_ratio=float((np.ptp(j) + 1) * dj / ((np.ptp(i) + 1) * di)),
    )


def _shifted(mask: NDArray[np.bool_], dj: int, di: int) -> NDArray[np.bool_]:
    """The mask moved by one pixel, False coming in at the border."""
    padded = np.pad(mask, 1)
    height, width = mask.shape
    return padded[1 + dj : 1 + dj + height, 1 + di : 1 + di + width]
