"""What a model says about one frame, and the frames that it has seen already. No Slicer, no Qt: runs in any thread."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from leanseg.errors import IncompatibleInputError

if TYPE_CHECKING:
    from leanseg.api import Model
    from leanseg.prediction import Prediction
    from leanseg.processing.grid import GridTrace
    from leanseg.processing.postprocess import PostprocessingConfig
    from leanseg.volume import Volume

ModelKey = tuple[str, str]
"""Id of a model, and precision."""
MAX_FRAMES_KEPT = 500


@dataclass(frozen=True, eq=False)
class FrameResult:
    """Kept on the model's grid, which is small; brought back to the grid of the frame when it is asked for."""

    prediction: Prediction
    trace: GridTrace
    seconds: float
    """From the frame to the probabilities, without loading the model."""

    def probabilities(self) -> np.ndarray:
        """(j, i) float32 in [0, 1], on the grid of the frame."""
        return self._restored(self.prediction.probabilities)

    def uncertainty(self) -> np.ndarray:
        """(j, i) float32 in [0, 1], on the grid of the frame."""
        return self._restored(self.prediction.uncertainty)

    def mask(self, config: PostprocessingConfig) -> np.ndarray:
        """(j, i) bool: thresholded anew, without inference."""
        from leanseg.processing.postprocess import lesion_mask

        return lesion_mask(self.probabilities()[np.newaxis], config)[0]

    def hasLesion(self, config: PostprocessingConfig) -> bool:
        """As `mask(config).any()`; quick where every probability is below the threshold."""
        isPossible = self.prediction.probabilities.array.max() >= config.threshold
        return bool(isPossible and self.mask(config).any())

    def _restored(self, volume: Volume) -> np.ndarray:
        return np.clip(self.trace.restore(volume).array[0, 0], 0, 1)


def predictFrame(model: Model, frame: Volume) -> FrameResult:
    """One frame (c, 1, j, i) through a loaded model.

    The gray values are scaled by this frame alone, as in training, so that a frame has the same result whether it is
    segmented by itself or with all others.

    :raises IncompatibleInputError: the frame does not fit the model.
    """
    from leanseg.processing.preprocess import preprocess

    started = time.perf_counter()
    modelInput = preprocess(frame, model.preprocessing)
    prediction = model.engine.predict(modelInput)
    return FrameResult(prediction, modelInput.trace, time.perf_counter() - started)


def colorProblem(frame: Volume) -> str:
    """Why the colors of a frame (c, 1, j, i) are refused, before any model sees it; empty where they are not."""
    from leanseg.processing.intensity import to_gray

    try:
        to_gray(frame.array)
    except IncompatibleInputError as error:
        return str(error)
    return ""


def frameKey(modelKey: ModelKey, frame: Volume) -> tuple:
    """Equal for equal voxels, model and precision: a changed voxel is another frame."""
    voxels = np.ascontiguousarray(frame.array)
    return (*modelKey, voxels.shape, voxels.dtype.str, hashlib.blake2b(voxels, digest_size=16).digest())


class FrameCache:
    """The last results, by `frameKey`. From any thread."""

    def __init__(self) -> None:
        self._results: OrderedDict[tuple, FrameResult] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple) -> FrameResult | None:
        with self._lock:
            if key in self._results:
                self._results.move_to_end(key)
            return self._results.get(key)

    def put(self, key: tuple, result: FrameResult) -> None:
        with self._lock:
            self._results[key] = result
            if len(self._results) > MAX_FRAMES_KEPT:
                self._results.popitem(last=False)

    def clear(self) -> None:
        with self._lock:
            self._results.clear()
