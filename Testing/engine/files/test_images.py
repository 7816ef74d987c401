import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leanseg.files import images, itk
from leanseg.files.images import read_image
from leanseg.files.seg_nrrd import write_volume
from leanseg.volume import VolumeGeometry
from Testing.engine.files.pictures import GRAY, RANDOM, RGB, STACK, refused, written
from Testing.engine.geometries import farthest_corner_mm, geometries, numbered

per_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)


# ── values ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "nrrd", "mha", "mhd", "nii", "nii.gz"])
def test_gray_image_is_a_volume_of_depth_one(tmp_path: Path, suffix: str) -> None:
    volume = read_image(written(GRAY, tmp_path / f"a.{suffix}"))
    assert volume.array.shape[1:] == (1, 40, 50) and volume.array.dtype == np.uint8
    np.testing.assert_array_equal(volume.array[0, 0], GRAY)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("suffix", ["png", "tif", "nrrd", "mha", "nii.gz"])
def test_channels_come_first(tmp_path: Path, suffix: str, channels: int) -> None:
    color = np.concatenate([RGB, RGB], axis=-1)[..., :channels]
    volume = read_image(written(color, tmp_path / f"a.{suffix}", color=True))
    assert volume.array.shape == (channels, 1, 40, 50)
    np.testing.assert_array_equal(np.moveaxis(volume.array[:, 0], 0, -1), color)


def test_jpeg(tmp_path: Path) -> None:
    smooth = np.add.outer(np.arange(40), 2 * np.arange(50)).astype(np.uint8)
    volume = read_image(written(smooth, tmp_path / "a.jpg"))
    assert np.abs(volume.array[0, 0].astype(int) - smooth).max() <= 8


@pytest.mark.parametrize("suffix", ["png", "tif", "nrrd", "nii.gz"])
def test_16_bit_values_are_kept(tmp_path: Path, suffix: str) -> None:
    deep = RANDOM.integers(0, 65536, (40, 50)).astype(np.uint16)
    volume = read_image(written(deep, tmp_path / f"a.{suffix}"))
    assert volume.array.dtype == np.uint16
    np.testing.assert_array_equal(volume.array[0, 0], deep)


@pytest.mark.parametrize("suffix", ["nrrd", "mha", "nii", "nii.gz", "tif"])
def test_a_stack_keeps_type_and_order(tmp_path: Path, suffix: str) -> None:
    volume = read_image(written(STACK, tmp_path / f"a.{suffix}"))
    assert volume.array.dtype == np.int16
    np.testing.assert_array_equal(volume.array[0], STACK)


@pytest.mark.parametrize("suffix", ["nrrd", "mha", "nii.gz"])
def test_an_axis_of_length_one_in_time_is_dropped(tmp_path: Path, suffix: str) -> None:
    one_time = sitk.JoinSeries([sitk.GetImageFromArray(STACK)])
    sitk.WriteImage(one_time, str(tmp_path / f"a.{suffix}"))
    np.testing.assert_array_equal(read_image(tmp_path / f"a.{suffix}").array[0], STACK)


def test_a_name_with_other_letters_and_spaces(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_image(written(GRAY, tmp_path / "Bild ä 图.png")).array[0, 0], GRAY)


def test_a_compressed_file_is_not_mixed_up_with_its_namesake(tmp_path: Path) -> None:
    """ITK issue 2243: asked for a.nii.gz, ITK takes the voxels of an a.nii beside it."""
    written(STACK + 1, tmp_path / "a.nii")
    path = written(STACK, tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read_image(path).array[0], STACK)
    np.testing.assert_array_equal(read_image(tmp_path / "a.nii").array[0], STACK + 1)
    path.write_bytes(path.read_bytes()[:5000])
    refused(path, r"a\.nii\.gz ends before its last pixel")


# ── geometry ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "jpg"])
def test_pictures_have_no_millimeters(tmp_path: Path, suffix: str) -> None:
    geometry = read_image(written(GRAY, tmp_path / f"a.{suffix}", spacing=(0.3, 0.4))).geometry
    assert not geometry.is_calibrated
    np.testing.assert_array_equal(geometry.ijk_to_ras, np.diag([-1, -1, 1, 1]))


def test_resolution_of_print_is_not_a_spacing(tmp_path: Path) -> None:
    jpeg = written(GRAY, tmp_path / "a.jpg")
    content = bytearray(jpeg.read_bytes())
    struct.pack_into(">BHH", content, content.index(b"JFIF\0") + 7, 1, 300, 300)  # dots per inch
    jpeg.write_bytes(content)
    png = written(GRAY, tmp_path / "a.png")
    chunk = b"pHYs" + struct.pack(">IIB", 2835, 2835, 1)  # pixels per meter: 72 dpi
    body = png.read_bytes()
    header_end = 8 + 25
    chunk = struct.pack(">I", 9) + chunk + struct.pack(">I", zlib.crc32(chunk))
    png.write_bytes(body[:header_end] + chunk + body[header_end:])
    for path in (jpeg, png):
        geometry = read_image(path).geometry
        assert geometry.spacing_kji_mm == (1, 1, 1) and not geometry.is_calibrated


@pytest.mark.parametrize("suffix", ["nrrd", "mha", "nii.gz"])
def test_lps_becomes_ras(tmp_path: Path, suffix: str) -> None:
    image = sitk.GetImageFromArray(STACK)
    image.SetSpacing((0.5, 0.75, 3))
    image.SetOrigin((10, 20, 30))
    image.SetDirection((0, 0, 1, 1, 0, 0, 0, 1, 0))  # i to posterior, j to superior, k to left
    sitk.WriteImage(image, str(tmp_path / f"a.{suffix}"))
    geometry = read_image(tmp_path / f"a.{suffix}").geometry
    assert geometry.is_calibrated
    np.testing.assert_allclose(geometry.ras_of(np.zeros(3)), [-10, -20, 30])
    np.testing.assert_allclose(geometry.ras_of(np.array([2, 4, 1])), [-10 - 3, -20 - 1, 30 + 3])
    lps = np.array(image.TransformIndexToPhysicalPoint((2, 4, 1)))
    np.testing.assert_allclose(geometry.ras_of(np.array([2, 4, 1])), lps * [-1, -1, 1])


def test_a_2d_image_keeps_its_spacing(tmp_path: Path) -> None:
    geometry = read_image(written(GRAY, tmp_path / "a.nrrd", spacing=(0.3, 0.4))).geometry
    assert geometry.is_calibrated and geometry.spacing_kji_mm == pytest.approx((1, 0.4, 0.3))


@per_folder
@given(geometries(), st.sampled_from([".nrrd", ".mha"]))
def test_any_grid_survives_a_file(tmp_path: Path, geometry: VolumeGeometry, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    write_volume(numbered(geometry), path)
    volume = read_image(path)
    assert farthest_corner_mm(volume.geometry, geometry) < 1e-4
    np.testing.assert_array_equal(volume.array, numbered(geometry).array)


@per_folder
@given(geometries(), st.sampled_from([".nii", ".nii.gz"]))
def test_any_grid_survives_nifti_to_its_float32(tmp_path: Path, geometry: VolumeGeometry, suffix: str) -> None:
    """NIfTI stores the matrix as float32: 500 mm from the origin that is 3e-5 mm, more after ITK's clean-up."""
    path = tmp_path / f"a{suffix}"
    write_volume(numbered(geometry), path)
    volume = read_image(path)
    assert farthest_corner_mm(volume.geometry, geometry) < 1e-3
    np.testing.assert_array_equal(volume.array, numbered(geometry).array)


# ── errors ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_missing_folder_and_empty(tmp_path: Path) -> None:
    refused(tmp_path / "no.png", "no file")
    (tmp_path / "file").touch()
    refused(tmp_path / "file" / "no.png", "no file")
    refused(tmp_path / "file", r"empty \(0 bytes\)")
    refused(tmp_path, "is a folder; one image file is needed")


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp", "nii", "nii.gz", "nrrd", "mha", "txt", ""])
def test_text_is_no_image(tmp_path: Path, capfd: pytest.CaptureFixture[str], suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(b"These are words, not pixels.\n" * 20)
    refused(path, "not an image that LeanSeg reads")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", ["nrrd", "mha", "nii.gz"])
def test_a_time_axis_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    sitk.WriteImage(sitk.JoinSeries([sitk.GetImageFromArray(STACK)] * 4), str(path))
    refused(path, r"4 axes \(i 50, j 40, k 6, t 4\).*one volume along t")


@pytest.mark.parametrize("suffix", ["nrrd", "nii.gz"])
def test_complex_values_are_refused(tmp_path: Path, suffix: str) -> None:
    refused(written(STACK.astype(np.complex64), tmp_path / f"a.{suffix}"), "complex.*magnitude")


def test_gray_with_opacity_is_refused(tmp_path: Path) -> None:
    refused(written(RGB[..., :2], tmp_path / "a.png", color=True), "pixel type .* without opacity")


def test_sheared_nifti_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = written(STACK, tmp_path / "a.nii")
    content = bytearray(path.read_bytes())
    struct.pack_into("<hh", content, 252, 0, 1)  # no quaternion, only the matrix
    struct.pack_into("<12f", content, 280, 1, 0.3, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0)
    path.write_bytes(content)
    refused(path, "sheared")
    assert capfd.readouterr() == ("", "")


def test_other_formats_are_refused_by_name(tmp_path: Path) -> None:
    refused(written(STACK, tmp_path / "a.vtk"), r"does not read \(VTK\)")


def test_huge_images_are_refused_before_their_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.nrrd"
    path.write_text("NRRD0004\ntype: uint8\ndimension: 3\nsizes: 2000 2000 26\nencoding: raw\n\n")
    refused(path, "104 million values; at most 100 million")
    monkeypatch.setattr(images, "MAX_VALUES", RGB.size - 1)
    monkeypatch.setattr(itk, "read_array", None)
    refused(written(RGB, tmp_path / "a.png", color=True), "million values")


def test_a_protected_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = written(GRAY, tmp_path / "a.png")
    monkeypatch.setattr(Path, "open", denied)  # root may open anything, so the mode of the file shows nothing
    refused(path, "cannot be opened")


def test_others_are_heard_as_before(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    read_image(written(GRAY, tmp_path / "a.png"))
    refused(tmp_path / "no.png", "no file")
    os.write(2, b"a message")
    assert capfd.readouterr().err == "a message"
    assert sitk.ProcessObject.GetGlobalWarningDisplay() == before


# ── real data ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.data
def test_busi_picture(data_root: Path) -> None:
    path = next(iter(sorted((data_root / "busi" / "images").glob("*.png"))), None)
    if path is None:
        pytest.skip("no busi/images in the data folder")
    volume = read_image(path)
    assert volume.array.dtype == np.uint8 and volume.geometry.shape[0] == 1 and not volume.geometry.is_calibrated
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    np.testing.assert_array_equal(volume.array[0, 0], expected)


@pytest.mark.data
def test_duke_volume_lies_where_itk_puts_it(data_root: Path, tmp_path: Path) -> None:
    path = data_root / "duke153" / "dce_post1_crop.nii.gz"
    if not path.is_file():
        pytest.skip("no duke153 in the data folder")
    volume = read_image(path)
    image = sitk.ReadImage(str(path))
    corner = np.array(image.GetSize()) - 1
    lps = np.array(image.TransformIndexToPhysicalPoint(corner.tolist()))
    np.testing.assert_allclose(volume.geometry.ras_of(corner), lps * [-1, -1, 1], atol=1e-6)
    assert volume.geometry.is_calibrated and volume.geometry.shape[0] > 1
    write_volume(volume, tmp_path / "a.nrrd")
    again = read_image(tmp_path / "a.nrrd")
    assert again.geometry.is_close_to(volume.geometry)
    np.testing.assert_array_equal(again.array, volume.array.astype(np.float32))
