"""The decision about a proposal: accept it into a segment, take that back, reject it, or draw a lesion instead."""

from __future__ import annotations

from typing import Any

import slicer
from slicer.i18n import tr as _

from leanseg.errors import LeanSegError
from leanseg.slicer_bridge.frames import SequenceFrames
from leanseg.slicer_bridge.segments import SegmentWriter
from UltrasoundKDLib.segment_masks import masksOf


class Decision:
    """The buttons Accept and Reject and, for a sequence, undo and redo of an accepted proposal."""

    def __init__(self, ui: Any, panel: Any) -> None:
        self._ui = ui
        self._panel = panel
        self.isWriting = False
        self._sequenceWriter: SegmentWriter | None = None
        self._handmade: tuple[tuple[int, ...], bool] | None = None
        ui.newLesionButton.connect("clicked(bool)", self.onNewLesion)
        ui.acceptButton.connect("clicked(bool)", self.onAccept)
        ui.rejectButton.connect("clicked(bool)", self.onReject)
        ui.undoAcceptButton.connect("clicked(bool)", self.onUndoAccept)
        ui.redoAcceptButton.connect("clicked(bool)", self.onRedoAccept)

    def forget(self) -> None:
        """Another image is meant; what was accepted before cannot be undone here any more."""
        self._sequenceWriter = None

    def forgetContent(self) -> None:
        """Somebody may have drawn in the target."""
        self._handmade = None

    def onAccept(self, *_args: Any) -> None:
        panel, isHandmade = self._panel, self._replacesHandwork()
        panel.message.clear()
        self.isWriting = True
        try:
            with slicer.util.WaitCursor():
                node, segmentId, losers = self._write()
        except LeanSegError as error:
            panel.message.fail(error)
            return
        finally:
            self.isWriting = False
        panel.chooseTarget(node, segmentId)
        panel.session.dismiss()
        self._report(node, segmentId, losers, isHandmade)

    def _write(self) -> tuple[Any, str, list[str]]:
        panel, session = self._panel, self._panel.session
        frames, masks, by = session.frames, session.masks(), session.proposedBy
        target = (panel.target.segmentation, panel.target.segmentId)
        lesion = panel.models.card.labels[0]
        written = panel.logic.accept(frames, masks, target, self._writer(), lesion, self._saveStateForUndo)
        node, segmentId, _losers = written
        result = masksOf(frames, node, segmentId, masks)
        panel.logic.accepted.remember(node, segmentId, result, by, session.config.threshold)
        return written

    def _report(self, segmentationNode: Any, segmentId: str, losers: list[str], isHandmade: bool) -> None:
        """What was done, what was lost by it, and how to take it back."""
        segmentation = segmentationNode.GetSegmentation()
        nameOf = {each: segmentation.GetSegment(each).GetName() for each in (segmentId, *losers)}
        how = self._ui.undoAcceptButton.text if self._isSequence else _("Ctrl+Z")
        texts = [_("Accepted into {name}.").format(name=nameOf[segmentId])]
        if isHandmade:
            texts.append(_("What was drawn there by hand is replaced."))
        if losers:
            text = _("Other segments that lost pixels to it: {count} ({names}).")
            texts.append(text.format(count=len(losers), names=", ".join(nameOf[each] for each in losers)))
        texts.append(_("{undo} takes it back.").format(undo=how))
        self._panel.message.say(" ".join(texts), bool(losers) or isHandmade, True)

    def onReject(self, *_args: Any) -> None:
        self._panel.message.clear()
        self._panel.session.dismiss()
        self._panel.followViews()

    def onNewLesion(self, *_args: Any) -> None:
        """An empty segment to draw in, where there is no segmentation yet."""
        panel = self._panel
        try:
            lesion = panel.models.card.labels[0]
            panel.chooseTarget(*panel.logic.newLesion(panel.session.frames, panel.target.segmentation, lesion))
        except LeanSegError as error:
            panel.message.fail(error)

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
            panel.message.fail(error)
        panel.showState()

    def showState(self) -> None:
        """Enable what can be decided now."""
        ui, session, writer = self._ui, self._panel.session, self._sequenceWriter
        ui.newLesionButton.setVisible(self._panel.target.segmentation is None)
        ui.newLesionButton.enabled = session.frames is not None and self._panel.models.card is not None
        ui.acceptButton.enabled = session.isAcceptable and self._panel.isImageShown
        text = _("{accept}, replacing corrections") if self._replacesHandwork() else "{accept}"
        ui.acceptButton.text = text.format(accept=session.acceptText())
        ui.rejectButton.enabled = session.isAcceptable
        for button, canDo in ((ui.undoAcceptButton, "canUndo"), (ui.redoAcceptButton, "canRedo")):
            button.setVisible(self._isSequence)
            button.enabled = writer is not None and getattr(writer, canDo)()

    def remark(self) -> str:
        """What a person should know before accepting."""
        if not self._replacesHandwork():
            return ""
        panel = self._panel
        name = panel.target.segmentation.GetSegmentation().GetSegment(panel.target.segmentId).GetName()
        text = _("{name} was drawn or corrected by hand here, and accepting replaces that. To keep both, choose New"
                 " segmentation below.")  # fmt: skip
        return text.format(name=name)

    def _replacesHandwork(self) -> bool:
        """Whether the target holds, in the proposed frames, anything that no model made."""
        panel = self._panel
        session, node, segmentId = panel.session, panel.target.segmentation, panel.target.segmentId
        if not session.isAcceptable or node is None or not segmentId:
            return False
        proposed = tuple(session.proposed)
        if self._handmade is None or self._handmade[0] != proposed:
            try:
                masks = masksOf(session.frames, node, segmentId, proposed)
            except LeanSegError:  # accepting will say why
                masks = {}
            self._handmade = (proposed, panel.logic.accepted.isHandmade(node, segmentId, masks))
        return self._handmade[1]

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
