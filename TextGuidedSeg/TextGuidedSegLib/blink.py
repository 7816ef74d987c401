"""Compares the results of the last two prompts by showing them in turn, each in its color and named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
from slicer.i18n import tr as _

from TextGuidedSegLib.shown_result import OTHER_COLOR, OUTLINE_COLOR
from TextGuidedSegLib.steps_view import shortened

PERIOD_MS = 700


class Blink:
    """The button that blinks. `onTurn()`: show again, what `shown` says."""

    def __init__(self, button: Any, dialog: Any, onTurn: Callable[[], None]) -> None:
        self._button = button
        self._dialog = dialog
        self._onTurn = onTurn
        self._turn = 0
        self._timer = qt.QTimer()
        self._timer.setInterval(PERIOD_MS)
        self._timer.connect("timeout()", self._onTimeout)
        button.connect("toggled(bool)", self._onToggled)

    def stop(self) -> None:
        """Only the last result is shown."""
        self._button.checked = False

    def close(self) -> None:
        """No callback comes any more."""
        self.stop()
        self._timer.stop()
        self._timer.disconnect("timeout()")

    def showState(self) -> None:
        canCompare = not self._dialog.isRunning and len(self._dialog.comparable()) == 2
        self._button.enabled = canCompare
        if not canCompare:
            self.stop()

    @property
    def showsEarlier(self) -> bool:
        """Whether the result of the earlier prompt is seen now."""
        return bool(self._button.checked) and self._turn == 0

    def shown(self) -> tuple[dict[int, Any], tuple[float, float, float], str] | None:
        """Proposals, color and name of the one whose turn it is; None where nothing is compared."""
        pair = self._dialog.comparable() if self._button.checked else []
        if len(pair) < 2:
            return None
        text, proposals = pair[self._turn]
        number = (_("Earlier prompt"), _("Last prompt"))[self._turn]
        name = _('{which}: "{text}"').format(which=number, text=shortened(text) or _("any tumor"))
        return proposals, (OTHER_COLOR, OUTLINE_COLOR)[self._turn], name

    def _onToggled(self, isOn: bool) -> None:
        self._turn = 0
        if isOn:
            self._timer.start()
        else:
            self._timer.stop()
        self._onTurn()

    def _onTimeout(self) -> None:
        self._turn = 1 - self._turn
        self._onTurn()
