"""What a segment holds, frame by frame, on the pixels of the image."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from leanseg.slicer_bridge.frames import SequenceFrames
from leanseg.slicer_bridge.nodes import geometryFromNode
from leanseg.slicer_bridge.placement import readFrames
from leanseg.slicer_bridge.synchronized import itemSegmentation, synchronizedSequence


def masksOf(
    frames: Any, segmentationNode: Any, segmentId: str, indices: Collection[int] | None = None
) -> dict[int, np.ndarray]:
    """(j, i) bool by index of the frame, of some frames or of all; those that the segment does not reach are left out.

    :raises LeanSegError: the image cannot be used, or the segmentation belongs to another sequence.
    """
    masks = {}
    for first, segmentation, geometry in _parts(frames, segmentationNode, indices):
        segment = segmentation.GetSegment(segmentId)
        if segment is not None:
            found = readFrames(segmentationNode, segment, frames.volumeNode, geometry)
            masks |= {first + k: mask for k, mask in found.items() if indices is None or first + k in indices}
    return masks


def _parts(frames: Any, segmentationNode: Any, indices: Collection[int] | None) -> Iterator[tuple[int, Any, Any]]:
    """(index of its first frame, vtkSegmentation, VolumeGeometry): all of a volume at once, of a sequence each item."""
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
    yield 0, shown, geometryFromNode(frames.volumeNode)
