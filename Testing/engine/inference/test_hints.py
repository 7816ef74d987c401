import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leanseg.errors import LeanSegError
from leanseg.inference.hints import (
    NO_HINTS,
    Box,
    Click,
    Hints,
    Scribble,
    check_hints,
    hint_channels,
    thinned,
)

NONE = np.zeros((0, 2))
SHAPE = (3, 20, 30)


def test_a_click_is_a_bump_of_the_distance() -> None:
    channels = hint_channels([(4, 5)], [(8, 1)], None, None, (10, 12), radius_px=2.0)
    assert channels.shape == (4, 10, 12) and channels.dtype == np.float32
    assert channels[0, 4, 5] == channels[1, 8, 1] == 1
    assert channels[0, 4, 7] == pytest.approx(math.exp(-0.5))  # one radius away
    assert channels[0, 7, 9] == pytest.approx(math.exp(-25 / 8))  # 3 and 4 pixels away: 5
    assert not channels[2:].any()


def test_of_two_clicks_the_nearer_counts() -> None:
    positive = hint_channels([(0, 0), (0, 4)], NONE, None, None, (1, 5), radius_px=1.0)[0, 0]
    np.testing.assert_allclose(positive, np.exp([0, -0.5, -2, -0.5, 0]), rtol=1e-6)


def test_a_click_between_pixels_is_highest_beside_it() -> None:
    positive = hint_channels([(0, 1.5)], NONE, None, None, (1, 4), radius_px=1.0)[0, 0]
    np.testing.assert_allclose(positive, np.exp([-1.125, -0.125, -0.125, -1.125]), rtol=1e-6)


@pytest.mark.parametrize("corners", [(2, 3, 4, 6), (4, 6, 2, 3), (4, 3, 2, 6)])
def test_a_box_is_filled_with_both_corners_whatever_their_order(corners: tuple[int, ...]) -> None:
    box = hint_channels(NONE, NONE, corners, None, (8, 8), 2.0)[2]
    assert box.sum() == 3 * 4 and box[2:5, 3:7].all()


def test_boxes_are_united_and_fill_at_least_a_pixel_inside_the_slice() -> None:
    box = hint_channels(NONE, NONE, [(1.2, 1.2, 1.3, 1.3), (6.6, 6.6, 90, 90)], None, (8, 8), 2.0)[2]
    np.testing.assert_array_equal(np.argwhere(box), [(1, 1), (7, 7)])


def test_an_earlier_mask_is_0_and_1() -> None:
    mask = np.arange(12).reshape(3, 4) * 7
    earlier = hint_channels(NONE, NONE, None, mask, (3, 4), 2.0)[3]
    assert earlier.sum() == 11 and earlier[0, 0] == 0


def test_nothing_shown_is_all_zero() -> None:
    assert not hint_channels(NONE, NONE, None, None, (5, 6), 3.0).any()
    assert not NO_HINTS and Hints(boxes=(Box(0, 0, 0, 1, 1),))


@given(st.lists(st.tuples(st.floats(-3, 12), st.floats(-3, 12)), max_size=5), st.floats(0.5, 8))
def test_channels_are_from_0_to_1(points: list[tuple[float, float]], radius: float) -> None:
    channels = hint_channels(np.reshape(points, (-1, 2)), points[:1] or NONE, (1, 1, 4, 4), None, (9, 10), radius)
    assert channels.min() >= 0 and channels.max() <= 1


def test_a_slice_gets_what_lies_nearest_to_it() -> None:
    hints = Hints(
        clicks=(Click((0.4, 1, 2)), Click((0.6, 3, 4)), Click((2, 5, 6), positive=False)),
        boxes=(Box(2, 1, 2, 3, 4),),
    )
    first, second, third = (hints.in_slice(k) for k in range(3))
    np.testing.assert_array_equal(first.positive, [(1, 2)])
    np.testing.assert_array_equal(second.positive, [(3, 4)])
    np.testing.assert_array_equal(third.negative, [(5, 6)])
    np.testing.assert_array_equal(third.boxes, [(1, 2, 3, 4)])
    assert [one.shows_a_tumor for one in (first, second, third)] == [True, True, True]
    assert hints.slices == (0, 1, 2)


def test_a_negative_click_alone_shows_no_tumor() -> None:
    assert not Hints(clicks=(Click((0, 1, 1), positive=False),)).in_slice(0).shows_a_tumor


def test_a_scribble_is_gone_through_voxel_by_voxel_in_every_slice_that_it_crosses() -> None:
    hints = Hints(scribbles=(Scribble(((0, 2, 2), (0, 2, 5), (2, 2, 5))),))
    np.testing.assert_array_equal(hints.in_slice(0).positive, [(2, 2), (2, 3), (2, 4), (2, 5)])
    np.testing.assert_array_equal(hints.in_slice(1).positive, [(2, 5)])
    np.testing.assert_array_equal(hints.in_slice(2).positive, [(2, 5)])
    assert hints.slices == (0, 1, 2) and not len(hints.points_kji(positive=False))


def test_thinned_keeps_what_is_far_from_the_last_one_kept() -> None:
    line = np.stack([np.zeros(8), np.arange(8.0)], axis=1)
    np.testing.assert_array_equal(thinned(line, 2.5)[:, 1], [0, 3, 6])
    assert thinned(line[:0], 2.5).shape == (0, 2)
    np.testing.assert_array_equal(thinned(np.array([(4, 0, 0), (4, 0, 0.2), (5, 0, 0)]), 0.5), [(4, 0, 0), (5, 0, 0)])


def test_one_more_hint_leaves_the_others() -> None:
    hints = NO_HINTS
    for hint in (Click((0, 1, 1)), Box(0, 1, 1, 2, 2), Scribble(((0, 3, 3),), positive=False)):
        hints = hints.with_hint(hint)
    assert (len(hints.clicks), len(hints.boxes), len(hints.scribbles)) == (1, 1, 1) and not NO_HINTS


@pytest.mark.parametrize(
    ("hints", "message"),
    [
        (Hints((Click((0, 5, 30)),)), r"click at \(k, j, i\) = \(0, 5, 30\) lies outside .* ends at \(2, 19, 29\)"),
        (Hints((Click((-0.6, 5, 5)),)), "The click at .* lies outside"),
        (Hints((Click((float("nan"), 5, 5)),)), "lies outside"),
        (Hints((Click((2.5, 5, 5)),)), "lies outside"),
        (Hints(boxes=(Box(0, 1, 1, 1, 9),)), "The box has no area"),
        (Hints(boxes=(Box(0, 1, 1, 5, 1),)), "The box has no area"),
        (Hints(boxes=(Box(3, 1, 1, 5, 5),)), "The box at .* lies outside"),
        (Hints(scribbles=(Scribble(()),)), "has no points"),
        (Hints(scribbles=(Scribble(((0, 1, 1), (0, 50, 1))),)), "The scribble at .* lies outside"),
        (Hints((Click((0, 5, 5)), Click((0, 5.3, 4.8), False))), r"\(0, 5, 5\) is marked as tumor and as no tumor"),
        (
            Hints((Click((0, 5, 4), False),), scribbles=(Scribble(((0, 5, 1), (0, 5, 9))),)),
            r"\(0, 5, 4\) is marked as tumor and as no tumor",
        ),
    ],
)
def test_hints_that_cannot_be_meant_are_refused(hints: Hints, message: str) -> None:
    with pytest.raises(LeanSegError, match=message) as caught:
        check_hints(hints, SHAPE)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_clicks_on_both_sides_of_an_edge_and_at_the_rim_are_fine() -> None:
    check_hints(Hints((Click((0, 5, 5)), Click((0, 5, 6), False), Click((-0.5, 19.4, 29.4)))), SHAPE)
