"""Pictures for people: an outline on a gray image, uncertainty as colors, PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from leanseg.beside import written_beside
from leanseg.errors import OutputError

Picture = NDArray[np.uint8]
"""(height, width, 3), RGB"""
MASK_COLOR = (90, 230, 120)
TRUTH_COLOR = (255, 190, 60)

_HEAT = np.array([(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)], dtype=np.float64)


def overlay_outline(gray: NDArray[np.uint8], mask: NDArray[np.bool_], color: tuple[int, int, int]) -> Picture:
    """A (j, i) image with the border of a mask, drawn just inside it, one pixel wide."""
    return outlines(gray, [mask], [color])


def _border(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.asarray(mask & ~inner)


def outlines(
    gray: NDArray[np.uint8], masks: Sequence[NDArray[np.bool_]], colors: Sequence[tuple[int, int, int]]
) -> Picture:
    """Borders of several masks, the last drawn on top."""
    picture = np.repeat(gray[..., np.newaxis], 3, axis=2)
    for mask, color in zip(masks, colors, strict=True):
        picture[_border(mask)] = color
    return picture


def uncertainty_colors(uncertainty: NDArray[np.floating]) -> Picture:
    """(j, i) in [0, 1] -> black, purple, orange, yellow."""
    position = np.clip(uncertainty, 0, 1) * (len(_HEAT) - 1)
    anchors = np.arange(len(_HEAT))
    channels = [np.interp(position, anchors, _HEAT[:, c]) for c in range(3)]
    return np.stack(channels, axis=-1).astype(np.uint8)


def case_pictures(
    gray: NDArray[np.uint8], mask: NDArray[np.bool_], uncertainty: NDArray[np.floating], truth: NDArray[np.bool_]
) -> dict[str, Picture]:
    """The pictures of one slice, by title in the order to show them; all four arrays are (j, i)."""
    return {
        "image": np.repeat(gray[..., np.newaxis], 3, axis=2),
        "mask": overlay_outline(gray, mask, MASK_COLOR),
        "uncertainty": uncertainty_colors(uncertainty),
        "truth": overlay_outline(gray, truth, TRUTH_COLOR),
    }


def write_png(picture: Picture, path: Path) -> None:
    """Write a picture; the file is complete or absent.

    Raises:
        OutputError: the file cannot be written.
    """
    import SimpleITK as sitk  # here, so that importing leanseg stays fast

    image = sitk.GetImageFromArray(np.ascontiguousarray(picture), isVector=True)
    with written_beside(path) as temporary:
        try:
            sitk.WriteImage(image, str(temporary))
        except RuntimeError as error:
            raise OutputError(f"{path} cannot be written. Choose another folder.") from error
