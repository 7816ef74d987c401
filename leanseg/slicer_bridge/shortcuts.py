"""Keyboard shortcuts of a panel. With Shift, because the Segment Editor and its effects use the plain keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import qt
import slicer


def helpTable(descriptions: Mapping[str, str]) -> str:
    """Key -> what it does, as HTML for the help text of a module."""
    rows = "".join(f"<tr><td>{key}&nbsp;&nbsp;</td><td>{what}</td></tr>" for key, what in descriptions.items())
    return f"<table>{rows}</table>"


class Shortcuts:
    """Installed while the module is shown; they click what they stand for, so a disabled button stays disabled."""

    def __init__(self, widgets: Mapping[str, Any]) -> None:
        """`widgets`: key, e.g. `Shift+A` -> what it clicks."""
        self._widgets = dict(widgets)
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
