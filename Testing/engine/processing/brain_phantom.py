"""A brain of ellipsoids, drawn at any place and on any grid, so that every movement is known by hand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from leanseg.volume import Volume, VolumeGeometry

VALUES = {  # cerebrospinal fluid, gray matter, white matter, lesion, its rim
    "flair": (25, 130, 100, 220, 200),
    "t1ce": (40, 105, 150, 80, 240),
    "t1": (30, 110, 165, 80, 90),
    "t2": (230, 130, 90, 190, 170),
}
RADII_MM = np.array([65.0, 80.0, 55.0])
GRID = VolumeGeometry((50, 64, 56), np.diag([3.0, 3.0, 3.0, 1.0]))


def centered(shape: tuple[int, int, int], spacing_kji_mm: tuple[float, float, float]) -> VolumeGeometry:
    """A grid along RAS whose middle is that of `GRID`."""
    matrix = np.diag([*spacing_kji_mm[::-1], 1.0])
    middle = GRID.ras_of((np.array(GRID.shape[::-1]) - 1) / 2)
    matrix[:3, 3] = middle - (np.array(shape[::-1]) - 1) / 2 * spacing_kji_mm[::-1]
    return VolumeGeometry(shape, matrix)


def tissues(geometry: VolumeGeometry) -> NDArray[np.int64]:
    """(k, j, i): 0 outside, then 1 + the index in `VALUES`."""
    k, j, i = np.indices(geometry.shape)
    place = geometry.ras_of(np.stack([i, j, k], axis=-1)) - GRID.ras_of((np.array(GRID.shape[::-1]) - 1) / 2)
    x, y, z = np.moveaxis(place, -1, 0)
    folds = 0.05 * np.sin(x / 6) * np.cos(y / 7 + z / 9)
    r = np.linalg.norm(place / RADII_MM, axis=-1)
    found = np.where(r < 0.78 + folds, 3, np.where(r < 0.94 + folds / 2, 2, 1))
    for side in (-1, 1):
        found[((x - side * 14) / 7) ** 2 + ((y + 4) / 26) ** 2 + ((z - 6) / 9) ** 2 < 1] = 1
    lesion = np.sqrt((x - 32) ** 2 + (y - 20) ** 2 + (z - 12) ** 2)
    found[lesion < 17] = 5
    found[lesion < 12] = 4
    return np.where(r < 1, found, 0)


def brain(name: str, geometry: VolumeGeometry = GRID, seed: int = 0) -> Volume:
    """One sequence, (1, k, j, i) int16 with a little noise; 0 outside."""
    found = tissues(geometry)
    noise = np.random.default_rng(seed).normal(0, 4, geometry.shape)
    gray = np.array((0, *VALUES[name]))[found] + noise
    return Volume((np.maximum(gray, 1) * (found > 0)).astype(np.int16)[np.newaxis], geometry)


def brains(geometry: VolumeGeometry = GRID) -> dict[str, Volume]:
    return {name: brain(name, geometry, seed) for seed, name in enumerate(VALUES)}


def motion(
    degrees: float, axis: tuple[float, float, float], shift_mm: tuple[float, float, float]
) -> NDArray[np.float64]:
    """4 x 4: a turn about the middle of the brain (Rodrigues), then a shift."""
    x, y, z = np.array(axis) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.radians(degrees)
    result = np.eye(4)
    result[:3, :3] += np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    middle = GRID.ras_of((np.array(GRID.shape[::-1]) - 1) / 2)
    result[:3, 3] = middle + shift_mm - result[:3, :3] @ middle
    return result


def moved(volume: Volume, matrix: NDArray[np.float64]) -> Volume:
    """The same voxels elsewhere in the patient: what a movement between two sequences looks like."""
    return Volume(volume.array, VolumeGeometry(volume.geometry.shape, matrix @ volume.geometry.ijk_to_ras))
