import itertools
import tracemalloc
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.inferers.utils import sliding_window_inference
from numpy.typing import NDArray

from leanseg.errors import BundleError, InferenceCancelled, LeanSegError, UnknownNameError
from leanseg.inference.sliding_window import SlidingWindowConfig, SlidingWindowEngine, window_boxes, window_weight
from leanseg.processing.preprocess import ModelInput
from leanseg.schema import parse
from leanseg.volume import Volume, VolumeGeometry

Array = NDArray[np.float32]


class FakeGraph:
    """Any function of the window as a graph; counts its calls and keeps the shapes it saw."""

    runtime = "fake 1.0"

    def __init__(self, function: Callable[[Array], Any], output: str = "probabilities") -> None:
        self.function, self.output = function, output
        self.seen: list[tuple[int, ...]] = []

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, NDArray[Any]]:
        self.seen.append(inputs["image"].shape)
        return {self.output: np.asarray(self.function(inputs["image"]))}


def two_labels(window: Array) -> Array:
    """Depends on the place in the window, so that blending shows; no symmetry; nested."""
    place = np.linspace(0.1, 1, window[0, 0].size, dtype=np.float32).reshape(window.shape[2:])
    first = window[:, 0] * place
    return np.stack([first, first * window[:, 1]], axis=1)


def volume_of(shape: tuple[int, int, int], channels: int = 2, seed: int = 0) -> ModelInput:
    array = np.random.default_rng(seed).random((channels, *shape), dtype=np.float32)
    return ModelInput(Volume(array, VolumeGeometry(shape, np.diag([-0.9, -0.9, 1.5, 1]))))


def engine_of(
    graph: FakeGraph, window: tuple[int, int, int], labels: int = 2, overlap: float = 0.5, blending: str = "gaussian"
) -> SlidingWindowEngine:
    return SlidingWindowEngine(graph, SlidingWindowConfig(window, overlap, blending), 0.25, labels)


def identity(window: Array) -> Array:
    return window


# ── against MONAI, and the stitching ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("blending", ["gaussian", "constant"])
@pytest.mark.parametrize(
    ("shape", "window", "overlap"),
    [
        ((31, 40, 37), (16, 16, 16), 0.5),
        ((20, 24, 16), (8, 16, 16), 0.25),
        ((17, 19, 23), (8, 8, 8), 0.0),
        ((11, 30, 13), (16, 16, 16), 0.6),  # padded along two axes
        ((5, 7, 9), (8, 10, 11), 0.5),  # padded along all
        ((1, 12, 12), (4, 8, 12), 0.7),
        ((16, 16, 16), (16, 16, 16), 0.5),
        ((16, 18, 16), (16, 16, 16), 0.9),
    ],
)
def test_it_agrees_with_monai(
    shape: tuple[int, int, int], window: tuple[int, int, int], overlap: float, blending: str
) -> None:
    model_input = volume_of(shape)
    prediction = engine_of(FakeGraph(two_labels), window, 2, overlap, blending).predict(model_input)
    expected = sliding_window_inference(
        torch.from_numpy(model_input.volume.array[np.newaxis]),
        roi_size=window,
        sw_batch_size=1,
        predictor=lambda x: torch.from_numpy(two_labels(x.numpy())),
        overlap=overlap,
        mode=blending,
    )
    assert isinstance(expected, torch.Tensor)
    np.testing.assert_allclose(prediction.probabilities.array, expected[0].numpy(), rtol=0, atol=1e-5)
    assert len({round(float(p), 3) for p in prediction.probabilities.array[0].ravel()}) > 50


@pytest.mark.parametrize("blending", ["gaussian", "constant"])
def test_an_identity_graph_gives_the_volume_back_with_155_slices(blending: str) -> None:
    """The released TransBTS takes slices 128 to 154 from 5 slices away. Each slice has its own value here."""
    array = np.broadcast_to(np.linspace(0, 1, 155, dtype=np.float32)[:, None, None], (1, 155, 24, 24)).copy()
    model_input = ModelInput(Volume(array, VolumeGeometry((155, 24, 24))))
    graph = FakeGraph(identity)
    prediction = engine_of(graph, (128, 16, 16), 1, 0.5, blending).predict(model_input)
    np.testing.assert_allclose(prediction.probabilities.array, array, rtol=0, atol=1e-6)
    assert graph.seen == [(1, 1, 128, 16, 16)] * 8


@given(
    st.tuples(*[st.integers(1, 20)] * 3),
    st.tuples(*[st.integers(1, 12)] * 3),
    st.floats(0, 0.95),
    st.sampled_from(["gaussian", "constant"]),
)
def test_an_identity_graph_gives_any_volume_back(
    shape: tuple[int, int, int], window: tuple[int, int, int], overlap: float, blending: str
) -> None:
    model_input = volume_of(shape)
    if np.prod([n * max(1, w) for n, w in zip(shape, window, strict=True)]) > 20_000:
        overlap = min(overlap, 0.5)
    prediction = engine_of(FakeGraph(identity), window, 2, overlap, blending).predict(model_input)
    np.testing.assert_allclose(prediction.probabilities.array, model_input.volume.array, rtol=0, atol=1e-5)


@given(st.integers(1, 60), st.integers(1, 60), st.floats(0, 0.99))
def test_windows_never_leave_the_volume_and_cover_it(extra: int, window: int, overlap: float) -> None:
    n = window + extra - 1
    boxes = window_boxes((n, 1, 1), SlidingWindowConfig((window, 1, 1), overlap))
    spans = [(k.start, k.stop) for k, _, _ in boxes]
    assert all(stop - start == window for start, stop in spans)
    assert spans[0][0] == 0 and spans[-1][1] == n
    assert all(a < c <= b for (a, b), (c, _) in itertools.pairwise(spans))


def test_the_last_window_moves_inwards() -> None:
    spans = [k for k, _, _ in window_boxes((155, 1, 1), SlidingWindowConfig((128, 1, 1), 0.5))]
    assert spans == [slice(0, 128), slice(27, 155)]


def test_the_weight_is_a_gaussian_of_an_eighth_of_the_window_and_never_too_small() -> None:
    weight = window_weight(SlidingWindowConfig((33, 17, 9)))
    assert weight.shape == (33, 17, 9) and weight.dtype == np.float32
    assert weight[16, 8, 4] == 1 and weight.min() == np.float32(1e-3)
    assert weight[16 + 4, 8, 4] == pytest.approx(np.exp(-0.5 * (4 / (33 / 8)) ** 2))
    assert weight[16, 8 + 2, 4 - 1] == pytest.approx(np.exp(-0.5 * ((2 / (17 / 8)) ** 2 + (1 / (9 / 8)) ** 2)))
    assert (window_weight(SlidingWindowConfig((3, 4, 5), blending="constant")) == 1).all()


# ── the prediction ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_result_lies_on_the_grid_of_the_image() -> None:
    model_input = volume_of((9, 20, 20))
    prediction = engine_of(FakeGraph(two_labels), (12, 16, 16)).predict(model_input)
    assert prediction.probabilities.geometry is prediction.uncertainty.geometry is model_input.volume.geometry
    assert prediction.probabilities.array.shape == (2, 9, 20, 20)
    assert prediction.uncertainty.array.shape == (1, 9, 20, 20)
    assert prediction.probabilities.array.dtype == prediction.uncertainty.array.dtype == np.float32
    assert prediction.probabilities.array.flags.c_contiguous
    assert prediction.notes == {"windows": 4, "gmacs": 1.0}


def test_the_image_is_left_as_it_was_and_two_runs_are_equal() -> None:
    model_input = volume_of((9, 20, 20))
    before = model_input.volume.array.copy()
    engine = engine_of(FakeGraph(two_labels), (8, 16, 16))
    first, second = engine.predict(model_input), engine.predict(model_input)
    np.testing.assert_array_equal(model_input.volume.array, before)
    np.testing.assert_array_equal(first.probabilities.array, second.probabilities.array)


def test_the_uncertainty_is_the_entropy_of_the_nested_regions() -> None:
    def halves(window: Array) -> Array:
        result = np.zeros((1, 3, *window.shape[2:]), np.float32)
        result[:, :, :, :, :4] = np.array([0.75, 0.5, 0.25], np.float32)[:, None, None, None]  # 4 equal answers
        result[:, 0, :, :, 4:] = 1  # edema for certain
        return result

    model_input = volume_of((4, 4, 8))
    prediction = engine_of(FakeGraph(halves), (4, 4, 8), 3).predict(model_input)
    np.testing.assert_allclose(prediction.uncertainty.array[..., :4], 1, atol=1e-6)
    np.testing.assert_allclose(prediction.uncertainty.array[..., 4:], 0, atol=1e-6)


def test_flip_variance_sees_every_window_mirrored_and_averages_both() -> None:
    """A graph that adds weight to the left half of its window; one window covers all."""

    def to_the_left(window: Array) -> Array:
        return window * np.linspace(1, 0, window.shape[-1], dtype=np.float32)

    model_input, graph = volume_of((4, 4, 6)), FakeGraph(to_the_left)
    prediction = engine_of(graph, (4, 4, 6)).predict(model_input, uncertainty="flip_variance")
    image, weight = model_input.volume.array, np.linspace(1, 0, 6)
    np.testing.assert_allclose(prediction.probabilities.array, image / 2, atol=1e-6)
    expected = ((image * (2 * weight - 1)) ** 2).max(axis=0, keepdims=True)
    np.testing.assert_allclose(prediction.uncertainty.array, expected, atol=1e-6)
    assert len(graph.seen) == 2 and prediction.notes == {"windows": 1, "gmacs": 0.5}


def test_flip_variance_is_0_for_a_graph_that_does_not_care() -> None:
    model_input = volume_of((9, 11, 13))
    prediction = engine_of(FakeGraph(identity), (8, 8, 8)).predict(model_input, uncertainty="flip_variance")
    np.testing.assert_allclose(prediction.probabilities.array, model_input.volume.array, atol=1e-6)
    assert prediction.uncertainty.array.max() < 1e-10


# ── progress, memory, refusals ──────────────────────────────────────────────────────────────────────────────────────


def test_progress_is_told_before_each_window_and_at_the_end() -> None:
    steps: list[tuple[int, int, str]] = []
    engine = engine_of(FakeGraph(two_labels), (8, 8, 8), overlap=0)
    engine.predict(volume_of((8, 8, 24)), lambda done, total, what: steps.append((done, total, what)))
    assert steps == [
        (0, 3, "window 1 of 3"),
        (1, 3, "window 2 of 3"),
        (2, 3, "window 3 of 3"),
        (3, 3, "done"),
    ]


@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_it_can_be_cancelled_between_windows(at: int) -> None:
    graph = FakeGraph(two_labels)
    with pytest.raises(InferenceCancelled):
        engine_of(graph, (8, 8, 8), overlap=0).predict(volume_of((8, 8, 24)), lambda done, total, what: done < at)
    assert len(graph.seen) == at


def test_memory_does_not_grow_with_the_number_of_windows() -> None:
    def peak(overlap: float) -> int:
        model_input, engine = volume_of((48, 48, 48)), engine_of(FakeGraph(identity), (16, 16, 16), 2, overlap)
        tracemalloc.start()
        engine.predict(model_input)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    few, many = peak(0.0), peak(0.75)  # 27 and 729 windows
    volume = 48**3 * 4  # bytes of one float32 map
    assert many < 1.2 * few and many < 6 * volume  # two labels, the weights, the uncertainty, and small change


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (FakeGraph(identity, output="logits"), "gives logits; `probabilities` is needed"),
        (FakeGraph(lambda x: x[..., :3]), r"gives probabilities of \(1, 2, 8, 8, 3\); \(1, 2, 8, 8, 8\) is needed"),
        (FakeGraph(lambda x: np.repeat(x, 2, axis=1)), r"gives .* of \(1, 4, 8, 8, 8\); \(1, 2, 8, 8, 8\) is needed"),
        (FakeGraph(lambda x: x * np.nan), "gives NaN or infinite values"),
    ],
)
def test_a_graph_that_does_not_do_what_its_card_says_is_refused(graph: FakeGraph, message: str) -> None:
    with pytest.raises(BundleError, match=f"The graph {message}.*estore the bundle"):
        engine_of(graph, (8, 8, 8)).predict(volume_of((8, 8, 8)))


def test_a_config_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'gaussian'"):
        SlidingWindowConfig(blending="gauss")
    for values in ({"overlap": 1.0}, {"overlap": -0.1}, {"window_kji": [0, 8, 8]}):
        with pytest.raises(LeanSegError, match="at least 1 voxel a side and an overlap"):
            parse(SlidingWindowConfig, values, "card.engine")
