"""Volume and VolumeGeometry: voxels, and where they lie in the patient."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from leanseg.errors import IncompatibleInputError

MAX_VALUES = 100_000_000
"""Channels x voxels that are read or processed at once; a limit on memory (0.4 GB for each float32 copy)."""
OPPOSITE = {"R": "L", "L": "R", "A": "P", "P": "A", "S": "I", "I": "S"}
"""Directions of the patient, by the letters of RAS and LPS."""


@dataclass(frozen=True, eq=False)
class VolumeGeometry:
    """A voxel grid in the patient. A 2-D image is a grid of depth 1."""

    shape: tuple[int, int, int]
    """(depth k, height j, width i), voxels"""
    ijk_to_ras: NDArray[np.float64] = field(default_factory=lambda: np.eye(4))
    """4 x 4; (i, j, k, 1) of a voxel center -> mm, RAS"""
    is_calibrated: bool = True
    """False where the file states no spacing (a PNG): lengths are then in pixels."""

    def __post_init__(self) -> None:
        matrix = np.asarray(self.ijk_to_ras, dtype=np.float64)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
            raise IncompatibleInputError(f"ijk_to_ras must be a finite 4 x 4 matrix; got {matrix.tolist()}.")
        lengths = np.linalg.norm(matrix[:3, :3], axis=0)
        # Relative to the spacing: voxels of 0.1 um (microscopy) have a determinant of 1e-12 and are sound.
        if lengths.min() == 0 or abs(np.linalg.det(matrix[:3, :3] / lengths)) < 1e-6:
            raise IncompatibleInputError("The axes of the image are degenerate (zero spacing). Repair its header.")
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise IncompatibleInputError(f"A volume needs at least one voxel along k, j and i; got {self.shape}.")
        object.__setattr__(self, "ijk_to_ras", matrix)
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))

    @property
    def spacing_kji_mm(self) -> tuple[float, float, float]:
        k, j, i = (float(np.linalg.norm(self.ijk_to_ras[:3, axis])) for axis in (2, 1, 0))
        return k, j, i

    def ras_of(self, points_ijk: NDArray[np.floating]) -> NDArray[np.float64]:
        """Voxel coordinates (..., 3) in the order i, j, k -> mm, RAS (..., 3)."""
        points = np.asarray(points_ijk, dtype=np.float64)
        return np.asarray(points @ self.ijk_to_ras[:3, :3].T + self.ijk_to_ras[:3, 3])

    def is_close_to(self, other: VolumeGeometry, tolerance_mm: float = 1e-4) -> bool:
        """Same shape, and no corner further apart than the tolerance."""
        if self.shape != other.shape:
            return False
        k, j, i = self.shape
        corners = np.array([(x, y, z) for x in (0, i - 1) for y in (0, j - 1) for z in (0, k - 1)])
        return bool(np.abs(self.ras_of(corners) - other.ras_of(corners)).max() <= tolerance_mm)


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels with their geometry."""

    array: NDArray[np.generic]
    """(channel, depth k, height j, width i)"""
    geometry: VolumeGeometry

    def __post_init__(self) -> None:
        if self.array.ndim != 4 or self.array.shape[1:] != self.geometry.shape:
            raise IncompatibleInputError(
                f"A volume's array is (channel, k, j, i) on its geometry {self.geometry.shape}; got {self.array.shape}."
            )

    def with_array(self, array: NDArray[np.generic]) -> Volume:
        """Other voxels on the same grid."""
        return replace(self, array=array)
