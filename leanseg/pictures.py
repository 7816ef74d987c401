"""Pictures for people: an outline on a gray image, uncertainty as colors, PNG files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from leanseg.errors import OutputError

Picture = NDArray[np.uint8]
"""(height, width, 3), RGB"""

_HEAT = np.array([(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)], dtype=np.float64)


def overlay_outline(gray: NDArray[np.uint8], mask: NDArray[np.bool_], color: tuple[int, int, int]) -> Picture:
    """A (j, i) image with the border of a mask, drawn just inside it, one pixel wide."""
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    picture = np.repeat(gray[..., np.newaxis], 3, axis=2)
    picture[mask & ~inner] = color
    return picture


def uncertainty_colors(uncertainty: NDArray[np.floating]) -> Picture:
    """(j, i) in [0, 1] -> black, purple, orange, yellow."""
    position = np.clip(uncertainty, 0, 1) * (len(_HEAT) - 1)
    anchors = np.arange(len(_HEAT))
    channels = [np.interp(position, anchors, _HEAT[:, c]) for c in range(3)]
    return np.stack(channels, axis=-1).astype(np.uint8)


def write_png(picture: Picture, path: Path) -> None:
    """Raises OutputError where the file cannot be written."""
    import SimpleITK as sitk  # here, so that importing leanseg stays fast

    try:
        sitk.WriteImage(sitk.GetImageFromArray(np.ascontiguousarray(picture), isVector=True), str(path))
    except RuntimeError as error:
        raise OutputError(f"{path} cannot be written. Choose another folder.") from error
