"""What a segment holds, frame by frame, on the pixels of the image: for measuring."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import slicer
import vtk

from leanseg.slicer_bridge.frames import SequenceFrames
from leanseg.slicer_bridge.nodes import geometryFromNode
from leanseg.slicer_bridge.placement import LABELMAP, arrayOf, orientedImage
from leanseg.slicer_bridge.synchronized import itemSegmentation, synchronizedSequence


def masksOf(
    frames: Any, segmentationNode: Any, segmentId: str, indices: Collection[int] | None = None
) -> dict[int, np.ndarray]:
    """(j, i) bool by index of the frame, of some frames or of all; those that the segment does not reach are left out.

    :raises LeanSegError: the image cannot be used, or the segmentation belongs to another sequence.
    """
    toVolume = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(
        segmentationNode.GetParentTransformNode(), frames.volumeNode.GetParentTransformNode(), toVolume
    )
    masks = {}
    for first, segmentation, geometry in _parts(frames, segmentationNode, indices):
        segment = segmentation.GetSegment(segmentId)
        voxels = None if segment is None else _voxels(segment, geometry, toVolume)
        if voxels is not None:
            masks |= {first + k: voxels[k] for k in np.flatnonzero(voxels.any(axis=(1, 2))).tolist()}
    return masks


def _parts(frames: Any, segmentationNode: Any, indices: Collection[int] | None) -> Iterator[tuple[int, Any, Any]]:
    """(index of its first frame, vtkSegmentation, VolumeGeometry): all of a volume at once, else frame by frame."""
    shown = segmentationNode.GetSegmentation()
    sequence = None
    if isinstance(frames, SequenceFrames):
        sequence = synchronizedSequence(segmentationNode, frames.browserNode)
        if sequence is None:
            if indices is None or frames.currentIndex() in indices:
                yield frames.currentIndex(), shown, frames.geometry(frames.currentIndex())
            return
        for index in range(frames.count) if indices is None else indices:
            isShown = index == frames.currentIndex()
            item = shown if isShown else itemSegmentation(sequence, frames.browserNode, index)
            yield index, item, frames.geometry(index)
        return
    if indices is None:
        yield 0, shown, geometryFromNode(frames.volumeNode)
        return
    for index in indices:
        yield index, shown, frames.geometry(index)


def _voxels(segment: Any, geometry: Any, toVolume: Any) -> np.ndarray | None:
    """(k, j, i) bool on a geometry; None where the segment is empty."""
    labelmap = segment.GetRepresentation(LABELMAP)
    if labelmap is None or labelmap.IsEmpty():
        return None
    reference = orientedImage(np.zeros(geometry.shape, bool), geometry.ijk_to_ras, [0, 0, 0])
    resampled = slicer.vtkOrientedImageData()
    slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(
        labelmap, reference, resampled, False, False, toVolume
    )
    return np.asarray(arrayOf(resampled) == segment.GetLabelValue())
