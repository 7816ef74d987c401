"""The prompt as text and as a structure, side by side: each changes the other, and what was understood is said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import qt
from slicer.i18n import tr as _

from TextGuidedSegLib.location_grid import LocationGrid

SETTLING_MS = 150  # after a key stroke
WARNING_COLOR = "#b35900"


class PromptEditor:
    """Text edit, combo boxes and grid of the panel. `onChanged()`: another text stands there, whoever wrote it.

    The text is what counts; it is in patient directions where the image has them, the grid in those of the picture.
    """

    def __init__(
        self, ui: Any, understand: Callable[[str], Any], onChanged: Callable[[], None], onApply: Callable[[], None]
    ) -> None:
        """`understand(text)` -> `Parsed`; `onApply()`: Ctrl+Enter was pressed."""
        self._ui = ui
        self._understand = understand
        self._onChanged = onChanged
        self._frame: Any = None
        self._isShowing = False
        self._fillSelectors()
        self.grid = LocationGrid(ui.locationWidget, self._onStructure)
        self.grid.setFrame("", "")
        self._settling = qt.QTimer()
        self._settling.setSingleShot(True)
        self._settling.setInterval(SETTLING_MS)
        self._settling.connect("timeout()", self._read)
        ui.promptEdit.connect("textChanged()", self._onText)
        self._applyKeys = [qt.QShortcut(qt.QKeySequence(key), ui.promptEdit) for key in ("Ctrl+Return", "Ctrl+Enter")]
        for key in self._applyKeys:
            key.setContext(qt.Qt.WidgetShortcut)
            key.connect("activated()", onApply)
        self._selectors = {"number": ui.numberSelector, "shape": ui.shapeSelector, "size": ui.sizeSelector}
        for selector in self._selectors.values():
            selector.connect("currentIndexChanged(int)", self._onStructure)
        ui.warningsLabel.setStyleSheet(f"color: {WARNING_COLOR}")

    def close(self) -> None:
        """No callback comes any more."""
        self._settling.stop()
        self._settling.disconnect("timeout()")

    @property
    def text(self) -> str:
        return self._ui.promptEdit.plainText

    def setText(self, text: str) -> None:
        """As if it had been typed."""
        if text != self.text:
            self._write(text)
            self._read()

    def readFor(self, frame: Any) -> None:
        """Another image is meant, which has other things to say about the same words.

        `frame`: PictureFrame, or None where the image is not known yet.
        """
        self._frame = frame
        self.grid.setFrame(*(("", "") if frame is None else (frame.left, frame.up)))
        self._read()

    @property
    def parsed(self) -> Any:
        """`Parsed` of the text as it stands."""
        return self._understand(self.text)

    # Text -> structure

    def _onText(self, *_args: Any) -> None:
        if not self._isShowing:
            self._settling.start()

    def _read(self) -> None:
        """The structure and the line below become what the text says."""
        self._settling.stop()
        parsed = self.parsed
        self._isShowing = True
        try:
            for field, selector in self._selectors.items():
                selector.setCurrentIndex(max(selector.findData(getattr(parsed.prompt, field)), 0))
            self.grid.show(self._seen(parsed).locations)
        finally:
            self._isShowing = False
        self._say(parsed)
        self._onChanged()

    def _say(self, parsed: Any) -> None:
        from leanseg.prompts.directions import PictureFrame, told
        from leanseg.prompts.render import summary

        ui, frame = self._ui, self._frame or PictureFrame()
        understood = getattr(parsed, "answered_by", "") or told(self._seen(parsed), frame, summary)
        nothing = _("nothing, it is not read") if parsed.refusal else _("any tumor")
        ui.parsedLabel.setText(understood or (nothing if self.text.strip() else _("Nothing said: any tumor.")))
        warnings = parsed.warnings if self.text.strip() else ()
        warnings = (parsed.refusal,) if parsed.refusal else warnings
        ui.warningsLabel.setText("\n".join(warnings))
        ui.warningsLabel.setVisible(bool(warnings))

    # Structure -> text

    def _onStructure(self, *_args: Any) -> None:
        """A person has chosen: the text says that, and what the structure has no widget for."""
        if self._isShowing:
            return
        from leanseg.prompts.directions import PictureFrame, told
        from leanseg.prompts.render import render
        from leanseg.prompts.structure import NOTHING_SAID

        self._settling.stop()
        chosen = {field: selector.currentData or "" for field, selector in self._selectors.items()}
        prompt = replace(self._seen(self.parsed), locations=self.grid.locations(), **chosen)
        self._write("" if prompt == NOTHING_SAID else told(prompt, self._frame or PictureFrame(), render))
        self._read()

    def _write(self, text: str) -> None:
        self._isShowing = True
        try:
            self._ui.promptEdit.setPlainText(text)
        finally:
            self._isShowing = False

    def _seen(self, parsed: Any) -> Any:
        """What the text says about the picture, where it says anything about a tumor."""
        from leanseg.inference.prompt_heard import read, seen
        from leanseg.prompts.structure import NOTHING_SAID

        if self._frame is None or parsed.prompt == NOTHING_SAID:
            return parsed.prompt
        return seen(read(self.text, self._frame)[0], self._frame)

    def _fillSelectors(self) -> None:
        ui = self._ui
        words = {
            ui.numberSelector: {"": _("any"), "no": _("none"), "one": _("one"), "two": _("two"), "three": _("three"),
                                "several": _("several")},
            ui.shapeSelector: {"": _("any"), "round": _("round"), "oval": _("oval"), "irregular": _("irregular"),
                               "spiculated": _("spiculated")},
            ui.sizeSelector: {"": _("any"), "small": _("small"), "medium": _("medium"), "large": _("large")},
        }  # fmt: skip
        for selector, texts in words.items():
            for value, text in texts.items():
                selector.addItem(text, value)
