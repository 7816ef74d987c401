from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from leanseg.errors import LeanSegError
from leanseg.inference.decision_windows import predict_in_windows, window_starts
from leanseg.inference.dynamic_slicewise import DynamicSlicewiseEngine, graph_shapes
from leanseg.prediction import Prediction
from leanseg.processing.preprocess import ModelInput
from leanseg.request import no_progress
from leanseg.runtime.openvino_graph import OpenVINOGraph
from leanseg.training.dynamic_graphs import dynamic_config
from leanseg.volume import Volume, VolumeGeometry
from Testing.engine.dynamic_networks import (
    IMAGES,
    TEMPERATURE,
    exported_med_danet_v2,
    med_danet_v2,
    model_input,
)

NAMES = ("skip", "whole")
WINDOW = (32, 32)


def test_windows_are_those_of_the_papers() -> None:
    """16 for a slice of 240 x 240, of which the last begins where it ends with the slice."""
    assert window_starts(240, 128, 42) == [0, 42, 84, 112]
    assert window_starts(128, 128, 42) == [0]
    with pytest.raises(LeanSegError, match=r"A window of 128 pixels does not fit a slice of 100"):
        window_starts(100, 128, 42)


class Corners:
    """Says of each window where its first voxel lies, and skips the windows whose first row is above 2."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, ...]] = []

    def __call__(self, part: ModelInput) -> Prediction:
        array, depth = part.volume.array, part.volume.array.shape[1]
        self.seen.append(array.shape)
        np.testing.assert_allclose(part.volume.geometry.ras_of(np.zeros(3))[:2], array[1:, 0, 0, 0])
        j = int(array[2, 0, 0, 0])
        name = NAMES[j <= 2]
        counts = {one: depth * (one == name) for one in NAMES}
        made = [{"decision": name, "corner_ji": [0, 0], "bits": [], "gmacs": 1.0, "first": ""} for _ in range(depth)]
        notes: dict[str, Any] = {"slices": depth, "decisions": counts, "skipped": 0, "gmacs": 2.0, "followed": 0}
        notes |= {"bit_weighted_gmacs": 1.5, "deciding_gmacs": 0.5, "slice_decisions": made, "seconds": {"decide": 0.1}}
        ones = np.full((1, *array.shape[1:]), float(j), np.float32)
        return Prediction(part.volume.with_array(ones), part.volume.with_array(0 * ones + 0.25), notes)


def test_overlapping_windows_are_averaged_and_counted() -> None:
    """6 x 4 pixels, windows of 4 x 4 two apart: rows 0 and 1 are of the first, 2 and 3 of both, 4 and 5 of the last."""
    j, i = np.meshgrid(np.arange(6), np.arange(4), indexing="ij")
    plane = np.stack([np.zeros((6, 4)), i, j])
    volume = Volume(np.repeat(plane[:, None], 2, axis=1).astype(np.float32), VolumeGeometry((2, 6, 4)))
    corners = Corners()
    result = predict_in_windows(corners, ModelInput(volume), (4, 4), 2, NAMES, no_progress)
    assert corners.seen == [(3, 2, 4, 4)] * 2
    assert result.probabilities.array[0, 1, :, 3].tolist() == [0, 0, 1, 1, 2, 2]
    assert (result.uncertainty.array == 0.25).all()
    notes = result.notes
    assert (notes["windows"], notes["gmacs"], notes["slices"], notes["skipped"]) == (2, 4.0, 2, 0)
    assert notes["decisions"] == {"skip": 0, "whole": 4} and notes["slice_decisions"][1]["gmacs"] == 2.0
    assert notes["slice_decisions"][1]["center_ras_mm"] == [1.5, 2.5, 1.0]


def test_a_slice_is_skipped_if_all_of_its_windows_are() -> None:
    plane = np.stack([np.zeros((9, 4)), np.tile(np.arange(4), (9, 1)), np.tile(np.arange(9)[:, None], (1, 4))])
    volume = Volume(plane[:, None].astype(np.float32), VolumeGeometry((1, 9, 4)))
    notes = predict_in_windows(Corners(), ModelInput(volume), (4, 4), 3, NAMES, no_progress).notes
    assert notes["decisions"] == {"skip": 2, "whole": 1} and notes["skipped"] == 0
    lower = np.eye(4)
    lower[1, 3] = 5  # the same, five rows further
    below = Volume(
        volume.array + np.reshape([0, 0, 5], (3, 1, 1, 1)).astype(np.float32), VolumeGeometry((1, 9, 4), lower)
    )
    notes = predict_in_windows(Corners(), ModelInput(below), (4, 4), 3, NAMES, no_progress).notes
    assert notes["decisions"] == {"skip": 3, "whole": 0} and notes["skipped"] == 1


def windowed() -> DynamicSlicewiseEngine:
    config = replace(dynamic_config(med_danet_v2(), WINDOW, TEMPERATURE), window_step=8)
    graphs = {
        name: OpenVINOGraph(exported_med_danet_v2()[f"{part}_fp32"], shape=shape)
        for name, (part, shape) in graph_shapes(config, 4, WINDOW).items()
    }
    return DynamicSlicewiseEngine(graphs, config)


def test_a_real_network_decides_for_every_window() -> None:
    engine = windowed()
    alone = DynamicSlicewiseEngine(engine.graphs, replace(engine.config, window_step=0))
    images = IMAGES[:4]
    result = engine.predict(model_input(images))  # 48 x 40: windows begin at rows 0, 8, 16 and columns 0, 8
    assert result.notes["windows"] == 6 and sum(result.notes["decisions"].values()) == 6 * 4
    first, last = (alone.predict(model_input(part)) for part in (images[..., :32, :32], images[..., 16:, 8:]))
    every = result.probabilities.array
    np.testing.assert_allclose(every[..., :8, :8], first.probabilities.array[..., :8, :8], atol=1e-6)
    np.testing.assert_allclose(every[..., 40:, 32:], last.probabilities.array[..., 24:, 24:], atol=1e-6)
    assert result.notes["gmacs"] > first.notes["gmacs"] + last.notes["gmacs"] - 1e-9
    assert np.ptp(every) > 0.01


def test_windows_cannot_be_overridden() -> None:
    with pytest.raises(LeanSegError, match=r"windows decide, not slices: nothing can be overridden"):
        windowed().predict(model_input(IMAGES[:2]), overrides={0: 1})


@pytest.mark.parametrize("step_px", [-1, 33])
def test_a_step_that_leaves_gaps_is_refused(step_px: int) -> None:
    config = dynamic_config(med_danet_v2(), WINDOW, TEMPERATURE)
    with pytest.raises(ValueError, match=f"window_step must be between 0 and 32, the side of a window; got {step_px}"):
        replace(config, window_step=step_px)
