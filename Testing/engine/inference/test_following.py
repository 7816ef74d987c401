"""A tumor that was found is followed into slices that were skipped; graphs whose answers are known."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leanseg.inference.decisions import BranchConfig, DynamicConfig
from leanseg.inference.dynamic_slicewise import DynamicSlicewiseEngine
from leanseg.processing.preprocess import ModelInput
from leanseg.volume import Volume, VolumeGeometry
from Testing.engine.dynamic_networks import made

SIZE = (4, 4)
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
