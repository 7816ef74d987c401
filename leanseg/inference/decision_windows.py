"""The published way to use a network that decides: in windows of a slice, each of which decides for itself.

Papers: Med-DANet (arXiv 2206.06575) and Med-DANet V2 (arXiv 2310.18656): windows of 128 x 128 every 42 pixels, 16 for a
slice of 240 x 240. Where windows overlap, the result is their mean (inferred). As a product the slice within the
brain's box decides once; 16 windows have 8.5 times as many pixels as that box of 192 x 160. This is for comparing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leanseg.errors import LeanSegError
from leanseg.prediction import Prediction
from leanseg.processing.preprocess import ModelInput
from leanseg.request import Progress, step
from leanseg.volume import Volume

WINDOW_JI, STEP_PX, GRID_JI = (128, 128), 42, (240, 240)
"""As published."""
Predict = Callable[[ModelInput], Prediction]
_SUMMED = ("gmacs", "bit_weighted_gmacs", "deciding_gmacs", "followed")


def window_starts(length: int, size: int, step_px: int) -> list[int]:
    """First pixels of windows along one side: every `step_px`, and the last one flush with the end.

    Raises:
        LeanSegError: the window is larger than the slice.
    """
    if size > length:
        raise LeanSegError(f"A window of {size} pixels does not fit a slice of {length}. Use a larger model grid.")
    return sorted({*range(0, length - size + 1, step_px), length - size})


def predict_in_windows(
    predict: Predict,
    model_input: ModelInput,
    size_ji: tuple[int, int],
    step_px: int,
    names: Sequence[str],
    progress: Progress,
) -> Prediction:
    """The mean of what `predict` finds in windows (k, *size_ji) of a volume; `names` of the decisions, cheapest first.

    `notes` are those of one prediction, with sums over the windows: `decisions` counts windows; a slice of
    `slice_decisions` has the dearest decision of its windows, so it is skipped if all of them are.

    Raises:
        LeanSegError: the windows do not fit.
    """
    volume = model_input.volume
    _, depth, height, width = volume.array.shape
    places = [
        (j, i) for j in window_starts(height, size_ji[0], step_px) for i in window_starts(width, size_ji[1], step_px)
    ]
    total: NDArray[np.float64] | None = None
    count = np.zeros((height, width))
    found: list[Prediction] = []
    for n, (j, i) in enumerate(places):
        step(progress, n, len(places), f"window {n + 1}")
        found.append(predict(ModelInput(_cut(volume, j, i, size_ji))))
        both = np.concatenate([found[-1].probabilities.array, found[-1].uncertainty.array])
        if total is None:
            total = np.zeros((len(both), depth, height, width))
        total[:, :, j : j + size_ji[0], i : i + size_ji[1]] += both
        count[j : j + size_ji[0], i : i + size_ji[1]] += 1
    step(progress, len(places), len(places), "done")
    assert total is not None
    mean = (total / count).astype(np.float32)
    notes = _together([one.notes for one in found], names)
    middle = [[(width - 1) / 2, (height - 1) / 2, k] for k in range(depth)]
    for one, center in zip(notes["slice_decisions"], volume.geometry.ras_of(np.array(middle)), strict=True):
        one["center_ras_mm"] = [round(float(mm), 3) for mm in center]
    return Prediction(volume.with_array(mean[:-1]), volume.with_array(mean[-1:]), notes | {"windows": len(places)})


def _cut(volume: Volume, j: int, i: int, size_ji: tuple[int, int]) -> Volume:
    """A window of every slice, where it lies in the patient."""
    array = np.ascontiguousarray(volume.array[:, :, j : j + size_ji[0], i : i + size_ji[1]])
    matrix = volume.geometry.ijk_to_ras.copy()
    matrix[:3, 3] = volume.geometry.ras_of(np.array([i, j, 0.0]))
    return Volume(array, replace(volume.geometry, shape=(array.shape[1], *size_ji), ijk_to_ras=matrix))


def _together(notes: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    sums = {name: sum(one[name] for one in notes) for name in _SUMMED}
    slices = [_dearest(windows, names) for windows in zip(*(one["slice_decisions"] for one in notes), strict=True)]
    return {
        **notes[0],
        **sums,
        "decisions": {name: sum(one["decisions"][name] for one in notes) for name in names},
        "seconds": {name: sum(one["seconds"][name] for one in notes) for name in notes[0]["seconds"]},
        "slice_decisions": slices,
        "skipped": sum(one["decision"] == names[0] for one in slices),
    }


def _dearest(windows: Sequence[dict[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    chosen = max(windows, key=lambda one: names.index(one["decision"]))
    return {**chosen, "gmacs": sum(one["gmacs"] for one in windows)}
