import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from leanseg.errors import IncompatibleInputError
from leanseg.phantom import ultrasound_phantom
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


def _speckle(k: int = 1) -> np.ndarray:
    """(k, j, i) in [0, 1], mostly dark and smooth, as ultrasound is: a phantom."""
    return ultrasound_phantom("benign", frames=k, shape_ji=(96, 120)).image.array[0] / 255


def _smooth(seed: int, shape_ji: tuple[int, int] = (96, 120)) -> np.ndarray:
    """(j, i) in [0, 1], with large soft shapes."""
    noise = np.fft.fft2(np.random.default_rng(seed).standard_normal(shape_ji))
    fj, fi = np.fft.fftfreq(shape_ji[0])[:, None], np.fft.fftfreq(shape_ji[1])
    soft = np.fft.ifft2(noise * np.exp(-2 * np.pi**2 * 144 * (fj**2 + fi**2))).real
    return np.asarray((soft - soft.min()) / np.ptp(soft))


TINTS = {
    "faint sepia": (1, 0.92, 0.8),
    "sepia": (1, 0.89, 0.7),
    "amber": (1, 0.85, 0.6),
    "deep amber": (1, 0.7, 0.25),
    "blue": (0.6, 0.8, 1),
    "green": (0.5, 1, 0.6),
}


@pytest.mark.parametrize("name", TINTS)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("picture", ["speckle", "noise", "clip"])
def test_a_tinted_gray_map_is_fine(name: str, dtype: str, picture: str) -> None:
    gray = _gray_picture()[0] / 255 if picture == "noise" else _speckle(k=2 if picture == "clip" else 1)
    tinted = (np.stack([gray * weight for weight in TINTS[name]]) * 255).astype(dtype)
    result = to_gray(tinted)
    assert result.shape == (1, *gray.shape)
    np.testing.assert_allclose(result[0], 255 * gray * np.dot(TINTS[name], (0.299, 0.587, 0.114)), atol=1)


def test_a_tinted_map_whose_highlights_are_white_is_fine() -> None:
    tinted = np.clip(np.stack([_speckle() * weight for weight in (1.6, 1.4, 1.1)]), 0, 1)
    assert to_gray((255 * tinted).astype(np.uint8)).shape == (1, 1, 96, 120)


def test_small_colored_marks_on_a_tinted_map_are_fine() -> None:
    tinted = np.stack([_speckle() * weight for weight in TINTS["amber"]])
    tinted[:, 0, :10, :10] = np.array([0, 1, 1])[:, None, None]  # 100 of 11520 pixels
    assert to_gray(tinted).shape == (1, 1, 96, 120)


def test_color_noise_of_lossy_compression_is_fine() -> None:
    noise = np.random.default_rng(0).normal(0, 5, (3, 1, 96, 120))
    assert to_gray(np.clip(255 * _speckle() + noise, 0, 255).astype(np.uint8)).shape == (1, 1, 96, 120)


def test_small_colored_marks_are_fine() -> None:
    picture = np.repeat(_gray_picture(), 3, axis=0)
    picture[:, 0, :6, :6] = np.array([255, 220, 0], np.uint8)[:, None, None]  # 36 of 4096 pixels
    assert to_gray(picture).shape == (1, 1, 64, 64)


def refused(picture: np.ndarray) -> None:
    for scaled in (picture.astype(np.float32), (255 * picture).astype(np.uint8)):
        with pytest.raises(IncompatibleInputError, match=r"so it is Doppler or a photograph; a gray .* Switch"):
            to_gray(scaled)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("muted", [0.2, 0.4])
def test_a_photograph_of_soft_muted_colors_is_refused(seed: int, muted: float) -> None:
    """R, G and B differ from their mean by some tenths of the full scale at the most, and change slowly."""
    light, colors = _smooth(100 + seed), np.stack([_smooth(3 * seed + n) for n in range(3)])
    picture = 0.2 + 0.6 * light + muted * (colors - colors.mean(axis=0))
    assert np.ptp(picture, axis=0).max() < 0.4
    refused(np.clip(picture, 0, 1)[:, np.newaxis])


def test_a_landscape_is_refused() -> None:
    """Pale blue above, dull green below."""
    light = 0.6 + 0.4 * _smooth(0)
    picture = np.stack([light * weight for weight in (0.45, 0.6, 0.4)])
    picture[:, :48] = np.stack([light * weight for weight in (0.75, 0.85, 0.95)])[:, :48]
    refused(picture[:, np.newaxis])


@pytest.mark.parametrize("box", [(10, 20), (30, 40), (60, 90), (84, 108)])
@pytest.mark.parametrize("kind", ["red", "red and blue", "red on amber"])
def test_doppler_of_any_extent_is_refused(box: tuple[int, int], kind: str) -> None:
    weights = TINTS["amber"] if kind == "red on amber" else (1, 1, 1)
    picture = np.stack([_speckle()[0] * weight for weight in weights])
    height, width = box
    flow = np.stack([0.3 + 0.7 * _smooth(5), 0.2 * _smooth(6), 0.1 * _smooth(7)])
    picture[:, 6 : 6 + height, 6 : 6 + width] = flow[:, :height, :width]
    if kind == "red and blue":
        picture[:, 6 : 6 + height, 6 : 6 + width // 2] = flow[::-1, :height, : width // 2]
    refused(picture[:, np.newaxis])


def test_doppler_on_a_flat_image_is_refused() -> None:
    """No gray is as bright as the red is."""
    picture = np.full((3, 1, 60, 60), 0.8)
    picture[:, :, 20:40, 20:40] = 0.1
    picture[:, :, 5:15, 5:15] = np.array([0.8, 0.1, 0.1])[:, None, None, None]
    refused(picture)


def test_vivid_color_is_refused() -> None:
    doppler = np.repeat(_gray_picture(), 3, axis=0)
    doppler[:, 0, 20:40, 20:40] = np.array([200, 20, 0], np.uint8)[:, None, None]
    photograph = np.random.default_rng(1).integers(0, 256, (3, 1, 64, 64)).astype(np.uint8)
    for picture in (doppler, photograph, doppler.astype(np.float32) / 255):
        with pytest.raises(IncompatibleInputError, match="it is Doppler or a photograph"):
            to_gray(picture)


@pytest.mark.parametrize("channels", [2, 5])
def test_other_channel_counts_are_refused(channels: int) -> None:
    with pytest.raises(IncompatibleInputError, match=rf"{channels} channels; gray \(1\) or RGB \(3\) is needed\. Save"):
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
