import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from leanseg.processing.brain import (
    SEQUENCES,
    BrainPreprocessingConfig,
    brain_mask,
    preprocess_brain,
)
from leanseg.processing.grid import GridTrace
from leanseg.volume import Volume, VolumeGeometry
from Testing.engine.geometries import directions, indices_of

SMALL = BrainPreprocessingConfig(size_ji=(64, 48))
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""ijk_to_ras of the files of BraTS: i runs to the left, j to the back."""


def head(
    shape: tuple[int, int, int] = (20, 60, 50), matrix: NDArray[np.float64] = LPS, dtype: str = "uint8", seed: int = 0
) -> dict[str, Volume]:
    """Four sequences, 0 outside an ellipsoid whose box is k 3 to 14, j 10 to 49, i 8 to 37."""
    k, j, i = np.indices(shape)
    inside = ((k - 8.5) / 5.9) ** 2 + ((j - 29.5) / 19.9) ** 2 + ((i - 22.5) / 14.9) ** 2 <= 1
    random = np.random.default_rng(seed)
    geometry = VolumeGeometry(shape, matrix)
    return {
        name: Volume((random.integers(20, 200, shape) * inside)[np.newaxis].astype(dtype), geometry)
        for name in SEQUENCES
    }


# ── values ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_sequence_is_a_zscore_inside_the_brain_and_0_outside() -> None:
    sequences = head()
    result = preprocess_brain(sequences, SMALL)
    back = result.trace.restore(result.volume).array
    mask = sequences["t1"].array[0] > 0
    for channel, name in zip(back, ("flair", "t1ce", "t1", "t2"), strict=True):
        values = sequences[name].array[0][mask].astype(float)
        np.testing.assert_allclose(channel[mask], (values - values.mean()) / values.std(), atol=1e-5)
        assert not channel[~mask].any()
    assert result.presence == (True, True, True, True)


def test_the_brain_is_where_any_sequence_is_above_0() -> None:
    sequences = head()
    sequences["t2"].array[0, 8, 25:28, 20:23] = 0  # a hole in one sequence is brain in the others
    mask = brain_mask(sequences.values())
    np.testing.assert_array_equal(mask, sequences["t1"].array[0] > 0)
    result = preprocess_brain(sequences, SMALL)
    hole = result.trace.restore(result.volume).array[3, 8, 25:28, 20:23]
    assert np.ptp(hole) == 0 and hole[0, 0] < -1


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32", "float64"])
def test_the_type_of_the_file_does_not_matter(dtype: str) -> None:
    expected = preprocess_brain(head(), SMALL).volume.array
    result = preprocess_brain(head(dtype=dtype), SMALL).volume.array
    assert result.dtype == np.float32 and result.flags.c_contiguous
    np.testing.assert_allclose(result, expected, atol=1e-6)


def test_scale_and_offset_of_the_scanner_do_not_matter() -> None:
    sequences = head(dtype="float32")
    scaled = {name: v.with_array(np.where(v.array > 0, v.array * 7 + 300, 0)) for name, v in sequences.items()}
    result = preprocess_brain(scaled, SMALL).volume.array
    np.testing.assert_allclose(result, preprocess_brain(sequences, SMALL).volume.array, atol=1e-4)


def test_values_below_0_outside_the_brain_are_background() -> None:
    sequences = head(dtype="int16")
    expected = preprocess_brain(sequences, SMALL).volume.array
    low = {name: v.with_array(np.where(v.array > 0, v.array, np.int16(-5))) for name, v in sequences.items()}
    np.testing.assert_array_equal(preprocess_brain(low, SMALL).volume.array, expected)


def test_the_images_are_left_as_they_were() -> None:
    sequences, before = head(), head()
    preprocess_brain(sequences, SMALL)
    for name in SEQUENCES:
        np.testing.assert_array_equal(sequences[name].array, before[name].array)


# ── missing sequences ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kept", [("flair",), ("t1ce",), ("t2", "t1"), ("t1", "flair", "t2")])
def test_a_missing_sequence_is_a_channel_of_zeros(kept: tuple[str, ...]) -> None:
    sequences = head()
    result = preprocess_brain({name: sequences[name] for name in kept}, SMALL)
    assert result.presence == tuple(name in kept for name in SEQUENCES)
    complete = preprocess_brain(sequences, SMALL).volume.array
    for c, name in enumerate(SEQUENCES):
        expected = complete[c] if name in kept else np.zeros_like(complete[c])
        np.testing.assert_array_equal(result.volume.array[c], expected)


@pytest.mark.parametrize("value", [0, 77])
def test_a_constant_sequence_counts_as_missing_and_not_as_brain(value: int) -> None:
    sequences = head()
    sequences["t1"] = sequences["t1"].with_array(np.full_like(sequences["t1"].array, value))
    sequences["t2"] = sequences["t1"]  # two placeholders may be equal
    result = preprocess_brain(sequences, SMALL)
    assert result.presence == (True, True, False, False) and not result.volume.array[2:].any()
    without = preprocess_brain({name: sequences[name] for name in ("flair", "t1ce")}, SMALL)
    np.testing.assert_array_equal(result.volume.array, without.volume.array)


def test_a_sequence_that_is_constant_in_the_brain_counts_as_missing() -> None:
    sequences = head(dtype="float32")
    sequences["t1ce"] = sequences["t1ce"].with_array(np.float32(0.1) * (sequences["t1ce"].array > 0))
    result = preprocess_brain(sequences, SMALL)
    assert result.presence == (True, False, True, True) and not result.volume.array[1].any()


def test_the_order_of_the_channels_is_the_models() -> None:
    config = BrainPreprocessingConfig(("t2", "flair"), (64, 48))
    sequences = {name: volume for name, volume in head().items() if name in config.sequences}
    result, usual = preprocess_brain(sequences, config), preprocess_brain(sequences, SMALL)
    np.testing.assert_array_equal(result.volume.array, usual.volume.array[[3, 0]])


# ── the grid ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_box_of_the_brain_lies_in_the_middle_and_empty_slices_are_left_away() -> None:
    result = preprocess_brain(head(), SMALL)
    assert result.volume.array.shape == (4, 12, 64, 48)
    inside = result.volume.array.any(axis=0)
    extent = [np.flatnonzero(inside.any(axis=axes))[[0, -1]].tolist() for axes in ((1, 2), (0, 2), (0, 1))]
    assert extent == [[0, 11], [12, 51], [9, 38]]
    assert result.volume.geometry.spacing_kji_mm == pytest.approx((1, 1, 1))


def test_the_default_grid_is_192_x_160_at_1_mm_in_brats_order() -> None:
    config = BrainPreprocessingConfig()
    assert config.sequences == ("flair", "t1ce", "t1", "t2")
    result = preprocess_brain(head(matrix=LPS @ np.diag([3.0, 3.0, 5.0, 1.0])), config)
    assert result.volume.array.shape == (4, 12, 192, 160)
    assert result.volume.geometry.spacing_kji_mm == pytest.approx((5, 1, 1))


def test_the_slices_can_be_resampled_too() -> None:
    config = BrainPreprocessingConfig(size_ji=(64, 48), spacing_k_mm=1.0)
    result = preprocess_brain(head(matrix=np.diag([1.0, 1.0, 5.0, 1.0])), config)
    assert result.volume.array.shape == (4, 60, 64, 48)
    assert result.trace.restore(result.volume).array.shape == (4, 20, 60, 50)


def test_a_brain_larger_than_the_grid_is_scaled_down_and_not_cut() -> None:
    sequences = head(matrix=np.diag([2.0, 2.0, 2.0, 1.0]))  # 80 x 60 mm
    result = preprocess_brain(sequences, BrainPreprocessingConfig(size_ji=(64, 40)))
    assert result.volume.array.shape == (4, 12, 64, 40)
    assert result.volume.geometry.spacing_kji_mm == pytest.approx((2, 1.5, 1.5), rel=0.02)
    mask = brain_mask(sequences.values())
    moved = sequences["t1"].with_array(mask[np.newaxis].astype(np.float32))
    for step in result.trace.steps:
        moved = step.apply(moved)
    back = result.trace.restore(moved).array[0] >= 0.5
    assert 2 * (back & mask).sum() / (back.sum() + mask.sum()) > 0.98


def test_moving_values_and_mask_first_is_the_moved_zscore() -> None:
    """What the module does to save memory, against the plain order: normalize, then move."""
    matrix = np.diag([-1.3, 0.8, 4.0, 1.0])
    sequences = head(matrix=matrix, dtype="int16")
    result = preprocess_brain(sequences, SMALL)
    mask = brain_mask(sequences.values())
    values = sequences["t2"].array[0][mask].astype(float)
    zscore = np.zeros(mask.shape, np.float32)
    zscore[mask] = (values - values.mean()) / values.std()
    moved = Volume(zscore[np.newaxis], sequences["t2"].geometry)
    for step in result.trace.steps:
        moved = step.apply(moved)
    np.testing.assert_allclose(result.volume.array[3], moved.array[0], atol=1e-4)


def test_the_axes_run_right_front_and_up_whatever_the_file_says() -> None:
    shape, ras = (20, 60, 50), np.eye(4)
    upright = head(shape, ras)
    expected = preprocess_brain(upright, SMALL)
    turned = {
        name: Volume(np.ascontiguousarray(v.array[:, ::-1, :, ::-1].transpose(0, 3, 1, 2)), _turned(shape))
        for name, v in upright.items()
    }
    result = preprocess_brain(turned, SMALL)
    np.testing.assert_allclose(result.volume.array, expected.volume.array, atol=1e-6)
    assert result.volume.geometry.is_close_to(expected.volume.geometry)
    assert result.trace.restore(result.volume).geometry.is_close_to(turned["t1"].geometry, tolerance_mm=0)


def _turned(shape: tuple[int, int, int]) -> VolumeGeometry:
    """Axes k, j, i are: to the left, down, to the front."""
    k, j, i = shape
    matrix = np.array([[0, 0, -1.0, i - 1], [1, 0, 0, 0], [0, -1, 0, k - 1], [0, 0, 0, 1]])
    return VolumeGeometry((i, k, j), matrix)


@given(directions(), st.tuples(*[st.floats(0.7, 1.4)] * 3), st.integers(0, 9))
def test_every_voxel_keeps_its_place_in_the_patient(
    direction: NDArray[np.float64], spacing: tuple[float, float, float], seed: int
) -> None:
    """A small bright ball ends up at the RAS position where it was, on the model grid and back."""
    matrix = np.eye(4)
    matrix[:3, :3] = direction * spacing
    matrix[:3, 3] = np.random.default_rng(seed).uniform(-100, 100, 3)
    shape = (40, 44, 48)
    k, j, i = np.indices(shape)
    ball = (k - 17) ** 2 + (j - 25) ** 2 + (i - 20) ** 2 <= 9
    array = np.full((1, *shape), 100, np.int16)
    array[0, ball] = 1000
    source = VolumeGeometry(shape, matrix)
    result = preprocess_brain({"t1": Volume(array, source)}, BrainPreprocessingConfig(size_ji=(96, 96)))
    bright = np.argwhere(result.volume.array[2] > 0.5 * result.volume.array[2].max()).mean(axis=0)
    where = indices_of(source, result.volume.geometry.ras_of(bright[::-1]))
    assert np.abs(where - (17, 25, 20)).max() < 0.7
    back = result.trace.restore(result.volume)
    assert back.geometry.is_close_to(source, tolerance_mm=1e-9)
    returned = np.argwhere(back.array[2] > 0.5 * back.array[2].max()).mean(axis=0)
    assert np.abs(returned - (17, 25, 20)).max() < 0.5


def test_a_mask_comes_back_exactly_where_the_spacing_fits() -> None:
    sequences = head()
    trace = preprocess_brain(sequences, SMALL).trace
    mask = sequences["t1"].with_array((sequences["t1"].array > 100).astype(np.uint8))
    moved = mask
    for step in trace.steps:
        moved = step.apply(moved)
    assert moved.array.dtype == np.uint8 and moved.array.shape == (1, 12, 64, 48)
    np.testing.assert_array_equal(trace.restore(moved).array, mask.array)
    assert isinstance(trace, GridTrace) and [type(s).__name__ for s in trace.steps] == ["Crop", "Reorient", "Pad"]


def test_a_single_axial_slice_passes() -> None:
    result = preprocess_brain(
        {n: Volume(v.array[:, 8:9], VolumeGeometry((1, 60, 50), LPS)) for n, v in head().items()}, SMALL
    )
    assert result.volume.array.shape == (4, 1, 64, 48)


def test_the_volume_of_the_brain_tells_whether_the_skull_is_there() -> None:
    result = preprocess_brain(head(), SMALL)
    assert result.brain_ml == pytest.approx((head()["t1"].array > 0).sum() / 1000) and result.looks_skull_stripped
    whole_head = head(matrix=np.diag([5.0, 5.0, 15.0, 1.0]))  # 250 mm high and wide
    assert not preprocess_brain(whole_head, BrainPreprocessingConfig()).looks_skull_stripped
