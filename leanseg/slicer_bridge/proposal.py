"""What a model proposes for one frame, as an outline over the image; nothing that can be edited, exported or saved."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray
from slicer.i18n import tr as _

from leanseg.slicer_bridge.frames import SequenceFrames, VolumeFrames
from leanseg.slicer_bridge.placement import LABELMAP, orientedImage
from leanseg.slicer_bridge.shown_in import viewsShowing

_SEGMENT = "proposal"
_LINE_WIDTH = 2  # pixels


class Proposal:
    """The outline of one mask; its node is made when it is first shown."""

    def __init__(self, volumeNode: Any) -> None:
        self._volumeNode = volumeNode
        self._node: Any = None

    @property
    def node(self) -> Any:
        """The segmentation node, or None where nothing was shown yet or it was removed."""
        return self._node if self._node is not None and self._node.GetScene() is not None else None

    @property
    def isVisible(self) -> bool:
        return self.node is not None and bool(self._node.GetDisplayNode().GetVisibility())

    def show(
        self,
        mask: NDArray[np.bool_],
        index: int,
        frames: VolumeFrames | SequenceFrames,
        color: tuple[float, float, float],
    ) -> None:
        """Outline the mask (j, i) in its frame, in the slice views that show the volume.

        Raises:
            IncompatibleInputError: the volume cannot be used, or has no such frame.
        """
        self.showStack(mask[np.newaxis], index, frames, color)

    def showStack(
        self,
        masks: NDArray[np.bool_],
        first: int,
        frames: VolumeFrames | SequenceFrames,
        color: tuple[float, float, float],
    ) -> None:
        """As `show`, for the masks (k, j, i) of neighboring slices from `first` on: seen in views across them, too."""
        geometry = frames.geometry(first)
        if self.node is None:
            self._node = self._newNode()
        image = orientedImage(masks, geometry.ijk_to_ras, [0, 0, 0])
        segment = self._node.GetSegmentation().GetSegment(_SEGMENT)
        modified = self._node.StartModify()
        self._node.SetAndObserveTransformNodeID(self._volumeNode.GetTransformNodeID())
        segment.SetColor(*color)
        segment.AddRepresentation(LABELMAP, image)
        self._node.EndModify(modified)
        self._showIn(viewsShowing(self._volumeNode))

    def hide(self) -> None:
        """Nothing is outlined any more; the next `show` is as fast as before."""
        if self.node is not None:
            self._node.GetDisplayNode().SetVisibility(False)

    def remove(self) -> None:
        """Take the node out of the scene."""
        if self.node is not None:
            slicer.mrmlScene.RemoveNode(self._node.GetDisplayNode())
            slicer.mrmlScene.RemoveNode(self._node)
        self._node = None

    def _showIn(self, views: list[str]) -> None:
        display = self._node.GetDisplayNode()
        modified = display.StartModify()
        if list(display.GetViewNodeIDs()) != views:
            display.RemoveAllViewNodeIDs()
            for view in views:
                display.AddViewNodeID(view)
        display.SetVisibility(bool(views))  # without a view it would be shown in all
        display.EndModify(modified)

    def _newNode(self) -> Any:
        node = slicer.vtkMRMLSegmentationNode()
        node.SetName(_("{volume} proposal").format(volume=self._volumeNode.GetName()))
        node.SetHideFromEditors(True)  # before it enters the scene: no selector and no tree lists it
        node.SetSaveWithScene(False)
        node = slicer.mrmlScene.AddNode(node)
        node.CreateDefaultDisplayNodes()
        node.GetSegmentation().AddEmptySegment(_SEGMENT, _("Proposal"))
        display = node.GetDisplayNode()
        display.SetSaveWithScene(False)
        display.SetVisibility2DFill(False)
        display.SetVisibility2DOutline(True)
        display.SetVisibility3D(False)
        display.SetSliceIntersectionThickness(_LINE_WIDTH)
        return node
