from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from leanseg.processing.plausibility import is_label_map, looks_stripped, sequence_warnings
from leanseg.volume import Volume
from Testing.engine.processing.brain_phantom import GRID, VALUES, brain, brains, centered, tissues


def test_four_plausible_sequences_need_no_warning() -> None:
    assert sequence_warnings(brains()) == []


@pytest.mark.parametrize("pair", [*combinations(VALUES, 2)])
def test_every_exchange_of_two_of_four_is_told_with_their_names(pair: tuple[str, str]) -> None:
    a, b = pair
    sequences = brains()
    sequences[a], sequences[b] = sequences[b], sequences[a]
    (warning,) = sequence_warnings(sequences)
    labels = {"flair": "FLAIR", "t1ce": "T1ce", "t1": "T1", "t2": "T2"}
    assert "look exchanged" in warning
    assert f"{labels[a]} and {labels[b]}" in warning or f"{labels[b]} and {labels[a]}" in warning


@pytest.mark.parametrize("pair", [("flair", "t2"), ("t1", "t2"), ("t1ce", "t1")])
def test_of_two_sequences_the_three_sure_pairs_are_told_apart(pair: tuple[str, str]) -> None:
    a, b = pair
    assert sequence_warnings({a: brain(a), b: brain(b)}) == []
    assert "look exchanged" in sequence_warnings({a: brain(b), b: brain(a)})[0]


def test_sequences_on_different_grids_are_compared_at_the_same_places() -> None:
    other = centered((30, 90, 80), (5, 2, 2))
    assert sequence_warnings({"flair": brain("flair"), "t2": brain("t2", other)}) == []
    assert "look exchanged" in sequence_warnings({"flair": brain("t2"), "t2": brain("flair", other)})[0]


def test_sequences_without_a_common_place_are_not_compared() -> None:
    half = np.arange(GRID.shape[0])[:, None, None] < 25
    upper, lower = (brain("t2").array * ~half, brain("flair").array * half)
    assert sequence_warnings({"flair": Volume(upper, GRID), "t2": Volume(lower, GRID)}) == []


def test_a_label_map_is_told_and_not_compared_with_the_others() -> None:
    labels = Volume(tissues(GRID)[np.newaxis].astype(np.float32), GRID)
    (warning,) = sequence_warnings({**brains(), "t1": labels})
    assert warning == "T1 has few, whole values, as a label map has. Choose the gray image."


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.arange(16), True),
        (np.arange(17), False),
        (np.array([0.0, 1.0, 4.0]), True),
        (np.array([0.0, 0.5]), False),
        (np.append(np.zeros(100_000), np.arange(100)), False),
    ],
)
def test_a_label_map_has_at_most_16_whole_values(values: NDArray[np.generic], expected: bool) -> None:
    assert is_label_map(values) is expected


def test_a_constant_image_counts_as_missing() -> None:
    constant = brain("t1").with_array(np.full((1, *GRID.shape), 7, np.uint8))
    assert sequence_warnings({**brains(), "t1": constant}) == ["T1 has one value only (7) and counts as missing."]


def test_a_normalized_image_is_told_and_one_background_value_is_not() -> None:
    t1 = brain("t1")
    inside = t1.array > 0
    normalized = t1.with_array(np.where(inside, (t1.array - 120) / 30, 0).astype(np.float32))
    (warning,) = sequence_warnings({"t1": normalized})
    assert "T1 is below 0 in" in warning and "only what is above 0 counts as brain" in warning
    assert sequence_warnings({"t1": t1.with_array(np.where(inside, t1.array, np.int16(-1)))}) == []
    on_dark = t1.with_array(np.where(inside, (t1.array - 120) / 30, -9).astype(np.float32))
    (warning,) = sequence_warnings({"t1": on_dark})
    assert "T1 is below 0 in" in warning


def test_more_than_a_brain_above_0_is_told_and_the_names_are_not_judged() -> None:
    """50 x 64 x 56 voxels of 27 mm3 are 4838 ml; a brain has at most 2200."""
    noise = {name: v.with_array(v.array + np.int16(1)) for name, v in brains().items()}
    assert not looks_stripped(noise["t1"]) and looks_stripped(brain("t1"))
    (warning,) = sequence_warnings({**noise, "t1": noise["t2"], "t2": noise["t1"]})
    assert warning.startswith("FLAIR, T1ce, T1, T2: above 0 in more than a brain.") and "stripped roughly" in warning


def test_a_slice_without_any_background_is_not_stripped() -> None:
    grid = centered((1, 60, 60), (5, 3, 3))
    full = Volume(np.random.default_rng(0).integers(1, 200, (1, 1, 60, 60)), grid)
    assert not looks_stripped(full) and looks_stripped(brain("t1", grid))
