"""Keyboard shortcuts of the panel."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from leanseg.slicer_bridge.shortcuts import Shortcuts, helpTable

__all__ = ["descriptions", "helpTable", "shortcutsOf"]


def descriptions() -> dict[str, str]:
    """Key -> what it does."""
    return {
        "Shift+A": _("Apply, or Cancel while it runs"),
        "Shift+Return": _("Accept the proposal"),
        "Shift+R": _("Reject the proposal"),
        "Shift+L": _("Live preview on or off"),
        "Shift+U": _("Uncertainty on or off"),
    }


def shortcutsOf(ui: Any) -> Shortcuts:
    """What each key clicks."""
    return Shortcuts(
        {
            "Shift+A": ui.applyButton,
            "Shift+Return": ui.acceptButton,
            "Shift+R": ui.rejectButton,
            "Shift+L": ui.livePreviewCheckBox,
            "Shift+U": ui.uncertaintyCheckBox,
        }
    )
