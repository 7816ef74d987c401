"""Intensities: color to gray, and rescaling to [0, 1]."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from leanseg.errors import IncompatibleInputError

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601, the matrix of DICOM's YBR_FULL
_COLORED = 0.1  # range of R, G, B over the full scale; the noise of JPEG stays below
_MARKS = 0.01  # of all pixels may be of another color: calipers, logos
_BRIGHT = 0.2  # of the full scale; hue says little about darker pixels
_NEUTRAL = 0.3  # less than this share of the tint is taken for gray
_NEUTRAL_FRACTION = 0.2  # of the bright pixels; the highlights of some gray maps are white
_SAMPLE = 1_000_000
Pixels = NDArray[np.float32]


def to_gray(array: NDArray[np.generic]) -> NDArray[np.float32]:
    """(1, 3 or 4, k, j, i) -> (1, k, j, i); a fourth channel is opacity and is dropped.

    A tinted gray map (amber, sepia, blue) passes: it has one hue, and nearly all bright pixels have it. Colored marks
    on up to 1 % of the pixels pass as well. A photograph stored as gray cannot be told from a gray image.

    Raises:
        IncompatibleInputError: another channel count, or color that is no tint (Doppler, a photograph).
    """
    channels = array.shape[0]
    if channels == 1:
        return array.astype(np.float32, copy=False)
    if channels not in (3, 4):
        raise IncompatibleInputError(
            f"The image has {channels} channels; gray (1) or RGB (3) is needed. Save the one to segment by itself."
        )
    rgb = array[:3].astype(np.float32, copy=False)
    colored = rgb.max(axis=0) - rgb.min(axis=0) > _COLORED * max(float(rgb.max(initial=0.0)), 1e-6)
    fraction = float(np.mean(colored))
    if fraction > _MARKS and not _is_tinted(rgb.reshape(3, -1)):
        raise IncompatibleInputError(
            f"The image has color in {fraction:.0%} of its pixels and is no tinted gray map, so it is Doppler or a "
            "photograph; a gray B-mode image is needed. Switch the color overlay off, or crop it away."
        )
    return luminance(rgb)


def luminance(array: NDArray[np.generic]) -> NDArray[np.float32]:
    """(3 or 4, k, j, i) -> (1, k, j, i), whatever the color."""
    return np.tensordot(_LUMA, array[:3].astype(np.float32, copy=False), axes=1)[np.newaxis].astype(np.float32)


def _is_tinted(rgb: Pixels) -> bool:
    """Whether all color of (3, n) pixels is one hue that nearly all bright pixels share."""
    rgb = rgb[:, :: rgb.shape[1] // _SAMPLE | 1]  # an odd step, which is the width of no usual image
    rgb = rgb / max(float(rgb.max()), 1e-6)
    luma = _LUMA @ rgb
    bright = luma > _BRIGHT
    if not bright.any():
        return False
    chroma = rgb - luma
    tint = np.median(chroma[:, bright] / luma[bright], axis=1)  # of the hue at full brightness
    share = (tint @ chroma) / np.maximum(luma * (tint @ tint), 1e-6)  # 0: neutral, 1: the tint
    other = chroma - np.outer(tint, luma) * np.clip(share, 0, 1.5)
    is_one_hue = np.mean(np.ptp(other, axis=0) > _COLORED) <= _MARKS
    return bool(is_one_hue and np.mean(share[bright] < _NEUTRAL) <= _NEUTRAL_FRACTION)


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
