"""The decision about a proposal: accept it into a segment, take that back, or reject it."""

from __future__ import annotations

from typing import Any

import slicer
from slicer.i18n import tr as _

from leanseg.errors import LeanSegError
from leanseg.slicer_bridge.frames import SequenceFrames
from leanseg.slicer_bridge.segments import SegmentWriter


class Decision:
    """The buttons Accept and Reject and, for a sequence, undo and redo of an accepted proposal."""

    def __init__(self, ui: Any, panel: Any) -> None:
        self._ui = ui
        self._panel = panel
        self._sequenceWriter: SegmentWriter | None = None
        ui.acceptButton.connect("clicked(bool)", self.onAccept)
        ui.rejectButton.connect("clicked(bool)", self.onReject)
        ui.undoAcceptButton.connect("clicked(bool)", self.onUndoAccept)
        ui.redoAcceptButton.connect("clicked(bool)", self.onRedoAccept)

    def forget(self) -> None:
        """Another image is meant; what was accepted before cannot be undone here any more."""
        self._sequenceWriter = None

    def onAccept(self, *_args: Any) -> None:
        panel = self._panel
        panel.message.clear()
        target = (panel.target.segmentation, panel.target.segmentId)
        try:
            with slicer.util.WaitCursor():
                frames, masks = panel.session.frames, panel.session.masks()
                lesion = panel.models.card.labels[0]
                written = panel.logic.accept(frames, masks, target, self._writer(), lesion, self._saveStateForUndo)
        except LeanSegError as error:
            panel.message.say(str(error), True)
            return
        panel.chooseTarget(*written)
        panel.session.dismiss()
        name = written[0].GetSegmentation().GetSegment(written[1]).GetName()
        how = self._ui.undoAcceptButton.text if self._isSequence else _("Ctrl+Z")
        panel.message.say(_("Accepted into {name}. {undo} takes it back.").format(name=name, undo=how))

    def onReject(self, *_args: Any) -> None:
        self._panel.message.clear()
        self._panel.session.dismiss()

    def onUndoAccept(self, *_args: Any) -> None:
        self._turnBack("undo")

    def onRedoAccept(self, *_args: Any) -> None:
        self._turnBack("redo")

    def _turnBack(self, step: str) -> None:
        panel = self._panel
        panel.message.clear()
        try:
            getattr(self._sequenceWriter, step)()
        except LeanSegError as error:
            panel.message.say(str(error), True)
        panel.showState()

    def showState(self) -> None:
        """Enable what can be decided now."""
        ui, session, writer = self._ui, self._panel.session, self._sequenceWriter
        ui.acceptButton.enabled = session.isAcceptable
        ui.acceptButton.text = session.acceptText()
        ui.rejectButton.enabled = bool(session.proposed) and not session.applying
        for button, canDo in ((ui.undoAcceptButton, "canUndo"), (ui.redoAcceptButton, "canRedo")):
            button.setVisible(self._isSequence)
            button.enabled = writer is not None and getattr(writer, canDo)()

    @property
    def _isSequence(self) -> bool:
        return isinstance(self._panel.session.frames, SequenceFrames)

    def _writer(self) -> SegmentWriter:
        """For a sequence, one that remembers: the Segment Editor knows of no frame but the shown one."""
        editorNode = self._ui.segmentEditorWidget.mrmlSegmentEditorNode()
        if not self._isSequence:
            return SegmentWriter(editorNode, lambda: None)  # the state was saved before a segment was added
        if self._sequenceWriter is None:
            self._sequenceWriter = SegmentWriter(editorNode)
        return self._sequenceWriter

    def _saveStateForUndo(self, segmentationNode: Any) -> None:
        self._ui.segmentEditorWidget.setSegmentationNode(segmentationNode)
        if not self._isSequence:
            self._ui.segmentEditorWidget.saveStateForUndo()
