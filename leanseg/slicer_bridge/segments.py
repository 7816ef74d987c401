"""Segmentation nodes: make one for a volume, add segments, and write masks as the Segment Editor does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray
from slicer.i18n import tr as _

from leanseg.errors import IncompatibleInputError, LeanSegError, OutputError, UnknownNameError
from leanseg.segmentation import Segment
from leanseg.slicer_bridge.frames import SequenceFrames, VolumeFrames, checkMasks
from leanseg.slicer_bridge.history import Snapshot, UndoStack
from leanseg.slicer_bridge.masking import checkMasking, editableVoxels
from leanseg.slicer_bridge.nodes import checkVolume
from leanseg.slicer_bridge.placement import LABELMAP, PlacedMask, modifierOf, placeMasks, readSegment
from leanseg.slicer_bridge.synchronized import (
    addEmptyCopy,
    itemSegmentation,
    makeSynchronizedSequence,
    removeSynchronizedSequence,
    showingItems,
    synchronizedSequence,
)

Masks = Mapping[int, NDArray[np.bool_]]


def segmentationFor(volumeNode: Any, name: str) -> Any:
    """A new, empty segmentation node: a volume's grid, transform and study, as DICOM SEG export needs them.

    Raises:
        IncompatibleInputError: as `checkVolume`.
    """
    checkVolume(volumeNode)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    node.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())  # first: what follows converts to the node's own
    node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    volumeItem = hierarchy.GetItemByDataNode(volumeNode)
    item = hierarchy.GetItemByDataNode(node)  # in Slicer, made as the node was added
    if volumeItem:
        item = item or hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
        hierarchy.SetItemParent(item, hierarchy.GetItemParent(volumeItem))
    return node


def imageOf(segmentationNode: Any) -> Any:
    """The volume that a segmentation belongs to, or None."""
    return segmentationNode.GetNodeReference(segmentationNode.GetReferenceImageGeometryReferenceRole())


def addSegment(segmentationNode: Any, segment: Segment, name: str | None = None) -> str:
    """An empty segment with color and terminology; a name that is taken gets a number. Returns its id."""
    segmentation = segmentationNode.GetSegmentation()
    taken = {segmentation.GetNthSegment(n).GetName() for n in range(segmentation.GetNumberOfSegments())}
    wanted = unique = name or segment.name
    number = 2
    while unique in taken:
        unique = f"{wanted} {number}"
        number += 1
    segmentId: str = segmentation.GenerateUniqueSegmentID(segment.id)
    segmentation.AddEmptySegment(segmentId, unique, segment.color_rgb)
    if segment.terminology:
        segmentation.GetSegment(segmentId).SetTerminology(segment.terminology)
    return segmentId


class SegmentWriter:
    """Writes masks of frames into a segment, with masking and overwriting as the Segment Editor node says."""

    def __init__(self, editorNode: Any, saveStateForUndo: Callable[[], None] | None = None) -> None:
        """`saveStateForUndo`: of an embedded qMRMLSegmentEditorWidget, whose undo then takes back what is written.

        Without it, and for sequences (whose items no Segment Editor remembers), use `undo` and `redo` of the writer.
        """
        self._editorNode = editorNode
        self._saveStateForUndo = saveStateForUndo
        self._undoStack = UndoStack()
        self._isInOneState = False
        self._logic = slicer.vtkSlicerSegmentEditorLogic()
        self._logic.SetMRMLScene(slicer.mrmlScene)
        self._logic.SetSegmentEditorNode(editorNode)

    def canUndo(self) -> bool:
        return self._undoStack.canUndo()

    def canRedo(self) -> bool:
        return self._undoStack.canRedo()

    def undo(self) -> None:
        """Take back the last `write` that this writer remembers; nothing happens where there is none."""
        self._undoStack.undo()

    def redo(self) -> None:
        """Write again what `undo` took back; nothing happens where there is nothing."""
        self._undoStack.redo()

    def check(self, segmentationNode: Any, segmentId: str, frames: VolumeFrames | SequenceFrames, masks: Masks) -> None:
        """Whether `write` can be tried; nothing is changed. An empty id stands for a segment that is yet to be made.

        Raises:
            IncompatibleInputError, UnknownNameError: as `write`.
        """
        if segmentId:
            _checkTarget(segmentationNode, segmentId)
        checkMasks(frames, masks)
        checkMasking(self._editorNode, segmentationNode)
        if isinstance(frames, SequenceFrames):
            synchronizedSequence(segmentationNode, frames.browserNode)
        elif masks:
            placeMasks(segmentationNode, frames.volumeNode, masks)

    def write(
        self, segmentationNode: Any, segmentId: str, frames: VolumeFrames | SequenceFrames, masks: Masks
    ) -> list[str]:
        """In the given frames the segment becomes the mask (j, i), wherever editing is allowed; one state for undo.

        Other frames stay as they are. Other segments lose what the overwrite mode newly gives to this one; the ids of
        those that lost voxels are returned. A segmentation of another geometry takes the nearest neighbors. A sequence
        gets a segmentation for each of its items.

        Raises:
            IncompatibleInputError: a mask, the volume, the segmentation or the masking cannot be used.
            UnknownNameError: no such segment.
            OutputError: Slicer did not write what it was told to.
            In each case everything is as it was before.
        """
        if isinstance(frames, VolumeFrames):
            return self.writeTogether(segmentationNode, frames, {segmentId: masks})
        _checkTarget(segmentationNode, segmentId)
        checkMasks(frames, masks)
        if not masks:
            return []
        with self._editing(segmentationNode, segmentId):
            return sorted(self._writeItems(segmentationNode, segmentId, frames, masks))

    def writeTogether(
        self,
        segmentationNode: Any,
        frames: VolumeFrames,
        masks: Mapping[str, Masks],
        isNested: bool = False,
        within: Masks | None = None,
    ) -> list[str]:
        """As `write`, for several segments by id, in one state for undo. Masking is asked before any is changed.

        `isNested`: each mask lies inside the one before, from which it takes nothing, whatever the overwrite mode.
        `within`: for every frame written, its only voxels (j, i) that may change; None: all of them.

        Raises:
            IncompatibleInputError, UnknownNameError, OutputError: as `write`; no segment was changed.
        """
        for segmentId, ofFrames in masks.items():
            _checkTarget(segmentationNode, segmentId)
            checkMasks(frames, ofFrames)
        masks = {segmentId: ofFrames for segmentId, ofFrames in masks.items() if ofFrames}
        if not masks:
            return []
        with self._editing(segmentationNode, next(iter(masks))):
            volume = frames.volumeNode
            placed = {one: placeMasks(segmentationNode, volume, each, within) for one, each in masks.items()}
            editable = {one: editableVoxels(self._logic, segmentationNode, one, placed[one]) for one in placed}
            losers: set[str] = set()
            with self.oneState(segmentationNode):
                for number, one in enumerate(placed):
                    with self._overwriting(nothing=isNested and number > 0):
                        losers |= self._modify(segmentationNode, one, placed[one], editable[one])
            if imageOf(segmentationNode) is None:
                segmentationNode.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        return sorted(losers - set(masks))

    @contextmanager
    def oneState(self, segmentationNode: Any) -> Iterator[None]:
        """All that is done inside to the segments of a volume, adding some included, is one state for undo.

        After an error the segments are as before.
        """
        if self._isInOneState:
            yield
            return
        before = Snapshot([segmentationNode.GetSegmentation()])
        if self._saveStateForUndo is not None:
            self._saveStateForUndo()
        self._isInOneState = True
        try:
            yield
        except BaseException:
            before.restore()
            raise
        finally:
            self._isInOneState = False
        if self._saveStateForUndo is None:
            self._undoStack.push(segmentationNode, before)

    @contextmanager
    def _editing(self, segmentationNode: Any, segmentId: str) -> Iterator[None]:
        """The segment editor works on a segment; after an error, on what it worked on before."""
        editor = self._editorNode
        if editor.GetScene() is None:
            raise IncompatibleInputError(_("The segment editor's settings are no longer in the scene. Open it again."))
        before = (editor.GetSegmentationNode(), editor.GetSelectedSegmentID())
        try:
            editor.SetAndObserveSegmentationNode(segmentationNode)
            editor.SetSelectedSegmentID(segmentId)
            with slicer.util.NodeModify(segmentationNode):  # views follow once, at the end
                yield
        except BaseException as error:
            editor.SetAndObserveSegmentationNode(before[0])
            editor.SetSelectedSegmentID(before[1])
            if isinstance(error, LeanSegError) or not isinstance(error, Exception):
                raise
            raise OutputError(_("Writing failed ({error}); nothing was changed.").format(error=error)) from error

    @contextmanager
    def _overwriting(self, nothing: bool) -> Iterator[None]:
        """Other segments keep their voxels for a while; nobody notices."""
        editor, mode = self._editorNode, self._editorNode.GetOverwriteMode()
        with slicer.util.NodeModify(editor):
            try:
                if nothing:
                    editor.SetOverwriteMode(editor.OverwriteNone)
                yield
            finally:
                editor.SetOverwriteMode(mode)

    def _writeItems(self, segmentationNode: Any, segmentId: str, frames: SequenceFrames, masks: Masks) -> set[str]:
        browser = frames.browserNode
        sequence = synchronizedSequence(segmentationNode, browser)
        isNew = sequence is None
        if isNew:
            sequence = makeSynchronizedSequence(segmentationNode, browser)
        items = [itemSegmentation(sequence, browser, index) for index in range(frames.count)]
        before = Snapshot([items[index] for index in masks])
        losers: set[str] = set()
        lacking = [item for item in items if item.GetSegment(segmentId) is None]
        if self._saveStateForUndo is not None and set(masks) == {frames.currentIndex()}:
            self._saveStateForUndo()
        try:
            for item in lacking:
                addEmptyCopy(item, segmentationNode, segmentId)
            with showingItems(browser) as show:
                for index, mask in masks.items():
                    show(index)
                    placed = placeMasks(segmentationNode, frames.volumeNode, {0: mask})
                    editable = editableVoxels(self._logic, segmentationNode, segmentId, placed)
                    losers |= self._modify(segmentationNode, segmentId, placed, editable)
        except BaseException:
            before.restore()
            for item in lacking:
                if item.GetSegment(segmentId) is not None:  # the snapshot knew only what was to be written
                    item.RemoveSegment(segmentId)
            if isNew:
                removeSynchronizedSequence(sequence, browser)
            raise
        self._undoStack.push(segmentationNode, before)
        return losers

    def _modify(
        self, segmentationNode: Any, segmentId: str, placed: PlacedMask, editable: NDArray[np.bool_]
    ) -> set[str]:
        """Remove what left the segment, add what is new in it, and look whether it is there; which others lost voxels.

        Not in one step: ModificationModeSet would empty all other frames, whatever extent it is given.
        """
        segmentation = segmentationNode.GetSegmentation()
        segment = segmentation.GetSegment(segmentId)
        old = readSegment(segment, placed)
        others = {other: segmentation.GetSegment(other) for other in segmentation.GetSegmentIDs() if other != segmentId}
        sizes = {other: np.count_nonzero(readSegment(others[other], placed)) for other in others}
        changing = placed.written & editable
        modes = slicer.vtkSlicerSegmentEditorLogic
        for voxels, mode in (
            (old & ~placed.mask & changing, modes.ModificationModeRemove),
            (placed.mask & ~old & changing, modes.ModificationModeAdd),
        ):
            if voxels.any():
                modifier = modifierOf(voxels, placed)
                self._logic.ModifySegmentByLabelmap(segmentationNode, segmentId, modifier, mode, True, False)
        if not np.array_equal(readSegment(segment, placed), np.where(changing, placed.mask, old)):
            raise OutputError(_("Slicer did not write the segment; nothing was changed. Save your work and restart."))
        return {other for other in others if np.count_nonzero(readSegment(others[other], placed)) < sizes[other]}


def _checkTarget(segmentationNode: Any, segmentId: str) -> None:
    if segmentationNode is None or segmentationNode.GetScene() is None:
        raise IncompatibleInputError(_("The segmentation is no longer in the scene. Choose another one."))
    name, segmentation = segmentationNode.GetName(), segmentationNode.GetSegmentation()
    if segmentation.GetSegment(segmentId) is None:
        raise UnknownNameError("segment", segmentId, segmentation.GetSegmentIDs())
    stored = segmentation.GetSourceRepresentationName()
    if stored != LABELMAP:
        text = _("{name} is stored as {stored}; a binary labelmap is needed. Convert it in the module Segmentations.")
        raise IncompatibleInputError(text.format(name=name, stored=stored))
