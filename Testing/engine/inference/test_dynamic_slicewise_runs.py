"""Which graphs the dynamic engine runs on what, when it stops, and what it makes of graphs that do not fit."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from leanseg.errors import BundleError, InferenceCancelled
from leanseg.inference.decisions import SKIP
from leanseg.inference.dynamic_slicewise import DynamicSlicewiseEngine
from leanseg.runtime.graph import Arrays, Graph
from leanseg.training.dynamic_graphs import dynamic_config
from Testing.engine.dynamic_networks import (
    EVERY_DECISION,
    IMAGES,
    SIZE,
    TEMPERATURE,
    N,
    engine_from,
    exported_med_danet_v2,
    made,
    med_danet_v2,
    model_input,
)


@pytest.fixture(scope="module")
def engine() -> DynamicSlicewiseEngine:
    return engine_from(exported_med_danet_v2(), dynamic_config(med_danet_v2(), SIZE, TEMPERATURE))


class Counting:
    """A graph that counts the slices that are not empty."""

    def __init__(self, graph: Graph) -> None:
        self.graph, self.slices, self.calls = graph, 0, 0

    @property
    def runtime(self) -> str:
        return self.graph.runtime

    def __call__(self, inputs: Mapping[str, NDArray[np.float32]]) -> Arrays:
        self.calls += 1
        self.slices += int((inputs["image"] != 0).any(axis=(1, 2, 3)).sum())
        return self.graph(inputs)


# ── what runs ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def counted(engine: DynamicSlicewiseEngine) -> tuple[DynamicSlicewiseEngine, dict[str, Counting]]:
    graphs = {name: Counting(graph) for name, graph in engine.graphs.items()}
    return DynamicSlicewiseEngine(graphs, engine.config), graphs


def test_each_graph_sees_the_slices_that_were_decided_so(
    counted: tuple[DynamicSlicewiseEngine, dict[str, Counting]],
) -> None:
    """Of 11 slices 3 are skipped, 3 + 3 cropped, 2 whole."""
    engine, graphs = counted
    engine.predict(model_input(IMAGES), overrides=EVERY_DECISION)
    assert {name: graph.slices for name, graph in graphs.items()} == {
        **{"decision": 11, "position": 6, "crop_16": 3, "crop_24": 3, "whole": 2}
    }
    assert graphs["decision"].calls == 3, "batches of 4"


def test_skipped_slices_run_nothing_and_are_certain_background(
    counted: tuple[DynamicSlicewiseEngine, dict[str, Counting]],
) -> None:
    engine, graphs = counted
    prediction = engine.predict(model_input(IMAGES), overrides=dict.fromkeys(range(N), SKIP))
    assert [name for name, graph in graphs.items() if graph.calls] == ["decision"]
    assert not prediction.probabilities.array.any() and not prediction.uncertainty.array.any()
    assert prediction.notes["gmacs"] == prediction.notes["deciding_gmacs"] > 0


def test_slices_in_groups_give_what_one_by_one_gives(engine: DynamicSlicewiseEngine) -> None:
    together = engine.predict(model_input(IMAGES), overrides=EVERY_DECISION)
    for k in (0, 1, 6, 7):
        alone = engine.predict(model_input(IMAGES[k : k + 1]), overrides={0: EVERY_DECISION[k]})
        apart = np.abs(alone.probabilities.array[:, 0] - together.probabilities.array[:, k]).max()
        assert apart < 1e-5
        assert made(alone.notes, "bits") == [made(together.notes, "bits")[k]]


def test_two_runs_are_equal(engine: DynamicSlicewiseEngine) -> None:
    first, second = (engine.predict(model_input(IMAGES)) for _ in range(2))
    np.testing.assert_array_equal(first.probabilities.array, second.probabilities.array)


# ── progress and Cancel ───────────────────────────────────────────────────────────────────────────────────────────────


def test_progress_rises_to_the_number_of_slices(engine: DynamicSlicewiseEngine) -> None:
    steps: list[tuple[int, int, str]] = []
    engine.predict(model_input(IMAGES), lambda *seen: steps.append(seen), overrides=EVERY_DECISION)
    assert [done for done, _, _ in steps] == [0, 0, 0, 0, 0, 3, 5, 6, 8, 9, 11] and {
        total for _, total, _ in steps
    } == {11}
    begun = [*["decide: decision"] * 3, *["position: position"] * 2, "segment: crop_16"]
    assert [what for _, _, what in steps][:6] == begun


@pytest.mark.parametrize("allowed", range(11))
def test_cancel_takes_effect_between_any_two_batches(engine: DynamicSlicewiseEngine, allowed: int) -> None:
    seen: Counter[str] = Counter()

    def stop(done: int, total: int, what: str) -> bool:
        seen["calls"] += 1
        return seen["calls"] <= allowed

    with pytest.raises(InferenceCancelled):
        engine.predict(model_input(IMAGES), stop, overrides=EVERY_DECISION)
    assert seen["calls"] == allowed + 1


# ── bundles that do not do what they say ────────────────────────────────────────────────────────────────────────────


class Answer:
    """A graph that gives the same whatever it sees."""

    runtime = "none"

    def __init__(self, **arrays: Any) -> None:
        self.arrays = {name: np.asarray(array, dtype=np.float32) for name, array in arrays.items()}

    def __call__(self, inputs: Mapping[str, NDArray[np.float32]]) -> Arrays:
        return self.arrays


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (Answer(), "`decision_logits` is needed"),
        (Answer(decision_logits=np.zeros((16, 7))), r"gives decision_logits of \(4, 7\); \(4, 4\) is needed"),
        (Answer(decision_logits=np.full((16, 4), np.nan)), "gives NaN or infinite values"),
    ],
)
def test_a_graph_that_does_not_fit_the_card_is_told(
    engine: DynamicSlicewiseEngine, graph: Answer, message: str
) -> None:
    broken = DynamicSlicewiseEngine({**engine.graphs, "decision": graph}, engine.config)
    with pytest.raises(BundleError, match=message):
        broken.predict(model_input(IMAGES))


def test_a_missing_graph_is_told_at_once(engine: DynamicSlicewiseEngine) -> None:
    graphs = {name: graph for name, graph in engine.graphs.items() if name != "crop_24"}
    with pytest.raises(BundleError, match="has no graph crop_24, as its card says"):
        DynamicSlicewiseEngine(graphs, engine.config)
