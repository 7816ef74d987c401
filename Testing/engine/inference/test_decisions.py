"""Choosing and counting, by hand."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leanseg.inference.decisions import (
    BranchConfig,
    DynamicConfig,
    SliceDecision,
    account,
    choose,
    score,
    with_neighbors,
)

SIZE = (8, 8)
CONFIG = DynamicConfig(
    branches=(BranchConfig("crop", "crop", (4, 4), (10, 20), 30), BranchConfig("whole", "whole", SIZE, (40, 80), 80)),
    regions=("WT", "TC", "ET"),
    decision_macs=5,
    position_macs=40,
    outside=(0.0, 0.0, 0.0),
)
"""Skip costs 0, a crop 60 + 40, the whole 200."""


def test_the_largest_output_decides() -> None:
    logits = np.array([[3, 1, 2], [0, 1, 0], [-5, -6, -4]], np.float32)
    assert choose(score(logits, CONFIG, SIZE, 1.0), CONFIG).tolist() == [0, 1, 2]


def test_the_bias_is_a_price_of_the_share_of_the_dearest() -> None:
    """c is 0, 1/2, 1: at a bias of 2 the outputs 0, 1.5, 2.4 become 0, 0.5, 0.4."""
    logits = np.array([[0, 1.5, 2.4]], np.float32)
    chosen = [int(choose(score(logits, CONFIG, SIZE, 1.0, bias), CONFIG)[0]) for bias in (-1, 0, 1.7, 2, 2.9, 3.1)]
    assert chosen == [2, 2, 2, 1, 1, 0]


@given(st.lists(st.floats(-10, 10), min_size=3, max_size=3), st.floats(-20, 20), st.floats(0, 20))
def test_a_larger_bias_never_makes_a_slice_dearer(outputs: list[float], bias: float, more: float) -> None:
    logits = np.array([outputs], np.float32)
    cheap, dear = (int(choose(score(logits, CONFIG, SIZE, 1.0, b), CONFIG)[0]) for b in (bias + more, bias))
    assert CONFIG.macs_of(cheap, SIZE) <= CONFIG.macs_of(dear, SIZE)


def test_the_mean_of_the_neighbors_by_hand() -> None:
    logits = np.array([[0, 1], [3, 0], [6, -1], [0, 4]], np.float32)
    assert with_neighbors(logits, 1).tolist() == [[1.5, 0.5], [3, 0], [3, 1], [3, 1.5]]
    assert with_neighbors(logits, 0).tolist() == logits.tolist()
    assert with_neighbors(logits, 9).tolist() == [[2.25, 1]] * 4


@pytest.mark.parametrize(("spacing_mm", "expected"), [(1.0, [2, 2, 2, 0]), (2.0, [0, 2, 0, 0]), (0.5, [2, 2, 2, 2])])
def test_neighbors_are_counted_in_millimeters(spacing_mm: float, expected: list[int]) -> None:
    """Only slice 1 shows tumor, so certainly that it takes its neighbors along."""
    logits = np.array([[1, 0, 0], [0, 0, 9], [1, 0, 0], [1, 0, 0]], np.float32)
    config = replace(CONFIG, neighbor_mm=1.0)
    assert choose(score(logits, config, SIZE, spacing_mm), config).tolist() == expected


def test_the_skip_bias_is_how_much_more_certain_an_empty_slice_must_be() -> None:
    logits = np.array([[1, 0, 0], [2, 0, 0], [3, 0, 0]], np.float32)
    config = replace(CONFIG, skip_bias=1.5)
    assert choose(score(logits, config, SIZE, 1.0), config).tolist() == [1, 0, 0]


def test_everything_is_counted() -> None:
    """Skip 5; crop 5 + 40 + 30 + 10 + 20; whole 5 + 80 + 40 + 80. With bits 8, 16: 10/4 + 20/2 and 40/4 + 80/2."""
    slices = [SliceDecision(0), SliceDecision(1, (1, 2), (8, 16)), SliceDecision(2, (0, 0), (8, 16))]
    notes = account(slices, CONFIG, SIZE)
    assert notes["gmacs"] * 1e9 == pytest.approx(5 + 105 + 205)
    assert notes["bit_weighted_gmacs"] * 1e9 == pytest.approx(5 + (75 + 12.5) + (85 + 50))
    assert notes["deciding_gmacs"] * 1e9 == pytest.approx(3 * 5 + 40)
    assert notes["decisions"] == {"skip": 1, "crop": 1, "whole": 1} and notes["skipped"] == 1
    assert [one["gmacs"] * 1e9 for one in notes["slice_decisions"]] == pytest.approx([5, 105, 205])
    assert notes["slice_decisions"][1] | {"gmacs": 0} == {
        **{"decision": "crop", "corner_ji": [1, 2], "bits": [8, 16], "gmacs": 0, "first": ""}
    }


def test_32_bits_save_nothing() -> None:
    plain, weighted = SliceDecision(2, (0, 0), (32, 32)).macs(CONFIG, SIZE)
    assert plain == weighted == 205


def test_no_slice_is_no_cost() -> None:
    assert account([], CONFIG, SIZE)["gmacs"] == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"branches": ()}, "there must be a branch"),
        ({"branches": CONFIG.branches[:1] * 2}, "branches must differ in name"),
        ({"decision_macs": 0}, "without a decision network there is one branch"),
        ({"branches": CONFIG.branches[::-1]}, "branches must ascend in size"),
        ({"neighbor_mm": -1.0}, "neighbor_mm must be 0 or more"),
        ({"skip_bias": float("nan")}, "skip_bias finite; got 0.0 and nan"),
        ({"outside": (0.0,)}, "a probability outside is needed for each of"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **changes)  # type: ignore[arg-type]
