from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from leanseg.errors import BundleError, InferenceCancelled
from leanseg.inference.slicewise import SlicewiseEngine
from leanseg.processing.preprocess import ModelInput
from leanseg.volume import Volume, VolumeGeometry


class FakeGraph:
    """Any function of the image as a graph; counts its calls and keeps what it saw."""

    runtime = "fake 1.0"

    def __init__(self, function: Callable[[NDArray[np.float32]], Any], output: str = "probabilities") -> None:
        self.function, self.output = function, output
        self.seen: list[NDArray[np.float32]] = []

    def __call__(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[Any]]:
        self.seen.append(inputs["image"].copy())
        return {self.output: np.asarray(self.function(inputs["image"]))}


def to_the_left(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """A network that is not symmetric: it sees more lesion on the left."""
    return image * np.linspace(1, 0, image.shape[3], dtype=np.float32)


def slices(number: int = 3, seed: int = 0) -> ModelInput:
    array = np.random.default_rng(seed).random((1, number, 4, 6), dtype=np.float32)
    return ModelInput(Volume(array, VolumeGeometry((number, 4, 6), np.diag([0.5, 0.7, 2, 1]))))


def test_every_slice_goes_through_the_graph_by_itself_and_in_order() -> None:
    model_input, graph = slices(), FakeGraph(lambda image: 1 - image)
    prediction = SlicewiseEngine(graph, 0.25).predict(model_input)
    np.testing.assert_array_equal(prediction.probabilities.array, 1 - model_input.volume.array)
    assert [image.shape for image in graph.seen] == [(1, 1, 4, 6)] * 3
    assert prediction.probabilities.geometry is prediction.uncertainty.geometry is model_input.volume.geometry
    assert prediction.uncertainty.array.shape == (1, 3, 4, 6)
    assert prediction.notes == {"slices": 3, "gmacs": 0.75}


def test_entropy_is_of_the_probabilities() -> None:
    prediction = SlicewiseEngine(FakeGraph(lambda image: np.full_like(image, 0.5)), 1).predict(slices())
    np.testing.assert_allclose(prediction.uncertainty.array, 1)


def test_flip_variance_doubles_the_passes_and_averages_both_ways() -> None:
    model_input, graph = slices(), FakeGraph(to_the_left)
    prediction = SlicewiseEngine(graph, 0.25).predict(model_input, uncertainty="flip_variance")
    image = model_input.volume.array
    np.testing.assert_allclose(prediction.probabilities.array, image / 2, atol=1e-6)
    weight = np.linspace(1, 0, 6)
    np.testing.assert_allclose(prediction.uncertainty.array, (image * (2 * weight - 1)) ** 2, atol=1e-6)
    assert len(graph.seen) == 6 and prediction.notes["gmacs"] == 1.5
    np.testing.assert_array_equal(graph.seen[1], graph.seen[0][..., ::-1])


def test_flip_variance_is_0_where_image_and_network_are_symmetric() -> None:
    half = np.random.default_rng(0).random((1, 1, 4, 3), dtype=np.float32)
    image = np.concatenate([half, half[..., ::-1]], axis=3)
    mirrored_alike = ModelInput(Volume(image, VolumeGeometry((1, 4, 6))))
    symmetric = SlicewiseEngine(FakeGraph(lambda image: image**2), 1).predict(
        mirrored_alike, uncertainty="flip_variance"
    )
    assert not symmetric.uncertainty.array.any()
    lopsided = SlicewiseEngine(FakeGraph(to_the_left), 1).predict(mirrored_alike, uncertainty="flip_variance")
    assert lopsided.uncertainty.array.max() > 0.1


def test_progress_is_told_before_each_slice_and_at_the_end() -> None:
    steps: list[tuple[int, int, str]] = []
    engine = SlicewiseEngine(FakeGraph(lambda image: image), 1)
    engine.predict(slices(), lambda done, total, what: steps.append((done, total, what)))
    assert [(done, total) for done, total, _ in steps] == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert [what for *_, what in steps] == ["slice 1 of 3", "slice 2 of 3", "slice 3 of 3", "done"]


@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_it_can_be_cancelled_at_any_step(at: int) -> None:
    graph = FakeGraph(lambda image: image)
    with pytest.raises(InferenceCancelled, match="Cancelled; nothing was written"):
        SlicewiseEngine(graph, 1).predict(slices(), lambda done, total, what: done < at)
    assert len(graph.seen) == at


def test_the_image_is_left_as_it_was() -> None:
    model_input = slices()
    before = model_input.volume.array.copy()
    SlicewiseEngine(FakeGraph(to_the_left), 1).predict(model_input, uncertainty="flip_variance")
    np.testing.assert_array_equal(model_input.volume.array, before)


def test_several_labels_keep_their_order() -> None:
    graph = FakeGraph(lambda image: np.concatenate([image, 1 - image], axis=1))
    prediction = SlicewiseEngine(graph, 1, labels=2).predict(slices())
    np.testing.assert_allclose(prediction.probabilities.array.sum(axis=0), 1)
    assert prediction.probabilities.array.shape == (2, 3, 4, 6)


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (FakeGraph(lambda image: image, output="logits"), "gives logits; `probabilities` is needed"),
        (FakeGraph(lambda image: image[..., :3]), r"gives probabilities of \(1, 1, 4, 3\); \(1, 1, 4, 6\) is needed"),
        (FakeGraph(lambda image: np.repeat(image, 2, axis=1)), r"gives .* of \(1, 2, 4, 6\); \(1, 1, 4, 6\) is needed"),
        (FakeGraph(lambda image: image * np.nan), "gives NaN or infinite values"),
    ],
)
def test_a_graph_that_does_not_do_what_its_card_says_is_refused(graph: FakeGraph, message: str) -> None:
    with pytest.raises(BundleError, match=f"The graph {message}.*estore the bundle"):
        SlicewiseEngine(graph, 1).predict(slices())
