"""The list of what was said and shown, with undo, redo, recall of earlier prompts, and export."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from leanseg.errors import LeanSegError
from leanseg.slicer_bridge.segments import imageOf

UNDONE_COLOR = "#909090"
SHORT = 60  # characters of a prompt that a list shows


class StepsView:
    """Shows a `TextDialog`; `beforeMove()`: undo or redo is next; `onRecall(text)`: an earlier prompt was chosen."""

    def __init__(
        self, ui: Any, dialog: Any, message: Any, beforeMove: Callable[[], None], onRecall: Callable[[str], None]
    ) -> None:
        self._ui = ui
        self._dialog = dialog
        self._message = message
        self._beforeMove = beforeMove
        self._onRecall = onRecall
        self._shown: tuple = ()
        self._history: tuple = ()
        ui.undoStepButton.connect("clicked(bool)", self.onUndo)
        ui.redoStepButton.connect("clicked(bool)", self.onRedo)
        ui.exportButton.connect("clicked(bool)", self.onExport)
        ui.historySelector.connect("activated(int)", self._onHistory)
        ui.stepsList.connect("itemActivated(QListWidgetItem*)", self._onActivated)

    def show(self) -> None:
        """What the conversation holds now."""
        ui, conversation = self._ui, self._dialog.conversation
        steps = (conversation.steps, conversation.undone)
        isOpen = self._dialog.frames is not None
        ui.undoStepButton.enabled = isOpen and conversation.can_undo
        ui.redoStepButton.enabled = isOpen and conversation.can_redo and not self._dialog.isRunning
        ui.exportButton.enabled = bool(steps[0] or steps[1])
        if steps != self._shown:
            self._shown = steps
            self._fill(*steps)
        if conversation.history != self._history:
            self._history = conversation.history
            self._fillHistory()

    def refill(self) -> None:
        """Segments have other names, or are gone."""
        self._shown = ()
        self.show()

    def _fill(self, steps: tuple, undone: tuple) -> None:
        view = self._ui.stepsList
        view.clear()
        for number, step in enumerate((*steps, *undone), start=1):
            item = qt.QListWidgetItem(f"{number}. {describe(step, self._nameOf)}", view)
            if number > len(steps):
                item.setForeground(qt.QBrush(qt.QColor(UNDONE_COLOR)))
        if steps:
            view.setCurrentRow(len(steps) - 1)

    def _nameOf(self, step: Any) -> str:
        """Of the segment that a proposal was accepted into; its id where it is gone.

        Several segmentations may have a segment of this id: those of the image come first, of them the one that was
        written. In another scene that one may have another id, or a segmentation of another image this one.
        """
        frames = self._dialog.frames
        volumeNode = None if frames is None else frames.volumeNode

        def rank(node: Any) -> tuple[bool, bool]:
            return imageOf(node) is not volumeNode, node.GetID() != step.segmentation_id

        for node in sorted(slicer.util.getNodesByClass("vtkMRMLSegmentationNode"), key=rank):
            segment = node.GetSegmentation().GetSegment(step.segment_id)
            if segment is not None:
                return segment.GetName()
        return step.segment_id

    def _fillHistory(self) -> None:
        selector = self._ui.historySelector
        wasBlocked = selector.blockSignals(True)
        selector.clear()
        for text in self._history:
            selector.addItem(shortened(text))
            selector.setItemData(selector.count - 1, text, qt.Qt.ToolTipRole)
        selector.setCurrentIndex(-1)
        selector.blockSignals(wasBlocked)
        selector.enabled = bool(self._history)

    def _onHistory(self, index: int) -> None:
        self._onRecall(self._dialog.conversation.recall(index))

    def _onActivated(self, item: Any) -> None:
        """Go to the slice of a step."""
        k = sliceOf((*self._shown[0], *self._shown[1])[self._ui.stepsList.row(item)])
        if k is not None and k < self._dialog.frames.count:
            try:
                self._dialog.frames.select(k)
            except LeanSegError as error:
                self._message.refuse(error)

    def onUndo(self, *_args: Any) -> None:
        self._message.clear()
        self._beforeMove()
        self._follow(self._dialog.undo())

    def onRedo(self, *_args: Any) -> None:
        self._message.clear()
        self._beforeMove()
        self._follow(self._dialog.redo())

    def _follow(self, step: Any) -> None:
        """The text stands there that counts now; what is in a segment stays there."""
        conversation = self._dialog.conversation
        if hasattr(step, "text"):
            self._onRecall(conversation.text)
        if hasattr(step, "segment_id") and step in conversation.undone:
            name = self._nameOf(step)
            text = _("The proposal is back; {name} stays as it is. Ctrl+Z in the Segment Editor takes that back.")
            self._message.say(text.format(name=name))

    def onExport(self, *_args: Any) -> None:
        name = f"{self._dialog.frames.volumeNode.GetName()} conversation.json"
        path = qt.QFileDialog.getSaveFileName(self._ui.stepsList, _("Export conversation"), name, "JSON (*.json)")
        if not path:
            return
        try:
            written = export(self._dialog.conversation, path)
        except LeanSegError as error:
            self._message.fail(error)
            return
        self._message.say(_("Wrote {path}.").format(path=written))


def export(conversation: Any, path: str) -> Path:
    """Write a conversation as JSON, whole or not at all; a path without a suffix gets `.json`.

    :raises OutputError: it cannot be written there.
    """
    from leanseg.beside import written_beside

    target = Path(path)
    target = target if target.suffix else target.with_suffix(".json")
    with written_beside(target) as beside:
        beside.write_text(conversation.to_json() + "\n", encoding="utf-8")
    return target


def describe(step: Any, nameOf: Callable[[Any], str]) -> str:
    """What a person reads about a step; `nameOf` the segment of an acceptance."""
    kind = type(step).__name__
    if kind == "Prompt":
        text = _('"{text}" in slice {first}') if step.first_k == step.last_k else _('"{text}" in slices {first}-{last}')
        said = shortened(step.text) or _("any tumor")
        return text.format(text=said, first=step.first_k + 1, last=step.last_k + 1)
    if kind == "Accept":
        return _("Accepted into {name}").format(name=nameOf(step))
    if kind == "Reject":
        return _("Rejected")
    number = sliceOf(step) + 1
    if kind == "Box":
        return _("Box in slice {number}").format(number=number)
    if kind == "Click":
        text = _("Tumor at a point of slice {number}") if step.positive else _("Not tumor, slice {number}")
        return text.format(number=number)
    text = _("Stroke in tumor, slice {number}") if step.positive else _("Stroke outside of it, slice {number}")
    return text.format(number=number)


def sliceOf(step: Any) -> int | None:
    """The slice (from 0) that a step is about; None where it is about none."""
    if hasattr(step, "first_k"):
        return (step.first_k + step.last_k) // 2
    if hasattr(step, "k"):
        return step.k
    place = getattr(step, "kji", None) or next(iter(getattr(step, "points_kji", ())), None)
    return None if place is None else int(place[0] + 0.5)


def shortened(text: str) -> str:
    """On one line, and cut where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= SHORT else line[: SHORT - 1] + "…"
