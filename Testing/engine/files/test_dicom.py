from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit, RLELossless

from leanseg.errors import UnreadableFileError
from leanseg.files import dicom as dicom_module
from leanseg.files.dicom_geometry import geometry_of
from leanseg.files.images import read_image
from Testing.engine.files.dicom_files import CT_IMAGE, ENHANCED_MR, dicom, items, jpeg, region, save, ybr_full

J, I = np.mgrid[:48, :64]  # noqa: E741
GRAY = (I * 3 + J).astype(np.uint8)
RGB = np.stack([I * 3, J * 4, (I + J) * 2], axis=-1).astype(np.uint8)


def read_rgb(path: Path) -> np.ndarray:
    """(j, i, 3) of the first frame."""
    array = read_image(path).array
    assert array.shape[0] == 3
    return np.moveaxis(array[:, 0], 0, -1).astype(int)


def test_gray_image(tmp_path: Path) -> None:
    volume = read_image(save(dicom(GRAY), tmp_path / "a.dcm"))
    assert volume.array.dtype == np.uint8
    np.testing.assert_array_equal(volume.array[0, 0], GRAY)
    assert not volume.geometry.is_calibrated
    np.testing.assert_array_equal(volume.geometry.ijk_to_ras, np.diag([-1, -1, 1, 1]))


@pytest.mark.parametrize("compression", ["none", "rle"])
def test_monochrome1_becomes_bright_is_high(tmp_path: Path, compression: str) -> None:
    stored = (I * 50 + J).astype(np.uint16)
    header = dicom(stored, "MONOCHROME1", bits=12)
    if compression == "rle":
        header.compress(RLELossless)
    volume = read_image(save(header, tmp_path / "a.dcm"))
    np.testing.assert_array_equal(volume.array[0, 0], 4095 - stored)


def test_stored_values_become_hounsfield_units(tmp_path: Path) -> None:
    stored = (I * 50).astype(np.uint16)
    header = dicom(stored, bits=12, sop_class=CT_IMAGE, RescaleSlope="1", RescaleIntercept="-1024")
    np.testing.assert_array_equal(read_image(save(header, tmp_path / "a.dcm")).array[0, 0], I * 50 - 1024)


@pytest.mark.parametrize("planar", [0, 1])
def test_rgb_interleaved_or_planar(tmp_path: Path, planar: int) -> None:
    data = np.moveaxis(RGB, -1, 0).tobytes() if planar else RGB.tobytes()
    path = save(dicom(RGB, "RGB", data=data, PlanarConfiguration=planar), tmp_path / "a.dcm")
    np.testing.assert_array_equal(read_rgb(path), RGB)


@pytest.mark.parametrize("compression", ["none", "rle"])
def test_ybr_full_becomes_rgb(tmp_path: Path, compression: str) -> None:
    header = dicom(ybr_full(RGB), "YBR_FULL")
    if compression == "rle":
        header.compress(RLELossless)
    assert np.abs(read_rgb(save(header, tmp_path / "a.dcm")) - RGB).max() <= 2


def test_ybr_full_422_becomes_rgb(tmp_path: Path) -> None:
    ybr = ybr_full(RGB)
    pairs = np.stack([ybr[:, ::2, 0], ybr[:, 1::2, 0], ybr[:, ::2, 1], ybr[:, ::2, 2]], axis=-1)
    path = save(dicom(RGB, "YBR_FULL_422", data=pairs.tobytes()), tmp_path / "a.dcm")
    assert np.abs(read_rgb(path) - RGB).max() <= 4  # two pixels share a color


@pytest.mark.parametrize("photometric", ["YBR_FULL_422", "YBR_FULL"])
def test_jpeg_clip_in_color(tmp_path: Path, photometric: str) -> None:
    frames = np.stack([RGB, RGB[::-1], RGB[:, ::-1]])
    data = encapsulate([jpeg(frame, tmp_path) for frame in frames])
    header = dicom(frames, photometric, transfer_syntax=JPEGBaseline8Bit, data=data)
    volume = read_image(save(header, tmp_path / "a.dcm"))
    assert volume.array.shape == (3, 3, 48, 64)
    assert np.abs(np.moveaxis(volume.array, 0, -1).astype(int) - frames).max() <= 8


def test_jpeg_in_gray(tmp_path: Path) -> None:
    header = dicom(GRAY, transfer_syntax=JPEGBaseline8Bit, data=encapsulate([jpeg(GRAY, tmp_path)]))
    volume = read_image(save(header, tmp_path / "a.dcm"))
    assert np.abs(volume.array[0, 0].astype(int) - GRAY).max() <= 3


@pytest.mark.parametrize("pixels", [GRAY, RGB], ids=["gray", "rgb"])
@pytest.mark.parametrize("compressor", ["JPEG2000", "JPEG"])
def test_lossless_compression(tmp_path: Path, pixels: np.ndarray, compressor: str) -> None:
    writer = sitk.ImageFileWriter()
    writer.SetFileName(str(tmp_path / "a.dcm"))
    writer.SetUseCompression(True)
    writer.SetCompressor(compressor)
    writer.Execute(sitk.GetImageFromArray(pixels, isVector=pixels.ndim == 3))
    array = read_image(tmp_path / "a.dcm").array[:, 0]
    np.testing.assert_array_equal(array, np.moveaxis(np.atleast_3d(pixels), -1, 0))


def test_palette_color_becomes_rgb(tmp_path: Path) -> None:
    tables = np.stack([np.arange(256) * weight for weight in (257, 128, 64)]).astype(np.uint16)
    header = dicom(GRAY, "PALETTE COLOR")
    for name, table in zip(("Red", "Green", "Blue"), tables, strict=True):
        setattr(header, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(header, f"{name}PaletteColorLookupTableData", table.tobytes())
    rgb = read_rgb(save(header, tmp_path / "a.dcm"))
    assert np.abs(rgb - np.moveaxis(tables[:, GRAY] >> 8, 0, -1)).max() <= 1


def test_a_clip_has_frames_along_k(tmp_path: Path) -> None:
    frames = np.stack([GRAY + n for n in range(5)])
    header = dicom(frames, SequenceOfUltrasoundRegions=[region((0.01, 0.02), (0, 0, 63, 47))])
    volume = read_image(save(header, tmp_path / "no_suffix"))
    np.testing.assert_array_equal(volume.array[0], frames)
    assert volume.geometry.is_calibrated
    assert volume.geometry.spacing_kji_mm == pytest.approx((1, 0.2, 0.1))


def test_the_largest_tissue_region_in_centimeters_gives_the_scale(tmp_path: Path) -> None:
    regions = [
        region((0.5, 0.5), (0, 0, 63, 47), kind=3),  # a Doppler spectrum
        region((0.5, 0.5), (0, 0, 63, 47), units=4),  # seconds
        region((0.01, 0.01), (0, 0, 9, 9)),
        region((0.02, -0.03), (10, 10, 60, 40)),
    ]
    header = dicom(GRAY, SequenceOfUltrasoundRegions=regions, PixelSpacing=[9, 9])
    spacing = read_image(save(header, tmp_path / "a.dcm")).geometry.spacing_kji_mm
    assert spacing == pytest.approx((1, 0.3, 0.2))


@pytest.mark.parametrize("name", ["PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"])
def test_other_spacings_are_used_in_turn(tmp_path: Path, name: str) -> None:
    header = dicom(GRAY, SequenceOfUltrasoundRegions=[region((0.5, 0.5), (0, 0, 63, 47), kind=3)])
    setattr(header, name, [0.3, 0.2])
    geometry = read_image(save(header, tmp_path / "a.dcm")).geometry
    assert geometry.is_calibrated and geometry.spacing_kji_mm == pytest.approx((1, 0.3, 0.2))


def test_a_region_without_scale_is_none(tmp_path: Path) -> None:
    header = dicom(GRAY, SequenceOfUltrasoundRegions=[region((0.0, 0.0), (0, 0, 63, 47))])
    assert not read_image(save(header, tmp_path / "a.dcm")).geometry.is_calibrated


def test_zero_pixel_spacing_is_refused(tmp_path: Path) -> None:
    path = save(dicom(GRAY, PixelSpacing=[0, 0]), tmp_path / "a.dcm")
    with pytest.raises(UnreadableFileError, match="distance of zero between pixels"):
        read_image(path)


def test_an_oblique_slice_lies_where_its_header_says(tmp_path: Path) -> None:
    row, column = np.array([0.8, 0.6, 0]), np.array([0, 0, -1.0])
    header = dicom(
        GRAY,
        sop_class=CT_IMAGE,
        ImagePositionPatient=[10, 20, 30],
        ImageOrientationPatient=[*row, *column],
        PixelSpacing=[0.5, 0.25],
        SliceThickness="3",
    )
    geometry = read_image(save(header, tmp_path / "a.dcm")).geometry
    lps_of_7_5 = np.array([10, 20, 30]) + 7 * 0.25 * row + 5 * 0.5 * column  # PS3.3 C.7.6.2.1.1
    np.testing.assert_allclose(geometry.ras_of(np.array([7, 5, 0])), lps_of_7_5 * [-1, -1, 1], atol=1e-9)
    np.testing.assert_allclose(geometry.ijk_to_ras[:3, 2], np.cross(row, column) * [-1, -1, 1] * 3, atol=1e-9)


def _enhanced(positions: list[list[float]]) -> dict[str, object]:
    return {
        "SharedFunctionalGroupsSequence": items(
            PixelMeasuresSequence=items(PixelSpacing=[0.5, 0.25]),
            PlaneOrientationSequence=items(ImageOrientationPatient=[0, 1, 0, 0, 0, -1]),
        ),
        "PerFrameFunctionalGroupsSequence": [
            items(PlanePositionSequence=items(ImagePositionPatient=position))[0] for position in positions
        ],
    }


def test_frames_with_positions_are_a_stack(tmp_path: Path) -> None:
    frames = np.stack([GRAY] * 3).astype(np.uint16)
    positions = [[x, 5.0, 7.0] for x in (1.0, 3.0, 5.0)]
    header = dicom(frames, sop_class=ENHANCED_MR, **_enhanced(positions))
    volume = read_image(save(header, tmp_path / "a.dcm"))
    np.testing.assert_array_equal(volume.array[0], frames)
    np.testing.assert_allclose(volume.geometry.ras_of(np.array([0, 0, 2])), [-5, -5, 7])
    assert volume.geometry.spacing_kji_mm == pytest.approx((2, 0.5, 0.25))


def test_frames_at_one_place_are_a_clip() -> None:
    # Asked directly, because SimpleITK from 2.5 on refuses such files: it takes their distance for the slice spacing.
    header = dicom(np.stack([GRAY] * 3), sop_class=ENHANCED_MR, **_enhanced([[1.0, 5.0, 7.0]] * 3))
    assert geometry_of(header, (3, 48, 64)).spacing_kji_mm == pytest.approx((1, 0.5, 0.25))


def test_uneven_frames_are_refused(tmp_path: Path) -> None:
    positions = [[x, 5.0, 7.0] for x in (1.0, 3.0, 1.0, 3.0)]  # two slices at two times
    header = dicom(np.stack([GRAY] * 4).astype(np.uint16), sop_class=ENHANCED_MR, **_enhanced(positions))
    path = save(header, tmp_path / "a.dcm")
    with pytest.raises(UnreadableFileError, match="do not lie in one even stack"):
        read_image(path)


def test_files_without_a_preamble_are_read(tmp_path: Path) -> None:
    header = dicom(GRAY, PixelSpacing=[0.3, 0.2])
    header.file_meta, header.preamble = FileMetaDataset(), None
    header.save_as(tmp_path / "a.dcm", implicit_vr=True, little_endian=True, enforce_file_format=False)
    volume = read_image(tmp_path / "a.dcm")
    np.testing.assert_array_equal(volume.array[0, 0], GRAY)
    assert volume.geometry.spacing_kji_mm == pytest.approx((1, 0.3, 0.2))


@pytest.mark.parametrize("kept", [0.01, 0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("coding", ["plain", "jpeg"])
def test_truncated_files_are_refused_in_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], kept: float, coding: str
) -> None:
    frames = np.stack([RGB] * 3)
    header = dicom(frames, "RGB")
    if coding == "jpeg":
        data = encapsulate([jpeg(RGB, tmp_path)] * 3)
        header = dicom(frames, "YBR_FULL_422", transfer_syntax=JPEGBaseline8Bit, data=data)
    path = save(header, tmp_path / "a.dcm")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(UnreadableFileError) as error:
        read_image(path)
    assert "\n" not in str(error.value) and "a.dcm" in str(error.value)
    assert capfd.readouterr() == ("", "")


def test_a_report_without_pixels_is_refused(tmp_path: Path) -> None:
    header = dicom(GRAY, sop_class="1.2.840.10008.5.1.4.1.1.88.11", Modality="SR")
    for name in ("Rows", "Columns", "PixelData"):
        delattr(header, name)
    path = save(header, tmp_path / "a.dcm")
    with pytest.raises(UnreadableFileError, match=r"without an image \(SR\)"):
        read_image(path)


def test_a_header_whose_pixels_are_missing_is_refused(tmp_path: Path) -> None:
    header = dicom(GRAY)
    del header.PixelData
    path = save(header, tmp_path / "a.dcm")
    with pytest.raises(UnreadableFileError, match=r"a\.dcm"):
        read_image(path)


@pytest.mark.parametrize("content", [b"hello " * 100, b"\0" * 128 + b"DICM", b"\0" * 128 + b"DICM" + b"\xff" * 99])
def test_what_is_not_dicom_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(content)
    with pytest.raises(UnreadableFileError, match=r"a\.dcm"):
        read_image(path)


def test_too_many_values_are_refused_before_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom_module, "MAX_VALUES", 48 * 64 * 2)
    path = save(dicom(np.stack([GRAY] * 3)), tmp_path / "a.dcm")
    with pytest.raises(UnreadableFileError, match="in 3 frames"):
        read_image(path)


def test_malformed_fields_do_not_warn(tmp_path: Path) -> None:
    path = save(dicom(GRAY, ImagePositionPatient=[0.123, 0, 0], StudyDate="20000101"), tmp_path / "a.dcm")
    content = path.read_bytes()
    assert b"0.123" in content
    path.write_bytes(content.replace(b"0.123", b"x.y.z").replace(b"20000101", b"not-date"))
    np.testing.assert_array_equal(read_image(path).array[0, 0], GRAY)
