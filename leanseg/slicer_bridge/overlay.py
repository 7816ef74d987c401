"""Uncertainty over the image: a float32 volume in the foreground of the slice views, with a color legend.

One scale for all images: 0 to 1, in the colors of `leanseg.pictures`. A window of percentiles of each image would color
an image of which the model is certain like one of which it is not. What is certain is transparent, by one border for
all images: the uncertainty where the probability is 10 % or 90 %.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray
from slicer.i18n import tr as _

from leanseg.pictures import uncertainty_colors
from leanseg.slicer_bridge.nodes import setVolumeArray
from leanseg.volume import VolumeGeometry

CERTAIN = 0.469  # the entropy of 10 % and 90 %, in bits: uncertainty below it is transparent
_NUMBER_OF_COLORS = 256

# Small, near the lower right corner, where ultrasound images are dark; of the view. The text scales with the size.
_LEGEND_SIZE = (0.045, 0.2)
_LEGEND_POSITION = (0.99, 0.03)
_LEGEND_LABELS = 3


class UncertaintyOverlay:
    """The uncertainty of one volume; its node is made when it is first shown, and stays in the scene until removed."""

    def __init__(self, volumeNode: Any, certain: float = CERTAIN, title: str = "") -> None:
        """`certain`: what is below it is transparent; `title`: of values that are no uncertainty, for the legend."""
        self._volumeNode = volumeNode
        self._certain = certain
        self._title = title or _("Uncertainty")
        self._node: Any = None
        self._colors: Any = None
        self._opacity = 0.6
        self._replaced: list[tuple[Any, str | None, float]] = []

    @property
    def node(self) -> Any:
        """The volume node, or None where nothing was shown yet or it was removed."""
        return self._node if self._node is not None and self._node.GetScene() is not None else None

    @property
    def isVisible(self) -> bool:
        return bool(self._replaced) and self.node is not None

    def show(self, array: NDArray[np.float32], geometry: VolumeGeometry, transformFrom: Any = None) -> None:
        """Uncertainty (k, j, i), 0 to 1, on a grid, under the transform of `transformFrom` (default: of the volume).

        Raises:
            IncompatibleInputError: the array does not fit the geometry.
        """
        values = array.astype(np.float32, copy=False)
        with slicer.util.RenderBlocker():
            if self.node is None:
                self._removeColors()  # somebody has removed the volume
                self._node = self._newNode(values, geometry)
                self._setColors()
            else:
                setVolumeArray(self._node, values, geometry)
            transformed = self._volumeNode if transformFrom is None else transformFrom
            self._node.SetAndObserveTransformNodeID(transformed.GetTransformNodeID())
            self._setForeground()
            self._showLegend()

    def setOpacity(self, opacity: float) -> None:
        """0 (image only) to 1 (uncertainty only)."""
        self._opacity = opacity
        for composite, _volume, _opacity in self._replaced:
            if self._isForegroundOf(composite):
                composite.SetForegroundOpacity(opacity)

    def hide(self) -> None:
        """Give the views back the foreground that they had; the volume stays in the scene."""
        for composite, volumeId, opacity in self._replaced:
            if self._isForegroundOf(composite):
                composite.SetForegroundVolumeID(volumeId)
                composite.SetForegroundOpacity(opacity)
        self._replaced = []
        legend = None if self.node is None else slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(self._node)
        if legend is not None:
            legend.SetVisibility(False)

    def remove(self) -> None:
        """Hide, and take the volume with its display and legend out of the scene."""
        self.hide()
        if self.node is not None:
            for display in [self._node.GetNthDisplayNode(n) for n in range(self._node.GetNumberOfDisplayNodes())]:
                slicer.mrmlScene.RemoveNode(display)
            slicer.mrmlScene.RemoveNode(self._node)
        self._removeColors()
        self._node = None

    def _newNode(self, values: NDArray[np.float32], geometry: VolumeGeometry) -> Any:
        node = slicer.vtkMRMLScalarVolumeNode()
        node.SetName(f"{self._volumeNode.GetName()} {self._title[:1].lower()}{self._title[1:]}")
        node.SetHideFromEditors(True)  # nobody is to choose it as an image; no selector lists it
        node.SetSaveWithScene(False)
        setVolumeArray(node, values, geometry)
        node = slicer.mrmlScene.AddNode(node)
        node.CreateDefaultDisplayNodes()
        return node

    def _removeColors(self) -> None:
        if self._colors is not None:
            slicer.mrmlScene.RemoveNode(self._colors)
        self._colors = None

    def _setColors(self) -> None:
        self._colors = _newColors(self._certain, self._title)
        display = self._node.GetDisplayNode()
        display.SetSaveWithScene(False)
        display.SetAndObserveColorNodeID(self._colors.GetID())
        display.SetAutoWindowLevel(False)
        display.SetWindowLevelMinMax(0, 1)
        display.SetThreshold(self._certain, 1)
        display.SetApplyThreshold(True)

    def _setForeground(self) -> None:
        """In the views that show the image; one that has turned to another image gets its foreground back."""
        for entry in self._replaced.copy():
            composite, volume, opacity = entry
            if composite.GetBackgroundVolumeID() != self._volumeNode.GetID():
                if self._isForegroundOf(composite):
                    composite.SetForegroundVolumeID(volume)
                    composite.SetForegroundOpacity(opacity)
                self._replaced.remove(entry)
        known = [composite for composite, _volume, _opacity in self._replaced]
        for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
            if composite.GetBackgroundVolumeID() != self._volumeNode.GetID():
                continue
            if composite not in known:
                before = (composite.GetForegroundVolumeID(), composite.GetForegroundOpacity())
                self._replaced.append((composite, *before))
            composite.SetForegroundVolumeID(self._node.GetID())
            composite.SetForegroundOpacity(self._opacity)

    def _isForegroundOf(self, composite: Any) -> bool:
        return self._node is not None and composite.GetForegroundVolumeID() == self._node.GetID()

    def _legend(self) -> Any:
        legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(self._node)
        if legend is None:
            legend = slicer.vtkSlicerColorLogic.AddDefaultColorLegendDisplayNode(self._node)
            legend.SetTitleText(self._title)
            legend.SetSaveWithScene(False)
            legend.SetSize(*_LEGEND_SIZE)
            legend.SetPosition(*_LEGEND_POSITION)
            legend.SetNumberOfLabels(_LEGEND_LABELS)
            legend.SetLabelFormat("%.1f")
        return legend

    def _showLegend(self) -> None:
        """In the first view that shows the uncertainty: once, however many views there are."""
        legend = self._legend()
        composites = [composite for composite, _volume, _opacity in self._replaced if self._isForegroundOf(composite)]
        views = [slicer.vtkMRMLSliceLogic.GetSliceNode(composite) for composite in composites]
        visible = [view.GetID() for view in views if view is not None and view.IsMappedInLayout()]
        if visible:
            legend.SetDisplayableOnlyInView(visible[0])
        legend.SetVisibility(bool(visible))


def _newColors(certain: float, title: str) -> Any:
    """A color table of the uncertainty from 0 to 1; black where it is transparent, so that the legend shows it, too."""
    node = slicer.vtkMRMLColorTableNode()
    node.SetTypeToUser()
    node.SetName(title)
    node.SetHideFromEditors(True)
    node.SetSaveWithScene(False)
    values = np.linspace(0, 1, _NUMBER_OF_COLORS)
    colors = np.where(values[:, np.newaxis] < certain, 0, uncertainty_colors(values[np.newaxis])[0] / 255)
    node.SetNumberOfColors(_NUMBER_OF_COLORS)
    for index, color in enumerate(colors.tolist()):
        node.SetColor(index, *color, 1.0)
    return slicer.mrmlScene.AddNode(node)
