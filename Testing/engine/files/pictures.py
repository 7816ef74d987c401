"""Small image files for tests, written with SimpleITK, and what is expected of a file that cannot be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from leanseg.errors import UnreadableFileError
from leanseg.files.images import read_image

RANDOM = np.random.default_rng(0)
GRAY = RANDOM.integers(0, 256, (40, 50)).astype(np.uint8)
RGB = RANDOM.integers(0, 256, (40, 50, 3)).astype(np.uint8)
STACK = RANDOM.integers(-999, 999, (6, 40, 50)).astype(np.int16)


def written(array: np.ndarray, path: Path, *, color: bool = False, spacing: tuple[float, ...] = ()) -> Path:
    image = sitk.GetImageFromArray(array, isVector=color)
    if spacing:
        image.SetSpacing(spacing)
    sitk.WriteImage(image, str(path))
    return path


def refused(path: Path, words: str) -> None:
    with pytest.raises(UnreadableFileError, match=words) as error:
        read_image(path)
    assert "\n" not in str(error.value) and path.name in str(error.value)
