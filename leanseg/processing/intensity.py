"""Intensities: color to gray, and rescaling to [0, 1]."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from leanseg.errors import IncompatibleInputError

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601, the matrix of DICOM's YBR_FULL
_VIVID_CHROMA = 0.25  # of the full scale; tinted gray maps and faint annotations stay below
_VIVID_FRACTION = 0.01


def to_gray(array: NDArray[np.generic]) -> NDArray[np.float32]:
    """(1, 3 or 4, k, j, i) -> (1, k, j, i); a fourth channel is opacity and is dropped.

    Raises:
        IncompatibleInputError: another channel count, or vivid color (Doppler, a photograph).
    """
    channels = array.shape[0]
    if channels == 1:
        return array.astype(np.float32, copy=False)
    if channels not in (3, 4):
        raise IncompatibleInputError(f"The image has {channels} channels; gray (1) or RGB (3) is needed.")
    rgb = array[:3].astype(np.float32, copy=False)
    scale = max(float(rgb.max(initial=0.0)), 1e-6)
    vivid = float(np.mean(rgb.max(axis=0) - rgb.min(axis=0) > _VIVID_CHROMA * scale))
    if vivid > _VIVID_FRACTION:
        raise IncompatibleInputError(
            f"The image has vivid color in {vivid:.0%} of its pixels, so it is Doppler or a photograph; "
            "a gray B-mode image is needed. Switch the color overlay off, or crop it away."
        )
    return np.tensordot(_LUMA, rgb, axes=1)[np.newaxis].astype(np.float32)


def rescale_percentiles(array: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
    """Map the two percentiles (0 ... 100) of the whole array to 0 and 1, and clip.

    Raises:
        IncompatibleInputError: NaN or infinite values, or an image without contrast.
    """
    if not np.isfinite(array).all():
        bad = int(array.size - np.isfinite(array).sum())
        raise IncompatibleInputError(f"The image has {bad} values that are NaN or infinite. Repair it before use.")
    bottom, top = (float(v) for v in np.percentile(array, [low, high]))
    if top <= bottom:
        bottom, top = float(array.min()), float(array.max())
    if top <= bottom:
        raise IncompatibleInputError(f"The image is empty: every value is {top:g}. Choose an image with contrast.")
    return np.asarray(np.clip((array - bottom) / (top - bottom), 0, 1), dtype=np.float32)
