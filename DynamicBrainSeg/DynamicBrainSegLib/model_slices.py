"""The slices that the model decides about, in the slice views: which one is shown, and going to another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import slicer
import vtk

_AFTER_SLICER = -1.0  # priority of our observers: Slicer first brings its nodes up to date
_LEAST_COSINE = 0.5  # between a view's normal and the row of slices; a view that is steeper cuts through all of them


class ModelSlices:
    """A row of parallel slices, from the lowest to the highest; they need not be those of any volume.

    A view belongs to the row if it looks along it. The other views cut through every slice and stay as they are.
    """

    def __init__(self, centersRasMm: Sequence[Sequence[float]], onChanged: Callable[[], None]) -> None:
        """`centersRasMm`: world position of the middle of each slice; `onChanged()`: another one is shown."""
        centers = np.array(centersRasMm, dtype=float)
        self.count = len(centers)
        self._first = centers[0]
        self._step = (centers[-1] - centers[0]) / max(self.count - 1, 1)
        if not self._step.any():
            self._step = np.array([0.0, 0.0, 1.0])  # one slice
        self._onChanged = onChanged
        self._index: int | None = None
        self._followed: Any = None
        self._seen: dict[str, int] = {}
        self._observations: list[tuple[Any, int]] = []

    def observe(self) -> None:
        """Begin to call `onChanged`."""
        self.unobserve()
        self._seen = {view.GetID(): self._indexOf(view) for view in self._views()}
        self._index = self.currentIndex()
        self._add(slicer.mrmlScene, slicer.vtkMRMLScene.NodeAddedEvent, self._onNodeAdded)
        for view in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
            self._add(view, vtk.vtkCommand.ModifiedEvent, self._onModified)

    def unobserve(self) -> None:
        """No call comes any more."""
        for node, tag in self._observations:
            node.RemoveObserver(tag)
        self._observations = []

    def currentIndex(self) -> int | None:
        """The slice that is nearest to what a view along the row shows; None where there is no such view.

        Of several views it is the one that was moved last; before that, the one that looks most nearly along the row.
        """
        views = self._views()
        if not views:
            return None
        return self._indexOf(self._followed if self._followed in views else views[0])

    def _indexOf(self, view: Any) -> int:
        sliceToRas = slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS())
        normal, point = sliceToRas[:3, 2], sliceToRas[:3, 3]
        k = float(normal @ (point - self._first)) / float(normal @ self._step)
        return int(np.clip(np.floor(k + 0.5), 0, self.count - 1))

    def select(self, index: int) -> None:
        """Move every view along the row, and those linked to it, to a slice."""
        for view in self._views():
            normal = slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS())[:3, 2]
            offset = float(normal @ (self._first + index * self._step))
            logic = slicer.app.applicationLogic().GetSliceLogic(view)
            logic.StartSliceOffsetInteraction()  # linked views follow only an interaction
            logic.SetSliceOffset(offset)
            logic.EndSliceOffsetInteraction()

    def _views(self) -> list[Any]:
        """Slice nodes of the visible views along the row, the one that looks most nearly along it first."""
        direction = self._step / np.linalg.norm(self._step)

        def cosine(view: Any) -> float:
            return abs(float(slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS())[:3, 2] @ direction))

        visible = [node for node in slicer.util.getNodesByClass("vtkMRMLSliceNode") if node.IsMappedInLayout()]
        return sorted((node for node in visible if cosine(node) >= _LEAST_COSINE), key=cosine, reverse=True)

    def _add(self, node: Any, event: int, callback: Callable[..., None]) -> None:
        self._observations.append((node, node.AddObserver(event, callback, _AFTER_SLICER)))

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onNodeAdded(self, _scene: Any, _event: str, node: Any) -> None:
        if node.IsA("vtkMRMLSliceNode"):  # another layout may bring new views
            self._add(node, vtk.vtkCommand.ModifiedEvent, self._onModified)

    def _onModified(self, view: Any, _event: str) -> None:
        if view in self._views():
            shown = self._indexOf(view)
            if shown != self._seen.get(view.GetID()):
                self._seen[view.GetID()] = shown
                self._followed = view
        index = self.currentIndex()
        if index != self._index:
            self._index = index
            self._onChanged()
