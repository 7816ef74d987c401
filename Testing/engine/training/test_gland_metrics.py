"""Hand-made glands: every expectation is counted, not computed by the code under test."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from leanseg.training.gland_metrics import gland_metrics, objects

Mask = NDArray[np.bool_]


def boxes(*corners: tuple[int, int, int, int], shape: tuple[int, int] = (40, 50)) -> Mask:
    """Rectangles (top, left, height, width)."""
    mask = np.zeros(shape, bool)
    for top, left, height, width in corners:
        mask[top : top + height, left : left + width] = True
    return mask


TWO = boxes((2, 2, 10, 10), (20, 20, 10, 20))


def test_a_perfect_prediction() -> None:
    result = gland_metrics([(TWO, TWO)])
    assert (result.f1, result.object_dice, result.object_hausdorff_px) == (1, 1, 0)


def test_a_gland_that_was_split_is_one_hit_and_one_false_alarm() -> None:
    truth = boxes((10, 10, 10, 20))
    predicted = boxes((10, 10, 10, 12), (10, 23, 10, 7))  # 60 % and 35 % of it, a column apart
    result = gland_metrics([(predicted, truth)])
    assert result.f1 == pytest.approx(2 / (2 + 1))
    # of the predicted 120 and 70 pixels: Dice 240/320 and 140/270; of the gland: Dice with the larger part
    ours = (120 * 240 / 320 + 70 * 140 / 270) / 190
    assert result.object_dice == pytest.approx((ours + 240 / 320) / 2)
    assert result.object_hausdorff_px == pytest.approx(((120 * 8 + 70 * 13) / 190 + 8) / 2)


def test_two_glands_that_were_joined_are_one_hit_and_one_miss() -> None:
    truth = boxes((5, 5, 10, 10), (5, 17, 10, 10))
    result = gland_metrics([(boxes((5, 5, 10, 22)), truth)])
    assert result.f1 == pytest.approx(2 / (2 + 1))


@pytest.mark.parametrize(("width", "f1"), [(10, 1.0), (9, 0.0)])
def test_half_of_a_gland_is_enough(width: int, f1: float) -> None:
    assert gland_metrics([(boxes((5, 5, 10, width)), boxes((5, 5, 10, 20)))]).f1 == f1


def test_an_empty_prediction_is_zero_and_as_far_as_the_image_is_wide() -> None:
    result = gland_metrics([(np.zeros_like(TWO), TWO)])
    assert (result.f1, result.object_dice) == (0, 0)
    assert result.object_hausdorff_px == math.hypot(40, 50)


def test_glands_where_there_are_none_count_as_much() -> None:
    result = gland_metrics([(TWO, np.zeros_like(TWO))])
    assert (result.f1, result.object_dice) == (0, 0)
    assert result.object_hausdorff_px == math.hypot(40, 50)


def test_nothing_where_there_is_nothing_is_right() -> None:
    result = gland_metrics([(np.zeros_like(TWO), np.zeros_like(TWO))])
    assert (result.f1, result.object_dice, result.object_hausdorff_px) == (1, 1, 0)


def test_what_overlaps_nothing_is_as_far_as_the_nearest_gland() -> None:
    truth = boxes((2, 2, 4, 4), (2, 30, 4, 4))
    predicted = boxes((2, 2, 4, 4), (2, 20, 4, 4))  # the second is 10 columns left of the second gland, 18 of the first
    result = gland_metrics([(predicted, truth)])
    assert result.f1 == pytest.approx(2 / (2 + 1 + 1))
    assert result.object_dice == pytest.approx(0.5)
    assert result.object_hausdorff_px == pytest.approx((10 / 2 + 10 / 2) / 2)


def test_large_glands_weigh_more_also_across_images() -> None:
    large, small = boxes((0, 0, 20, 20)), boxes((0, 0, 10, 10))
    result = gland_metrics([(large, large), (np.zeros_like(small), small)])
    assert result.f1 == pytest.approx(2 / 3)
    assert result.object_dice == pytest.approx((1 + 400 / 500) / 2)


def test_corners_that_touch_make_one_object() -> None:
    assert objects(boxes((0, 0, 3, 3), (3, 3, 3, 3))).max() == 1
    assert objects(TWO).max() == 2


def test_bad_masks_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Two masks of one \(height, width\) are needed; got \(40, 50\) and \(3, 3\)"):
        gland_metrics([(TWO, np.zeros((3, 3)))])
    with pytest.raises(ValueError, match=r"A mask is \(height, width\); got \(1, 40, 50\)"):
        gland_metrics([(TWO[None], TWO)])
    with pytest.raises(ValueError, match="There is no image to measure"):
        gland_metrics([])
