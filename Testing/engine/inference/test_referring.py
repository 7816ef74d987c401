import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from leanseg.errors import BundleError, LeanSegError
from leanseg.inference.referring import ReferringConfig, ReferringEngine
from leanseg.runtime.openvino_graph import OpenVINOGraph
from leanseg.weights.card import FileCard
from Testing.engine.referring_tiny import GRID, LENGTH, referring_graph, tokenizer_json

FILE = FileCard("tokenizer.json", "0", 1)
IMAGE = np.full((1, 64, 64), 0.9, np.float32)


@pytest.fixture(scope="module")
def engine() -> ReferringEngine:
    graph = OpenVINOGraph(referring_graph())
    return ReferringEngine({"referring": graph}, ReferringConfig(FILE, LENGTH, grid_ji=GRID), tokenizer_json())


def test_another_sentence_another_object(engine: ReferringEngine) -> None:
    found = engine.refer(IMAGE, "The leftmost lesion.")
    assert found.probability.shape == (64, 64) and found.existence > 0.99
    assert found.probability[:, :32].min() > 0.99 and found.probability[:, 32:].max() < 0.01
    assert engine.refer(IMAGE, "The rightmost lesion.").probability[:, :32].max() < 0.01


def test_the_correlation_of_each_word_is_its_own(engine: ReferringEngine) -> None:
    found = engine.refer(IMAGE, "The lesion above the leftmost one.")
    words = dict(found.words)
    assert [word for word, _ in found.words] == ["the", "lesion", "above", "the", "leftmost", "one", "."]
    assert words["leftmost"].shape == GRID and words["leftmost"][:, :4].all() and not words["leftmost"][:, 4:].any()
    assert words["above"][:4].all() and not words["above"][4:].any() and not words["lesion"].any()
    assert found.sentence[:4, :4].min() > 0.99 > 0.01 > found.sentence[4:].max()


class OfPieces:
    """A graph whose correlation with piece n is n."""

    runtime = "by hand"

    def __call__(self, inputs: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[Any]]:
        correlation = np.arange(7.0)[np.newaxis, :, np.newaxis, np.newaxis] * np.ones((1, 7, 1, 1))
        probability = np.zeros((1, 1, *inputs["image"].shape[2:]))
        return {"probability": probability, "existence": np.array([0.25]), "correlation": correlation}


def test_a_word_of_several_pieces_has_their_mean() -> None:
    pieces = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "left", "##most", "one")
    tokenizer = json.dumps({"model": {"vocab": {piece: n for n, piece in enumerate(pieces)}}})
    engine = ReferringEngine({"referring": OfPieces()}, ReferringConfig(FILE, 6, grid_ji=(1, 1)), tokenizer)
    found = engine.refer(IMAGE, "leftmost one")  # sentence 0, beginning 1, left 2, ##most 3, one 4, end 5
    assert [(word, float(values[0, 0])) for word, values in found.words] == [("leftmost", 2.5), ("one", 4.0)]
    assert found.existence == 0.25
    assert engine.unknown("leftmost ONE lesion, lesion.") == ["leftmost", "lesion"]


@pytest.mark.parametrize(
    ("text", "line"), [("", "is empty"), ("left " * 15, "has 15 words and signs; the model reads")]
)
def test_what_does_not_fit_into_the_network_is_refused(engine: ReferringEngine, text: str, line: str) -> None:
    with pytest.raises(LeanSegError, match=line):
        engine.refer(IMAGE, text)


def test_a_bundle_without_graph_or_with_another_one_is_refused(engine: ReferringEngine) -> None:
    with pytest.raises(BundleError, match="no graph referring"):
        ReferringEngine({}, engine.config, tokenizer_json())
    with pytest.raises(BundleError, match="tokenizer cannot be read"):
        ReferringEngine({"referring": engine.graph}, engine.config, "{}")
    other = ReferringEngine(
        {"referring": engine.graph}, ReferringConfig(FILE, LENGTH, grid_ji=(4, 4)), tokenizer_json()
    )
    with pytest.raises(BundleError, match="correlation"):
        other.refer(IMAGE, "left")


@pytest.mark.parametrize(
    "values",
    [{"text_length": 2}, {"grid_ji": (0, 4)}, {"threshold": 1.5}, {"existence_threshold": -0.1}, {"threshold": np.nan}],
)
def test_values_that_mean_nothing_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be positive|lie between"):
        ReferringConfig(FILE, **values)
