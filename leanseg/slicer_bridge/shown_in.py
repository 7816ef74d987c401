"""The slice views that show a volume: what was computed for one image must not lie over another one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
import vtk


def visibleViews() -> list[Any]:
    """Slice nodes of the views that the layout shows; the red one first."""
    views = [node for node in slicer.util.getNodesByClass("vtkMRMLSliceNode") if node.IsMappedInLayout()]
    return sorted(views, key=lambda node: node.GetLayoutName() != "Red")


def viewsShowing(volumeNode: Any) -> list[str]:
    """Ids of the slice nodes whose background or foreground is the volume; also of views that the layout hides."""
    if volumeNode.GetScene() is None:  # its id is None, as that of an empty layer
        return []
    shown = []
    for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        view = slicer.vtkMRMLSliceLogic.GetSliceNode(composite)
        layers = (composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID())
        if view is not None and volumeNode.GetID() in layers:
            shown.append(view.GetID())
    return sorted(shown)


class ViewsObserver:
    """Calls `callback()` when other slice views show the volume than before."""

    def __init__(self, volumeNode: Any, callback: Callable[[], None]) -> None:
        self._volumeNode = volumeNode
        self._callback = callback
        self._known = viewsShowing(volumeNode)
        self._observations: list[tuple[Any, int]] = []
        self._add(slicer.mrmlScene, slicer.vtkMRMLScene.NodeAddedEvent, self._onNodeAdded)
        for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
            self._add(composite, vtk.vtkCommand.ModifiedEvent, self._onModified)

    def stop(self) -> None:
        """No call comes any more."""
        for node, tag in self._observations:
            node.RemoveObserver(tag)
        self._observations = []

    def _add(self, node: Any, event: int, callback: Callable[..., None]) -> None:
        self._observations.append((node, node.AddObserver(event, callback)))

    def _onNodeAdded(self, _scene: Any, _event: str) -> None:
        observed = [node for node, _tag in self._observations]
        for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
            if composite not in observed:
                self._add(composite, vtk.vtkCommand.ModifiedEvent, self._onModified)

    def _onModified(self, _composite: Any, _event: str) -> None:
        if slicer.mrmlScene.IsBatchProcessing():
            return
        views = viewsShowing(self._volumeNode)
        if views != self._known:
            self._known = views
            self._callback()
