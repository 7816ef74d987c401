"""Every change of grid: Reorient, Resample, Crop, Pad. Each is recorded in a `GridTrace` and undone once.

Nothing else moves voxels on their way to a network (invariant 2 of ARCHITECTURE.md), so a mask always comes back to the
voxels it was computed from; images of other grids are first put on one by coregistration.py. Resampling is separable
and linear, with a wider kernel when it shrinks (no aliasing).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from leanseg.errors import IncompatibleInputError
from leanseg.volume import Volume, VolumeGeometry

Float32 = NDArray[np.float32]


class GridStep(Protocol):
    """One change of grid. `apply` and `undo` take and return volumes of any channel count."""

    def apply(self, volume: Volume) -> Volume: ...

    def undo(self, volume: Volume) -> Volume: ...


def moved_geometry(
    source: VolumeGeometry, shape: tuple[int, int, int], ijk_to_source_ijk: NDArray[np.float64]
) -> VolumeGeometry:
    """Geometry of a grid whose (i, j, k, 1) map to the source's (i, j, k, 1) by a 4 x 4 matrix."""
    return VolumeGeometry(shape, source.ijk_to_ras @ ijk_to_source_ijk, source.is_calibrated)


@dataclass(frozen=True)
class Reorient:
    """Permute and flip axes, without interpolation."""

    source: VolumeGeometry
    axes_kji: tuple[int, int, int]
    """Which source axis (0 = k, 1 = j, 2 = i) becomes the new k, j, i."""
    flips_kji: tuple[bool, bool, bool]
    """Which new axes run against their source axis."""

    @classmethod
    def to_ras(cls, source: VolumeGeometry) -> Reorient:
        """i, j, k run as nearly as possible towards right, anterior, superior."""
        direction = source.ijk_to_ras[:3, :3] / np.linalg.norm(source.ijk_to_ras[:3, :3], axis=0)
        axis_of: dict[int, int] = {}  # world axis (0 R, 1 A, 2 S) -> source ijk axis, best matches first
        for flat in np.argsort(-np.abs(direction), axis=None, kind="stable"):
            world, axis = (int(n) for n in np.unravel_index(flat, (3, 3)))
            if world not in axis_of and axis not in axis_of.values():
                axis_of[world] = axis
        i, j, k = (2 - axis_of[world] for world in range(3))
        sk, sj, si = (bool(direction[world, axis_of[world]] < 0) for world in (2, 1, 0))
        return cls(source, (k, j, i), (sk, sj, si))

    @property
    def target(self) -> VolumeGeometry:
        shape = tuple(self.source.shape[axis] for axis in self.axes_kji)
        matrix = np.zeros((4, 4))
        matrix[3, 3] = 1
        for new, (axis, flip) in enumerate(zip(self.axes_kji, self.flips_kji, strict=True)):
            matrix[2 - axis, 2 - new] = -1 if flip else 1
            matrix[2 - axis, 3] = self.source.shape[axis] - 1 if flip else 0
        return moved_geometry(self.source, (shape[0], shape[1], shape[2]), matrix)

    def _flipped(self, array: NDArray[np.generic]) -> NDArray[np.generic]:
        axes = tuple(1 + axis for axis, flip in enumerate(self.flips_kji) if flip)
        return np.flip(array, axes) if axes else array

    def apply(self, volume: Volume) -> Volume:
        array = self._flipped(volume.array.transpose(0, *(1 + axis for axis in self.axes_kji)))
        return Volume(np.ascontiguousarray(array), self.target)

    def undo(self, volume: Volume) -> Volume:
        inverse = np.argsort(self.axes_kji)
        array = self._flipped(volume.array).transpose(0, *(1 + int(axis) for axis in inverse))
        return Volume(np.ascontiguousarray(array), self.source)


@dataclass(frozen=True)
class Resample:
    """Linear resampling to another number of voxels over the same field of view."""

    source: VolumeGeometry
    shape_kji: tuple[int, int, int]

    @property
    def target(self) -> VolumeGeometry:
        matrix = np.eye(4)
        for new, (n_source, n) in enumerate(zip(self.source.shape, self.shape_kji, strict=True)):
            ratio = n_source / n
            matrix[2 - new, 2 - new] = ratio
            matrix[2 - new, 3] = (ratio - 1) / 2  # the outer faces stay, centers move
        return moved_geometry(self.source, self.shape_kji, matrix)

    def apply(self, volume: Volume) -> Volume:
        return Volume(_resample(volume.array, self.shape_kji), self.target)

    def undo(self, volume: Volume) -> Volume:
        return Volume(_resample(volume.array, self.source.shape), self.source)


@dataclass(frozen=True)
class Crop:
    """Keep a box. `undo` puts it back into a volume of zeros."""

    source: VolumeGeometry
    start_kji: tuple[int, int, int]
    shape_kji: tuple[int, int, int]

    def __post_init__(self) -> None:
        for start, n, whole in zip(self.start_kji, self.shape_kji, self.source.shape, strict=True):
            if start < 0 or n < 1 or start + n > whole:
                raise IncompatibleInputError(
                    f"The crop {self.start_kji} + {self.shape_kji} leaves the volume {self.source.shape}."
                )

    @property
    def target(self) -> VolumeGeometry:
        matrix = np.eye(4)
        matrix[:3, 3] = self.start_kji[::-1]
        return moved_geometry(self.source, self.shape_kji, matrix)

    @property
    def _box(self) -> tuple[slice, ...]:
        boxes = (slice(s, s + n) for s, n in zip(self.start_kji, self.shape_kji, strict=True))
        return (slice(None), *boxes)

    def apply(self, volume: Volume) -> Volume:
        return Volume(np.ascontiguousarray(volume.array[self._box]), self.target)

    def undo(self, volume: Volume) -> Volume:
        array = np.zeros((volume.array.shape[0], *self.source.shape), volume.array.dtype)
        array[self._box] = volume.array
        return Volume(array, self.source)


@dataclass(frozen=True)
class Pad:
    """Add a border of zeros. `undo` cuts it off."""

    source: VolumeGeometry
    before_kji: tuple[int, int, int]
    after_kji: tuple[int, int, int]

    @classmethod
    def centered(cls, source: VolumeGeometry, shape_kji: tuple[int, int, int]) -> Pad:
        """Pad to a shape, as evenly as possible on both sides.

        Raises:
            IncompatibleInputError: the volume is larger than the shape along some axis.
        """
        missing = [n - m for n, m in zip(shape_kji, source.shape, strict=True)]
        if min(missing) < 0:
            raise IncompatibleInputError(f"Cannot pad {source.shape} to the smaller shape {shape_kji}. Crop it first.")
        k, j, i = (n // 2 for n in missing)
        return cls(source, (k, j, i), (missing[0] - k, missing[1] - j, missing[2] - i))

    @property
    def _as_crop(self) -> Crop:
        shape = [b + n + a for b, n, a in zip(self.before_kji, self.source.shape, self.after_kji, strict=True)]
        matrix = np.eye(4)
        matrix[:3, 3] = [-n for n in self.before_kji[::-1]]
        padded = moved_geometry(self.source, (shape[0], shape[1], shape[2]), matrix)
        return Crop(padded, self.before_kji, self.source.shape)

    @property
    def target(self) -> VolumeGeometry:
        return self._as_crop.source

    def apply(self, volume: Volume) -> Volume:
        return self._as_crop.undo(volume)

    def undo(self, volume: Volume) -> Volume:
        return Volume(self._as_crop.apply(volume).array, self.source)


@dataclass
class GridTrace:
    """The steps that were applied, in order."""

    steps: list[GridStep] = field(default_factory=list)

    def record(self, step: GridStep, volume: Volume) -> Volume:
        """Apply a step and remember it."""
        self.steps.append(step)
        return step.apply(volume)

    def restore(self, volume: Volume) -> Volume:
        """Bring a volume from the last grid back to the first one."""
        for step in reversed(self.steps):
            volume = step.undo(volume)
        return volume


def _linear_weights(n_out: int, n_in: int) -> Float32:
    """(n_out, n_in): each output voxel as a weighted mean of input voxels; rows sum to 1.

    A triangle as wide as the larger of the two voxel sizes: linear interpolation when enlarging, and a
    low-pass filter when shrinking. Positions beyond the outer centers repeat the edge.
    """
    ratio = n_in / n_out
    centers = (np.arange(n_out) + 0.5) * ratio - 0.5
    if ratio <= 1:
        centers = np.clip(centers, 0, n_in - 1)
    weights = np.clip(1 - np.abs(np.arange(n_in) - centers[:, None]) / max(ratio, 1.0), 0, None)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


def _resample(array: NDArray[np.generic], shape_kji: tuple[int, int, int]) -> Float32:
    """(c, k, j, i) -> (c, *shape_kji), float32."""
    result = array.astype(np.float32, copy=False)
    if result.shape[3] != shape_kji[2]:
        result = result @ _linear_weights(shape_kji[2], result.shape[3]).T
    if result.shape[2] != shape_kji[1]:
        result = _linear_weights(shape_kji[1], result.shape[2]) @ result
    if result.shape[1] != shape_kji[0]:
        result = np.einsum("ok,ckji->coji", _linear_weights(shape_kji[0], result.shape[1]), result, optimize=True)
    return np.ascontiguousarray(result, dtype=np.float32)
