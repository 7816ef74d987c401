"""Keyboard shortcuts of the panel."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from leanseg.slicer_bridge.shortcuts import Shortcuts, helpTable

__all__ = ["descriptions", "helpTable", "shortcutsOf"]


def descriptions() -> dict[str, str]:
    """Key -> what it does."""
    return {
        "Ctrl+Return": _("Apply, while the prompt is being typed"),
        "Shift+T": _("Click tumor"),
        "Shift+O": _("Click what is not tumor"),
        "Shift+X": _("Draw a box"),
        "Shift+Q": _("Next question"),
        "Shift+Y": _("Answer: tumor"),
        "Shift+N": _("Answer: not tumor"),
        "Shift+Z": _("Undo a step"),
        "Shift+Alt+Z": _("Redo a step"),
        "Shift+B": _("Blink: compare two prompts"),
        "Shift+U": _("Uncertainty on or off"),
        "Shift+A": _("Ask the question about the view"),
        "Shift+H": _("Heat map of the answer on or off"),
        "Shift+Return": _("Accept the proposal"),
        "Shift+R": _("Reject the proposal"),
    }


def shortcutsOf(ui: Any, askForm: Any) -> Shortcuts:
    """What each key clicks; while a person types in the prompt or in a question, the keys are letters."""
    return Shortcuts(
        {
            "Shift+T": ui.positiveButton,
            "Shift+O": ui.negativeButton,
            "Shift+X": ui.boxButton,
            "Shift+Q": ui.questionButton,
            "Shift+Y": ui.yesButton,
            "Shift+N": ui.noButton,
            "Shift+Z": ui.undoStepButton,
            "Shift+Alt+Z": ui.redoStepButton,
            "Shift+B": ui.blinkButton,
            "Shift+U": ui.uncertaintyCheckBox,
            "Shift+A": askForm.askButton,
            "Shift+H": askForm.heatCheckBox,
            "Shift+Return": ui.acceptButton,
            "Shift+R": ui.rejectButton,
        }
    )
