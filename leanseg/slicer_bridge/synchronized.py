"""A segmentation for each item of a sequence, in the browser that shows the images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import slicer
from slicer.i18n import tr as _

from leanseg.errors import IncompatibleInputError


def synchronizedSequence(segmentationNode: Any, browserNode: Any) -> Any:
    """The sequence that a segmentation node shows in a browser, or None.

    Raises:
        IncompatibleInputError: the node belongs to another browser.
    """
    other = slicer.modules.sequences.logic().GetFirstBrowserNodeForProxyNode(segmentationNode)
    if other is not None and other is not browserNode:
        text = _("{name} belongs to another sequence ({other}). Choose a segmentation of this one, or a new one.")
        raise IncompatibleInputError(text.format(name=segmentationNode.GetName(), other=other.GetName()))
    return browserNode.GetSequenceNode(segmentationNode)


def makeSynchronizedSequence(segmentationNode: Any, browserNode: Any) -> Any:
    """A new sequence with one segmentation for each item; the one shown now keeps its content, the others are empty.

    Its changes are saved, so whatever is edited in the node belongs to the item that the browser shows.
    """
    master = browserNode.GetMasterSequenceNode()
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", segmentationNode.GetName())
    sequence.CopySequenceIndex(master)
    empty = slicer.vtkMRMLSegmentationNode()
    empty.SetName(segmentationNode.GetName())
    empty.GetSegmentation().CopyConversionParameters(segmentationNode.GetSegmentation())
    for segmentId in segmentationNode.GetSegmentation().GetSegmentIDs():
        addEmptyCopy(empty.GetSegmentation(), segmentationNode, segmentId)
    for index in range(browserNode.GetNumberOfItems()):
        item = segmentationNode if index == browserNode.GetSelectedItemNumber() else empty
        sequence.SetDataNodeAtValue(item, master.GetNthIndexValue(index))
    browserNode.AddSynchronizedSequenceNodeID(sequence.GetID())
    browserNode.AddProxyNode(segmentationNode, sequence, False)
    browserNode.SetSaveChanges(sequence, True)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browserNode)
    return sequence


def removeSynchronizedSequence(sequence: Any, browserNode: Any) -> None:
    """Undo `makeSynchronizedSequence`; the segmentation node stays, with the content of the item that is shown."""
    browserNode.RemoveSynchronizedSequenceNode(sequence.GetID())
    slicer.mrmlScene.RemoveNode(sequence)


def itemSegmentation(sequence: Any, browserNode: Any, index: int) -> Any:
    """The vtkSegmentation of an item; an empty one is made where the images have grown since."""
    indexValue = browserNode.GetMasterSequenceNode().GetNthIndexValue(index)
    item = sequence.GetDataNodeAtValue(indexValue, True)
    if item is None:
        empty = slicer.vtkMRMLSegmentationNode()
        empty.GetSegmentation().CopyConversionParameters(sequence.GetNthDataNode(0).GetSegmentation())
        item = sequence.SetDataNodeAtValue(empty, indexValue)
    return item.GetSegmentation()


def addEmptyCopy(segmentation: Any, segmentationNode: Any, segmentId: str) -> None:
    """Add the segment of a node to another vtkSegmentation: same name, color and terminology, no voxels."""
    segment = segmentationNode.GetSegmentation().GetSegment(segmentId)
    segmentation.AddEmptySegment(segmentId, segment.GetName(), segment.GetColor())
    segmentation.GetSegment(segmentId).SetTerminology(segment.GetTerminology())


@contextmanager
def showingItems(browserNode: Any) -> Iterator[Callable[[int], None]]:
    """Show one item after the other without anybody noticing; the one shown before comes back at the end."""
    shown = browserNode.GetSelectedItemNumber()
    logic = slicer.modules.sequences.logic()

    def show(index: int) -> None:
        browserNode.SetSelectedItemNumber(index)
        logic.UpdateProxyNodesFromSequences(browserNode)  # at once: the browser's own event waits for EndModify

    modified = browserNode.StartModify()
    try:
        with slicer.util.RenderBlocker():
            yield show
            show(shown)
    finally:
        browserNode.SetSelectedItemNumber(shown)
        browserNode.EndModify(modified)
