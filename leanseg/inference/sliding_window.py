"""The sliding-window engine: a 3-D network on windows of one size, blended where they overlap.

Windows, weights and padding are those of MONAI's `sliding_window_inference`, which needs torch; a test compares.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from leanseg.errors import UnknownNameError
from leanseg.inference.uncertainty import flip_variance, nested_entropy
from leanseg.prediction import Prediction
from leanseg.processing.preprocess import ModelInput
from leanseg.request import Progress, UncertaintyKind, no_progress, step
from leanseg.runtime.graph import Graph, checked

Blending = Literal["gaussian", "constant"]
BLENDINGS: tuple[Blending, ...] = ("gaussian", "constant")
Float32 = NDArray[np.float32]
_SIGMA = 0.125  # of the side of a window
_MIN_WEIGHT = 1e-3  # at the corners; with float32 sums a smaller one would lose digits


@dataclass(frozen=True)
class SlidingWindowConfig:
    """How windows cover a volume."""

    window_kji: tuple[int, int, int] = (128, 128, 128)
    """Voxels that the graph takes."""
    overlap: float = 0.5
    """Of neighboring windows, as a fraction of their side; the last one moves inwards and may overlap more."""
    blending: str = "gaussian"
    """`gaussian`: the middle of a window counts more than its border; `constant`: the mean of the windows."""

    def __post_init__(self) -> None:
        if self.blending not in BLENDINGS:
            raise UnknownNameError("blending", self.blending, BLENDINGS)
        if min(self.window_kji) < 1 or not 0 <= self.overlap < 1:
            raise ValueError(f"a window has at least 1 voxel a side and an overlap from 0 to below 1; got {self}.")


class SlidingWindowEngine:
    """Runs window after window: beside the result, memory is that of one window, and Cancel acts between two."""

    def __init__(self, graph: Graph, config: SlidingWindowConfig, gmacs_per_window: float, labels: int) -> None:
        self.graph = graph
        self.config = config
        self._gmacs = gmacs_per_window
        self._labels = labels
        self._weight = window_weight(config)

    def predict(
        self,
        model_input: ModelInput,
        progress: Progress = no_progress,
        uncertainty: UncertaintyKind = "entropy",
    ) -> Prediction:
        """Probabilities of every label, and one uncertainty a voxel.

        The entropy takes the labels for nested regions, largest first, or a single one. `flip_variance` also sees
        every window mirrored left to right, returns the mean probability of the two and the largest variance of a
        label; it costs twice the time.

        Raises:
            InferenceCancelled: `progress` returned False.
            BundleError: the graph does not do what its card says.
        """
        image = model_input.volume.array
        shape = (image.shape[1], image.shape[2], image.shape[3])
        padding = [_padding(n, window) for n, window in zip(shape, self.config.window_kji, strict=True)]
        if any(before + after for before, after in padding):
            image = np.pad(image, [(0, 0), *padding])
        boxes = window_boxes((image.shape[1], image.shape[2], image.shape[3]), self.config)
        passes = 2 if uncertainty == "flip_variance" else 1
        sums = [np.zeros((self._labels, *image.shape[1:]), np.float32) for _ in range(passes)]
        weights = np.zeros(image.shape[1:], np.float32)
        for n, (k, j, i) in enumerate(boxes):
            step(progress, n, len(boxes), f"window {n + 1} of {len(boxes)}")
            window = np.ascontiguousarray(image[np.newaxis, :, k, j, i], dtype=np.float32)
            for mirrored, total in zip((False, True), sums, strict=False):
                total[:, k, j, i] += self._probabilities(window, mirrored) * self._weight
            weights[k, j, i] += self._weight
        step(progress, len(boxes), len(boxes), "done")
        k, j, i = (slice(before, before + n) for (before, _), n in zip(padding, shape, strict=True))
        means = [np.divide(total, weights, out=total)[:, k, j, i] for total in sums]
        notes = {"windows": len(boxes), "gmacs": passes * len(boxes) * self._gmacs}
        return _prediction(model_input, means, notes)

    def _probabilities(self, window: Float32, mirrored: bool) -> Float32:
        """(1, channel, *window_kji) -> (label, *window_kji); `mirrored` turns the window, and the result back."""
        results = self.graph({"image": np.ascontiguousarray(window[..., ::-1]) if mirrored else window})
        p = checked(results, "probabilities", (1, self._labels, *window.shape[2:]))
        return np.asarray(p[0, ..., ::-1] if mirrored else p[0])


def seconds_of_window(engine: SlidingWindowEngine, channels: int) -> float:
    """How long one window takes on this machine; the first after loading takes a little longer."""
    noise = np.random.default_rng(0).standard_normal((1, channels, *engine.config.window_kji), np.float32)
    started = time.perf_counter()
    engine.graph({"image": noise})
    return time.perf_counter() - started


def window_boxes(shape_kji: tuple[int, int, int], config: SlidingWindowConfig) -> list[tuple[slice, slice, slice]]:
    """Where windows lie in a volume that is nowhere smaller than one; the last of each axis ends with the volume."""
    along_k, along_j, along_i = (
        [slice(start, start + window) for start in _starts(n, window, config.overlap)]
        for n, window in zip(shape_kji, config.window_kji, strict=True)
    )
    return list(itertools.product(along_k, along_j, along_i))


def window_weight(config: SlidingWindowConfig) -> Float32:
    """(k, j, i): what a voxel of a window counts; exp(-x^2 / 2 sigma^2) along each axis, at least 0.001."""
    weight = np.ones((1, 1, 1))
    if config.blending == "gaussian":
        for axis, n in enumerate(config.window_kji):
            x = np.arange(n) - (n - 1) / 2
            along = np.exp(-(x**2) / (2 * (_SIGMA * n) ** 2))
            weight = weight * np.expand_dims(along, tuple(a for a in range(3) if a != axis))
    return np.ascontiguousarray(np.broadcast_to(np.maximum(weight, _MIN_WEIGHT), config.window_kji), dtype=np.float32)


def _starts(n: int, window: int, overlap: float) -> list[int]:
    stride = max(1, int(window * (1 - overlap)))
    return [*range(0, n - window, stride), n - window]


def _padding(n: int, window: int) -> tuple[int, int]:
    missing = max(0, window - n)
    return missing // 2, missing - missing // 2


def _prediction(model_input: ModelInput, means: list[Float32], notes: dict[str, float]) -> Prediction:
    """From the probabilities as seen, and if there are two, as seen in the mirror. Slice by slice, to save memory."""
    probabilities = np.ascontiguousarray(means[0])
    spread = np.empty((1, *probabilities.shape[1:]), np.float32)
    for k in range(probabilities.shape[1]):
        if len(means) == 2:
            spread[0, k] = flip_variance(means[0][:, k], means[1][:, k]).max(axis=0)
            probabilities[:, k] = 0.5 * (means[0][:, k] + means[1][:, k])
        else:
            spread[0, k] = nested_entropy(probabilities[:, k])
    volume = model_input.volume
    return Prediction(volume.with_array(probabilities), volume.with_array(spread), notes)
