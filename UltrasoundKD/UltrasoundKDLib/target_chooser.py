"""Chooser of the segment that an accepted proposal goes into."""

from __future__ import annotations

from typing import Any

import slicer
from slicer.i18n import tr as _


class TargetChooser:
    """A segmentation, or a new one; in it a segment, or a new one."""

    def __init__(self, segmentationSelector: Any, segmentSelector: Any) -> None:
        self._segmentations = segmentationSelector
        self._segments = segmentSelector
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
        self.update(segmentId)

    def follow(self, volumeNode: Any) -> None:
        """Another image is meant: choose a segmentation of it, else a new one. One of no image at all stays chosen."""
        chosen = self.segmentation
        if volumeNode is None or (chosen is not None and _imageOf(chosen) in (None, volumeNode)):
            return
        nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
        ofImage = [node for node in nodes if _imageOf(node) is volumeNode and not node.GetHideFromEditors()]
        self.select(ofImage[0] if ofImage else None, "")

    def update(self, segmentId: str | None = None) -> None:
        """Fill in the segments that there are; the chosen one, or `segmentId`, stays chosen where it is there."""
        wanted = self.segmentId if segmentId is None else segmentId
        wasBlocked = self._segments.blockSignals(True)
        self._segments.clear()
        self._segments.addItem(_("New lesion segment"), "")
        node = self.segmentation
        segmentation = node.GetSegmentation() if node is not None else None
        for number in range(segmentation.GetNumberOfSegments() if segmentation is not None else 0):
            name = segmentation.GetNthSegment(number).GetName()
            self._segments.addItem(_("Replace {name}").format(name=name), segmentation.GetNthSegmentID(number))
        self._segments.setCurrentIndex(max(self._segments.findData(wanted), 0))
        self._segments.blockSignals(wasBlocked)


def _imageOf(segmentationNode: Any) -> Any:
    return segmentationNode.GetNodeReference(segmentationNode.GetReferenceImageGeometryReferenceRole())
