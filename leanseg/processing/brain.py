"""From four MRI sequences of a brain to what a network sees; the same code in training and in use.

Normalization of the BraTS systems: the brain is where any sequence is above 0 (their code says: where the sum is, which
is the same for images without negative values); each sequence becomes a z-score inside it, and stays 0 outside. The
standard deviation is that of the population (inferred).

The model grid is this project's own: axial slices along k, i towards the right and j towards the front, in-plane about
1 mm, the box around the brain in the middle. The slices that hold no brain are left away; `restore` brings them back
as background.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leanseg.errors import IncompatibleInputError, UnknownNameError
from leanseg.processing.grid import Crop, GridStep, GridTrace, Pad, Reorient, Resample
from leanseg.processing.preprocess import ModelInput
from leanseg.volume import MAX_VALUES, Volume, VolumeGeometry

SEQUENCES = ("flair", "t1ce", "t1", "t2")
"""In the channel order of the BraTS systems. T1ce is T1 with contrast agent."""
MAX_BRAIN_ML = 2200
"""A human brain has 1000 to 1800 ml. Where more is above 0, the skull is probably still there."""
MIN_BRAIN_MM = 16
MAX_HEAD_MM = 320
MAX_OFFSET = 0.1
"""Of the smallest voxel side: headers round, so grids that differ by less are the same."""


@dataclass(frozen=True)
class BrainPreprocessingConfig:
    """Values of the card's `preprocessing` section, for four-sequence brains."""

    sequences: tuple[str, ...] = SEQUENCES
    """The channels, in order."""
    size_ji: tuple[int, int] = (192, 160)
    """Height and width that the network sees. A brain that is larger is scaled down until it fits."""
    spacing_ji_mm: tuple[float, float] = (1.0, 1.0)
    """Of the model grid, to within half a voxel over the whole brain."""
    spacing_k_mm: float | None = None
    """Distance of slices for a 3-D network; None keeps the slices as they are."""

    def __post_init__(self) -> None:
        if not self.sequences or len(set(self.sequences)) < len(self.sequences):
            raise ValueError(f"sequences must be named, each once; got {self.sequences}.")
        for name in self.sequences:
            if name not in SEQUENCES:
                raise ValueError(f"sequences are {', '.join(SEQUENCES)}; got {name!r}.")
        spacings = (*self.spacing_ji_mm, 1.0 if self.spacing_k_mm is None else self.spacing_k_mm)
        if min(self.size_ji) < 1 or not all(0 < mm < 100 for mm in spacings):
            raise ValueError(f"sizes and spacings must be positive; got {self}.")


@dataclass(frozen=True)
class BrainInput(ModelInput):
    """A `ModelInput` with one channel a sequence."""

    presence: tuple[bool, ...] = ()
    """Of each channel: False where the sequence is missing or constant, and the channel therefore 0."""
    brain_ml: float = 0.0
    """Volume of the brain mask."""

    @property
    def looks_skull_stripped(self) -> bool:
        return self.brain_ml <= MAX_BRAIN_ML


def preprocess_brain(sequences: Mapping[str, Volume], config: BrainPreprocessingConfig) -> BrainInput:
    """Any non-empty subset of the sequences, all on one grid -> z-scores on the model grid.

    A missing sequence is a channel of zeros, and so is one that is constant in the brain.

    Raises:
        UnknownNameError: a sequence that the model does not take.
        IncompatibleInputError: no sequence, different grids, color, NaN, the same image twice, no contrast, or a brain
            of impossible size.
    """
    check_sequences(sequences, config.sequences)
    given = {name: sequences[name] for name in config.sequences if name in sequences}
    given = {name: v for name, v in given.items() if v.array.min() != v.array.max()}
    if not given:
        raise IncompatibleInputError(f"{_list(sequences)}: every value is the same. Choose images with contrast.")
    geometry = next(iter(given.values())).geometry
    mask = brain_mask(given.values())
    trace, grid = _way_to_the_model_grid(bounding_box(mask, geometry), config)
    cropped = trace.steps[0].apply(Volume(mask[np.newaxis], geometry))
    brain = _Brain(trace.steps, cropped.array[0], _apply(trace.steps[1:], cropped).array[0])
    channels = np.zeros((len(config.sequences), *grid.shape), np.float32)
    presence = [
        name in given and brain.write_zscore(given[name], channel)
        for channel, name in zip(channels, config.sequences, strict=True)
    ]
    if not any(presence):
        raise IncompatibleInputError(f"{_list(given)}: constant where above 0, like a mask. Choose gray images.")
    voxel_ml = abs(float(np.linalg.det(geometry.ijk_to_ras[:3, :3]))) / 1000
    return BrainInput(Volume(channels, grid), trace, tuple(presence), int(np.count_nonzero(cropped.array)) * voxel_ml)


def check_sequences(sequences: Mapping[str, Volume], known: tuple[str, ...] = SEQUENCES) -> None:
    """Whether these are gray images on one grid.

    Raises:
        UnknownNameError, IncompatibleInputError: as `preprocess_brain`.
    """
    if not sequences:
        raise IncompatibleInputError(f"No sequence came. Give at least one of {', '.join(known)}.")
    (first, reference), *others = sequences.items()
    for name, volume in sequences.items():
        if name not in known:
            raise UnknownNameError("sequence", name, known)
        if volume.array.shape[0] != 1:
            raise IncompatibleInputError(
                f"{name} has {volume.array.shape[0]} channels; one gray volume is needed. Save each sequence by itself."
            )
        if not volume.geometry.is_calibrated:
            raise IncompatibleInputError(
                f"{name} states no voxel size, as a picture; millimeters are needed. Give NIfTI, NRRD or DICOM."
            )
        if volume.array.dtype.kind == "f" and not np.isfinite(volume.array).all():
            bad = int(volume.array.size - np.isfinite(volume.array).sum())
            raise IncompatibleInputError(f"{name} has {bad} values that are NaN or infinite. Repair it before use.")
    for name, volume in others:
        _check_same_grid(first, reference.geometry, name, volume.geometry)
    _check_no_twins(sequences)


def _check_same_grid(first: str, a: VolumeGeometry, name: str, b: VolumeGeometry) -> None:
    todo = f"Resample {name} to the grid of {first} (in Slicer: Resample Scalar/Vector/DWI Volume)."
    if a.shape != b.shape:
        sizes = [" x ".join(str(n) for n in shape[::-1]) for shape in (b.shape, a.shape)]
        raise IncompatibleInputError(f"{name} has {sizes[0]} voxels, {first} {sizes[1]}; they must agree. {todo}")
    if not a.is_close_to(b, MAX_OFFSET * min(a.spacing_kji_mm)):
        raise IncompatibleInputError(
            f"{name} and {first} have as many voxels but lie elsewhere: voxels of {_mm(b.spacing_kji_mm[::-1])} and "
            f"{_mm(a.spacing_kji_mm[::-1])}, the first at {_mm(b.ijk_to_ras[:3, 3])} and {_mm(a.ijk_to_ras[:3, 3])} "
            f"RAS. {todo}"
        )


def _check_no_twins(sequences: Mapping[str, Volume]) -> None:
    """Two constant images (placeholders) may be equal."""
    seen: list[tuple[str, NDArray[np.generic]]] = []
    for name, volume in sequences.items():
        for other, array in seen:
            thin = (slice(None), slice(None, None, 7), slice(None, None, 7), slice(None, None, 7))
            if np.array_equal(array[thin], volume.array[thin]) and np.array_equal(array, volume.array):
                if array.min() == array.max():
                    continue
                raise IncompatibleInputError(
                    f"{other} and {name} are the same image. Choose the right one, or leave {name} out."
                )
        seen.append((name, volume.array))


def brain_mask(volumes: Iterable[Volume]) -> NDArray[np.bool_]:
    """(k, j, i): where any sequence is above 0."""
    first, *others = (volume.array[0] for volume in volumes)
    mask = np.asarray(np.greater(first, 0))
    for array in others:
        mask |= np.greater(array, 0)
    return mask


def bounding_box(mask: NDArray[np.bool_], geometry: VolumeGeometry) -> Crop:
    """The smallest box that holds all of the mask.

    Raises:
        IncompatibleInputError: the mask is empty.
    """
    start, shape = [0, 0, 0], list(mask.shape)
    for axis in range(3):
        inside = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        if not inside.size:
            raise IncompatibleInputError("No value is above 0, so there is no brain. Choose images with contrast.")
        start[axis], shape[axis] = int(inside[0]), int(inside[-1] - inside[0] + 1)
        mask = mask[tuple(slice(start[a], start[a] + shape[a]) if a == axis else slice(None) for a in range(3))]
    return Crop(geometry, (start[0], start[1], start[2]), (shape[0], shape[1], shape[2]))


def mean_and_deviation(inside: NDArray[np.generic]) -> tuple[float, float]:
    """Of the values inside the brain; the deviation is exactly 0 where they are all the same."""
    values = inside.astype(np.float32)
    if not values.size or values.min() == values.max():
        return 0.0, 0.0
    mean = float(values.mean(dtype=np.float64))
    values -= np.float32(mean)
    deviation = float(np.sqrt(np.square(values, out=values).mean(dtype=np.float64)))
    return mean, deviation if deviation > 1e-6 * abs(mean) else 0.0


@dataclass(frozen=True, eq=False)
class _Brain:
    """The way to the model grid, and the brain mask after its first step (the crop) and at its end."""

    steps: Sequence[GridStep]
    cropped: NDArray[Any]
    """(k, j, i), bool"""
    moved: NDArray[Any]
    """(k, j, i), bool; or float32 in [0, 1] where the grid is resampled"""

    def write_zscore(self, volume: Volume, channel: NDArray[np.float32]) -> bool:
        """(value - mean) / deviation inside the brain and 0 outside, on the model grid, into `channel` (k, j, i).

        Every step is linear, so the moved values minus the moved mask times the mean are the moved z-score; for 8-bit
        images this moves a quarter of the bytes. False, and nothing is written, if the brain sees one value only.
        """
        values = self.steps[0].apply(volume)
        mean, deviation = mean_and_deviation(values.array[0][self.cropped])
        if deviation == 0:
            return False
        if values.array.min() < 0:
            values = values.with_array(np.where(self.cropped, values.array, 0))
        values = _apply(self.steps[1:], values)
        np.multiply(values.array[0], np.float32(1 / deviation), out=channel, casting="same_kind")
        offset = np.float32(mean / deviation)
        if self.moved.dtype == bool:
            np.subtract(channel, offset, out=channel, where=self.moved)
        else:
            channel -= self.moved * offset
        return True


def _apply(steps: Iterable[GridStep], volume: Volume) -> Volume:
    for step in steps:
        volume = step.apply(volume)
    return volume


def _way_to_the_model_grid(box: Crop, config: BrainPreprocessingConfig) -> tuple[GridTrace, VolumeGeometry]:
    """Crop, reorient, resample where the spacing differs, pad; and where that leads. Nothing is moved yet."""
    trace = GridTrace([box])
    _check_values(math.prod(box.shape_kji) * len(config.sequences))
    turn = Reorient.to_ras(box.target)
    if turn.axes_kji != (0, 1, 2) or any(turn.flips_kji):
        trace.steps.append(turn)
    geometry = turn.target
    shape = _model_shape(geometry, config)
    _check_values(shape[0] * config.size_ji[0] * config.size_ji[1] * len(config.sequences))
    if shape != geometry.shape:
        resample = Resample(geometry, shape)
        trace.steps.append(resample)
        geometry = resample.target
    pad = Pad.centered(geometry, (shape[0], *config.size_ji))
    trace.steps.append(pad)
    return trace, pad.target


def _model_shape(box: VolumeGeometry, config: BrainPreprocessingConfig) -> tuple[int, int, int]:
    """Voxels of the brain's box on the model grid, before padding; at most `size_ji` in-plane."""
    k, height, width = (n * mm for n, mm in zip(box.shape, box.spacing_kji_mm, strict=True))
    if min(height, width) < MIN_BRAIN_MM:
        raise IncompatibleInputError(
            f"The brain covers {width:.0f} x {height:.0f} mm of an axial plane; at least {MIN_BRAIN_MM} mm are needed. "
            "Choose axial slices or a volume, and check the voxel size."
        )
    if max(height, width) > MAX_HEAD_MM:
        raise IncompatibleInputError(
            f"{width:.0f} x {height:.0f} mm of an axial plane are above 0, more than a head. Remove skull and "
            "background (set them to 0), and check the voxel size."
        )
    fine_j, fine_i = height / config.spacing_ji_mm[0], width / config.spacing_ji_mm[1]
    scale = min(1.0, config.size_ji[0] / fine_j, config.size_ji[1] / fine_i)
    slices = box.shape[0] if config.spacing_k_mm is None else max(1, round(k / config.spacing_k_mm))
    j, i = max(1, round(fine_j * scale)), max(1, round(fine_i * scale))
    return slices, min(j, config.size_ji[0]), min(i, config.size_ji[1])


def _check_values(number: int) -> None:
    if number > MAX_VALUES:
        raise IncompatibleInputError(
            f"The brain has {number / 1e6:.0f} million values; at most {MAX_VALUES / 1e6:.0f} million are processed at "
            "once. Reduce the resolution, or set everything but the brain to 0."
        )


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)


def _mm(numbers: Iterable[float]) -> str:
    return "(" + ", ".join(f"{float(number):.4g}" for number in numbers) + ") mm"
