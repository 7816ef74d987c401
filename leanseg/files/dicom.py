"""Read one DICOM file: an ultrasound image or clip, or a slice or stack of MR, CT and others.

GDCM (in SimpleITK) decodes the pixels: JPEG, JPEG-LS, JPEG 2000 and RLE; YBR and palette become RGB, MONOCHROME1
becomes bright = high, and stored values become HU and the like. The tests check each of these. Geometry comes from
the header, read by pydicom, because ITK knows neither ultrasound regions nor that frames of a clip are not slices.
"""

from __future__ import annotations

import math
import os
import struct
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from leanseg.errors import IncompatibleInputError, UnreadableFileError
from leanseg.files import itk
from leanseg.files.dicom_geometry import geometry_of
from leanseg.volume import MAX_VALUES, Volume

if TYPE_CHECKING:
    from pydicom import Dataset

_SUFFIXES = frozenset({".dcm", ".dicom", ".ima"})
_MAGIC_AT = 128
_PIXEL_DATA = (0x7FE0, 0x0010)
_DELIMITER = (0xFFFE, 0xE0DD)
_UNDEFINED = 0xFFFFFFFF


def is_dicom(path: Path) -> bool:
    """By suffix, or by `DICM` at byte 128, because exported files often have no suffix."""
    if path.suffix.lower() in _SUFFIXES:
        return True
    with path.open("rb") as file:
        file.seek(_MAGIC_AT)
        return file.read(4) == b"DICM"


def read_dicom(path: Path) -> Volume:
    """One DICOM file -> voxels (c, k, j, i) in their place in RAS; frames become slices (k).

    Raises:
        UnreadableFileError: not DICOM, damaged, incomplete, too large, or without an image.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, of fields that are malformed; they are checked one by one here
        header = _read_header(path)
        _check_image(header, path)
        array = itk.read_array(itk.open_header(path, path), path)
        try:
            return Volume(array, geometry_of(header, array.shape[1:]))
        except IncompatibleInputError as error:
            raise UnreadableFileError(f"{path}: {error}") from error


def _read_header(path: Path) -> Dataset:
    import pydicom

    try:
        with path.open("rb") as file:
            # Files from before 1993 lack the preamble, so the reader is forced and the result is judged instead.
            header = pydicom.dcmread(file, stop_before_pixels=True, force=True)
            is_cut_off = _pixels_are_cut_off(file, header, path.stat().st_size)
    except Exception as error:  # pydicom raises many types on damaged files
        raise UnreadableFileError(f"{path} is not a DICOM file, or it is damaged. Export it again.") from error
    if "SOPClassUID" not in header and "Rows" not in header:
        raise UnreadableFileError(f"{path} is not a DICOM file, or its beginning is lost. Export it again.")
    if is_cut_off:
        raise UnreadableFileError(f"{path} ends before its last pixel. Copy or export it again.")
    return header


def _pixels_are_cut_off(file: BinaryIO, header: Dataset, size: int) -> bool:
    """Whether the pixel element, where `file` stands, goes on beyond the end.

    GDCM notices too, but only after it took bytes of the image for a length and allocated that much, up to 4 GB.
    """
    is_implicit, is_little = header.original_encoding
    order = "<" if is_little else ">"
    start = file.read(12)
    if len(start) < 12 or struct.unpack_from(order + "HH", start) != _PIXEL_DATA:
        return False  # float pixels, a deflated file, or none at all: GDCM decides
    (length,) = struct.unpack_from(order + "I", start, 4 if is_implicit else 8)
    if length != _UNDEFINED:
        return file.tell() - (4 if is_implicit else 0) + int(length) > size
    while len(item := file.read(8)) == 8:  # compressed pixels: fragments, then a delimiter, which some writers forget
        group, element, length = struct.unpack("<HHI", item)
        if (group, element) == _DELIMITER:
            return False
        file.seek(length, os.SEEK_CUR)
    return file.tell() > size


def _check_image(header: Dataset, path: Path) -> None:
    if "Rows" not in header or "Columns" not in header:
        modality = header.get("Modality") or "no modality"
        raise UnreadableFileError(
            f"{path} is DICOM without an image ({modality}), or cut off before it. Give a file with pixels."
        )
    try:
        sizes = [int(header.get(name) or 1) for name in ("NumberOfFrames", "Rows", "Columns", "SamplesPerPixel")]
    except (TypeError, ValueError):
        raise UnreadableFileError(f"{path} states no valid image size. Export it again.") from None
    n_values = math.prod(sizes)
    if n_values > MAX_VALUES:
        raise UnreadableFileError(
            f"{path} holds {n_values / 1e6:.0f} million values in {sizes[0]} frames; at most "
            f"{MAX_VALUES / 1e6:.0f} million are read at once. Export fewer frames or a part of the image."
        )
