"""Keyboard shortcuts of the panel."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from leanseg.slicer_bridge.shortcuts import Shortcuts, helpTable

__all__ = ["descriptions", "helpTable", "shortcutsOf"]


def descriptions() -> dict[str, str]:
    """Key -> what it does."""
    return {
        "Shift+A": _("Segment, or Cancel while it runs"),
        "Shift+F": _("Compute the shown slice fully"),
        "Shift+U": _("Uncertainty on or off"),
    }


def shortcutsOf(ui: Any) -> Shortcuts:
    """What each key clicks."""
    return Shortcuts({"Shift+A": ui.segmentButton, "Shift+F": ui.computeSliceButton, "Shift+U": ui.uncertaintyCheckBox})
