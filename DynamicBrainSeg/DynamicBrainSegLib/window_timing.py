"""What a brain takes on this computer with a model that computes all of it, told before anybody has run it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import qt

from DynamicBrainSegLib.thorough import costText, isThorough, windows
from leanseg.slicer_bridge.model_chooser import PRECISION_NAMES
from leanseg.slicer_bridge.runner import Runner

if TYPE_CHECKING:
    from leanseg.request import Progress
    from leanseg.weights.card import ModelCard

Key = tuple[str, str]
"""Id and precision"""


class WindowTiming:
    """Times one window in the background where no run is known; `onKnown()` is called when that is done.

    The time is remembered by what runs (digest of the bundle) and by how many threads there are.
    """

    def __init__(self, logic: Any, models: Any, onKnown: Callable[[], None]) -> None:
        """`models`: the `ModelChooser` of the panel."""
        self._logic = logic
        self._models = models
        self._onKnown = onKnown
        self._runner = Runner()
        self._shown: Key | None = None  # with what it costs
        self._timed: Key | None = None
        self._failed: set[Key] = set()  # a run will say why

    def enter(self) -> None:
        """The module is shown: what failed may work by now."""
        self._failed.clear()

    @property
    def isRunning(self) -> bool:
        return self._runner.busy

    def costText(self, card: ModelCard) -> str:
        """As `thorough.costText`, with the time on this computer where it is known."""
        return costText(card, self.seconds(card) if isThorough(card) else None)

    def seconds(self, card: ModelCard) -> float | None:
        """Of a brain: of the last run, else as many as its windows take; None where neither is known."""
        precision = self._precision(card)
        ofRun = self._models.knownSeconds(card.id, precision)
        ofWindow = float(qt.QSettings().value(_setting(card, precision)) or 0)
        return ofRun or ofWindow * windows(card) or None

    def start(self) -> None:
        """Time the chosen model, if that is worth knowing and not known; no other any more."""
        card, key = self._models.card, self._models.key
        if self._shown != key:
            self._shown = key
            self._onKnown()
        if self._timed is not None and self._timed != key:
            self.cancel()
        if card is None or key is None or key in (self._timed, *self._failed):
            return
        if not isThorough(card) or self.seconds(card) is not None:
            return
        setting, self._timed = _setting(card, key[1]), key

        def work(progress: Progress) -> float:
            return float(self._logic.timeWindow(*key, progress))

        def done(seconds: float) -> None:
            self._timed = None
            qt.QSettings().setValue(setting, seconds)
            self._onKnown()

        def failed(_error: Exception) -> None:
            self._timed = None
            self._failed.add(key)

        self._runner.submit(work, onDone=done, onFailed=failed)

    def cancel(self) -> None:
        """Somebody runs a model, or looks at something else. A window that has begun ends unheard."""
        self._timed = None
        self._runner.cancel()

    def close(self) -> None:
        """No callback comes any more."""
        self._runner.close()

    def _precision(self, card: ModelCard) -> str:
        """The chosen one; of models that are not chosen, the one that would be."""
        model, precision = self._models.key or ("", "")
        if card.id == model and precision in card.precisions:
            return precision
        return next((name for name in PRECISION_NAMES if name in card.precisions), card.precisions[0])


def _setting(card: ModelCard, precision: str) -> str:
    return f"LeanSeg/SecondsPerWindow/{card.checksum(precision)}/{os.cpu_count()}"
