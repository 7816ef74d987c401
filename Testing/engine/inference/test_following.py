"""A tumor that leaves what was computed is followed; graphs whose answers are known."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from leanseg.inference.decisions import BranchConfig, DynamicConfig
from leanseg.inference.dynamic_slicewise import DynamicSlicewiseEngine
from leanseg.inference.slice_search import CUT, is_cut
from leanseg.processing.preprocess import ModelInput
from leanseg.volume import Volume, VolumeGeometry
from Testing.engine.dynamic_networks import made

SIZE = (5, 5)
TUMOR, SEEN, NEITHER = 2.0, 3.0, 1.0
"""Values of a slice: tumor that the decision network misses, tumor that it sees, no tumor."""


class Deciding:
    """Skips every slice but those of the value SEEN."""

    runtime = "known"

    def __call__(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[Any]]:
        value = inputs["image"][:, 0, 0, 0]
        return {"decision_logits": np.stack([np.full_like(value, 2.5), value], axis=1)}


class Segmenting:
    """Finds tumor where there is some; remembers what it was asked."""

    runtime = "known"

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[Any]]:
        image = inputs["image"]
        self.asked += int(image[:, 0].any(axis=(1, 2)).sum())  # the rest fills the batch
        return {"probabilities": (image[:, :1] > 1.5).astype(np.float32)}


def notes_of(values: list[float], follow: bool, **options: Any) -> tuple[dict[str, Any], int]:
    """One slice for each value; also how many slices were segmented."""
    config = DynamicConfig(
        branches=(BranchConfig("whole", "whole", SIZE, (), 10),),
        regions=("WT",),
        decision_macs=1,
        position_macs=0,
        outside=(0.0,),
        follow=follow,
    )
    segmenting = Segmenting()
    engine = DynamicSlicewiseEngine({"decision": Deciding(), "whole": segmenting}, config)
    array = np.tile(np.array(values, np.float32)[None, :, None, None], (1, 1, *SIZE))
    geometry = VolumeGeometry((len(values), *SIZE))
    return engine.predict(ModelInput(Volume(array, geometry)), **options).notes, segmenting.asked


def computed(notes: dict[str, Any]) -> list[int]:
    return [k for k, name in enumerate(made(notes, "decision")) if name == "whole"]


VALUES = [NEITHER, NEITHER, NEITHER, TUMOR, TUMOR, SEEN, TUMOR, TUMOR, TUMOR, NEITHER, NEITHER, NEITHER, TUMOR]
"""Tumor in slices 3 to 8, seen in slice 5 alone; another one in slice 12."""


def test_without_following_a_slice_that_was_skipped_stays_skipped() -> None:
    notes, asked = notes_of(VALUES, follow=False)
    assert computed(notes) == [5] and notes["followed"] == 0 and asked == 1


def test_a_tumor_is_followed_to_its_ends_and_two_slices_beyond() -> None:
    """From 5 to 3 ... 7, from there to 1 ... 9, and as tumor ends at 3 and 8, to 10. Nothing is computed twice."""
    notes, asked = notes_of(VALUES, follow=True)
    assert computed(notes) == list(range(1, 11)) and notes["followed"] == 9 and asked == 10


def test_a_slice_that_shall_be_skipped_stays_skipped() -> None:
    notes, _ = notes_of(VALUES, follow=True, overrides={6: 0, 7: 0})
    assert computed(notes) == [1, 2, 3, 4, 5]


def test_where_nothing_is_found_nothing_is_followed() -> None:
    notes, asked = notes_of([NEITHER, TUMOR, NEITHER], follow=True)
    assert computed(notes) == [] and asked == 0


def test_every_slice_is_accounted_for() -> None:
    notes, _ = notes_of(VALUES, follow=True)
    assert notes["gmacs"] * 1e9 == 13 * 1 + 10 * 10


# ── crops ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class Known:
    """Gives the same answer to every slice."""

    runtime = "known"

    def __init__(self, name: str, answer: list[Any]) -> None:
        self.name, self.answer = name, np.array(answer, np.float32)

    def __call__(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[Any]]:
        return {self.name: np.stack([self.answer] * len(inputs["image"]))}


def crop_notes(column: int, rows: int = CUT, follow: bool = True, **options: Any) -> dict[str, Any]:
    """One slice of 40 x 40, a crop of 24 x 24 from row 8 and column 8, and tumor in a column from row 10 on."""
    config = DynamicConfig(
        branches=(BranchConfig("crop", "crop", (24, 24), (), 3), BranchConfig("whole", "whole", (40, 40), (), 10)),
        regions=("WT",),
        decision_macs=1,
        position_macs=2,
        outside=(0.0,),
        follow=follow,
    )
    graphs = {
        "decision": Known("decision_logits", [0, 1, 0]),
        "position": Known("position", [[0.5, 0.5]]),
        "crop": Segmenting(),
        "whole": Segmenting(),
    }
    array = np.ones((1, 1, 40, 40), np.float32)
    array[0, 0, 10 : 10 + rows, column] = TUMOR
    model_input = ModelInput(Volume(array, VolumeGeometry((1, 40, 40))))
    return DynamicSlicewiseEngine(graphs, config).predict(model_input, **options).notes


def test_after_a_crop_whose_edge_cuts_tumor_comes_the_next_branch_and_both_are_counted() -> None:
    """1 to decide, 2 for the position and 3 for the crop, 10 for the whole slice."""
    notes = crop_notes(column=31)
    (one,) = notes["slice_decisions"]
    assert (one["decision"], one["first"], one["corner_ji"]) == ("whole", "crop", [0, 0]) and notes["followed"] == 1
    assert notes["gmacs"] * 1e9 == notes["bit_weighted_gmacs"] * 1e9 == 1 + 2 + 3 + 10
    assert notes["deciding_gmacs"] * 1e9 == 1 + 2


@pytest.mark.parametrize(("column", "rows"), [(30, CUT), (31, CUT - 1), (35, CUT)], ids=["inside", "little", "outside"])
def test_a_crop_that_cuts_little_or_nothing_is_enough(column: int, rows: int) -> None:
    (one,) = crop_notes(column, rows)["slice_decisions"]
    assert (one["decision"], one["first"], one["corner_ji"]) == ("crop", "", [8, 8])


def test_a_crop_stays_one_if_the_user_says_so_or_nothing_is_followed() -> None:
    assert crop_notes(31, overrides={0: 1})["slice_decisions"][0]["decision"] == "crop"
    assert crop_notes(31, follow=False)["slice_decisions"][0]["decision"] == "crop"


@pytest.mark.parametrize(
    ("rows", "columns", "expected"),
    [
        (0, slice(CUT), True),
        (0, slice(CUT - 1), False),
        (-1, slice(CUT), False),
        (slice(CUT), 0, False),
        (slice(CUT), -1, True),
        (1, slice(None), False),
    ],
)
def test_only_edges_inside_the_slice_cut(rows: Any, columns: Any, expected: bool) -> None:
    """A window of 32 x 32 in a slice of 40 x 40, at its left lower corner: only its upper and right edge can cut."""
    tumor = np.zeros((32, 32), bool)
    tumor[rows, columns] = True
    assert is_cut(tumor, (8, 0), (40, 40)) == expected
