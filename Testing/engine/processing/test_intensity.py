import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from leanseg.errors import IncompatibleInputError
from leanseg.processing.intensity import rescale_percentiles, to_gray


def _gray_picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (1, 1, 64, 64)).astype(np.uint8)


def test_gray_is_kept() -> None:
    gray = _gray_picture()
    np.testing.assert_array_equal(to_gray(gray), gray)
    assert to_gray(gray).dtype == np.float32


@pytest.mark.parametrize("channels", [3, 4])
def test_gray_stored_as_color_is_gray(channels: int) -> None:
    gray = _gray_picture()
    color = np.repeat(gray, channels, axis=0)
    color[3:] = 17  # opacity
    np.testing.assert_allclose(to_gray(color), gray, atol=1e-3)


def test_luma_is_that_of_bt_601() -> None:
    picture = np.full((3, 1, 20, 20), 100, np.float32)
    picture[:, 0, 0, 0] = 90, 100, 110
    assert to_gray(picture)[0, 0, 0, 0] == pytest.approx(0.299 * 90 + 0.587 * 100 + 0.114 * 110)


def test_faint_tint_is_fine() -> None:
    """A sepia gray map: each shade leans to red, by less than a quarter of the full scale."""
    tinted = np.concatenate([_gray_picture() * weight for weight in (1.0, 0.92, 0.8)])
    assert to_gray(tinted).shape == (1, 1, 64, 64)


def test_small_colored_marks_are_fine() -> None:
    picture = np.repeat(_gray_picture(), 3, axis=0)
    picture[:, 0, :6, :6] = np.array([255, 220, 0], np.uint8)[:, None, None]  # 36 of 4096 pixels
    assert to_gray(picture).shape == (1, 1, 64, 64)


def test_doppler_and_photographs_are_refused() -> None:
    doppler = np.repeat(_gray_picture(), 3, axis=0)
    doppler[:, 0, 20:40, 20:40] = np.array([200, 20, 0], np.uint8)[:, None, None]
    photograph = np.random.default_rng(1).integers(0, 256, (3, 1, 64, 64)).astype(np.uint8)
    for picture in (doppler, photograph, doppler.astype(np.float32) / 255):
        with pytest.raises(IncompatibleInputError, match="vivid color"):
            to_gray(picture)


@pytest.mark.parametrize("channels", [2, 5])
def test_other_channel_counts_are_refused(channels: int) -> None:
    with pytest.raises(IncompatibleInputError, match=f"{channels} channels"):
        to_gray(np.zeros((channels, 1, 8, 8), np.uint8))


@given(
    hnp.arrays(np.float32, st.tuples(st.just(1), st.integers(1, 3), st.integers(2, 9), st.integers(2, 9)),
               elements=st.floats(-1e4, 1e4, width=32), fill=st.nothing()),
    st.floats(0, 20), st.floats(80, 100),
)  # fmt: skip
def test_rescaling_is_monotone_and_within_0_and_1(array: np.ndarray, low: float, high: float) -> None:
    if np.ptp(array) < 1e-2:
        return
    result = rescale_percentiles(array, low, high)
    assert result.dtype == np.float32 and result.min() >= 0 and result.max() <= 1
    order = np.argsort(array, axis=None, kind="stable")
    assert (np.diff(result.ravel()[order]) >= -1e-6).all()


def test_percentiles_map_to_0_and_1() -> None:
    array = np.arange(101, dtype=np.float32).reshape(1, 1, 1, 101)
    result = rescale_percentiles(array, 10, 90)
    np.testing.assert_allclose(result[0, 0, 0, [0, 10, 50, 90, 100]], [0, 0, 0.5, 1, 1], atol=1e-6)


def test_one_bright_dot_on_black_still_has_contrast() -> None:
    array = np.zeros((1, 1, 50, 50), np.float32)
    array[0, 0, 3, 3] = 9
    assert rescale_percentiles(array, 0.5, 99.5)[0, 0, 3, 3] == 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_counted(value: float) -> None:
    array = np.ones((1, 1, 4, 4), np.float32)
    array[0, 0, 0, :3] = value
    with pytest.raises(IncompatibleInputError, match="3 values"):
        rescale_percentiles(array, 0, 100)


def test_an_empty_image_is_refused() -> None:
    with pytest.raises(IncompatibleInputError, match="every value is 7"):
        rescale_percentiles(np.full((1, 1, 4, 4), 7, np.float32), 0.5, 99.5)
