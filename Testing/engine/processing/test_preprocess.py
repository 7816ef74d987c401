import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leanseg.errors import IncompatibleInputError
from leanseg.processing.preprocess import PreprocessingConfig, preprocess
from leanseg.volume import MAX_VALUES, Volume, VolumeGeometry


def _noise(shape: tuple[int, int, int, int]) -> Volume:
    array = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    return Volume(array, VolumeGeometry(shape[1:], np.diag([-0.2, -0.2, 1, 1])))


def test_an_image_of_the_right_size_is_only_rescaled() -> None:
    """The trained weights depend on these numbers."""
    volume = _noise((1, 1, 256, 256))
    result = preprocess(volume, PreprocessingConfig())
    low, high = np.percentile(volume.array, [0.5, 99.5])
    np.testing.assert_allclose(result.volume.array, np.clip((volume.array - low) / (high - low), 0, 1), atol=1e-6)
    assert result.volume.geometry is volume.geometry and not result.trace.steps


def test_a_wide_image_is_letterboxed() -> None:
    result = preprocess(_noise((1, 1, 128, 512)), PreprocessingConfig((256, 256))).volume
    assert result.array.shape == (1, 1, 256, 256) and result.array.dtype == np.float32
    rows = np.flatnonzero(result.array[0, 0].any(axis=1))
    assert (rows[0], rows[-1]) == (96, 159)
    assert result.geometry.spacing_kji_mm == pytest.approx((1, 0.4, 0.4))


def test_frames_are_kept_and_share_a_scale() -> None:
    array = np.tile(np.linspace(0, 1, 32, dtype=np.float32), (1, 3, 32, 1))
    array[0, 1] *= 0.5
    result = preprocess(Volume(array, VolumeGeometry((3, 32, 32))), PreprocessingConfig((32, 32), (0, 100)))
    np.testing.assert_allclose(result.volume.array, array, atol=1e-6)


@given(
    st.integers(32, 250),
    st.integers(32, 250),
    st.sampled_from([64, 96, 128]),
    st.tuples(st.floats(0.25, 0.75), st.floats(0.25, 0.75)),
)
def test_a_blob_comes_back_to_its_place(height: int, width: int, size: int, center: tuple[float, float]) -> None:
    """Through the letterbox and back, thresholded: the centroid moves by less than half a voxel."""
    j, i = np.indices((height, width))
    radius = 0.2 * min(height, width)
    distance = np.hypot(j - center[0] * (height - 1), i - center[1] * (width - 1))
    blob = (distance <= radius).astype(np.float32)[np.newaxis, np.newaxis]
    source = Volume(blob, VolumeGeometry((1, height, width)))
    model_input = preprocess(source.with_array(np.clip(1 - distance / 500, 0, 1)[None, None]),
                             PreprocessingConfig((size, size)))  # fmt: skip
    mask = source
    for step in model_input.trace.steps:
        mask = step.apply(mask)
    assert mask.geometry.is_close_to(model_input.volume.geometry)
    restored = model_input.trace.restore(mask)
    assert restored.geometry.is_close_to(source.geometry, tolerance_mm=0)
    before = np.argwhere(blob[0, 0] >= 0.5).mean(axis=0)
    after = np.argwhere(restored.array[0, 0] >= 0.5).mean(axis=0)
    assert np.abs(before - after).max() < 0.5


def test_the_longest_thin_image_still_fits() -> None:
    result = preprocess(_noise((1, 1, 16, 3000)), PreprocessingConfig((64, 64)))
    assert result.volume.array.shape == (1, 1, 64, 64)
    assert result.trace.restore(result.volume).array.shape == (1, 1, 16, 3000)


def test_too_small_and_too_large_are_refused_before_any_work() -> None:
    with pytest.raises(IncompatibleInputError, match="15 x 20 pixels; at least 16 x 16"):
        preprocess(_noise((1, 1, 20, 15)), PreprocessingConfig())
    side = int(MAX_VALUES**0.5) + 1
    huge = np.broadcast_to(np.uint8(0), (1, 1, side, side))  # takes no memory
    with pytest.raises(IncompatibleInputError, match="100 million values; at most 100 million"):
        preprocess(Volume(huge, VolumeGeometry((1, side, side))), PreprocessingConfig())
