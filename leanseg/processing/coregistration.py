"""All sequences of a patient on one voxel grid, that of a reference: resampled there, or moved rigidly first.

Values are interpolated linearly. In images without negative values the background (0) is kept out of the
interpolation: inside the brain's rim a value is the mean of brain voxels only, and outside it stays 0, because
`brain.preprocess_brain` takes everything above 0 for brain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from leanseg.errors import IncompatibleInputError, UnknownNameError
from leanseg.processing.brain import MAX_OFFSET, check_sequences
from leanseg.processing.grid import Resample
from leanseg.processing.rigid_registration import NotRegistered, as_image, frame_of, register
from leanseg.request import Alignment, Progress, no_progress, step
from leanseg.volume import Volume, VolumeGeometry

MIN_OVERLAP = 0.2
"""Of the reference's voxels above 0; with less in common, two images are refused."""
_FULL_OVERLAP = 0.9  # with less, a person should know
_SAME_PLACE = 0.5  # mm at the brain's center, and degrees: smaller corrections are within the method's error
_FAR_MM, _FAR_DEGREES = 30.0, 20.0  # patients rarely move that much between sequences
_MAX_POINTS = 100_000

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Movement:
    """How a sequence was moved to fit the reference."""

    mm: float
    """Of the center of what is above 0 in the reference."""
    degrees: float
    """About the axis of the rotation."""


@dataclass(frozen=True)
class Aligned:
    """What `align_sequences` gives."""

    sequences: dict[str, Volume]
    """All on the grid of the reference; the reference itself, and what needed no change, as they came."""
    movements: dict[str, Movement]
    """Of the sequences that were moved rigidly."""
    notes: list[str]
    """One line each for a person: what was resampled, moved, or left as it was, and what covers only a part."""


def align_sequences(
    sequences: Mapping[str, Volume], reference: str, method: Alignment = "resample", progress: Progress = no_progress
) -> Aligned:
    """Bring all sequences to the grid of one of them.

    Args:
        sequences: (1, k, j, i) each, in mm; any grids.
        reference: its name; it is not changed.
        method: see `ALIGNMENTS`. A rigid registration that finds nothing better than the headers changes nothing.

    Raises:
        UnknownNameError: no such reference.
        IncompatibleInputError: color, NaN, no voxel size, or less than `MIN_OVERLAP` in common with the reference.
        InferenceCancelled: `progress` returned False.
    """
    if reference not in sequences:
        raise UnknownNameError("sequence", reference, sequences)
    for name, volume in sequences.items():
        check_sequences({name: volume}, (name,))
    aligned, movements, notes = dict(sequences), {}, []
    others = [name for name in sequences if name != reference]
    for done, name in enumerate(others):
        what = f"{name} to {reference}"
        step(progress, done, len(others), what)
        placement = _Placement(name, sequences[name], reference, sequences[reference])
        if method == "rigid":
            placement.correct(partial(step, progress, done, len(others), what))
        aligned[name] = placement.on_reference()
        notes += placement.notes
        if placement.movement is not None:
            movements[name] = placement.movement
    return Aligned(aligned, movements, notes)


class _Placement:
    """Where a sequence lies in the space of the reference."""

    def __init__(self, name: str, volume: Volume, reference_name: str, reference: Volume) -> None:
        self.name, self.volume, self.reference_name, self.reference = name, volume, reference_name, reference
        self.to_moving: Matrix = np.eye(4)
        """RAS of the reference -> RAS of the sequence"""
        self.movement: Movement | None = None
        self.notes: list[str] = []
        self._points = foreground_points(reference)

    def correct(self, check_cancelled: Callable[[], None]) -> None:
        """Register rigidly; small corrections and failures leave everything as it is."""
        try:
            found = register(self.reference, self.volume, check_cancelled)
        except NotRegistered as reason:
            self.notes.append(f"{self.name} was not moved: {reason}. It lies where its header puts it.")
            return
        movement = movement_of(found, self._points.mean(axis=0))
        if max(movement.mm, movement.degrees) < _SAME_PLACE:
            return
        self.to_moving, self.movement = found, movement
        far = movement.mm > _FAR_MM or movement.degrees > _FAR_DEGREES
        self.notes.append(
            f"{self.name} was moved {movement.mm:.1f} mm and turned {movement.degrees:.1f} degrees to fit "
            f"{self.reference_name}.{' That is far: look whether it fits.' if far else ''}"
        )

    def on_reference(self) -> Volume:
        """The sequence on the reference's grid; the same object where nothing changes."""
        grid, own = self.reference.geometry, self.volume.geometry
        if self.movement is None and own.is_close_to(grid, MAX_OFFSET * min(grid.spacing_kji_mm)):
            return self.volume
        self._check_overlap()
        if self.movement is None:
            self.notes.append(
                f"{self.name} was resampled from {_grid(own)} to the {_grid(grid)} of {self.reference_name}."
            )
        return resample_to(self.volume, grid, self.to_moving)

    def _check_overlap(self) -> None:
        share = overlap(self._points, self.volume.geometry, self.to_moving)
        if share < MIN_OVERLAP:
            raise IncompatibleInputError(
                f"{self.name} covers {_percent(share)} of what {self.reference_name} shows; at least "
                f"{_percent(MIN_OVERLAP)} are needed. Choose images of one patient and place, or align them rigidly."
            )
        if share < _FULL_OVERLAP:
            self.notes.append(f"{self.name} covers only {_percent(share)} of what {self.reference_name} shows.")


def foreground_points(volume: Volume) -> Matrix:
    """(n, 3) mm RAS: at most 100 000 voxel centers, evenly spread over what is above 0, or over all if nothing is."""
    inside = np.flatnonzero(volume.array[0] > 0)
    if not inside.size:
        inside = np.arange(volume.array[0].size)
    inside = inside[:: 1 + inside.size // _MAX_POINTS]
    k, j, i = np.unravel_index(inside, volume.geometry.shape)
    return volume.geometry.ras_of(np.stack([i, j, k], axis=-1))


def overlap(points_ras_mm: Matrix, geometry: VolumeGeometry, to_moving: Matrix) -> float:
    """Share of the points (n, 3) that lie within the voxels of a grid, after a 4 x 4 movement."""
    matrix = np.linalg.inv(geometry.ijk_to_ras) @ to_moving
    ijk = points_ras_mm @ matrix[:3, :3].T + matrix[:3, 3]
    size = np.array(geometry.shape[::-1])
    return float(np.all((ijk >= -0.5) & (ijk <= size - 0.5), axis=1).mean())


def movement_of(to_moving: Matrix, center_ras_mm: Matrix) -> Movement:
    """Length of the way of the center, and angle of the rotation (from its trace)."""
    way = to_moving[:3, :3] @ center_ras_mm + to_moving[:3, 3] - center_ras_mm
    cosine = np.clip((np.trace(to_moving[:3, :3]) - 1) / 2, -1, 1)
    return Movement(float(np.linalg.norm(way)), float(np.degrees(np.arccos(cosine))))


def resample_to(volume: Volume, grid: VolumeGeometry, to_moving: Matrix) -> Volume:
    """A gray volume on another grid, float32; 0 where it has no voxels.

    Args:
        to_moving: 4 x 4, RAS of the grid -> RAS of the volume.
    """
    import SimpleITK as sitk  # here, so that importing leanseg stays fast

    volume = _as_coarse_as(grid, volume, to_moving)
    transform = sitk.AffineTransform(to_moving[:3, :3].ravel().tolist(), to_moving[:3, 3].tolist())
    origin, spacing, direction = frame_of(grid)

    def moved(array: NDArray[np.float32]) -> NDArray[np.float32]:
        image = as_image(array, volume.geometry)
        size = grid.shape[::-1]
        image = sitk.Resample(image, size, transform, sitk.sitkLinear, origin, spacing, direction, 0.0)
        return np.asarray(sitk.GetArrayFromImage(image))

    values = moved(volume.array[0])
    if volume.array.shape[0] > 1:
        weights = moved(volume.array[1])
        values = np.divide(values, weights, out=np.zeros_like(values), where=weights >= 0.5)
    return Volume(values[np.newaxis], grid)


def _as_coarse_as(grid: VolumeGeometry, volume: Volume, to_moving: Matrix) -> Volume:
    """Values, and unless there are negative ones their mask; with a low-pass along axes much finer than the grid's."""
    values = volume.array[0].astype(np.float32)
    channels = [values] if values.min() < 0 else [values, (values > 0).astype(np.float32)]
    volume = Volume(np.stack(channels), volume.geometry)
    axes = volume.geometry.ijk_to_ras[:3, :3]
    own = np.linalg.norm(axes, axis=0)
    # Extent of one voxel of the grid along each axis of the volume.
    wide = np.abs((axes / own).T @ to_moving[:3, :3] @ grid.ijk_to_ras[:3, :3]).max(axis=1)
    i, j, k = (
        max(1, round(n * a / b)) if b > 1.5 * a else n
        for n, a, b in zip(volume.geometry.shape[::-1], own, wide, strict=True)
    )
    return volume if (k, j, i) == volume.geometry.shape else Resample(volume.geometry, (k, j, i)).apply(volume)


def _grid(geometry: VolumeGeometry) -> str:
    size, mm = geometry.shape[::-1], geometry.spacing_kji_mm[::-1]
    return f"{' x '.join(map(str, size))} voxels of {' x '.join(f'{side:.3g}' for side in mm)} mm"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 or share == 0 else "less than 1 %"
