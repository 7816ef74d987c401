"""From a Volume to what a network sees; the same code in training and in use."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from leanseg.errors import IncompatibleInputError
from leanseg.processing.grid import GridTrace, Pad, Resample
from leanseg.processing.intensity import rescale_percentiles, to_gray
from leanseg.volume import MAX_VALUES, Volume

MIN_SIDE = 16


@dataclass(frozen=True)
class PreprocessingConfig:
    """Values of the card's `preprocessing` section, for slice-wise gray images."""

    size_ji: tuple[int, int] = (256, 256)
    """Height and width that the network sees. The image is scaled to fit and padded; its aspect stays."""
    percentiles: tuple[float, float] = (0.5, 99.5)
    """Mapped to 0 and 1 over the whole volume, so that frames of one clip share a scale."""

    def __post_init__(self) -> None:
        low, high = self.percentiles
        if not 0 <= low < high <= 100 or min(self.size_ji) < 1:
            raise ValueError(f"percentiles must rise within 0 to 100 and sizes be positive; got {self}.")


@dataclass(frozen=True)
class ModelInput:
    """What an engine takes: voxels on the model grid, and the way back."""

    volume: Volume
    trace: GridTrace = field(default_factory=GridTrace)


def preprocess(volume: Volume, config: PreprocessingConfig) -> ModelInput:
    """Gray, rescaled, letterboxed to `size_ji`; slices (k) are kept as they are.

    Raises:
        IncompatibleInputError: too small, too large, in color, NaN, or no contrast.
    """
    k, j, i = volume.geometry.shape
    if min(j, i) < MIN_SIDE:
        raise IncompatibleInputError(
            f"The image is {i} x {j} pixels; at least {MIN_SIDE} x {MIN_SIDE} are needed. Choose a larger image."
        )
    if volume.array.size > MAX_VALUES:
        raise IncompatibleInputError(
            f"The image has {volume.array.size / 1e6:.0f} million values; at most {MAX_VALUES / 1e6:.0f} million "
            "are read at once. Crop it or reduce its size."
        )
    gray = rescale_percentiles(to_gray(volume.array), *config.percentiles)
    height, width = config.size_ji
    scale = min(height / j, width / i)
    shape = (k, max(1, min(height, round(j * scale))), max(1, min(width, round(i * scale))))
    trace = GridTrace()
    result = volume.with_array(gray)
    if shape != volume.geometry.shape:
        result = trace.record(Resample(result.geometry, shape), result)
    if shape[1:] != (height, width):
        result = trace.record(Pad.centered(result.geometry, (k, height, width)), result)
    return ModelInput(result.with_array(np.ascontiguousarray(result.array, dtype=np.float32)), trace)
