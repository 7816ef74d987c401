"""What is segmented next, by what has been found; a segmentation whose answers are known."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from leanseg.inference.decisions import BranchConfig, DynamicConfig
from leanseg.inference.slice_search import FOUND, MARGIN, SliceSearch, near, spread_out, window_around

SIZE = (96, 80)
CROPS = (
    BranchConfig("crop_32", "crop", (32, 32), (), 3),
    BranchConfig("crop_48", "crop", (48, 48), (), 7),
    BranchConfig("whole", "whole", SIZE, (), 50),
)
CONFIG = DynamicConfig(CROPS, ("WT",), 1, 2, (0.0,), skip_bias=2.0, probe_mm=4.0, follow=True)
EMPTY, DOUBTFUL, CERTAIN = 0, 1, 2
"""Slices that are skipped, that only the margin keeps, and of which the decision network is certain."""
OUTPUTS = {EMPTY: [9, 0, 0, 0], DOUBTFUL: [1, 0, 0, 0], CERTAIN: [0, 9, 9, 9.5]}
SQUARE = (slice(40, 50), slice(30, 42))


def search_of(slices: list[int], config: DynamicConfig = CONFIG, bias: float = 0.0, **options: Any) -> SliceSearch:
    scores = np.array([OUTPUTS[one] for one in slices], np.float64)
    scores[:, 0] -= config.skip_bias
    return SliceSearch(scores, config, SIZE, options.pop("spacing_mm", 1.0), bias, **options)


def rounds(search: SliceSearch, truth: NDArray[np.bool_]) -> list[list[int]]:
    """What is segmented, round by round, if everything that is looked at is found."""
    found, chosen, done = np.zeros_like(truth), search.first(), []
    while chosen.size:
        found[chosen] = truth[chosen]
        done.append(chosen.tolist())
        chosen = search.following(found, set())
    return done


def tumor_in(slices: list[int], number: int, pixels: tuple[slice, slice] = SQUARE) -> NDArray[np.bool_]:
    truth = np.zeros((number, *SIZE), bool)
    for k in slices:
        truth[(k, *pixels)] = True
    return truth


# ── looking ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_of_doubtful_slices_one_in_four_is_looked_at_and_the_others_only_near_tumor() -> None:
    search = search_of([DOUBTFUL] * 40)
    assert rounds(search, tumor_in([], 40)) == [list(range(3, 40, 4))]
    first, *rest = rounds(search_of([DOUBTFUL] * 40), tumor_in([19], 40))
    assert first == list(range(3, 40, 4)) and rest == [[k for k in range(9, 30) if k not in first]]


def test_certain_slices_are_all_segmented_as_the_network_decides_where_nothing_is_found() -> None:
    search = search_of([CERTAIN] * 10)
    first, second = rounds(search, tumor_in([], 10))
    assert first == [0, 4, 8] and second == [1, 2, 3, 5, 6, 7, 9]
    assert search.decisions.tolist() == [3] * 10 and not search.corners and not search.followed


@pytest.mark.parametrize("spacing_mm", [2.5, 5.0])
def test_thick_slices_are_all_looked_at(spacing_mm: float) -> None:
    """Fewer than two fit into `probe_mm`."""
    assert search_of([DOUBTFUL] * 7, spacing_mm=spacing_mm).first().tolist() == list(range(7))


def test_without_probing_everything_is_looked_at_and_nothing_else() -> None:
    search = search_of([EMPTY, DOUBTFUL, CERTAIN] * 3, replace(CONFIG, probe_mm=0.0, follow=False))
    assert rounds(search, tumor_in([1], 9)) == [[1, 2, 4, 5, 7, 8]]


def test_every_run_is_looked_at_in_its_middle() -> None:
    chosen = np.array([1, 0, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 1], bool)
    assert np.flatnonzero(spread_out(chosen, 4)).tolist() == [0, 3, 9]
    assert spread_out(chosen, 1).tolist() == chosen.tolist()


def test_a_speck_is_no_tumor() -> None:
    little = (slice(40, 41), slice(30, 30 + FOUND - 1))
    assert len(rounds(search_of([DOUBTFUL] * 40), tumor_in([19], 40, little))) == 1


def test_what_the_user_wants_is_done_first_and_not_changed() -> None:
    search = search_of([DOUBTFUL] * 12, overrides={0: 3, 5: 0})
    first, second = rounds(search, tumor_in([2, 5, 8], 12))
    assert 0 in first and 5 not in first + second
    assert search.decisions[0] == 3 and search.decisions[5] == 0 and 0 not in search.corners


# ── following ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_tumor_is_followed_two_slices_into_what_was_skipped() -> None:
    search = search_of([EMPTY] * 5 + [CERTAIN] + [EMPTY] * 6, replace(CONFIG, probe_mm=0.0))
    assert rounds(search, tumor_in([4, 5, 6, 7, 8], 12)) == [[5], [3, 4, 6, 7], [2, 8, 9], [10]]
    assert search.followed == 8


@pytest.mark.parametrize("number", range(1, 7))
def test_near_is_right_in_the_thinnest_slab(number: int) -> None:
    assert np.flatnonzero(near(np.arange(number) == 0, 2)).tolist() == list(range(min(number, 3)))


def test_beside_tumor_the_smallest_window_is_taken_that_sees_it_in_its_middle() -> None:
    search = search_of([CERTAIN] * 9)
    rounds(search, tumor_in(list(range(9)), 9))
    assert search.decisions.tolist() == [3, 1, 1, 1, 3, 1, 1, 1, 3][: len(search.decisions)]
    assert set(search.corners.values()) == {(29, 20)}, "rows 40 to 50 and columns 30 to 42 in the middle of 32 x 32"


def test_a_crop_that_cuts_is_done_again_around_what_was_found() -> None:
    search = search_of([CERTAIN], replace(CONFIG, probe_mm=0.0))
    search.decisions[0] = 1
    wide = tumor_in([0], 1, (slice(40, 50), slice(30, 70)))
    assert search.following(wide, {0}).tolist() == [0] and search.followed == 1
    assert search.decisions[0] == 2 and search.corners[0] == (21, 26)
    fixed = search_of([CERTAIN], overrides={0: 1})
    assert fixed.following(wide, {0}).tolist() == []


def test_networks_of_one_size_are_chosen_by_the_decision_network() -> None:
    bank = tuple(BranchConfig(f"width_{n}", f"width_{n}", SIZE, (), n) for n in (8, 16))
    config = replace(CONFIG, branches=bank, position_macs=0, probe_mm=0.0)
    search = SliceSearch(np.array([[0, 1.0, 9], [9, 5, 2], [9, 2, 5]]), config, SIZE, 1.0)
    assert rounds(search, tumor_in([0, 1, 2], 3)) == [[0], [1, 2]]
    assert search.decisions.tolist() == [2, 1, 2] and not search.corners


# ── windows ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("extent", "margin", "least", "expected"),
    [
        ((slice(40, 64), slice(30, 54)), MARGIN, 1, (1, (36, 26))),
        ((slice(40, 65), slice(30, 54)), MARGIN, 1, (2, (28, 18))),
        ((slice(40, 64), slice(30, 54)), MARGIN, 2, (2, (28, 18))),
        ((slice(0, 28), slice(60, 80)), MARGIN, 1, (1, (0, 48))),
        ((slice(40, 64), slice(30, 54)), 1e9, 1, (3, (0, 0))),
        ((slice(0, 96), slice(3, 4)), 0, 1, (3, (0, 0))),
    ],
    ids=["fits", "one pixel more", "at least the second", "in a corner", "endless margin", "too high"],
)
def test_the_window_by_hand(
    extent: tuple[slice, slice], margin: float, least: int, expected: tuple[int, tuple[int, int]]
) -> None:
    tumor = np.zeros(SIZE, bool)
    tumor[extent] = True
    assert window_around(tumor, CONFIG, SIZE, margin, least) == expected


def test_the_cost_bias_widens_and_narrows_the_margin_and_its_extreme_computes_all() -> None:
    chosen = {}
    for bias in (-1e6, -2.0, 0.0, 2.0):
        search = search_of([CERTAIN] * 9, bias=bias)
        rounds(search, tumor_in(list(range(9)), 9, (slice(40, 64), slice(30, 54))))
        chosen[bias] = int(search.decisions[2])
    assert chosen == {-1e6: 3, -2.0: 3, 0.0: 1, 2.0: 1}
