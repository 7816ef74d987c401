"""Chooser of the segment that an accepted proposal goes into."""

from __future__ import annotations

from typing import Any

import slicer
from slicer.i18n import tr as _

from leanseg.slicer_bridge.segments import imageOf


class TargetChooser:
    """A segmentation, or a new one; in it a segment, or a new one.

    `wantedId` is the segment that was chosen. Where an undo has removed it, a new segment is offered in its place; it
    is chosen again when a redo brings it back.
    """

    def __init__(self, segmentationSelector: Any, segmentSelector: Any) -> None:
        self._segmentations = segmentationSelector
        self._segments = segmentSelector
        self.wantedId = ""
        self.update()

    @property
    def segmentation(self) -> Any:
        """None: a new segmentation is to be made."""
        return self._segmentations.currentNode()

    @property
    def segmentId(self) -> str:
        """Empty: a new segment is to be made."""
        return self._segments.currentData or ""

    def select(self, segmentationNode: Any, segmentId: str) -> None:
        self._segmentations.setCurrentNode(segmentationNode)
        self.wantedId = segmentId
        self.update()

    def chosen(self) -> None:
        """Somebody has chosen in the list of segments."""
        self.wantedId = self.segmentId

    def follow(self, volumeNode: Any) -> None:
        """Another image is meant: choose a segmentation of it, else a new one.

        One whose image is not known does not stay chosen: it may belong to an image that was removed from the scene.
        """
        chosen = self.segmentation
        if volumeNode is None or (chosen is not None and imageOf(chosen) is volumeNode):
            return
        nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
        ofImage = [node for node in nodes if imageOf(node) is volumeNode and not node.GetHideFromEditors()]
        self.select(ofImage[0] if ofImage else None, "")

    def update(self) -> None:
        """Fill in the segments that there are; the wanted one is chosen where it is there."""
        wasBlocked = self._segments.blockSignals(True)
        self._segments.clear()
        self._segments.addItem(_("New lesion segment"), "")
        node = self.segmentation
        segmentation = node.GetSegmentation() if node is not None else None
        for number in range(segmentation.GetNumberOfSegments() if segmentation is not None else 0):
            name = segmentation.GetNthSegment(number).GetName()
            self._segments.addItem(_("Replace {name}").format(name=name), segmentation.GetNthSegmentID(number))
        self._segments.setCurrentIndex(max(self._segments.findData(self.wantedId), 0))
        self._segments.blockSignals(wasBlocked)
