import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from leanseg.files.images import read_image
from Testing.engine.files.pictures import GRAY, RGB, STACK, refused, written


@pytest.mark.parametrize("kept", [0.3, 0.7, 0.95])
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp", "nrrd", "mha", "nii", "nii.gz"])
@pytest.mark.parametrize("kind", ["gray", "rgb", "stack"])
def test_truncated_files_are_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], kind: str, suffix: str, kept: float
) -> None:
    if kind == "stack" and suffix in ("png", "jpg", "bmp"):
        return
    array = {"gray": GRAY, "rgb": RGB, "stack": STACK}[kind]
    path = written(array, tmp_path / f"a.{suffix}", color=kind == "rgb")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    refused(path, "damaged|ends before its last pixel")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", ["nrrd", "mha"])
def test_truncated_compressed_files_are_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(STACK), str(path), True)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * 0.9)])
    refused(path, "damaged|ends before its last pixel")


def test_gzip_in_several_parts_is_complete(tmp_path: Path) -> None:
    """bgzip and pigz write such files; their last four bytes are the size of the last part only."""
    content = written(STACK, tmp_path / "a.nii").read_bytes()
    path = tmp_path / "b.nii.gz"
    path.write_bytes(gzip.compress(content[:9000]) + gzip.compress(content[9000:]))
    np.testing.assert_array_equal(read_image(path).array[0], STACK)


def _big_endian_nifti() -> bytes:
    header = bytearray(352)
    struct.pack_into(">i", header, 0, 348)
    struct.pack_into(">8h", header, 40, 3, *STACK.shape[::-1], 1, 1, 1, 1)
    struct.pack_into(">hh", header, 70, 4, 16)
    struct.pack_into(">8f", header, 76, 1, 1, 1, 1, 1, 1, 1, 1)
    struct.pack_into(">f", header, 108, 352)
    header[344:348] = b"n+1\0"
    return bytes(header) + STACK.astype(">i2").tobytes()


@pytest.mark.parametrize("suffix", ["nii", "nii.gz"])
def test_big_endian_nifti(tmp_path: Path, suffix: str) -> None:
    path, content = tmp_path / f"a.{suffix}", _big_endian_nifti()
    path.write_bytes(gzip.compress(content) if suffix == "nii.gz" else content)
    np.testing.assert_array_equal(read_image(path).array[0], STACK)
    path.write_bytes(gzip.compress(content[:-1]) if suffix == "nii.gz" else content[:-1])
    refused(path, "ends before its last pixel")


def test_voxels_in_a_truncated_second_file(tmp_path: Path) -> None:
    path = written(STACK, tmp_path / "a.mhd")
    voxels = tmp_path / "a.raw"
    voxels.write_bytes(voxels.read_bytes()[:-10])
    refused(path, "damaged")
    voxels.unlink()
    refused(path, "damaged")


def test_bytes_after_the_end_do_no_harm(tmp_path: Path) -> None:
    for suffix in ("jpg", "bmp", "nii"):
        path = written(GRAY, tmp_path / f"a.{suffix}")
        path.write_bytes(path.read_bytes() + b"\0" * 100)
        assert read_image(path).array.shape == (3 if suffix == "bmp" else 1, 1, 40, 50)
