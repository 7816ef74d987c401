"""Small DICOM files for tests, written with pydicom; nothing here describes a person."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

US_IMAGE = "1.2.840.10008.5.1.4.1.1.6.1"
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"


def dicom(
    pixels: np.ndarray,
    photometric: str = "MONOCHROME2",
    *,
    sop_class: str = US_IMAGE,
    transfer_syntax: str = ExplicitVRLittleEndian,
    bits: int = 0,
    data: bytes | None = None,
    **fields: Any,
) -> FileDataset:
    """A file from pixels (j, i), (frame, j, i), or either with a last axis of color; `data` replaces their bytes."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["leanseg"])
    meta.TransferSyntaxUID = transfer_syntax
    header = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    header.SOPClassUID, header.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    header.Modality = {US_IMAGE: "US", CT_IMAGE: "CT", ENHANCED_MR: "MR"}.get(sop_class, "OT")
    is_color = photometric.startswith(("RGB", "YBR"))
    shape = pixels.shape[:-1] if is_color else pixels.shape
    header.Rows, header.Columns = shape[-2:]
    if len(shape) == 3:
        header.NumberOfFrames = shape[0]
    header.SamplesPerPixel, header.PhotometricInterpretation = (3 if is_color else 1), photometric
    if is_color:
        header.PlanarConfiguration = 0
    bits = bits or pixels.dtype.itemsize * 8
    header.BitsAllocated, header.BitsStored, header.HighBit = pixels.dtype.itemsize * 8, bits, bits - 1
    header.PixelRepresentation = int(pixels.dtype.kind == "i")
    header.PixelData = data if data is not None else pixels.tobytes()
    for name, value in fields.items():
        setattr(header, name, value)
    return header


def save(header: FileDataset, path: Path) -> Path:
    header.save_as(path, enforce_file_format=True)
    return path


def items(**fields: Any) -> list[Dataset]:
    """A sequence of one item."""
    item = Dataset()
    for name, value in fields.items():
        setattr(item, name, value)
    return [item]


def region(delta_cm: tuple[float, float], box: tuple[int, int, int, int], kind: int = 1, units: int = 3) -> Dataset:
    """An ultrasound region; delta (x, y), box (x0, y0, x1, y1)."""
    x0, y0, x1, y1 = box
    return items(
        RegionSpatialFormat=kind,
        RegionDataType=1,
        RegionLocationMinX0=x0,
        RegionLocationMinY0=y0,
        RegionLocationMaxX1=x1,
        RegionLocationMaxY1=y1,
        PhysicalUnitsXDirection=units,
        PhysicalUnitsYDirection=units,
        PhysicalDeltaX=delta_cm[0],
        PhysicalDeltaY=delta_cm[1],
    )[0]


def jpeg(picture: np.ndarray, folder: Path) -> bytes:
    """(j, i) or (j, i, 3), uint8 -> a JPEG stream (color as YBR 4:2:0)."""
    path = folder / "frame.jpg"
    sitk.WriteImage(sitk.GetImageFromArray(picture, isVector=picture.ndim == 3), str(path), False, 95)
    return path.read_bytes()


def ybr_full(rgb: np.ndarray) -> np.ndarray:
    """(..., 3) uint8 -> YBR_FULL as PS3.3 C.7.6.3.1.2 defines it."""
    matrix = np.array([[0.2990, 0.5870, 0.1140], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]])
    return np.clip(np.round(rgb @ matrix.T + [0, 128, 128]), 0, 255).astype(np.uint8)
