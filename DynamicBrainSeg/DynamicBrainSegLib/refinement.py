"""Single slices computed anew, all others left as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from leanseg.errors import LeanSegError

if TYPE_CHECKING:
    from DynamicBrainSegLib.result import BrainRun
    from leanseg.prediction import Prediction
    from leanseg.request import Progress


def refinedPrediction(run: BrainRun, overrides: Mapping[int, int], progress: Progress) -> tuple[Prediction, float]:
    """Run the engine on the named slices only, with the decisions given; and the GMACs that this took.

    :param overrides: slice of the model grid -> decision.
    :raises LeanSegError: no such slice or decision.
    :raises InferenceCancelled: `progress` returned False.
    """
    from leanseg.processing.grid import GridTrace
    from leanseg.processing.preprocess import ModelInput
    from leanseg.volume import Volume, VolumeGeometry

    chosen, whole = sorted(overrides), run.prepared.modelInput.volume
    depth, height, width = whole.geometry.shape
    for k in chosen:
        if not 0 <= k < depth:
            text = _("There is no slice {k} to compute anew; the model sees 0 to {last}.")
            raise LeanSegError(text.format(k=k, last=depth - 1))
    grid = VolumeGeometry((len(chosen), height, width), whole.geometry.ijk_to_ras)
    some = ModelInput(Volume(whole.array[:, chosen], grid), GridTrace())
    decisions = {n: overrides[k] for n, k in enumerate(chosen)}
    new = run.model.engine.predict(some, progress, run.options.uncertainty, overrides=decisions)
    old = run.prediction
    probabilities, uncertainty = old.probabilities.array.copy(), old.uncertainty.array.copy()
    probabilities[:, chosen] = new.probabilities.array
    uncertainty[:, chosen] = new.uncertainty.array
    merged = replace(
        old,
        probabilities=old.probabilities.with_array(probabilities),
        uncertainty=old.uncertainty.with_array(uncertainty),
        notes={**old.notes, "slice_decisions": _merged(old.notes, new.notes, chosen)},
    )
    return merged, new.notes["gmacs"]


def _merged(old: Mapping[str, Any], new: Mapping[str, Any], chosen: list[int]) -> list[dict[str, Any]]:
    """What was done with each slice, last. The places of the few are not those of the whole brain."""
    slices = list(old["slice_decisions"])
    for k, one in zip(chosen, new["slice_decisions"], strict=True):
        slices[k] = {**one, "center_ras_mm": slices[k]["center_ras_mm"]}
    return slices
