"""States of segmentations, to go back to after a failure, by undo and by redo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import slicer

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


@dataclass(frozen=True)
class _Change:
    segmentationNode: Any
    before: Snapshot


class UndoStack:
    """Undo and redo of whole calls, even where one call changed many segmentations (the items of a sequence)."""

    def __init__(self) -> None:
        self._done: list[_Change] = []
        self._undone: list[tuple[_Change, Snapshot]] = []

    def push(self, segmentationNode: Any, before: Snapshot) -> None:
        """Remember what was before a call; what was undone before it cannot be redone any more."""
        self._done = [*self._done, _Change(segmentationNode, before)][-MAXIMUM_NUMBER_OF_STATES:]
        self._undone = []

    def canUndo(self) -> bool:
        self._forgetRemovedNodes()
        return bool(self._done)

    def canRedo(self) -> bool:
        self._forgetRemovedNodes()
        return bool(self._undone)

    def undo(self) -> None:
        """Go back to before the last call; nothing happens where there is none."""
        if self.canUndo():
            change = self._done.pop()
            self._undone.append((change, change.before.ofNow()))
            change.before.restore()

    def redo(self) -> None:
        """Go forward again; nothing happens where nothing was undone."""
        if self.canRedo():
            change, after = self._undone.pop()
            self._done.append(change)
            after.restore()

    def _forgetRemovedNodes(self) -> None:
        self._done = [change for change in self._done if change.segmentationNode.GetScene() is not None]
        self._undone = [entry for entry in self._undone if entry[0].segmentationNode.GetScene() is not None]
