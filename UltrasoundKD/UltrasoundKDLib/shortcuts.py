"""Keyboard shortcuts of the panel. With Shift, because the Segment Editor and its effects use the plain keys."""

from __future__ import annotations

from typing import Any

import qt
import slicer
from slicer.i18n import tr as _


def descriptions() -> dict[str, str]:
    """Key -> what it does."""
    return {
        "Shift+A": _("Apply, or Cancel while it runs"),
        "Shift+Return": _("Accept the proposal"),
        "Shift+R": _("Reject the proposal"),
        "Shift+L": _("Live preview on or off"),
        "Shift+U": _("Uncertainty on or off"),
    }


def helpTable() -> str:
    """For the help text of the module."""
    rows = "".join(f"<tr><td>{key}&nbsp;&nbsp;</td><td>{what}</td></tr>" for key, what in descriptions().items())
    return f"<table>{rows}</table>"


class Shortcuts:
    """Installed while the module is shown; they click what they stand for, so a disabled button stays disabled."""

    def __init__(self, ui: Any) -> None:
        self._widgets = {
            "Shift+A": ui.applyButton,
            "Shift+Return": ui.acceptButton,
            "Shift+R": ui.rejectButton,
            "Shift+L": ui.livePreviewCheckBox,
            "Shift+U": ui.uncertaintyCheckBox,
        }
        self._installed: list[Any] = []

    def install(self) -> None:
        window = slicer.util.mainWindow()
        if window is None:
            return
        self.remove()
        for key, widget in self._widgets.items():
            shortcut = qt.QShortcut(qt.QKeySequence(key), window)
            shortcut.connect("activated()", widget.click)
            self._installed.append(shortcut)

    def remove(self) -> None:
        for shortcut in self._installed:
            shortcut.disconnect("activated()")
            shortcut.setParent(None)
            shortcut.deleteLater()
        self._installed.clear()
