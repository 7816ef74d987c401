"""Where two models differ, as colors over the image; nothing that can be edited, exported or saved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from slicer.i18n import tr as _

from leanseg.slicer_bridge.frames import SequenceFrames
from leanseg.slicer_bridge.proposal import Proposal
from leanseg.slicer_bridge.shown_in import ViewsObserver, viewsShowing

if TYPE_CHECKING:
    from leanseg.slicer_bridge.precision_subject import Subject

COLORS = {1: (0.95, 0.25, 0.7), 2: (0.1, 0.75, 0.95), 3: (0.98, 0.8, 0.1)}
"""By the kinds of `PrecisionComparison.disagreement`"""
_OPACITY = 0.85


class DisagreementOverlay:
    """In the slice views that show the image, whichever they are by and by; of a sequence, in the frame that it is of.

    Whoever shows it removes it.
    """

    def __init__(self, disagreement: NDArray[np.uint8], subject: Subject) -> None:
        """Show it: kinds (k, j, i) on the voxels of the subject.

        Raises:
            IncompatibleInputError: the volume cannot be used any more.
        """
        self._subject = subject
        self._layers: list[_Layer] = []
        self._observers: list[ViewsObserver] = []
        try:
            for kind, color in COLORS.items():
                if (disagreement == kind).any():
                    self._layers.append(_Layer(subject.volumeNodes[0]))
                    self._layers[-1].showStack(disagreement == kind, subject.first, subject.frames, color)
        except Exception:
            self.remove()
            raise
        self._observers = [ViewsObserver(node, self._follow) for node in subject.volumeNodes]
        if isinstance(subject.frames, SequenceFrames):
            subject.frames.observe(self._follow)
        self._follow()

    @property
    def nodes(self) -> list[Any]:
        """Segmentation nodes, one for each kind that there is."""
        return [layer.node for layer in self._layers if layer.node is not None]

    def remove(self) -> None:
        """Nothing of it is left in the scene, and nothing is observed."""
        for observer in self._observers:
            observer.stop()
        self._subject.frames.unobserve()
        for layer in self._layers:
            layer.remove()
        self._layers, self._observers = [], []

    def _follow(self) -> None:
        frames, nodes = self._subject.frames, self._subject.volumeNodes
        isOther = isinstance(frames, SequenceFrames) and frames.currentIndex() != self._subject.first
        views = {view for node in nodes if node.GetScene() is not None for view in viewsShowing(node)}
        for layer in self._layers:
            layer.limitTo([] if isOther else sorted(views))


class _Layer(Proposal):
    """Filled instead of outlined."""

    def limitTo(self, views: list[str]) -> None:
        if self.node is not None:  # somebody may have removed it
            self._showIn(views)

    def _newNode(self) -> Any:
        node = super()._newNode()
        node.SetName(_("{volume} disagreement").format(volume=self._volumeNode.GetName()))
        display = node.GetDisplayNode()
        display.SetVisibility2DFill(True)
        display.SetOpacity2DFill(_OPACITY)
        return node
