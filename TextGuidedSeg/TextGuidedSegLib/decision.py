"""The decision about a result: accept it into a new segment or into one that is there, or reject it."""

from __future__ import annotations

from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from leanseg.errors import LeanSegError
from leanseg.slicer_bridge.segments import SegmentWriter, imageOf


class Decision:
    """Accept, Accept into segment..., Reject; one Undo of the Segment Editor takes an acceptance back."""

    def __init__(self, ui: Any, panel: Any) -> None:
        self._ui = ui
        self._panel = panel
        self.isWriting = False
        self.menu = qt.QMenu(ui.acceptIntoButton)
        self.menu.connect("aboutToShow()", self.fillMenu)
        ui.acceptIntoButton.setMenu(self.menu)
        ui.acceptButton.connect("clicked(bool)", self.onAccept)
        ui.rejectButton.connect("clicked(bool)", self.onReject)

    @property
    def segmentation(self) -> Any:
        """The chosen node; None: a new one is to be made."""
        return self._ui.targetSelector.currentNode()

    def follow(self, volumeNode: Any) -> None:
        """Another image is meant: choose a segmentation of it, else a new one."""
        chosen = self.segmentation
        if volumeNode is None or (chosen is not None and imageOf(chosen) is volumeNode):
            return
        nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
        found = [node for node in nodes if imageOf(node) is volumeNode and not node.GetHideFromEditors()]
        self._ui.targetSelector.setCurrentNode(found[0] if found else None)

    def fillMenu(self) -> None:
        """Each segment twice: to add to it, and to replace it in the slices of the result."""
        self.menu.clear()
        segments = self._segments()
        for text, isAdding in ((_("Add to {name}"), True), (_("Replace {name} in these slices"), False)):
            for segmentId, name in segments:
                action = self.menu.addAction(text.format(name=name))
                action.connect(
                    "triggered()", lambda segmentId=segmentId, isAdding=isAdding: self.accept(segmentId, isAdding)
                )
        if not segments:
            action = self.menu.addAction(_("There is no segment yet"))
            action.enabled = False

    def _segments(self) -> list[tuple[str, str]]:
        """Id and name."""
        node = self.segmentation
        if node is None:
            return []
        segmentation = node.GetSegmentation()
        return [(name, segmentation.GetSegment(name).GetName()) for name in segmentation.GetSegmentIDs()]

    def showState(self) -> None:
        dialog = self._panel.dialog
        isDecidable = not dialog.isRunning and bool(dialog.proposals)
        isSeen = not self._panel.blink.showsEarlier  # what is accepted is the last one
        self._ui.acceptButton.enabled = isDecidable and isSeen and dialog.hasTumor
        self._ui.acceptIntoButton.enabled = isDecidable and isSeen and bool(self._segments())
        self._ui.rejectButton.enabled = isDecidable

    def onAccept(self, *_args: Any) -> None:
        self.accept("", False)

    def accept(self, segmentId: str, isAdding: bool) -> None:
        """`segmentId` empty: a new segment. `isAdding`: what the segment holds in these slices stays."""
        panel, node = self._panel, self.segmentation
        panel.message.clear()
        self.isWriting = True
        try:
            with slicer.util.WaitCursor():
                masks = panel.dialog.masks()
                writer = SegmentWriter(self._ui.segmentEditorWidget.mrmlSegmentEditorNode(), lambda: None)
                written = panel.logic.accept(
                    panel.dialog.frames, masks, (node, segmentId, isAdding), writer, panel.models.card.labels[0],
                    panel.dialog.conversation.text, self._saveState,
                )  # fmt: skip
        except LeanSegError as error:
            if not panel.dialog.proposals:  # they were of an image that has changed
                panel.endLooking()
            panel.message.fail(error)
            return
        finally:
            self.isWriting = False
        panel.acceptedInto(*written[:2])
        self._report(*written)

    def _saveState(self, segmentationNode: Any) -> None:
        editor = self._ui.segmentEditorWidget
        editor.setSegmentationNode(segmentationNode)
        editor.saveStateForUndo()

    def _report(self, segmentationNode: Any, segmentId: str, losers: list[str]) -> None:
        """What was done, what was lost by it, and how to take it back."""
        segmentation = segmentationNode.GetSegmentation()
        texts = [_("Accepted into {name}.").format(name=segmentation.GetSegment(segmentId).GetName())]
        if losers:
            names = ", ".join(segmentation.GetSegment(each).GetName() for each in losers)
            texts.append(_("Other segments that lost voxels to it: {names}.").format(names=names))
        texts.append(_("Ctrl+Z takes it back."))
        self._panel.message.say(" ".join(texts), bool(losers), True)

    def onReject(self, *_args: Any) -> None:
        self._panel.message.clear()
        self._panel.endLooking()
        self._panel.dialog.reject()
