"""Which image the slice views show: a result must not be made for one image while a person looks at another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
import vtk
from slicer.i18n import tr as _

from leanseg.slicer_bridge.shown_in import visibleViews

DELAY_MS = 50  # a volume is shown before it is complete, and in one view after the other


class ShownImage:
    """Calls `onChanged()` soon after another image has become the background of the first visible slice view."""

    def __init__(self, onChanged: Callable[[], None]) -> None:
        self._onChanged = onChanged
        self._observations: list[tuple[Any, int]] = []
        self._known: str | None = None
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(DELAY_MS)
        self._timer.connect("timeout()", self._look)

    @property
    def volume(self) -> Any:
        """Volume node, or None where nothing is shown or there is no slice view."""
        composites = _visibleComposites()
        return slicer.mrmlScene.GetNodeByID(composites[0].GetBackgroundVolumeID() or "") if composites else None

    def likelyImage(self) -> Any:
        """What somebody may well mean who has chosen nothing yet: the shown image, or the only one."""
        if isImage(self.volume):
            return self.volume
        images = [node for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if isImage(node)]
        return images[0] if len(images) == 1 else None

    def isShown(self, volumeNode: Any) -> bool:
        """In a visible slice view; also where there is none that could show anything."""
        composites = _visibleComposites()
        shown = {name for node in composites for name in (node.GetBackgroundVolumeID(), node.GetForegroundVolumeID())}
        return not composites or volumeNode.GetID() in shown

    def remark(self, volumeNode: Any) -> str:
        """What to say where a volume is not shown."""
        name, other = volumeNode.GetName(), self.volume
        if other is None:
            return str(_("No view shows {name}. Press Apply to see it.").format(name=name))
        text = _("The views show {other}. Choose it as Image, or press Apply to see {name}.")
        return str(text.format(other=other.GetName(), name=name))

    def show(self, volumeNode: Any) -> None:
        """In all slice views."""
        slicer.util.setSliceViewerLayers(background=volumeNode, fit=True)

    def observe(self) -> None:
        """Begin to look, and look once: another image may have come since the last time."""
        self.unobserve()
        self._add(slicer.mrmlScene, slicer.vtkMRMLScene.NodeAddedEvent, self._onNodeAdded)
        for node in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
            self._add(node, vtk.vtkCommand.ModifiedEvent, self._onModified)
        self._timer.start()

    def unobserve(self) -> None:
        """No call comes any more."""
        self._timer.stop()
        for node, tag in self._observations:
            node.RemoveObserver(tag)
        self._observations = []

    def accept(self) -> None:
        """What is shown now is known: it is no change any more."""
        volume = self.volume
        self._known = None if volume is None else volume.GetID()

    def _add(self, node: Any, event: int, callback: Callable[..., None]) -> None:
        self._observations.append((node, node.AddObserver(event, callback)))

    @vtk.calldata_type(vtk.VTK_OBJECT)  # type: ignore[untyped-decorator]
    def _onNodeAdded(self, _scene: Any, _event: str, node: Any) -> None:
        if node.IsA("vtkMRMLSliceCompositeNode"):  # of a new view
            self._add(node, vtk.vtkCommand.ModifiedEvent, self._onModified)

    def _onModified(self, *_args: Any) -> None:
        self._timer.start()

    def _look(self) -> None:
        known = self._known
        self.accept()
        if self._known not in (None, known):
            self._onChanged()


def _visibleComposites() -> list[Any]:
    """Of the red view first, where it is visible."""
    composites = [slicer.vtkMRMLSliceLogic.GetSliceCompositeNode(node) for node in visibleViews()]
    return [node for node in composites if node is not None]


def isImage(node: Any) -> bool:
    """Whether a node can be meant as the image; our own uncertainty, which is not saved, cannot."""
    isVolume = node is not None and node.IsA("vtkMRMLScalarVolumeNode") and not node.IsA("vtkMRMLLabelMapVolumeNode")
    return bool(isVolume and not node.GetHideFromEditors() and node.GetSaveWithScene())
