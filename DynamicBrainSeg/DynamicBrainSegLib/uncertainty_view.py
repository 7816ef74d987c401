"""Uncertainty over whichever of the sequences the slice views show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import qt

from leanseg.slicer_bridge.nodes import geometryFromNode
from leanseg.slicer_bridge.overlay import UncertaintyOverlay
from leanseg.slicer_bridge.shown_in import ViewsObserver, viewsShowing

if TYPE_CHECKING:
    from DynamicBrainSegLib.result import BrainResult

DELAY_MS = 30  # the views turn to another volume one after the other


class UncertaintyView:
    """One overlay for each sequence that is seen; they go with the result or with the check mark."""

    def __init__(self) -> None:
        self._overlays: dict[str, UncertaintyOverlay] = {}
        self._observers: list[ViewsObserver] = []
        self._result: BrainResult | None = None
        self._nodes: dict[str, Any] = {}
        self._opacity = 0.0
        self._views: dict[str, list[str]] = {}  # sequence -> views that showed it when the overlays were made
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(DELAY_MS)
        self._timer.connect("timeout()", self._update)

    def show(self, result: BrainResult | None, nodes: Mapping[str, Any], opacity: float | None) -> None:
        """`nodes`: the volumes over which it may lie; `opacity` None: it is not shown."""
        if result is None or opacity is None:
            self.remove()
            return
        self._opacity = opacity
        for overlay in self._overlays.values():
            overlay.setOpacity(opacity)
        if self._result is result and self._nodes == nodes:
            return
        self.remove()
        self._result, self._nodes = result, dict(nodes)
        self._observers = [ViewsObserver(node, self._timer.start) for node in nodes.values()]
        self._update()

    def remove(self) -> None:
        """Nothing of it is left in the scene, and nothing is observed."""
        self._timer.stop()
        for observer in self._observers:
            observer.stop()
        self._observers, self._result, self._nodes, self._views = [], None, {}, {}
        self._removeOverlays()

    def _removeOverlays(self) -> None:
        overlays, self._overlays = self._overlays, {}
        for overlay in overlays.values():
            overlay.remove()

    def _update(self) -> None:
        """All anew where the views show other sequences: so each view gets back what it had before any overlay."""
        views = {name: found for name, node in self._nodes.items() if (found := viewsShowing(node))}
        if views == self._views:
            return
        self._views = views
        self._removeOverlays()
        reference = self._result.images.referenceNode
        for name in views:
            overlay = self._overlays[name] = UncertaintyOverlay(self._nodes[name])
            overlay.setOpacity(self._opacity)
            overlay.show(self._result.segmentation.uncertainty.array[0], geometryFromNode(reference), reference)
