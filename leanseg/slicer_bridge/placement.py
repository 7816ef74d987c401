"""Masks of frames of a volume, placed on the voxel grid of a segmentation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from slicer.i18n import tr as _
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from leanseg.errors import IncompatibleInputError
from leanseg.slicer_bridge.nodes import geometryFromNode, localToWorld
from leanseg.volume import VolumeGeometry

LABELMAP = "Binary labelmap"  # Slicer's name of the representation
_SAME_GRID = 0.01  # voxels
Bools = NDArray[np.bool_]
Matrix = NDArray[np.floating[Any]]
Extent = tuple[int, int, int, int, int, int]


@dataclass(frozen=True, eq=False)
class PlacedMask:
    """What is written, and where, on the grid of a segmentation."""

    grid: Any
    """vtkOrientedImageData without voxels: the segmentation's own grid, cut to `extent`"""
    extent: Extent
    """First and last voxel along i, j, k; inclusive, as in VTK"""
    written: Bools
    """(k, j, i): voxels that are written, those of the written frames"""
    mask: Bools
    """(k, j, i): those of them that are in the new mask"""


def placeMasks(
    segmentationNode: Any, volumeNode: Any, masks: Mapping[int, Bools], within: Mapping[int, Bools] | None = None
) -> PlacedMask:
    """Masks (j, i) by frame k of a volume -> the segmentation's grid, by nearest neighbor and through all transforms.

    `within`: of every frame in `masks`, the voxels (j, i) that are written; None: all of them.

    Raises:
        IncompatibleInputError: the grid does not reach the mask, or is too coarse to hold it; a non-linear transform.
    """
    geometry = geometryFromNode(volumeNode)
    grid = _gridOf(segmentationNode, geometry)
    gridToWorld = localToWorld(segmentationNode) @ _matrixOf(grid)
    gridToVolume = np.linalg.inv(localToWorld(volumeNode) @ geometry.ijk_to_ras) @ gridToWorld
    if within is None:
        within = {k: np.ones_like(mask) for k, mask in masks.items()}
    pairs = {k: (within[k], masks[k] & within[k]) for k in masks}
    if _isSameGrid(grid, gridToVolume, geometry):
        return _placedDirectly(grid, geometry, pairs)
    return _placedByNearestNeighbor(grid, gridToVolume, geometry, pairs, segmentationNode.GetName())


def readSegment(segment: Any, placed: PlacedMask) -> Bools:
    """(k, j, i) of one segment on the grid and extent of a placed mask."""
    result = np.zeros(placed.mask.shape, bool)
    iFirst, _, jFirst, _, kFirst, _ = placed.extent
    for k, (rows, columns), mask in _planesOf(segment, _matrixOf(placed.grid), placed.extent):
        j, i = rows.start - jFirst, columns.start - iFirst
        result[k - kFirst][j : j + mask.shape[0], i : i + mask.shape[1]] = mask
    return result


def readFrames(segmentationNode: Any, segment: Any, volumeNode: Any, geometry: VolumeGeometry) -> dict[int, Bools]:
    """Masks (j, i) by frame k of a volume's grid, through all transforms; frames without the segment are left out.

    Only the part of the grid that the segment may reach is looked at. `geometry`: of the volume, or of an item of its
    sequence.

    Raises:
        IncompatibleInputError: a non-linear transform.
    """
    volumeToSegmentation = np.linalg.inv(localToWorld(segmentationNode)) @ localToWorld(volumeNode)
    depth, height, width = geometry.shape
    extent = (0, width - 1, 0, height - 1, 0, depth - 1)
    frames = {}
    for k, box, mask in _planesOf(segment, volumeToSegmentation @ geometry.ijk_to_ras, extent):
        if mask.any():
            frames[k] = np.zeros((height, width), bool)
            frames[k][box] = mask
    return frames


def _planesOf(segment: Any, gridMatrix: Matrix, extent: Extent) -> Iterator[tuple[int, tuple[slice, slice], Bools]]:
    """k, box (j, i) and content of each plane of a grid that a segment may reach; nearest neighbors.

    `gridMatrix`: ijk of the grid -> RAS of the segment's labelmap. Indices are those of the grid, within `extent`.
    """
    labelmap = segment.GetRepresentation(LABELMAP)
    if labelmap is None or labelmap.IsEmpty():
        return
    source = labelmap.GetExtent()
    toSource = np.linalg.inv(_matrixOf(labelmap)) @ gridMatrix
    sides = [(source[a] - 0.5, source[a + 1] + 0.5) for a in (0, 2, 4)]
    corners = np.array([(x, y, z, 1) for x in sides[0] for y in sides[1] for z in sides[2]])
    reached = (corners @ np.linalg.inv(toSource).T)[:, :3]
    first = np.maximum(np.ceil(reached.min(axis=0) - _SAME_GRID).astype(int), extent[::2])
    last = np.minimum(np.floor(reached.max(axis=0) + _SAME_GRID).astype(int), extent[1::2])
    if (first > last).any():
        return
    values, label = arrayOf(labelmap), segment.GetLabelValue()
    toVoxel = toSource.copy()
    toVoxel[:3, 3] -= source[::2]  # of the array, which begins at 0
    shift = np.rint(toVoxel[:3, 3]).astype(int)
    isSameGrid = np.abs(corners[:, :3] - source[::2] - reached - shift).max() < _SAME_GRID
    box = (slice(first[1], last[1] + 1), slice(first[0], last[0] + 1))
    inSource = tuple(slice(part.start + n, part.stop + n) for part, n in zip(box, shift[1::-1], strict=True))
    for k in range(first[2], last[2] + 1):
        plane = values[k + shift[2]][inSource] if isSameGrid else _nearest(values, toVoxel, box, k)
        yield k, box, np.asarray(plane == label)


def _nearest(values: NDArray[np.generic], toVoxel: Matrix, box: tuple[slice, slice], k: int) -> NDArray[np.generic]:
    """Values (k, j, i) at the positions of a box (j, i) of plane k of another grid; outside, 0: no segment's."""
    j, i = np.ogrid[box]
    index = [np.rint(row[0] * i + row[1] * j + row[2] * k + row[3]).astype(int) for row in toVoxel[:3]]
    inside = np.all([(n >= 0) & (n < size) for n, size in zip(index, values.shape[::-1], strict=True)], axis=0)
    x, y, z = (np.where(inside, n, 0) for n in index)
    return np.where(inside, values[z, y, x], 0)


def arrayOf(image: Any) -> NDArray[np.generic]:
    """(k, j, i) view of an image's voxels; it is good as long as the image."""
    i, j, k = image.GetDimensions()
    return np.asarray(vtk_to_numpy(image.GetPointData().GetScalars()).reshape(k, j, i))


def modifierOf(voxels: Bools, placed: PlacedMask) -> Any:
    """Voxels (k, j, i) as vtkOrientedImageData, cut to their bounding box: the smaller, the faster Slicer edits."""
    start, box = [], []
    for axis in range(3):
        occupied = np.flatnonzero(voxels.any(axis=tuple(other for other in range(3) if other != axis)))
        start.append(int(occupied[0]))
        box.append(slice(int(occupied[0]), int(occupied[-1]) + 1))
    first = [offset + placed.extent[a] for offset, a in zip(start[::-1], (0, 2, 4), strict=True)]
    return orientedImage(voxels[tuple(box)], _matrixOf(placed.grid), first)


def orientedImage(voxels: Bools, matrix: Matrix, firstIjk: list[int]) -> Any:
    """(k, j, i) -> vtkOrientedImageData of 0 and 1 that begins at voxel `firstIjk` of the grid of `matrix` (4 x 4)."""
    image = slicer.vtkOrientedImageData()
    k, j, i = voxels.shape
    image.SetExtent(*(n for first, size in zip(firstIjk, (i, j, k), strict=True) for n in (first, first + size - 1)))
    scalars = numpy_to_vtk(np.ascontiguousarray(voxels, dtype=np.uint8).ravel(), deep=True)
    scalars.SetName("ImageScalars")
    image.GetPointData().SetScalars(scalars)
    image.SetGeometryFromImageToWorldMatrix(slicer.util.vtkMatrixFromArray(matrix))
    return image


def _gridOf(segmentationNode: Any, geometry: VolumeGeometry) -> Any:
    """The reference geometry of a segmentation, extended to all its segments; that of the volume where it has none."""
    editor, converter = slicer.vtkSlicerSegmentEditorLogic, slicer.vtkSegmentationConverter
    text = editor.GetReferenceImageGeometryStringFromSegmentation(segmentationNode.GetSegmentation())
    grid = slicer.vtkOrientedImageData()
    if text:
        converter.DeserializeImageGeometry(text, grid, False)
    if grid.IsEmpty():
        k, j, i = geometry.shape
        grid.SetExtent(0, i - 1, 0, j - 1, 0, k - 1)
        grid.SetGeometryFromImageToWorldMatrix(slicer.util.vtkMatrixFromArray(geometry.ijk_to_ras))
    return grid


def _matrixOf(image: Any) -> Matrix:
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    return np.array(slicer.util.arrayFromVTKMatrix(matrix))


def _isSameGrid(grid: Any, gridToVolume: Matrix, geometry: VolumeGeometry) -> bool:
    """Whether the grid has the volume's voxels, under the same indices, and all of them."""
    k, j, i = geometry.shape
    extent = grid.GetExtent()
    if any(first > 0 for first in extent[::2]) or any(a < b - 1 for a, b in zip(extent[1::2], (i, j, k), strict=True)):
        return False
    corners = np.array([(x, y, z, 1) for x in (0, i - 1) for y in (0, j - 1) for z in (0, k - 1)], dtype=np.float64)
    return bool(np.abs(corners @ gridToVolume.T - corners).max() < _SAME_GRID)


def _placedDirectly(grid: Any, geometry: VolumeGeometry, pairs: Mapping[int, tuple[Bools, Bools]]) -> PlacedMask:
    first, last = min(pairs), max(pairs)
    _depth, height, width = geometry.shape
    written = np.zeros((last - first + 1, height, width), bool)
    mask = np.zeros_like(written)
    for k, (within, frame) in pairs.items():
        written[k - first] = within
        mask[k - first] = frame
    return _placed(grid, (0, width - 1, 0, height - 1, first, last), written, mask)


def _placed(grid: Any, extent: Extent, written: Bools, mask: Bools) -> PlacedMask:
    cut = slicer.vtkOrientedImageData()
    cut.SetGeometryFromImageToWorldMatrix(slicer.util.vtkMatrixFromArray(_matrixOf(grid)))
    cut.SetExtent(*extent)
    return PlacedMask(cut, extent, written, mask)


def _placedByNearestNeighbor(
    grid: Any, gridToVolume: Matrix, geometry: VolumeGeometry, pairs: Mapping[int, tuple[Bools, Bools]], name: str
) -> PlacedMask:
    """A voxel of the grid takes the value of the volume's voxel that its center lies in."""
    masks = {k: frame for k, (_within, frame) in pairs.items()}
    extent = _extentOfFrames(grid, np.linalg.inv(gridToVolume), geometry, masks, name)
    frames = np.full(geometry.shape[0], -1)
    frames[list(pairs)] = np.arange(len(pairs))
    within, stack = (np.stack(each) for each in zip(*pairs.values(), strict=True))
    i, j, k = (np.arange(extent[a], extent[a + 1] + 1) for a in (0, 2, 4))
    written = np.zeros((len(k), len(j), len(i)), bool)
    mask = np.zeros_like(written)
    for plane, position in enumerate(k):  # plane by plane, for the sake of memory
        index = [
            np.rint(row[0] * i + row[1] * j[:, np.newaxis] + row[2] * position + row[3]).astype(int)
            for row in gridToVolume[:3]
        ]
        inside = np.all([(n >= 0) & (n < size) for n, size in zip(index, geometry.shape[::-1], strict=True)], axis=0)
        rows = np.where(inside, frames[np.where(inside, index[2], 0)], -1)
        isIn = rows >= 0
        places = rows[isIn], index[1][isIn], index[0][isIn]
        written[plane][isIn] = within[places]
        mask[plane][isIn] = stack[places]
    if stack.any() and not mask.any():
        text = _("The voxels of {name} are too coarse to hold the result. Write it to a new segmentation.")
        raise IncompatibleInputError(text.format(name=name))
    return _placed(grid, extent, written, mask)


def _extentOfFrames(
    grid: Any, volumeToGrid: Matrix, geometry: VolumeGeometry, masks: Mapping[int, Bools], name: str
) -> Extent:
    """Bounding box of the frames on the grid. Raises where the grid ends before the mask does."""
    whole = grid.GetExtent()
    lowest, highest = np.array(whole[::2]), np.array(whole[1::2])
    outside = 0
    for k, mask in masks.items():
        j, i = np.nonzero(mask)
        centers = np.rint(np.stack([i, j, np.full(len(i), k), np.ones(len(i))], axis=1) @ volumeToGrid.T)[:, :3]
        outside += int(np.any((centers < lowest) | (centers > highest), axis=1).sum())
    if outside:
        text = _("{outside} voxels of the result lie outside the grid of {name}. Write it to a new segmentation.")
        raise IncompatibleInputError(text.format(outside=outside, name=name))
    _depth, height, width = geometry.shape
    slab = (min(masks) - 0.5, max(masks) + 0.5)
    corners = np.array([(x, y, z, 1) for x in (-0.5, width - 0.5) for y in (-0.5, height - 0.5) for z in slab])
    reached = (corners @ volumeToGrid.T)[:, :3]
    first = np.clip(np.floor(reached.min(axis=0)), lowest, highest).astype(int)
    last = np.clip(np.ceil(reached.max(axis=0)), lowest, highest).astype(int)
    return (first[0], last[0], first[1], last[1], first[2], last[2])
