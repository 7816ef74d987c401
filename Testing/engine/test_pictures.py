from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from leanseg.errors import OutputError
from leanseg.pictures import case_pictures, overlay_outline, uncertainty_colors, write_png

GREEN = (0, 255, 0)


def outlined(mask: np.ndarray) -> np.ndarray:
    picture = overlay_outline(np.full(mask.shape, 100, np.uint8), mask, GREEN)
    assert picture.dtype == np.uint8 and picture.shape == (*mask.shape, 3)
    is_green = (picture == GREEN).all(axis=-1)
    assert (picture[~is_green] == 100).all()
    return is_green


def test_the_outline_is_one_pixel_wide_and_lies_inside_the_mask() -> None:
    mask = np.zeros((7, 8), bool)
    mask[1:6, 2:7] = True
    expected = mask.copy()
    expected[2:5, 3:6] = False
    assert np.array_equal(outlined(mask), expected)


def test_it_is_closed_where_the_mask_reaches_the_border_of_the_image() -> None:
    expected = np.ones((4, 5), bool)
    expected[1:-1, 1:-1] = False
    assert np.array_equal(outlined(np.ones((4, 5), bool)), expected)


def test_without_a_mask_the_picture_is_the_image() -> None:
    assert not outlined(np.zeros((3, 3), bool)).any()


def test_the_image_is_not_painted_on() -> None:
    gray = np.zeros((3, 3), np.uint8)
    overlay_outline(gray, np.ones((3, 3), bool), GREEN)
    assert not gray.any()


def test_uncertainty_goes_from_black_to_yellow_and_gets_ever_brighter() -> None:
    colors = uncertainty_colors(np.linspace(0, 1, 11)[np.newaxis])
    assert colors.shape == (1, 11, 3) and colors.dtype == np.uint8
    assert tuple(colors[0, 0]) == (0, 0, 4) and tuple(colors[0, -1]) == (252, 255, 164)
    assert (np.diff(colors[0].astype(int).sum(axis=-1)) > 0).all()


def test_uncertainty_out_of_range_takes_the_colors_of_the_ends() -> None:
    np.testing.assert_array_equal(
        uncertainty_colors(np.array([[-1.0, 2.0]])), uncertainty_colors(np.array([[0.0, 1.0]]))
    )


def test_the_pictures_of_a_case_are_image_mask_uncertainty_and_truth() -> None:
    gray = np.full((6, 7), 100, np.uint8)
    mask, truth = np.zeros((6, 7), bool), np.zeros((6, 7), bool)
    mask[1, 2], truth[4, 5] = True, True
    uncertainty = np.linspace(0, 1, 42, dtype=np.float32).reshape(6, 7)
    pictures = case_pictures(gray, mask, uncertainty, truth)
    assert list(pictures) == ["image", "mask", "uncertainty", "truth"]
    assert (pictures["image"] == 100).all() and pictures["image"].shape == (6, 7, 3)
    for title, marked in (("mask", mask), ("truth", truth)):
        assert np.array_equal((pictures[title] != 100).any(axis=-1), marked)
    assert (pictures["mask"][1, 2] != pictures["truth"][4, 5]).any(), "told apart by color"
    np.testing.assert_array_equal(pictures["uncertainty"], uncertainty_colors(uncertainty))


def test_a_png_keeps_every_pixel(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    write_png(picture, tmp_path / "picture.png")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "picture.png"))), picture)
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]


def test_a_png_that_cannot_be_written_is_named_and_nothing_else_is_said(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(OutputError, match=r"picture.png cannot be written. Choose another folder"):
        write_png(np.zeros((2, 2, 3), np.uint8), tmp_path / "missing" / "picture.png")
    assert capfd.readouterr() == ("", "")
