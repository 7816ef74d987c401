import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from leanseg.processing.measure import LesionMeasurement, measure_slice, volume_ml
from leanseg.volume import VolumeGeometry


def box(shape: tuple[int, int], rows: slice, columns: slice) -> NDArray[np.bool_]:
    mask = np.zeros(shape, dtype=bool)
    mask[rows, columns] = True
    return mask


def rotated_ellipse(half_mm: tuple[float, float], degrees: float, spacing_ji: tuple[float, float]) -> NDArray[np.bool_]:
    """Long half-axis at `degrees` from i towards j; the mask has pixels of `spacing_ji` mm."""
    dj, di = spacing_ji
    y, x = np.mgrid[-150:151, -150:151] * np.array([dj, di])[:, None, None]
    angle = np.deg2rad(degrees)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return np.asarray((along / half_mm[0]) ** 2 + (across / half_mm[1]) ** 2 <= 1)


def only(measured: list[LesionMeasurement]) -> LesionMeasurement:
    (one,) = measured
    assert one.component == 1
    return one


def test_an_empty_mask_has_no_lesion() -> None:
    assert measure_slice(np.zeros((4, 4), bool), (1, 1)) == []


def test_every_lesion_is_measured_for_itself_the_largest_first() -> None:
    mask = box((40, 60), slice(2, 4), slice(3, 9)) | box((40, 60), slice(10, 30), slice(40, 50))
    mask |= box((40, 60), slice(35, 38), slice(1, 5))
    measured = measure_slice(mask, (0.5, 0.25), k=3, unit="px")
    assert [(m.slice, m.component, m.unit) for m in measured] == [(3, n, "px") for n in (1, 2, 3)]
    # 20 x 10, 2 x 6 and 3 x 4 pixels; of the two of 12 pixels the upper one comes first
    assert [m.area for m in measured] == pytest.approx([200 / 8, 12 / 8, 12 / 8])
    assert [m.depth_width_ratio for m in measured] == pytest.approx([10 / 2.5, 1 / 1.5, 1.5 / 1])
    diagonals = [np.hypot(10, 2.5), np.hypot(1, 1.5), np.hypot(1.5, 1)]
    assert [m.long_axis for m in measured] == pytest.approx(diagonals, rel=1e-3)


def test_lesions_measured_together_are_those_measured_alone() -> None:
    first, second = (np.zeros((90, 90), bool) for _ in range(2))
    first[5:40, 5:30] = rotated_ellipse((10, 6), 30, (1, 1))[133:168, 138:163]
    second[50:85, 50:85] = rotated_ellipse((14, 5), 130, (1, 1))[133:168, 133:168]
    apart = [only(measure_slice(mask, (0.3, 0.2))) for mask in (first, second)]
    together = measure_slice(first | second, (0.3, 0.2))
    for one, other in zip(together, sorted(apart, key=lambda m: -m.area), strict=True):
        assert (one.area, one.long_axis, one.short_axis, one.depth_width_ratio) == (
            *(other.area, other.long_axis, other.short_axis),
            other.depth_width_ratio,
        )


def test_pixels_that_touch_at_a_corner_are_one_lesion() -> None:
    mask = np.zeros((6, 6), bool)
    mask[1, 1] = mask[2, 2] = True
    assert only(measure_slice(mask, (1, 1))).area == 2
    mask[4, 4] = True
    assert [m.area for m in measure_slice(mask, (1, 1))] == [2, 1]


def test_one_pixel_reaches_from_edge_to_edge() -> None:
    measured = only(measure_slice(box((5, 5), slice(2, 3), slice(2, 3)), (0.3, 0.4), k=7))
    assert (measured.slice, measured.unit) == (7, "mm")
    assert measured.area == pytest.approx(0.12)
    assert measured.long_axis == pytest.approx(0.5, rel=1e-3)  # the diagonal of 0.3 x 0.4
    assert measured.depth_width_ratio == pytest.approx(0.75)


def test_a_rectangle_by_hand_with_pixels_that_are_not_square() -> None:
    # 40 rows of 0.1 mm and 15 columns of 0.2 mm: 4 mm deep, 3 mm wide, diagonal 5 mm.
    measured = only(measure_slice(box((60, 40), slice(10, 50), slice(20, 35)), (0.1, 0.2)))
    assert measured.area == pytest.approx(12)
    assert measured.long_axis == pytest.approx(5, rel=1e-3)
    # Across the diagonal, the extent is 2 * 3 * 4 / 5.
    assert measured.short_axis == pytest.approx(4.8, rel=1e-2)
    assert measured.depth_width_ratio == pytest.approx(4 / 3)


@pytest.mark.parametrize("degrees", [0, 30, 45, 90, 137])
@pytest.mark.parametrize("spacing_ji", [(0.1, 0.1), (0.1, 0.25), (0.2, 0.1)])
def test_a_rotated_ellipse_by_hand(degrees: float, spacing_ji: tuple[float, float]) -> None:
    a, b = 10.0, 5.0
    measured = only(measure_slice(rotated_ellipse((a, b), degrees, spacing_ji), spacing_ji))
    pixel = max(spacing_ji)
    assert measured.area == pytest.approx(np.pi * a * b, rel=0.01)
    assert measured.long_axis == pytest.approx(2 * a, abs=2 * pixel)
    assert measured.short_axis == pytest.approx(2 * b, abs=2 * pixel)
    angle = np.deg2rad(degrees)
    depth = np.hypot(a * np.sin(angle), b * np.cos(angle))
    width = np.hypot(a * np.cos(angle), b * np.sin(angle))
    assert measured.depth_width_ratio == pytest.approx(depth / width, rel=0.05)


def test_the_short_axis_lies_exactly_across_the_long_one() -> None:
    measured = only(measure_slice(np.eye(100, dtype=bool), (1, 1)))
    assert (measured.long_axis, measured.short_axis) == pytest.approx((100 * 2**0.5, 2**0.5))


def test_holes_and_the_border_of_the_image_change_no_extent() -> None:
    full, hollow = (box((20, 30), slice(0, 20), slice(0, 30)) for _ in range(2))
    hollow[5:15, 5:25] = False
    one, other = only(measure_slice(full, (1, 1))), only(measure_slice(hollow, (1, 1)))
    assert (one.long_axis, one.short_axis) == (other.long_axis, other.short_axis)
    assert (one.area, other.area) == (600, 400)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 3), st.floats(0.05, 3))
def test_sizes_follow_the_spacing_and_not_the_place(seed: int, dj: float, di: float) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random((9, 11)) < 0.3
    mask[4, 5] = True
    plain = measure_slice(mask, (dj, di))
    padded = measure_slice(np.pad(mask, ((3, 1), (2, 7))), (dj, di))
    coarse = measure_slice(mask, (2 * dj, 2 * di), unit="px")
    assert sum(m.area for m in plain) == pytest.approx(mask.sum() * dj * di)
    for one, moved, doubled in zip(plain, padded, coarse, strict=True):
        assert moved.long_axis == pytest.approx(one.long_axis) and moved.area == pytest.approx(one.area)
        assert doubled.long_axis == pytest.approx(2 * one.long_axis) and doubled.area == pytest.approx(4 * one.area)
        assert doubled.depth_width_ratio == pytest.approx(one.depth_width_ratio)
        assert one.short_axis <= one.long_axis <= np.hypot(9 * dj, 11 * di) * (1 + 1e-9)


def test_a_volume_is_voxels_times_their_size() -> None:
    """5 voxels of 0.5 x 2 x 3 mm, oblique: 15 mm^3."""
    turn = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ np.diag([0.5, 2, 3])
    mask = np.zeros((2, 3, 4), bool)
    mask[1, 1, :] = mask[0, 0, 0] = True
    assert volume_ml(mask, VolumeGeometry((2, 3, 4), matrix)) == 0.015
