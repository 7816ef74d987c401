from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from leanseg.errors import IncompatibleInputError
from leanseg.files.images import read_image
from leanseg.inference.picture_slices import NO_FRAME, PictureSlices, looks_like
from leanseg.processing.grid import Reorient
from leanseg.processing.preprocess import PreprocessingConfig
from leanseg.prompts.directions import PictureFrame
from leanseg.volume import Volume, VolumeGeometry
from Testing.engine.geometries import geometries

CONFIG = PreprocessingConfig(size_ji=(40, 40))
SHOWN = {  # how Slicer shows slices across S, R and A: left and upper edge
    "S": ("R", "A"),
    "R": ("A", "S"),
    "A": ("R", "S"),
}
LETTERS = {(0, 1): "R", (0, -1): "L", (1, 1): "A", (1, -1): "P", (2, 1): "S", (2, -1): "I"}
OPPOSITE = dict(zip("RLAPSI", "LRPAIS", strict=True))


def axes(i: str, j: str, k: str, shape: tuple[int, int, int] = (3, 32, 32)) -> VolumeGeometry:
    """Voxels of 1 mm whose axes run towards these directions of the patient."""
    towards = {letter: (world, sign) for (world, sign), letter in LETTERS.items()}
    matrix = np.eye(4)
    matrix[:3, :3] = 0
    for column, letter in enumerate((i, j, k)):
        world, sign = towards[letter]
        matrix[world, column] = sign
    return VolumeGeometry(shape, matrix)


def ramp(geometry: VolumeGeometry, direction: str) -> Volume:
    """Brighter towards a direction of the patient."""
    k, j, i = np.indices(geometry.shape)
    ras = geometry.ras_of(np.stack([i, j, k], axis=-1))
    towards = {letter: (world, sign) for (world, sign), letter in LETTERS.items()}
    world, sign = towards[direction]
    return Volume((sign * ras[..., world])[np.newaxis].astype(np.float32), geometry)


@pytest.mark.parametrize(
    ("names", "frame"),
    [
        ("LPS", ("R", "A", "I")),  # NIfTI of BraTS, DICOM
        ("RAS", ("R", "A", "I")),
        ("PLS", ("R", "A", "I")),  # rows and columns exchanged
        ("LPI", ("R", "A", "S")),
        ("PIR", ("A", "S", "L")),  # sagittal
        ("ASL", ("A", "S", "R")),
        ("LIP", ("R", "S", "A")),  # coronal
        ("RSA", ("R", "S", "P")),
    ],
)
def test_slices_are_turned_as_slicer_shows_them(names: str, frame: tuple[str, str, str]) -> None:
    geometry = axes(*names)
    for direction in frame[:2]:
        slices = PictureSlices(ramp(geometry, direction), CONFIG, "mri")
        image = slices.picture(1).image[0]
        rows, columns = image.mean(axis=1), image.mean(axis=0)
        profile = columns if direction == frame[0] else rows
        assert profile[5] > profile[-6] + 0.5, f"{direction} is on the left or at the top"
        assert slices.frame == PictureFrame(*frame)


@given(geometries(max_side=6))
def test_any_oblique_grid_gets_one_of_slicers_three_views(geometry: VolumeGeometry) -> None:
    geometry = VolumeGeometry((geometry.shape[0], 20, 24), geometry.ijk_to_ras)
    values = np.arange(np.prod(geometry.shape), dtype=np.float32).reshape(1, *geometry.shape)
    frame = PictureSlices(Volume(values, geometry), CONFIG, "mri").frame
    to_ras = Reorient.to_ras(geometry)
    normal = "SAR"[to_ras.axes_kji.index(0)]
    assert (frame.left, frame.up) == SHOWN[normal]
    assert frame.near == (normal if to_ras.flips_kji[to_ras.axes_kji.index(0)] else OPPOSITE[normal])


@given(geometries(max_side=4), st.integers(16, 60), st.integers(16, 60), st.booleans())
def test_places_and_masks_find_each_other_on_the_model_grid(
    geometry: VolumeGeometry, height: int, width: int, is_mri: bool
) -> None:
    geometry = VolumeGeometry((geometry.shape[0], height, width), geometry.ijk_to_ras)
    values = np.arange(np.prod(geometry.shape), dtype=np.float32).reshape(1, *geometry.shape)
    slices = PictureSlices(Volume(values, geometry), CONFIG, "mri" if is_mri else "ultrasound")
    mask = np.zeros((height, width), bool)
    mask[2:9, 5:14] = True
    on_grid = slices.onto_grid(mask)
    (place,) = slices.places_on_grid(np.array([[5.0, 9.0]]))
    np.testing.assert_allclose(np.argwhere(on_grid).mean(axis=0), place, atol=0.6)
    back = slices.restored(on_grid[np.newaxis].astype(np.float32))[0] >= 0.5
    assert 2 * (back & mask).sum() / (back.sum() + mask.sum()) > 0.75
    assert back.shape == mask.shape


def test_a_square_picture_of_the_model_size_comes_back_voxel_by_voxel() -> None:
    geometry = axes("P", "L", "S", (2, 40, 40))
    values = np.random.default_rng(0).random((1, 2, 40, 40), dtype=np.float32)
    slices = PictureSlices(Volume(values, geometry), CONFIG, "mri")
    low, high = np.percentile(values[0, 1], (0.5, 99.5))
    expected = np.clip((values[0, 1] - low) / (high - low), 0, 1)
    np.testing.assert_allclose(slices.restored(slices.picture(1).image)[0], expected, atol=1e-6)
    np.testing.assert_allclose(slices.picture(1).image[0], expected.T, atol=1e-6)  # j runs to L, i to P


def plain(shape: tuple[int, int, int], is_calibrated: bool = True) -> Volume:
    geometry = VolumeGeometry(shape, np.diag([-1.0, -1.0, 1.0, 1.0]), is_calibrated)
    return Volume(np.random.default_rng(0).random((1, *shape), dtype=np.float32), geometry)


@pytest.mark.parametrize(
    ("volume", "modality", "has_frame"),
    [
        (plain((3, 40, 40)), "", True),
        (plain((3, 40, 40)), "ultrasound", False),
        (plain((3, 40, 40), is_calibrated=False), "mri", False),
        (plain((1, 40, 40)), "", False),
        (plain((1, 40, 40)), "mri", True),
        (Volume(plain((1, 40, 40)).array, axes("P", "I", "R", (1, 40, 40))), "", True),
    ],
)
def test_the_axes_of_pictures_and_ultrasound_are_not_the_patients(
    volume: Volume, modality: str, has_frame: bool
) -> None:
    slices = PictureSlices(volume, CONFIG, modality)
    assert slices.has_frame == has_frame == (slices.frame != NO_FRAME)


def speckle(shape: tuple[int, int, int], across: int) -> NDArray[np.float32]:
    """Noise whose grains are `across` pixels wide and one high."""
    noise = 0.5 + np.random.default_rng(0).random((shape[0], shape[1], shape[2] + across), dtype=np.float32)
    return np.asarray(np.mean([noise[:, :, n : n + shape[2]] for n in range(across)], axis=0), dtype=np.float32)


def test_grains_that_are_wider_than_high_are_ultrasound() -> None:
    assert looks_like(speckle((2, 60, 60), 4)) == "ultrasound"
    assert looks_like(speckle((2, 60, 60), 1)) == "other"
    assert looks_like(speckle((2, 60, 60), 4).transpose(0, 2, 1)) == "other"
    assert looks_like(np.zeros((3, 60, 60))) == looks_like(speckle((1, 18, 18), 1)) == ""


def test_a_clip_of_ultrasound_has_no_frame_where_nobody_says_what_it_is() -> None:
    clip = Volume(speckle((4, 60, 60), 4)[np.newaxis], plain((4, 60, 60)).geometry)
    assert not PictureSlices(clip, CONFIG).has_frame and PictureSlices(clip, CONFIG, "mri").has_frame


def test_it_warns_where_image_and_name_do_not_go_together() -> None:
    clip = PictureSlices(Volume(speckle((4, 60, 60), 4)[np.newaxis], plain((4, 60, 60)).geometry), CONFIG)
    other = PictureSlices(plain((1, 60, 60)), CONFIG)
    assert clip.contradictions("mri", "It says") == ["It says MRI; the image looks like ultrasound. Compare them."]
    assert other.contradictions("ultrasound", "It says") == [
        "It says ultrasound; the image does not look like ultrasound. Compare them."
    ]
    assert not any(slices.contradictions("", "") for slices in (clip, other))
    assert not clip.contradictions("ultrasound", "") and not other.contradictions("mri", "")
    assert "left and right are those of the picture" in other.warnings("mri")[0]
    assert not clip.warnings("ultrasound") and not PictureSlices(plain((3, 60, 60)), CONFIG).warnings("mri")


@pytest.mark.data
def test_no_real_image_is_mistaken(data_root: Path) -> None:
    """The limits were chosen with these sets, and on them the rule makes no mistake."""
    ultrasound = [path for name in ("busi", "bus_bra") for path in sorted((data_root / name / "images").iterdir())[::9]]
    found = [looks_like(read_image(path).array[0]) for path in ultrasound]
    assert "other" not in found and found.count("ultrasound") >= 0.95 * len(found)
    cases = sorted((data_root / "brats18").glob("Brats*"))[::3]
    mri = [read_image(case / f"{case.name}_{name}.nii.gz") for case in cases for name in ("flair", "t1ce", "t2")]
    assert {looks_like(volume.array[0]) for volume in mri} == {"other"}


def test_the_organ_is_what_is_not_background_or_the_picture_without_padding() -> None:
    values = np.zeros((1, 2, 40, 40), np.float32)
    values[:, :, 10:30, 15:25] = 1 + np.random.default_rng(0).random((1, 2, 20, 10), dtype=np.float32)
    mri = PictureSlices(Volume(values, axes("L", "P", "S", (2, 40, 40))), CONFIG, "mri").picture(0)
    np.testing.assert_array_equal(mri.organ, values[0, 0] > 0)
    wide = PictureSlices(plain((1, 20, 40)), CONFIG).picture(0)
    assert wide.organ.sum() == 20 * 40 and wide.organ[10:30].all()


def test_constant_slices_are_known() -> None:
    volume = plain((3, 40, 40))
    volume.array[0, 1] = 7
    slices = PictureSlices(volume, CONFIG)
    assert [slices.constant(k) for k in range(3)] == [None, 7.0, None]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((1, 2, 40, 40), 3.0), "every value is 3"),
        (np.where(np.arange(40) == 5, np.nan, np.ones((1, 2, 40, 40))), "80 values that are NaN"),
        (np.random.default_rng(0).random((1, 2, 12, 40)), "40 x 12 pixels; at least 16 x 16"),
        (np.random.default_rng(0).random((2, 2, 40, 40)), "2 channels"),
    ],
)
def test_images_that_cannot_be_used_are_refused_at_once(array: NDArray[np.float64], message: str) -> None:
    with pytest.raises(IncompatibleInputError, match=message):
        PictureSlices(Volume(array, VolumeGeometry((2, *array.shape[2:]))), CONFIG)
