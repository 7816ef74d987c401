"""The module without its panel: models, runs, single slices anew; usable from scripts and in any thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from DynamicBrainSegLib.preparation import prepare
from DynamicBrainSegLib.refinement import refinedPrediction
from DynamicBrainSegLib.result import BrainRun, brainResult
from DynamicBrainSegLib.thorough import isThorough, withSlices

if TYPE_CHECKING:
    from DynamicBrainSegLib.inputs import BrainImages
    from DynamicBrainSegLib.result import BrainOptions, BrainResult
    from leanseg.api import Model
    from leanseg.request import Progress
    from leanseg.weights.card import ModelCard


class BrainLogic(ScriptedLoadableModuleLogic):
    """Everything but the panel. `segment` and `refine` touch no node."""

    def __init__(self) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        self._loaded: dict[tuple[str, str], Model] = {}
        self._lock = threading.Lock()  # a model runs in one thread at a time

    def models(self) -> list[ModelCard]:
        """Cards of the models of brains; a damaged bundle is not among them.

        Those that decide for each slice come first, and of them the one that was tried on the most brains that it had
        not seen, which is what a person begins with. Then come those that compute all of a brain in 3-D.
        """
        import leanseg

        cards = [card for card in leanseg.list_models() if card.engine == "dynamic_slicewise" or isThorough(card)]
        return sorted(cards, key=lambda card: (isThorough(card), -_unseenCases(card)))

    def segment(
        self,
        images: BrainImages,
        options: BrainOptions,
        progress: Progress | None = None,
        earlier: BrainResult | None = None,
    ) -> BrainResult:
        """A whole brain; loads the model at its first use.

        :param earlier: a result of the same images object: what was prepared for it is used again where that is right.
        :raises LeanSegError: no such model, damaged, no runtime, or images that do not fit it or each other.
        :raises InferenceCancelled: `progress` returned False.
        """
        from leanseg.request import no_progress, step

        progress = progress or no_progress
        with self._lock:
            step(progress, 0, 1, "loading the model")
            model = self._model(options.model, options.precision)
            started = time.perf_counter()
            if earlier is not None and _isPreparedAlike(earlier, images, options):
                prepared = earlier.run.prepared
            else:
                prepared = prepare(images, options, model, progress)
            if isThorough(model.card):
                prediction = withSlices(model.engine.predict(prepared.modelInput, progress, options.uncertainty))
            else:
                prediction = model.engine.predict(
                    prepared.modelInput, progress, options.uncertainty, cost_bias=options.costBias
                )
            run = BrainRun(images, options, model, prepared, prediction)
            return brainResult(run, prediction.notes["gmacs"], started)

    def refine(
        self, result: BrainResult, overrides: Mapping[int, int], progress: Progress | None = None
    ) -> BrainResult:
        """The slices named are computed anew with these decisions, and no others.

        :param overrides: slice of the model grid -> decision, e.g. `result.fullDecision`.
        :raises LeanSegError: no such slice or decision, or a model that decides nothing.
        :raises InferenceCancelled: `progress` returned False.
        """
        from leanseg.errors import LeanSegError
        from leanseg.request import no_progress

        if not overrides:
            return result
        if not result.canOverrule:
            name = result.run.model.card.id
            raise LeanSegError(_("{name} computes all of a brain at once; choose another model.").format(name=name))
        with self._lock:
            started = time.perf_counter()
            prediction, gmacs = refinedPrediction(result.run, overrides, progress or no_progress)
            run = replace(result.run, prediction=prediction)
            return brainResult(run, result.totalGmacs + gmacs, started - result.seconds)

    def timeWindow(self, model: str, precision: str, progress: Progress | None = None) -> float:
        """Seconds that a window of a thorough model takes here; loads the model, which its first run needs anyway.

        :raises LeanSegError: no such model, damaged, or no runtime.
        :raises InferenceCancelled: `progress` returned False.
        """
        from leanseg.inference.sliding_window import seconds_of_window
        from leanseg.request import no_progress, step

        progress = progress or no_progress
        with self._lock:
            step(progress, 0, 2, "loading the model")
            loaded = self._model(model, precision)
            step(progress, 1, 2, "a window")
            return seconds_of_window(loaded.engine, len(loaded.card.inputs))

    def _model(self, model: str, precision: str) -> Model:
        import leanseg

        key = (model, precision)
        if key not in self._loaded:
            self._loaded[key] = leanseg.load_engine(model, precision=precision)
        return self._loaded[key]


def _unseenCases(card: ModelCard) -> int:
    return int(card.metrics.get("cross_validation", {}).get("dice_WT", {}).get("n", 0))


def _isPreparedAlike(earlier: BrainResult, images: BrainImages, options: BrainOptions) -> bool:
    def preparation(chosen: BrainOptions) -> tuple[str, str, bool]:
        return chosen.model, chosen.alignment, chosen.stripSkull

    return earlier.images is images and preparation(earlier.options) == preparation(options)
