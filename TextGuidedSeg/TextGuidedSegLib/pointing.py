"""\"What the words point at\": a chooser of the sentence or one word of it, whose heat map lies over the image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from slicer.i18n import tr as _

WEAK = 0.5
"""What goes with a word by less than half of what anything in the picture does stays clean."""


class Pointing:
    """Check box and chooser, there where the result has words. `onChanged()`: show again, what `maps` says."""

    def __init__(self, ui: Any, onChanged: Callable[[], None]) -> None:
        self._ui = ui
        self._onChanged = onChanged
        self._words: tuple[str, ...] = ()
        self._made: tuple[Any, int, dict[int, np.ndarray]] | None = None
        ui.pointingCheckBox.connect("toggled(bool)", self._onChosen)
        ui.pointingSelector.connect("currentIndexChanged(int)", self._onChosen)
        self.follow({})

    def follow(self, proposals: Mapping[int, Any]) -> None:
        """Offer the words of a result; of one without words nothing, and the next one begins with nothing shown."""
        ui, words = self._ui, _words(proposals)
        if words != self._words:
            wasBlocked = ui.pointingSelector.blockSignals(True)
            ui.pointingSelector.clear()
            for number, text in enumerate((_("Whole sentence"), *words)):
                ui.pointingSelector.addItem(text, number)
            ui.pointingSelector.blockSignals(wasBlocked)
        self._words = words
        if not words:
            self._made = None
            wasBlocked = ui.pointingCheckBox.blockSignals(True)
            ui.pointingCheckBox.checked = False
            ui.pointingCheckBox.blockSignals(wasBlocked)
        ui.pointingCheckBox.setVisible(bool(words))
        ui.pointingSelector.setVisible(bool(words))
        ui.pointingSelector.enabled = bool(ui.pointingCheckBox.checked)

    def maps(self, proposals: Mapping[int, Any]) -> dict[int, np.ndarray] | None:
        """Slice -> heat map (j, i) of what is chosen; None where nothing is to be shown. The same until it changes."""
        if not self._ui.pointingCheckBox.checked or not _words(proposals):
            return None
        number = self._ui.pointingSelector.currentData
        if self._made is None or self._made[0] is not proposals or self._made[1] != number:
            found = {k: one.heat_map(number) for k, one in proposals.items() if getattr(one, "words", ())}
            self._made = (proposals, number, found)
        return self._made[2]

    def _onChosen(self, *_args: Any) -> None:
        self._onChanged()


def _words(proposals: Mapping[int, Any]) -> tuple[str, ...]:
    """Of the slices that a sentence was read in; all of them heard the same."""
    return next((words for one in proposals.values() if (words := getattr(one, "words", ()))), ())
