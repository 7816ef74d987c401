"""Frames of a volume node: its slices k, or the items of the sequence that it shows one at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from slicer.i18n import tr as _

from leanseg.errors import IncompatibleInputError
from leanseg.slicer_bridge.nodes import checkVolume, geometryFromNode, localToWorld, sliceGeometry, volumeFromNode
from leanseg.volume import Volume, VolumeGeometry

_AFTER_SLICER = -1.0  # priority of our observers: Slicer first brings its nodes up to date
_LEAST_COSINE = 0.5  # between a view's normal and the k axis; a view that is steeper shows no frame


class _FrameObserver:
    """Calls back once for each real change of the current frame."""

    def __init__(self, currentIndex: Callable[[], int]) -> None:
        self._currentIndex = currentIndex
        self._observations: list[tuple[Any, int]] = []
        self._callback: Callable[[], None] | None = None
        self._index = 0

    def start(self, callback: Callable[[], None], observed: list[Any]) -> None:
        self.stop()
        self._callback = callback
        self._index = self._currentIndex()
        for node in observed:
            self.add(node)

    def add(self, node: Any) -> None:
        tag = node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._onModified, _AFTER_SLICER)
        self._observations.append((node, tag))

    def addNewSliceNodes(self, scene: Any) -> None:
        """A change of layout may bring views that did not exist before."""
        tag = scene.AddObserver(slicer.vtkMRMLScene.NodeAddedEvent, self._onNodeAdded, _AFTER_SLICER)
        self._observations.append((scene, tag))

    def stop(self) -> None:
        for node, tag in self._observations:
            node.RemoveObserver(tag)
        self._observations = []
        self._callback = None

    def _onNodeAdded(self, _scene: Any, _event: str) -> None:
        observed = [node for node, _tag in self._observations]
        for node in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
            if node not in observed:
                self.add(node)

    def _onModified(self, _node: Any, _event: str) -> None:
        index = self._currentIndex()
        if self._callback is not None and index != self._index:
            self._index = index
            self._callback()


class VolumeFrames:
    """The slices k of one volume node; the slice views say which one is current."""

    def __init__(self, volumeNode: Any) -> None:
        self.volumeNode = volumeNode
        self.count: int = geometryFromNode(volumeNode).shape[0]
        self._lastIndex = 0
        self._observer = _FrameObserver(self.currentIndex)

    def currentIndex(self) -> int:
        """Of the slice in the view that looks most nearly along k; the last one known where no view does."""
        if self.volumeNode.GetScene() is None:
            return self._lastIndex
        try:
            origin, step = self._centerLine()
        except IncompatibleInputError:  # whoever uses the image next is told
            return self._lastIndex
        view = self._viewAlongK(step)
        if view is None:
            return self._lastIndex
        sliceToRas = slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS())
        normal, point = sliceToRas[:3, 2], sliceToRas[:3, 3]
        k = float(normal @ (point - origin)) / float(normal @ step)
        self._lastIndex = int(np.clip(np.floor(k + 0.5), 0, self.count - 1))
        return self._lastIndex

    def select(self, index: int) -> None:
        """Move the view along k, and those linked to it, to a slice.

        Raises:
            IncompatibleInputError: there is no such slice.
        """
        self.geometry(index)
        self._lastIndex = index
        origin, step = self._centerLine()
        view = self._viewAlongK(step)
        if view is None:
            return
        normal = slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS())[:3, 2]
        offset = float(normal @ (origin + index * step))
        logic = slicer.app.applicationLogic().GetSliceLogic(view)
        if logic is None:
            view.SetSliceOffset(offset)
            return
        logic.StartSliceOffsetInteraction()  # linked views follow only an interaction
        logic.SetSliceOffset(offset)
        logic.EndSliceOffsetInteraction()

    def volume(self, index: int) -> Volume:
        """(c, 1, j, i), a copy.

        Raises:
            IncompatibleInputError: as `checkVolume`, or no such slice.
        """
        return volumeFromNode(self.volumeNode, index)

    def stamp(self, index: int) -> tuple[int, int]:
        """Another one where the voxels of a slice may be others; quick.

        Raises:
            IncompatibleInputError: as `checkVolume`.
        """
        checkVolume(self.volumeNode)
        return index, self.volumeNode.GetImageData().GetMTime()

    def geometry(self, index: int) -> VolumeGeometry:
        """Of depth 1, in the volume's own coordinates.

        Raises:
            IncompatibleInputError: as `checkVolume`, or no such slice.
        """
        return sliceGeometry(geometryFromNode(self.volumeNode), index)

    def observe(self, callback: Callable[[], None]) -> None:
        """Call `callback` once for each change of the current frame; it replaces the one before."""
        self._observer.start(callback, slicer.util.getNodesByClass("vtkMRMLSliceNode"))
        self._observer.addNewSliceNodes(slicer.mrmlScene)

    def unobserve(self) -> None:
        """Remove every observer; no more calls."""
        self._observer.stop()

    def _centerLine(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """World position (mm, RAS) of the middle of slice 0, and the step to the next slice."""
        geometry = geometryFromNode(self.volumeNode)
        _depth, height, width = geometry.shape
        matrix = localToWorld(self.volumeNode) @ geometry.ijk_to_ras
        return (matrix @ [(width - 1) / 2, (height - 1) / 2, 0, 1])[:3], matrix[:3, 2]

    def _viewAlongK(self, step: NDArray[np.float64]) -> Any:
        """The slice node of the visible view, of those that show the volume if any does, that looks along k."""
        visible = [node for node in slicer.util.getNodesByClass("vtkMRMLSliceNode") if node.IsMappedInLayout()]
        candidates = [node for node in visible if self._isShownIn(node)] or visible
        if not candidates:
            return None
        direction = step / np.linalg.norm(step)

        def cosine(node: Any) -> float:
            return abs(float(slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS())[:3, 2] @ direction))

        best = max(candidates, key=cosine)
        return best if cosine(best) >= _LEAST_COSINE else None

    def _isShownIn(self, sliceNode: Any) -> bool:
        composite = slicer.vtkMRMLSliceLogic.GetSliceCompositeNode(sliceNode)
        layers = () if composite is None else (composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID())
        return self.volumeNode.GetID() in layers


class SequenceFrames:
    """The items of a sequence of 2-D images; a sequence browser shows one at a time in the volume node."""

    def __init__(self, volumeNode: Any, browserNode: Any) -> None:
        self.volumeNode = volumeNode
        self.browserNode = browserNode
        self.sequenceNode = browserNode.GetSequenceNode(volumeNode)
        self._observer = _FrameObserver(self.currentIndex)

    @property
    def count(self) -> int:
        return int(self.browserNode.GetNumberOfItems())  # a sequence that is being recorded grows

    def currentIndex(self) -> int:
        """The item that the browser shows."""
        index: int = self.browserNode.GetSelectedItemNumber()
        return max(0, min(index, self.count - 1))

    def select(self, index: int) -> None:
        """Make the browser show an item.

        Raises:
            IncompatibleInputError: there is no such item.
        """
        self._item(index)
        self.browserNode.SetSelectedItemNumber(index)

    def volume(self, index: int) -> Volume:
        """(c, 1, j, i), a copy.

        Raises:
            IncompatibleInputError: no such item, or as `checkVolume`.
        """
        return volumeFromNode(self._item(index))

    def stamp(self, index: int) -> tuple[int, int]:
        """Another one where the voxels of an item may be others; quick.

        Raises:
            IncompatibleInputError: no such item, or as `checkVolume`.
        """
        return index, self._item(index).GetImageData().GetMTime()

    def geometry(self, index: int) -> VolumeGeometry:
        """Of depth 1, in the volume's own coordinates.

        Raises:
            IncompatibleInputError: no such item, or as `checkVolume`.
        """
        return geometryFromNode(self._item(index))

    def observe(self, callback: Callable[[], None]) -> None:
        """Call `callback` once for each change of the current item; it replaces the one before."""
        self._observer.start(callback, [self.browserNode])

    def unobserve(self) -> None:
        """Remove every observer; no more calls."""
        self._observer.stop()

    def _item(self, index: int) -> Any:
        """The node of an item; it lives in the sequence, not in the scene."""
        if self.browserNode.GetScene() is None:
            text = _("The sequence of {name} is no longer in the scene. Choose another volume.")
            raise IncompatibleInputError(text.format(name=self.volumeNode.GetName()))
        if not 0 <= index < self.count:
            text = _("Frame {index} was asked for, but the sequence has frames 0 to {last}. Choose one of these.")
            raise IncompatibleInputError(text.format(index=index, last=self.count - 1))
        indexValue = self.browserNode.GetMasterSequenceNode().GetNthIndexValue(index)
        node = self.sequenceNode.GetDataNodeAtValue(indexValue, True)
        if node is None:
            text = _("The sequence has no image for frame {index}. Remove this frame, or choose another sequence.")
            raise IncompatibleInputError(text.format(index=index))
        checkVolume(node)
        depth = node.GetImageData().GetDimensions()[2]
        if depth != 1:
            text = _("{name} is a 4-D volume (each frame has {depth} slices); frames of one slice are needed. "
                     "Copy one frame to a volume of its own.")  # fmt: skip
            raise IncompatibleInputError(text.format(name=self.volumeNode.GetName(), depth=depth))
        return node


def framesOf(volumeNode: Any) -> VolumeFrames | SequenceFrames:
    """The frames of a volume: items, where a sequence browser shows several images in this node, else slices.

    Raises:
        IncompatibleInputError: as `checkVolume`, or a sequence of 3-D volumes.
    """
    checkVolume(volumeNode)
    browser = slicer.modules.sequences.logic().GetFirstBrowserNodeForProxyNode(volumeNode)
    if browser is None or browser.GetNumberOfItems() < 2:
        return VolumeFrames(volumeNode)
    frames = SequenceFrames(volumeNode, browser)
    frames.geometry(frames.currentIndex())
    return frames


def checkMasks(frames: VolumeFrames | SequenceFrames, masks: Mapping[int, NDArray[np.bool_]]) -> None:
    """Whether there are such frames, and the masks (j, i) have their size.

    Raises:
        IncompatibleInputError: they have not, or the volume cannot be used.
    """
    checkVolume(frames.volumeNode)
    if not masks:
        return
    # The slices of a volume are all of one size: its first and last one stand for all of them.
    looked = masks if isinstance(frames, SequenceFrames) else {min(masks), max(masks)}
    sizes = {index: frames.geometry(index).shape[1:] for index in looked}
    for index, mask in masks.items():
        size = sizes.get(index) or sizes[min(masks)]
        if mask.dtype != np.bool_ or mask.shape != size:
            text = _(
                "The mask of frame {index} is {kind} {shape}; booleans {expected} (j, i) are needed. Threshold it."
            )
            raise IncompatibleInputError(text.format(index=index, kind=mask.dtype, shape=mask.shape, expected=size))
