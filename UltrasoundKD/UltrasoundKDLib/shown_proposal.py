"""What is seen of a proposal: the outline of one frame and the uncertainty, where its image is shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from leanseg.slicer_bridge.overlay import UncertaintyOverlay
from leanseg.slicer_bridge.proposal import Proposal
from leanseg.slicer_bridge.shown_in import ViewsObserver, viewsShowing

if TYPE_CHECKING:
    from leanseg.processing.postprocess import PostprocessingConfig
    from UltrasoundKDLib.frame_results import FrameResult

OUTLINE_COLOR = (0.1, 0.9, 1.0)  # cyan: neither in a gray image nor among the colors of the uncertainty


class ShownProposal:
    """Draws only what has changed: views are slow. `onViewsChanged()`: other views show the image; `show` again."""

    def __init__(self, frames: Any, onViewsChanged: Callable[[], None]) -> None:
        self.pixels: int | None = None
        """Of the proposal in the shown frame; None where none is shown"""
        self.outline = Proposal(frames.volumeNode)
        self._overlay = UncertaintyOverlay(frames.volumeNode)
        self._frames = frames
        self._views = ViewsObserver(frames.volumeNode, onViewsChanged)
        self._outlined: tuple = ()
        self._colored: tuple = ()

    def show(self, index: int, result: FrameResult, config: PostprocessingConfig, opacity: float | None) -> None:
        """A frame's result.

        :param opacity: of the uncertainty over the image; None: it is not shown.
        :raises IncompatibleInputError: the image cannot be used any more.
        """
        volumeNode, geometry = self._frames.volumeNode, self._frames.geometry(index)
        place = (index, geometry.ijk_to_ras.tobytes(), volumeNode.GetTransformNodeID(), viewsShowing(volumeNode))
        outlined, colored = (result, config, *place), (result, *place)
        if outlined != self._outlined or self.outline.node is None:
            mask = result.mask(config)
            self.outline.show(mask, index, self._frames, OUTLINE_COLOR)
            self.pixels, self._outlined = int(mask.sum()), outlined
        if opacity is None:
            self._overlay.remove()
            return
        if colored != self._colored or not self._overlay.isVisible:
            self._overlay.show(result.uncertainty()[np.newaxis], geometry, transformFrom=volumeNode)
            self._colored = colored
        self._overlay.setOpacity(opacity)

    def hide(self) -> None:
        """Until the next `show`, which is as fast as before."""
        self.pixels, self._outlined, self._colored = None, (), ()
        self.outline.hide()
        self._overlay.hide()

    def remove(self) -> None:
        """As `hide`, and nothing of it stays in the scene."""
        self.hide()
        self.outline.remove()
        self._overlay.remove()

    def close(self) -> None:
        """Another image is meant."""
        self._views.stop()
        self.remove()
