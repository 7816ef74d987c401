"""The line of the panel that says what happened and what to do."""

from __future__ import annotations

import logging
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from leanseg.errors import IncompatibleInputError, LeanSegError

ICON_SIZE = 16


class MessageLine:
    """An error is logged once, however often it is said in a row."""

    def __init__(self, label: Any, iconLabel: Any) -> None:
        self._label = label
        self._icon = iconLabel
        warning = slicer.app.style().standardIcon(qt.QStyle.SP_MessageBoxWarning)
        self._icon.setPixmap(warning.pixmap(ICON_SIZE, ICON_SIZE))
        self._isSaid = False
        self._logged = ""
        self.clear()

    def say(self, text: str, isError: bool = False, isLogged: bool = False) -> None:
        """Stays until it is cleared; `isLogged`: somebody has logged it already."""
        if isError and not isLogged and text != self._logged:
            logging.error(text)
            self._logged = text
        self._isSaid = bool(text)
        self._show(text, isError)

    def fail(self, error: Exception) -> None:
        """Say it; of an error that nobody foresaw, the log has the whole story already."""
        isForeseen = isinstance(error, LeanSegError)
        self.say(str(error) if isForeseen else _unexpected(error), True, not isForeseen)

    def refuse(self, error: Exception) -> None:
        """As `fail`; but that an image does not fit is no failure: no warning, and the log tells it as information."""
        if not isinstance(error, IncompatibleInputError):
            self.fail(error)
            return
        if str(error) != self._logged:
            logging.info(str(error))
            self._logged = str(error)
        self.say(str(error))

    def inform(self, text: str) -> None:
        """About the present state; shown where nothing was said."""
        if not self._isSaid:
            self._show(text, False)

    def clear(self) -> None:
        self.say("")

    def _show(self, text: str, isError: bool) -> None:
        self._label.setText(text)
        self._label.setVisible(bool(text))
        self._icon.setVisible(isError)


def _unexpected(error: Exception) -> str:
    text = _("Unexpected error ({kind}: {text}); nothing was changed. Please report it with the diagnostics below.")
    reason = str(error).strip().partition("\n")[0]
    return str(text.format(kind=type(error).__name__, text=reason))
