"""Uncertainty over the image: a float32 volume in the foreground of the slice views, with a color legend."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray
from slicer.i18n import tr as _

from leanseg.slicer_bridge.nodes import scalarVolumeNode, setVolumeArray
from leanseg.volume import VolumeGeometry

_COLORS = "vtkMRMLColorTableNodeIron"  # dark, red, yellow, white
_WINDOW_PERCENTILES = (1, 99)  # most of the image is certain: without them a few voxels would take all the colors
_TRANSPARENT = 0.25  # of the window, from its lower end

# Small, near the lower right corner, where ultrasound images are dark; of the view. The text scales with the size.
_LEGEND_SIZE = (0.045, 0.2)
_LEGEND_POSITION = (0.99, 0.03)
_LEGEND_LABELS = 3


class UncertaintyOverlay:
    """The uncertainty of one volume; its node is made when it is first shown, and stays in the scene until removed."""

    def __init__(self, volumeNode: Any) -> None:
        self._volumeNode = volumeNode
        self._node: Any = None
        self._opacity = 0.6
        self._window: tuple[float, float] | None = None
        self._replaced: list[tuple[Any, str | None, float]] = []

    @property
    def node(self) -> Any:
        """The volume node, or None where nothing was shown yet or it was removed."""
        return self._node if self._node is not None and self._node.GetScene() is not None else None

    @property
    def isVisible(self) -> bool:
        return bool(self._replaced) and self.node is not None

    def show(self, array: NDArray[np.float32], geometry: VolumeGeometry, transformFrom: Any = None) -> None:
        """Uncertainty (k, j, i) on a grid, under the transform of `transformFrom` (default: of the volume).

        Until it is removed the color window only grows, so that a color means the same in all frames that are shown.

        Raises:
            IncompatibleInputError: the array does not fit the geometry.
        """
        values = array.astype(np.float32, copy=False)
        with slicer.util.RenderBlocker():
            if self.node is None:
                name = _("{volume} uncertainty").format(volume=self._volumeNode.GetName())
                self._node = scalarVolumeNode(name, values, geometry)
                self._node.SetSaveWithScene(False)
                self._node.GetDisplayNode().SetSaveWithScene(False)
            else:
                setVolumeArray(self._node, values, geometry)
            transformed = self._volumeNode if transformFrom is None else transformFrom
            self._node.SetAndObserveTransformNodeID(transformed.GetTransformNodeID())
            self._setColors(values)
            self._setForeground()
            self._legend().SetVisibility(True)

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
        if self.node is not None:
            self._legend().SetVisibility(False)

    def remove(self) -> None:
        """Hide, and take the volume with its display and legend out of the scene."""
        self.hide()
        if self.node is not None:
            for display in [self._node.GetNthDisplayNode(n) for n in range(self._node.GetNumberOfDisplayNodes())]:
                slicer.mrmlScene.RemoveNode(display)
            slicer.mrmlScene.RemoveNode(self._node)
        self._node = self._window = None

    def _setColors(self, values: NDArray[np.float32]) -> None:
        low, high = (float(value) for value in np.percentile(values, _WINDOW_PERCENTILES))
        if high <= low:  # less than a hundredth of the image is uncertain, or all of it equally
            high = max(float(values.max()), low + 1e-3)
        if self._window is not None:
            low, high = min(low, self._window[0]), max(high, self._window[1])
        self._window = (low, high)
        display = self._node.GetDisplayNode()
        modified = display.StartModify()
        display.SetAndObserveColorNodeID(_COLORS)
        display.SetAutoWindowLevel(False)
        display.SetWindowLevelMinMax(low, high)
        display.SetThreshold(low + _TRANSPARENT * (high - low), max(float(values.max()), 1.0))
        display.SetApplyThreshold(True)
        display.EndModify(modified)

    def _setForeground(self) -> None:
        """In the views that show the image."""
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
            legend.SetTitleText(_("Uncertainty"))
            legend.SetSaveWithScene(False)
            legend.SetSize(*_LEGEND_SIZE)
            legend.SetPosition(*_LEGEND_POSITION)
            legend.SetNumberOfLabels(_LEGEND_LABELS)
            legend.SetLabelFormat("%.1f")
        return legend
