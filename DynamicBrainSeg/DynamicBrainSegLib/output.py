"""The segmentation that results are written to, its undo, and which result it holds."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import slicer
from slicer.i18n import tr as _

from DynamicBrainSegLib.region_segments import editedRegions, newSegmentation, writeRegions, writtenRegions
from leanseg.slicer_bridge.segments import SegmentWriter, imageOf

if TYPE_CHECKING:
    from DynamicBrainSegLib.region_segments import WrittenRegions
    from DynamicBrainSegLib.result import BrainResult


FILL_OPACITY = 0.25  # nested segments lie over each other, and the image is to be seen


class Output:
    """Writes through the Segment Editor of the panel, so that its undo takes back what was written."""

    def __init__(self, selector: Any, editor: Any) -> None:
        self._selector = selector
        self._editor = editor
        self.isEdited = False
        """Whether the segments of an earlier run were changed by hand, as the last `look` found"""

    @property
    def segmentation(self) -> Any:
        """The chosen node; None: a new one is to be made."""
        return self._selector.currentNode()

    def follow(self, referenceNode: Any) -> None:
        """Another brain is meant: its last segmentation that this module has written, or a new one."""
        node = self.segmentation
        if referenceNode is not None and node is not None and imageOf(node) is not referenceNode:
            nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
            found = [each for each in nodes if imageOf(each) is referenceNode and writtenRegions(each)]
            self._selector.setCurrentNode(found[-1] if found else None)

    def look(self) -> None:
        """The segments have changed, or others are meant."""
        self.isEdited = self.segmentation is not None and bool(editedRegions(self.segmentation))

    def content(self) -> tuple[tuple[str, str], ...]:
        """What was written and is there now, as a key to look up results by; another one after undo and redo."""
        if self.segmentation is None:
            return ()
        return tuple((name, origin.run) for name, origin in writtenRegions(self.segmentation).items())

    def holds(self, scheme: str) -> bool:
        """Whether there are segments of a scheme that this module has written."""
        node = self.segmentation
        return node is not None and scheme in {origin.scheme for origin in writtenRegions(node).values()}

    def write(self, result: BrainResult, scheme: str, slices: Iterable[int] | None = None) -> WrittenRegions:
        """The result becomes the only one in the segmentation; one state for undo.

        :param slices: of the model grid, the only ones in which it differs from what was written before; None: all.
        :raises LeanSegError: nothing was written.
        """
        node, isNew = self.segmentation, self.segmentation is None
        if isNew:
            node = newSegmentation(result.images.referenceNode)
            node.GetDisplayNode().SetOpacity2DFill(FILL_OPACITY)
        writer = SegmentWriter(self._editor.mrmlSegmentEditorNode(), lambda: self._saveState(node))
        try:
            others = self._ofOtherScheme(node, scheme)
            with writer.oneState(node) if others else nullcontext():
                for name in others:
                    node.GetSegmentation().RemoveSegment(name)
                written = writeRegions(result, node, scheme, writer, slices)
        except BaseException:
            if isNew:
                slicer.mrmlScene.RemoveNode(node)
            raise
        self._selector.setCurrentNode(node)
        return written

    def _saveState(self, node: Any) -> None:
        self._editor.setSegmentationNode(node)
        self._editor.saveStateForUndo()

    def _ofOtherScheme(self, node: Any, scheme: str) -> list[str]:
        """Ids of the segments in the other scheme that nobody has worked on; they make room."""
        edited = editedRegions(node)
        return [name for name, origin in writtenRegions(node).items() if origin.scheme != scheme and name not in edited]

    # Undo

    def undo(self) -> None:
        self._editor.undo()

    def redo(self) -> None:
        self._editor.redo()

    def canUndo(self) -> bool:
        return self._isEnabled("UndoButton")

    def canRedo(self) -> bool:
        return self._isEnabled("RedoButton")

    def _isEnabled(self, name: str) -> bool:
        """Only the buttons of the Segment Editor tell what its history holds."""
        return self.segmentation is not None and bool(slicer.util.findChild(self._editor, name).enabled)


def report(written: WrittenRegions, wasEdited: bool, isPartial: bool) -> str:
    """What was written, what was lost by it, and how to take it back. `isPartial`: in some slices only."""
    segmentation = written.segmentationNode.GetSegmentation()
    texts = [_("Written to {name}.").format(name=written.segmentationNode.GetName())]
    if wasEdited and isPartial:
        texts.append(_("What was corrected by hand in other slices stays."))
    elif wasEdited:
        texts.append(_("What was corrected by hand is replaced."))
    if written.losers:
        names = ", ".join(segmentation.GetSegment(each).GetName() for each in written.losers)
        texts.append(_("Other segments that lost voxels to it: {names}.").format(names=names))
    texts.append(_("Undo takes it back."))
    return " ".join(texts)
