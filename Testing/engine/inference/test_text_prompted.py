from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from leanseg.errors import BundleError
from leanseg.inference.text_prompted import Features, TextPromptedConfig, TextPromptedEngine
from leanseg.prompts.encoder import TextEmbedding
from leanseg.weights.card import FileCard

CONFIG = TextPromptedConfig(FileCard("tokenizer.json", "", 0), text_length=2, text_width=3)
SIZE = (4, 6)
MAP = (1, 1, *SIZE)
HINTS = np.zeros((4, *SIZE), np.float32)
EMBEDDING = TextEmbedding(np.ones((1, 2, 3), np.float32), np.zeros((1, 2), np.float32))
Arrays = dict[str, NDArray[Any]]


class Encoder:
    id, width, length = "fake", 3, 2

    def embed(self, text: str) -> TextEmbedding:
        return EMBEDDING


class FakeGraph:
    runtime = "fake 1.0"

    def __init__(self, outputs: Arrays) -> None:
        self.outputs = outputs
        self.seen: list[Mapping[str, NDArray[np.float32]]] = []

    def __call__(self, inputs: Mapping[str, NDArray[np.float32]]) -> Arrays:
        self.seen.append(dict(inputs))
        return self.outputs


def full(value: float, shape: tuple[int, ...] = MAP) -> NDArray[np.float32]:
    return np.full(shape, value, np.float32)


FEATURES: Arrays = {"f0": full(0.1), "f1": full(1e6, (1, 2, 2, 3))}
ANSWER: Arrays = {"probabilities": full(0.25), "uncertainty": full(0.5), "existence": full(0.75, (1, 1))}


def engine(features: Arrays = FEATURES, answer: Arrays = ANSWER) -> TextPromptedEngine:
    return TextPromptedEngine({"image": FakeGraph(features), "prompt": FakeGraph(answer)}, CONFIG, Encoder())


def test_what_the_image_graph_gives_goes_into_the_prompt_graph_by_its_name() -> None:
    image, prompt = FakeGraph(FEATURES), FakeGraph(ANSWER)
    told = TextPromptedEngine({"image": image, "prompt": prompt}, CONFIG, Encoder())
    features = told.look(np.zeros((1, *SIZE), np.float32))
    answer = told.answer(features, EMBEDDING, HINTS + 1)
    assert image.seen[0]["image"].shape == MAP
    (seen,) = prompt.seen
    assert {name: array.shape for name, array in seen.items()} == {
        **{"f0": MAP, "f1": (1, 2, 2, 3), "tokens": (1, 2, 3), "padding": (1, 2), "hints": (1, 4, *SIZE)}
    }
    assert all(array.dtype == np.float32 for array in seen.values()) and seen["hints"].min() == 1
    assert (answer.existence, answer.probability.shape, answer.uncertainty[0, 0]) == (0.75, SIZE, 0.5)


def test_features_are_kept_in_half_precision_and_stay_finite() -> None:
    features = engine().look(np.zeros((1, *SIZE), np.float32))
    assert [array.dtype for array in features.arrays] == [np.float16, np.float16]
    assert features.bytes == 2 * (24 + 12)
    assert features.arrays[0][0, 0, 0, 0] == pytest.approx(0.1, rel=1e-3) and features.arrays[1].max() == 65504


def test_nothing_shown_is_all_zero() -> None:
    assert engine().nothing_shown(SIZE).shape == (4, *SIZE) and not engine().nothing_shown(SIZE).any()


@pytest.mark.parametrize(
    ("features", "message"),
    [({"f0": full(np.nan)}, "NaN or infinite"), ({"f0": full(0), "f2": full(0)}, "gives f0, f2; `f1` is needed")],
)
def test_features_that_are_not_as_the_card_says_are_refused(features: Arrays, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        engine(features).look(np.zeros((1, *SIZE), np.float32))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"existence": full(0.5, (1, 2))}, r"existence of \(1, 2\); \(1, 1\) is needed"),
        ({"probabilities": full(0.5, (1, 1, 6, 4))}, "probabilities of"),
        ({"uncertainty": full(np.inf)}, "NaN or infinite"),
    ],
)
def test_answers_that_are_not_as_the_card_says_are_refused(change: Arrays, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        engine(answer={**ANSWER, **change}).answer(Features(()), EMBEDDING, HINTS)


def test_a_missing_graph_or_another_encoder_is_refused() -> None:
    with pytest.raises(BundleError, match="no graph prompt"):
        TextPromptedEngine({"image": FakeGraph(FEATURES)}, CONFIG, Encoder())
    encoder = Encoder()
    encoder.width = 5
    with pytest.raises(BundleError, match="reads 2 x 3 numbers of text, the encoder fake gives 2 x 5"):
        TextPromptedEngine({"image": FakeGraph(FEATURES), "prompt": FakeGraph(ANSWER)}, CONFIG, encoder)


@pytest.mark.parametrize("change", [{"text_length": 0}, {"hint_radius_px": 0.0}, {"existence_threshold": 1.5}])
def test_impossible_values_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"positive|between 0 and 1"):
        TextPromptedConfig(FileCard("tokenizer.json", "", 0), **change)
