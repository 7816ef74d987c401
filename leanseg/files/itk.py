"""Where SimpleITK is called: LPS becomes RAS, channels come first, and ITK stays silent.

SimpleITK is imported inside the functions, so that `import leanseg` does not pay for it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leanseg.errors import UnreadableFileError
from leanseg.volume import VolumeGeometry

Image = Any
"""SimpleITK.Image or SimpleITK.ImageFileReader: the package has no type information."""

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""And back: it is its own inverse."""

_SILENCE = threading.Lock()  # two threads that both redirect would restore each other's redirection


@contextmanager
def silent_itk() -> Iterator[None]:
    """No warnings of ITK, and none that libtiff, MetaIO or nifti_io write to file descriptor 2 by themselves.

    Both switches belong to the whole process, so they are put back at once.
    """
    import SimpleITK as sitk

    with _SILENCE:
        shown = sitk.ProcessObject.GetGlobalWarningDisplay()
        sitk.ProcessObject.SetGlobalWarningDisplay(False)
        try:
            kept = os.dup(2)
        except OSError:  # a Windows program without a console has no descriptor 2
            kept = -1
        try:
            if kept >= 0:
                nothing = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nothing, 2)
                os.close(nothing)
            yield
        finally:
            if kept >= 0:
                os.dup2(kept, 2)
                os.close(kept)
            sitk.ProcessObject.SetGlobalWarningDisplay(shown)


def open_header(path: Path, name: Path) -> Image:
    """A SimpleITK.ImageFileReader that knows size, type and geometry, before any pixel is read.

    Args:
        path: what is read.
        name: what the person calls it, for messages.

    Raises:
        UnreadableFileError: no reader accepts the file.
    """
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        with silent_itk():
            # Found by content, then kept: the reader names its format only if it was set.
            reader.SetImageIO(sitk.ImageFileReader.GetImageIOFromFileName(str(path)))
            reader.ReadImageInformation()
    except RuntimeError as error:
        raise UnreadableFileError(_explained(name, str(error))) from error
    return reader


def read_array(reader: Image, name: Path) -> NDArray[np.generic]:
    """The pixels, (c, k, j, i), of a reader from `open_header`; trailing axes of length 1 are dropped.

    Raises:
        UnreadableFileError: the pixels are damaged or incomplete.
    """
    import SimpleITK as sitk

    try:
        with silent_itk():
            image = reader.Execute()
    except RuntimeError as error:
        raise UnreadableFileError(_explained(name, str(error))) from error
    array: NDArray[np.generic] = sitk.GetArrayFromImage(image)
    array = np.moveaxis(array, -1, 0) if image.GetNumberOfComponentsPerPixel() > 1 else array[np.newaxis]
    spatial = array.shape[1:] if array.ndim > 3 else (1, *array.shape[1:])
    return array.reshape(array.shape[0], *spatial[-3:])


def geometry_of(image: Image, is_calibrated: bool = True) -> VolumeGeometry:
    """Geometry of an image or an opened header; what a 2-D one lacks is depth 1, 1 mm, at the origin.

    Raises:
        IncompatibleInputError: degenerate axes.
    """
    n = image.GetDimension()
    used = min(n, 3)
    direction = np.eye(3)
    direction[:used, :used] = np.reshape(image.GetDirection(), (n, n))[:used, :used]
    size, spacing, origin = np.ones(3, dtype=int), np.ones(3), np.zeros(3)
    size[:used], spacing[:used], origin[:used] = (
        value[:used] for value in (image.GetSize(), image.GetSpacing(), image.GetOrigin())
    )
    ijk_to_lps = np.eye(4)
    ijk_to_lps[:3, :3] = direction * spacing
    ijk_to_lps[:3, 3] = origin
    i, j, k = (int(number) for number in size)
    return VolumeGeometry((k, j, i), LPS_TO_RAS @ ijk_to_lps, is_calibrated)


def to_image(array: NDArray[np.generic], geometry: VolumeGeometry) -> Image:
    """(c, k, j, i) -> SimpleITK.Image; one channel becomes a scalar image."""
    import SimpleITK as sitk

    if array.shape[0] == 1:
        image = sitk.GetImageFromArray(array[0])
    else:
        image = sitk.GetImageFromArray(np.moveaxis(array, 0, -1), isVector=True)
    ijk_to_lps = LPS_TO_RAS @ geometry.ijk_to_ras
    spacing = np.linalg.norm(ijk_to_lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(ijk_to_lps[:3, 3].tolist())
    image.SetDirection((ijk_to_lps[:3, :3] / spacing).ravel().tolist())
    return image


def _explained(path: Path, report: str) -> str:
    """One line for a person from the many lines of an ITK exception."""
    if "Unable to determine ImageIO" in report:
        return (
            f"{path} is not an image that LeanSeg reads, or it is damaged. "
            "Give a PNG, JPEG, BMP, TIFF, NIfTI, NRRD, MHA or DICOM file."
        )
    if "orthonormal" in report:
        return f"The axes of {path} are sheared or invalid. Resample it to a regular grid, or repair its header."
    if "Zero-valued spacing" in report:
        return f"{path} states a distance of zero between pixels or slices. Repair its header, or export it again."
    if "PixelType" in report:
        return f"The pixel type of {path} is not supported. Save it as plain gray or RGB, without opacity."
    return f"{path} is damaged or incomplete, so its pixels cannot be read. Copy or export it again."
