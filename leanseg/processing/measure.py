"""Measurements of the lesions of one slice, as a radiologist takes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from leanseg.volume import VolumeGeometry

_ANGLES = np.deg2rad(np.arange(180))


@dataclass(frozen=True)
class LesionMeasurement:
    """Sizes of one lesion in one slice. Units are mm where the image states its spacing, else pixels."""

    slice: int
    """k, from 0"""
    component: int
    """From 1, the largest of its slice; pixels that touch at an edge or a corner belong together."""
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
) -> list[LesionMeasurement]:
    """Measure each 8-connected component of a (j, i) mask, largest first; of equal ones, the first along j, then i.

    Extents reach from outer pixel edge to outer pixel edge. `spacing_ji` is in `unit`.
    """
    if not mask.any():
        return []
    import SimpleITK as sitk  # here, so that importing leanseg stays fast

    components = sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)), True))
    # Components do not touch each other, so an edge of the mask is an edge of one of them.
    edge = mask & ~(_shifted(mask, 1, 0) & _shifted(mask, -1, 0) & _shifted(mask, 0, 1) & _shifted(mask, 0, -1))
    places, edges = np.argwhere(mask), np.argwhere(edge)
    of_place, of_edge = components[mask], components[edge]
    areas = np.bincount(of_place)[1:]
    measured = []
    for number, label in enumerate(np.argsort(-areas, kind="stable") + 1, start=1):
        extents = _Extents.of(places[of_place == label], edges[of_edge == label], spacing_ji)
        area = float(areas[label - 1] * spacing_ji[0] * spacing_ji[1])
        measured.append(LesionMeasurement(k, number, unit, area, extents.long, extents.short, extents.depth_to_width))
    return measured


def volume_ml(mask: NDArray[np.bool_], geometry: VolumeGeometry) -> float:
    """Volume of a (k, j, i) mask in ml, to 0.001."""
    voxel_mm3 = abs(float(np.linalg.det(geometry.ijk_to_ras[:3, :3])))
    return round(int(np.count_nonzero(mask)) * voxel_mm3 / 1000, 3)


class _Extents(NamedTuple):
    long: float
    short: float
    depth_to_width: float

    @classmethod
    def of(cls, places: NDArray[np.intp], edges: NDArray[np.intp], spacing_ji: tuple[float, float]) -> _Extents:
        """All pixels and edge pixels of one component, (n, 2) as j, i."""
        corners = [(edges + np.array([a, b])) * spacing_ji for a in (-0.5, 0.5) for b in (-0.5, 0.5)]
        y, x = np.concatenate(corners).T
        along = np.outer(np.cos(_ANGLES), x) + np.outer(np.sin(_ANGLES), y)
        extents = along.max(axis=1) - along.min(axis=1)
        longest = int(extents.argmax())
        depth, width = (np.ptp(places, axis=0) + 1) * spacing_ji
        return cls(float(extents[longest]), float(extents[(longest + 90) % 180]), float(depth / width))


def _shifted(mask: NDArray[np.bool_], dj: int, di: int) -> NDArray[np.bool_]:
    """The mask moved by one pixel, False coming in at the border."""
    padded = np.pad(mask, 1)
    height, width = mask.shape
    return padded[1 + dj : 1 + dj + height, 1 + di : 1 + di + width]
