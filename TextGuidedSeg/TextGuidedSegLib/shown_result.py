"""What is seen of a result: the outline and the uncertainty of all its slices, in every view that shows the image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from slicer.i18n import tr as _

from leanseg.slicer_bridge.nodes import geometryFromNode
from leanseg.slicer_bridge.overlay import UncertaintyOverlay
from leanseg.slicer_bridge.proposal import Proposal
from leanseg.slicer_bridge.shown_in import ViewsObserver, viewsShowing
from leanseg.volume import VolumeGeometry
from TextGuidedSegLib.pointing import WEAK

OUTLINE_COLOR = (0.1, 0.9, 1.0)  # cyan: neither in a gray image nor among the colors of the uncertainty
OTHER_COLOR = (1.0, 0.55, 0.1)  # of the earlier of two prompts, while they are compared
HEAT_OPACITY = 0.5
EVIDENT = 0.1
"""A vacuity K / S below it is transparent: where the Dirichlet strength S is above 20, ten times that of no evidence"""


class ShownResult:
    """Draws only what has changed: views are slow. `onViewsChanged()`: other views show the image; `show` again."""

    def __init__(self, frames: Any, onViewsChanged: Callable[[], None], pointing: Any) -> None:
        """`pointing`: `Pointing`; what it shows takes the place of the uncertainty."""
        self._frames = frames
        self._pointing = pointing
        self._outline = Proposal(frames.volumeNode)
        self._overlay = UncertaintyOverlay(frames.volumeNode, EVIDENT)
        self._heat = UncertaintyOverlay(frames.volumeNode, WEAK, _("Pointed at"))
        self._views = ViewsObserver(frames.volumeNode, onViewsChanged)
        self._outlined: tuple = ()
        self._colored: tuple = ()
        self._heated: tuple = ()

    @property
    def isVisible(self) -> bool:
        return self._outline.isVisible

    def show(self, proposals: Mapping[int, Any], color: tuple[float, float, float], opacity: float | None) -> None:
        """`proposals`: slice -> `SliceProposal`; `opacity` of the uncertainty, None: it is not shown.

        :raises IncompatibleInputError: the image cannot be used any more.
        """
        if not proposals:
            self.hide()
            return
        volumeNode = self._frames.volumeNode
        matrix = geometryFromNode(volumeNode).ijk_to_ras.tobytes()
        place = (proposals, matrix, volumeNode.GetTransformNodeID(), viewsShowing(volumeNode))
        if not _same((*place, color), self._outlined) or not self._outline.isVisible:
            masks = stack({k: one.mask for k, one in proposals.items()})
            self._outline.showStack(masks, min(proposals), self._frames, color)
            self._outlined = (*place, color)
        maps = self._pointing.maps(proposals)
        if maps is None:
            self._heat.remove()  # first: each overlay gives back the foreground that it found
        if opacity is None or maps is not None:
            self._overlay.remove()
        if maps is not None:
            self._showHeat(maps, (maps, *place[1:]))
        if opacity is None or maps is not None:
            return
        if not _same(place, self._colored) or not self._overlay.isVisible:
            values = stack({k: one.uncertainty for k, one in proposals.items()})
            self._overlay.show(values, self._slab(min(proposals), len(values)), transformFrom=volumeNode)
            self._colored = place
        self._overlay.setOpacity(opacity)

    def _showHeat(self, maps: Mapping[int, np.ndarray], place: tuple) -> None:
        if not _same(place, self._heated) or not self._heat.isVisible:
            values = stack(maps)
            self._heat.show(values, self._slab(min(maps), len(values)), transformFrom=self._frames.volumeNode)
            self._heated = place
        self._heat.setOpacity(HEAT_OPACITY)

    def hide(self) -> None:
        """Until the next `show`, which is as fast as before."""
        self._outlined, self._colored, self._heated = (), (), ()
        self._outline.hide()
        self._heat.remove()
        self._overlay.hide()

    def close(self) -> None:
        """Another image is meant; nothing stays in the scene."""
        self._views.stop()
        self._outline.remove()
        self._heat.remove()
        self._overlay.remove()

    def _slab(self, first: int, depth: int) -> VolumeGeometry:
        geometry = self._frames.geometry(first)
        return VolumeGeometry((depth, *geometry.shape[1:]), geometry.ijk_to_ras, geometry.is_calibrated)


def stack(slices: Mapping[int, np.ndarray]) -> np.ndarray:
    """Slices (j, i) by k -> (k, j, i) from the first to the last; what lies between and was not asked about is 0."""
    first, last = min(slices), max(slices)
    some = slices[first]
    result = np.zeros((last - first + 1, *some.shape), some.dtype)
    for k, values in slices.items():
        result[k - first] = values
    return result


def _same(now: tuple, before: tuple) -> bool:
    """The same proposals, not equal ones: arrays are not compared."""
    return bool(before) and now[0] is before[0] and now[1:] == before[1:]
