"""Read one image file: PNG, JPEG, BMP, TIFF, NIfTI, NRRD, MHA, and DICOM through `dicom.py`."""

from __future__ import annotations

import math
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from leanseg.errors import IncompatibleInputError, UnreadableFileError
from leanseg.files import itk
from leanseg.files.completeness import is_truncated
from leanseg.files.dicom import is_dicom, read_dicom
from leanseg.volume import MAX_VALUES, Volume, VolumeGeometry

# Their resolution, if any, is one of print (72 dpi) and says nothing about the patient.
_PICTURES = frozenset({"PNGImageIO", "JPEGImageIO", "BMPImageIO", "TIFFImageIO"})
_VOLUMES = frozenset({"NiftiImageIO", "NrrdImageIO", "MetaImageIO"})
_AXES = ("i", "j", "k", "t", "u")


def read_image(path: Path) -> Volume:
    """One file -> voxels (c, k, j, i) in the type of the file, with their place in RAS.

    A 2-D image has depth 1; RGB, RGBA and vectors become channels; pages of a TIFF and frames of a DICOM clip
    become slices (k). Without a stated spacing (PNG, JPEG, BMP, TIFF) a pixel counts 1 and
    `geometry.is_calibrated` is False.

    Raises:
        UnreadableFileError: missing, a folder, damaged, incomplete, too large, with a time axis, or of a kind that
            is not read.
    """
    path = Path(path)
    _check_exists(path)
    if is_dicom(path):
        return read_dicom(path)
    with _apart_from_its_namesake(path) as file:
        return _read(file, path)


def _read(file: Path, path: Path) -> Volume:
    """Read `file`, which is called `path` in messages."""
    header = itk.open_header(file, path)
    kind = header.GetImageIO()
    if kind not in _PICTURES | _VOLUMES:
        _refuse_kind(path, kind)
    _check_axes(path, header.GetSize())
    _check_values(path, header)
    if is_truncated(file, kind, _pixel_bytes(header)):
        raise UnreadableFileError(f"{path} ends before its last pixel. Copy or export it again.")
    array = itk.read_array(header, path)
    if kind in _PICTURES:
        # ITK takes the resolution of print for millimeters, so its geometry is not used here.
        return Volume(array, VolumeGeometry(array.shape[1:], itk.LPS_TO_RAS, is_calibrated=False))
    try:
        return Volume(array, itk.geometry_of(header))
    except IncompatibleInputError as error:
        raise UnreadableFileError(f"{path}: {error}") from error


@contextmanager
def _apart_from_its_namesake(path: Path) -> Iterator[Path]:
    """Asked for a.nii.gz, ITK takes the voxels of an a.nii beside it and says nothing (ITK issue 2243)."""
    if path.suffix.lower() != ".gz" or not path.with_suffix("").exists():
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        alone = Path(folder) / path.name
        try:
            alone.symlink_to(path.resolve())
        except OSError:  # Windows lets only some users make links
            shutil.copyfile(path, alone)
        yield alone


def _check_exists(path: Path) -> None:
    if path.is_dir():
        raise UnreadableFileError(
            f"{path} is a folder; one image file is needed. Name a file in it, or load a DICOM series in Slicer and "
            "save it as .nrrd."
        )
    try:
        with path.open("rb") as file:
            is_empty = not file.read(1)
    except (FileNotFoundError, NotADirectoryError):
        raise UnreadableFileError(f"There is no file {path}. Check its name and folder.") from None
    except OSError as error:
        raise UnreadableFileError(f"{path} cannot be opened ({error.strerror}). Check its permissions.") from error
    if is_empty:
        raise UnreadableFileError(f"{path} is empty (0 bytes). Copy or export it again.")


def _refuse_kind(path: Path, kind: str) -> NoReturn:
    raise UnreadableFileError(
        f"{path} is of a kind that LeanSeg does not read ({kind.removesuffix('ImageIO')}). "
        "Convert it to NRRD or NIfTI, for example in Slicer."
    )


def _check_axes(path: Path, size_ijk: tuple[int, ...]) -> None:
    if math.prod(size_ijk[3:]) > 1:
        axes = ", ".join(f"{name} {n}" for name, n in zip(_AXES, size_ijk, strict=False))
        raise UnreadableFileError(
            f"{path} has {len(size_ijk)} axes ({axes}); an image has at most 3. Extract one volume along "
            f"{' and '.join(_AXES[3 : len(size_ijk)])}, and save it as its own file."
        )


def _check_values(path: Path, header: itk.Image) -> None:
    import SimpleITK as sitk

    type_name = sitk.GetPixelIDValueAsString(header.GetPixelID())
    if "complex" in type_name or "label" in type_name:
        raise UnreadableFileError(
            f"The values of {path} are of type {type_name!r}; real numbers are needed. Save its magnitude instead."
        )
    n_values = math.prod(header.GetSize()) * header.GetNumberOfComponents()
    if n_values > MAX_VALUES:
        raise UnreadableFileError(
            f"{path} holds {n_values / 1e6:.0f} million values; at most {MAX_VALUES / 1e6:.0f} million are read at "
            "once. Crop it or reduce its size."
        )


def _pixel_bytes(header: itk.Image) -> int:
    """Bytes of all pixels as they lie in an uncompressed file."""
    import SimpleITK as sitk

    found = re.search(r"(\d+)-bit", sitk.GetPixelIDValueAsString(header.GetPixelID()))
    bits = int(found.group(1)) if found else 8
    n_values: int = math.prod(header.GetSize()) * header.GetNumberOfComponents()
    return n_values * bits // 8
