"""Find truncated files that ITK's readers accept.

They fill what is missing with gray, zeros or nothing at all and say so, if ever, on standard error; a mask of the
part that is there would look like a mask of the image. PNG and NRRD are not here: their readers refuse.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

_CHUNK = 1 << 22
_NIFTI_HEADER = 352


def is_truncated(path: Path, kind: str, pixel_bytes: int) -> bool:
    """Whether a file ends too early.

    Args:
        path: an image file whose header has been read.
        kind: the name of its ITK reader, e.g. `NiftiImageIO`; False for those that notice by themselves.
        pixel_bytes: of all pixels, uncompressed.
    """
    try:
        if kind == "JPEGImageIO":
            return _jpeg(path)
        if kind == "BMPImageIO":
            return _bmp(path)
        if kind == "TIFFImageIO":
            return _tiff(path)
        if kind == "NiftiImageIO":
            return _nifti(path)
        if kind == "MetaImageIO":
            return _meta_image(path, pixel_bytes)
    except (struct.error, EOFError, zlib.error, gzip.BadGzipFile):
        return True
    return False


def _jpeg(path: Path) -> bool:
    # Coded pixels never hold FF D9, so an end marker after the last start of scan (FF DA) is the true end.
    data = path.read_bytes()
    return data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")


def _bmp(path: Path) -> bool:
    with path.open("rb") as file:
        header = file.read(34)
    pixels_at, _, width, height, _, bits, compression = struct.unpack_from("<IIiiHHI", header, 10)
    if compression not in (0, 3):  # run lengths say nothing about the size
        return False
    row = (abs(width) * bits + 31) // 32 * 4
    needed: int = pixels_at + row * abs(height)
    return path.stat().st_size < needed


def _tiff(path: Path) -> bool:
    """Whether the chain of page directories breaks; libtiff notices missing pixels, but not missing pages."""
    size = path.stat().st_size
    with path.open("rb") as file:
        order = "<" if file.read(2) == b"II" else ">"
        is_big = struct.unpack(order + "H", file.read(2))[0] == 43
        count_format, entry_bytes, offset_format = ("Q", 20, "Q") if is_big else ("H", 12, "I")
        file.seek(8 if is_big else 4)
        seen: set[int] = set()
        while (at := _number(file, order + offset_format)) and at not in seen:
            seen.add(at)
            if at >= size:
                return True
            file.seek(at)
            file.seek(_number(file, order + count_format) * entry_bytes, os.SEEK_CUR)
    return False


def _number(file: BinaryIO, layout: str) -> int:
    value: int = struct.unpack(layout, file.read(struct.calcsize(layout)))[0]
    return value


def _nifti(path: Path) -> bool:
    with path.open("rb") as file:
        is_gzip = file.read(2) == b"\x1f\x8b"
    if not is_gzip:
        with path.open("rb") as file:
            return path.stat().st_size < _nifti_bytes(file.read(_NIFTI_HEADER))
    with gzip.open(path) as unpacked:
        needed = _nifti_bytes(unpacked.read(_NIFTI_HEADER))
    with path.open("rb") as file:
        file.seek(-4, os.SEEK_END)
        stated = _number(file, "<I")  # a gzip file ends with its unpacked size
    if stated == needed % 2**32:
        return False
    with gzip.open(path) as unpacked:  # truncated, or gzip in several members: only unpacking tells
        total = 0
        while chunk := unpacked.read(_CHUNK):
            total += len(chunk)
    return total < needed


def _nifti_bytes(header: bytes) -> int:
    """Bytes of header and voxels that a NIfTI-1 header promises; 0 for other kinds, which are not checked."""
    if header[344:348] != b"n+1\0":
        return 0
    order = "<" if struct.unpack_from("<i", header)[0] == 348 else ">"
    dim = struct.unpack_from(order + "8h", header, 40)
    (bits,) = struct.unpack_from(order + "h", header, 72)
    (start,) = struct.unpack_from(order + "f", header, 108)
    n_voxels = math.prod(max(int(n), 1) for n in dim[1 : 1 + max(0, min(dim[0], 7))])
    return int(start) + n_voxels * int(bits) // 8


def _meta_image(path: Path, pixel_bytes: int) -> bool:
    fields: dict[str, str] = {}
    with path.open("rb") as file:
        while line := file.readline(4096):
            key, _, value = line.decode("latin-1").partition("=")
            fields[key.strip()] = value.strip()
            if key.strip() == "ElementDataFile":
                break
        remaining = path.stat().st_size - file.tell()
    if fields.get("ElementDataFile") not in ("LOCAL", "Local", "local"):
        return False
    if fields.get("CompressedData", "False").lower() == "true":
        stated = fields.get("CompressedDataSize", "0")
        return stated.isdigit() and remaining < int(stated)
    return remaining < pixel_bytes
