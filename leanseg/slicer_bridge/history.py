"""States of segmentations, to go back to after a failure, by undo and by redo."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray
from slicer.i18n import tr as _

from leanseg.errors import OutputError
from leanseg.slicer_bridge.placement import LABELMAP, PlacedMask, arrayOf

MAXIMUM_NUMBER_OF_STATES = 10


class Snapshot:
    """The segments of one or more vtkSegmentation objects as they are now."""

    def __init__(self, segmentations: list[Any]) -> None:
        self._segmentations = segmentations
        self._states = []
        for segmentation in segmentations:
            state = slicer.vtkSegmentationHistory()
            state.SetSegmentation(segmentation)
            state.SaveState()
            self._states.append(state)

    def restore(self) -> None:
        """Make the segments exactly what they were; may be done any number of times."""
        for state in self._states:
            if state.IsRestorePreviousStateAvailable():
                state.RestorePreviousState()

    def ofNow(self) -> Snapshot:
        """The same segmentations, as they are now."""
        return Snapshot(self._segmentations)

    def contents(self) -> list[list[tuple[str, int]]]:
        """What the segmentations hold now: id, and checksum of the voxels and of their place, of every segment."""
        return [contentsOf(segmentation) for segmentation in self._segmentations]


def contentsOf(segmentation: Any) -> list[tuple[str, int]]:
    """What a vtkSegmentation holds: id, and checksum of the voxels and of their place, of every segment."""
    found = []
    for n in range(segmentation.GetNumberOfSegments()):
        segment, checksum = segmentation.GetNthSegment(n), 0
        labelmap = segment.GetRepresentation(LABELMAP)
        if labelmap is not None and labelmap.GetNumberOfPoints() > 0:  # an empty segment may have no voxels at all
            checksum = _checksum(arrayOf(labelmap) == segment.GetLabelValue(), labelmap.GetExtent())
        found.append((segmentation.GetNthSegmentID(n), checksum))
    return found


def checksumOf(placed: PlacedMask) -> int:
    """As `contentsOf`, of a segment that would hold this mask and nothing else."""
    return _checksum(placed.mask, placed.extent)


def _checksum(voxels: NDArray[np.bool_], extent: tuple[int, ...]) -> int:
    """Of the voxels and their place on the grid of the segmentation, whatever part of it is stored; 0 for none."""
    start, box = [], []
    for axis, first in enumerate(extent[::2][::-1]):
        occupied = np.flatnonzero(voxels.any(axis=tuple(other for other in range(3) if other != axis)))
        if not occupied.size:
            return 0
        start.append(first + occupied[0])
        box.append(slice(occupied[0], occupied[-1] + 1))
    cut = voxels[tuple(box)]
    place = np.array([*start, *cut.shape], dtype=np.int64)
    return zlib.crc32(np.packbits(cut).tobytes(), zlib.crc32(place.tobytes()))


def _changedSince() -> str:
    text: str = _(
        "Segments of this segmentation have been changed since, and that would be lost. Correct them by hand, or remove"
        " the segment."
    )
    return text


@dataclass(frozen=True)
class _Change:
    segmentationNode: Any
    before: Snapshot
    contents: Any
    """After the change; work that was done since must not be lost by undoing it."""


class UndoStack:
    """Undo and redo of whole calls, even where one call changed many segmentations (the items of a sequence)."""

    def __init__(self) -> None:
        self._done: list[_Change] = []
        self._undone: list[tuple[_Change, Snapshot, Any]] = []

    def push(self, segmentationNode: Any, before: Snapshot) -> None:
        """Remember what was before a call; what was undone before it cannot be redone any more."""
        change = _Change(segmentationNode, before, before.contents())
        self._done = [*self._done, change][-MAXIMUM_NUMBER_OF_STATES:]
        self._undone = []

    def canUndo(self) -> bool:
        self._forgetRemovedNodes()
        return bool(self._done)

    def canRedo(self) -> bool:
        self._forgetRemovedNodes()
        return bool(self._undone)

    def undo(self) -> None:
        """Go back to before the last call; nothing happens where there is none.

        Raises:
            OutputError: the segments have been changed since; that would be lost. Nothing was undone.
        """
        if self.canUndo():
            change = self._done[-1]
            if change.before.contents() != change.contents:
                raise OutputError(_changedSince())
            self._done.pop()
            after = change.before.ofNow()
            change.before.restore()
            self._undone.append((change, after, change.before.contents()))

    def redo(self) -> None:
        """Go forward again; nothing happens where nothing was undone.

        Raises:
            OutputError: as `undo`.
        """
        if self.canRedo():
            change, after, contents = self._undone[-1]
            if change.before.contents() != contents:
                raise OutputError(_changedSince())
            self._undone.pop()
            self._done.append(change)
            after.restore()

    def _forgetRemovedNodes(self) -> None:
        self._done = [change for change in self._done if change.segmentationNode.GetScene() is not None]
        self._undone = [entry for entry in self._undone if entry[0].segmentationNode.GetScene() is not None]
