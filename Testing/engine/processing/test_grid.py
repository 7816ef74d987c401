import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leanseg.errors import IncompatibleInputError
from leanseg.processing.grid import Crop, GridStep, GridTrace, Pad, Reorient, Resample
from leanseg.volume import Volume, VolumeGeometry
from Testing.engine.geometries import farthest_corner_mm, geometries, indices_of, numbered, voxel_centers


@st.composite
def lossless_steps(draw: st.DrawFn, source: VolumeGeometry) -> GridStep:
    """Reorient, Crop or Pad."""
    kind = draw(st.sampled_from(["to_ras", "reorient", "crop", "pad"]))
    if kind == "to_ras":
        return Reorient.to_ras(source)
    if kind == "reorient":
        k, j, i = draw(st.permutations(range(3)))
        return Reorient(source, (k, j, i), draw(st.tuples(*[st.booleans()] * 3)))
    if kind == "pad":
        borders = st.tuples(*[st.integers(0, 3)] * 3)
        return Pad(source, draw(borders), draw(borders))
    start = draw(st.tuples(*(st.integers(0, n - 1) for n in source.shape)))
    shape = draw(st.tuples(*(st.integers(1, n - s) for n, s in zip(source.shape, start, strict=True))))
    return Crop(source, start, shape)


def assert_same_content(volume: Volume, source: Volume) -> None:
    """Each voxel has the value of the source voxel at its place in the patient, or 0 where there is none."""
    found = indices_of(source.geometry, voxel_centers(volume.geometry))
    index = np.round(found).astype(int)
    np.testing.assert_allclose(found, index, atol=1e-6)
    inside = np.all((index >= 0) & (index < source.geometry.shape), axis=-1)
    k, j, i = index[inside].T
    expected = np.zeros(volume.array.shape, np.float32)
    expected[:, inside] = source.array[:, k, j, i]
    np.testing.assert_array_equal(volume.array, expected)


@given(st.data(), geometries())
def test_reorient_crop_and_pad_move_nothing_in_the_patient(data: st.DataObject, geometry: VolumeGeometry) -> None:
    source = numbered(geometry, channels=2)
    step = data.draw(lossless_steps(geometry))
    moved = step.apply(source)
    assert_same_content(moved, source)
    restored = step.undo(moved)
    assert restored.geometry is geometry
    kept = np.isin(source.array, moved.array)
    np.testing.assert_array_equal(restored.array, np.where(kept, source.array, 0))


@given(geometries())
def test_to_ras_makes_axes_run_right_anterior_superior(geometry: VolumeGeometry) -> None:
    target = Reorient.to_ras(geometry).target
    direction = target.ijk_to_ras[:3, :3] / np.linalg.norm(target.ijk_to_ras[:3, :3], axis=0)
    assert (np.diag(direction) >= 0).all()
    # No other order of axes follows R, A, S better than one whose largest cosine is on the diagonal.
    assert np.abs(direction).max() == pytest.approx(np.abs(np.diag(direction)).max())


def test_to_ras_of_a_sagittal_lps_image() -> None:
    matrix = np.zeros((4, 4))
    matrix[1, 0], matrix[2, 1], matrix[0, 2], matrix[3, 3] = -0.5, -0.6, -3, 1  # i: posterior, j: inferior, k: left
    step = Reorient.to_ras(VolumeGeometry((2, 3, 4), matrix))
    assert step.axes_kji == (1, 2, 0) and step.flips_kji == (True, True, True)
    assert step.target.shape == (3, 4, 2)
    np.testing.assert_allclose(step.target.ijk_to_ras[:3, :3], np.diag([3, 0.5, 0.6]))


@given(st.data(), geometries())
def test_a_trace_returns_to_the_exact_grid(data: st.DataObject, geometry: VolumeGeometry) -> None:
    volume = source = numbered(geometry)
    trace = GridTrace()
    is_lossless = True
    for _ in range(data.draw(st.integers(0, 5))):
        step: GridStep
        if data.draw(st.booleans()):
            step = data.draw(lossless_steps(volume.geometry))
        else:
            step, is_lossless = Resample(volume.geometry, data.draw(st.tuples(*[st.integers(1, 9)] * 3))), False
        before = volume.geometry
        volume = trace.record(step, volume)
        if isinstance(step, Resample):
            assert farthest_corner_mm(before, VolumeGeometry(before.shape, _stretched(volume, before))) < 1e-6
    restored = trace.restore(volume)
    assert restored.geometry is geometry
    if is_lossless:
        kept = np.isin(source.array, volume.array)
        np.testing.assert_array_equal(restored.array, np.where(kept, source.array, 0))


def _stretched(volume: Volume, before: VolumeGeometry) -> np.ndarray:
    """The resampled grid's matrix for voxels as large as before; outer faces must coincide."""
    ratio = np.array(volume.geometry.shape[::-1]) / np.array(before.shape[::-1])
    to_new = np.diag([*ratio, 1.0])
    to_new[:3, 3] = (ratio - 1) / 2
    return np.asarray(volume.geometry.ijk_to_ras @ to_new)


@given(geometries(max_side=12), st.tuples(*[st.integers(1, 24)] * 3), st.tuples(*[st.floats(-2, 2)] * 3))
def test_resampling_keeps_a_linear_ramp(
    geometry: VolumeGeometry, shape: tuple[int, int, int], slope: tuple[float, float, float]
) -> None:
    """Values that are linear in the voxel index stay at their place, away from the edges, which repeat."""
    slope_kji = np.array(slope)
    ramp = np.moveaxis(np.indices(geometry.shape), 0, -1) @ slope_kji
    resampled = Resample(geometry, shape).apply(Volume(ramp[np.newaxis].astype(np.float32), geometry))
    at = indices_of(geometry, voxel_centers(resampled.geometry))
    ratio = np.array(geometry.shape) / np.array(shape)
    reach = np.where(ratio > 1, ratio, 0)
    inner = np.all((at >= reach - 1e-9) & (at <= np.array(geometry.shape) - 1 - reach + 1e-9), axis=-1)
    # When it shrinks by a broken ratio, the sampled triangle leans by a small part of a voxel.
    lean = np.abs(slope_kji) @ np.where(ratio > 1, 0.13, 0)
    error = np.abs(resampled.array[0] - at @ slope_kji)[inner]
    assert error.size == 0 or error.max() <= lean + 1e-3


def test_shrinking_by_two_is_a_triangle_of_four() -> None:
    source = Volume(np.eye(8, dtype=np.float32)[np.newaxis, np.newaxis], VolumeGeometry((1, 8, 8)))
    weights = Resample(source.geometry, (1, 8, 4)).apply(source).array[0, 0].T
    np.testing.assert_allclose(weights[1], [0, 0.125, 0.375, 0.375, 0.125, 0, 0, 0])
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-6)


@given(st.integers(1, 40), st.integers(1, 40))
def test_a_constant_stays_constant(before: int, after: int) -> None:
    source = Volume(np.full((1, 1, 1, before), 0.7, np.float32), VolumeGeometry((1, 1, before)))
    step = Resample(source.geometry, (1, 1, after))
    np.testing.assert_allclose(step.undo(step.apply(source)).array, 0.7, rtol=1e-5)


def test_steps_keep_the_calibration_flag() -> None:
    source = VolumeGeometry((2, 4, 4), np.eye(4), is_calibrated=False)
    for step in (Reorient.to_ras(source), Resample(source, (2, 8, 8)), Crop(source, (0, 0, 0), (1, 1, 1))):
        assert not step.target.is_calibrated
    assert not Pad.centered(source, (2, 8, 8)).target.is_calibrated


def test_pad_is_centered_with_the_odd_voxel_behind() -> None:
    pad = Pad.centered(VolumeGeometry((1, 5, 4)), (1, 8, 8))
    assert (pad.before_kji, pad.after_kji) == ((0, 1, 2), (0, 2, 2))


def test_impossible_boxes_are_refused() -> None:
    source = VolumeGeometry((2, 4, 4))
    with pytest.raises(IncompatibleInputError, match="smaller shape"):
        Pad.centered(source, (2, 3, 8))
    for start, shape in (((0, 0, -1), (1, 1, 1)), ((0, 0, 0), (1, 1, 0)), ((0, 2, 0), (1, 3, 1))):
        with pytest.raises(IncompatibleInputError, match="leaves the volume"):
            Crop(source, start, shape)
