"""What a slice view shows of its background volume, as a picture that knows where it lies; also around a segment.

The picture is cut from the volume along the plane of the view, in the gray levels of window and level, without the
black around the image. Its pixels are as fine as the voxels, and square as on the screen: where the view lies along the
slices of the volume, they are the voxels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from slicer.i18n import tr as _
from vtk.util.numpy_support import vtk_to_numpy

from leanseg.errors import IncompatibleInputError
from leanseg.slicer_bridge.nodes import geometryFromNode, isPlainPicture, localToWorld
from leanseg.slicer_bridge.placement import arrayOf, readFrames
from leanseg.slicer_bridge.shown_in import visibleViews
from leanseg.volume import Volume, VolumeGeometry

MOST_PIXELS = 1024  # along a side; finer pictures are read more coarsely
MARGIN = 0.2  # around a segment, of its width and height
_LEAST_PIXELS = 32  # of a picture around a segment
_OPACITY = 3  # the channel after red, green, blue
_ROUNDING = 1e-6  # pixels
_PARALLEL = 0.999
_Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ViewPicture:
    """A copy: nothing of it changes with the view. A worker gets `volume`, which holds no node."""

    volume: Volume
    """(c, 1, j, i) in the world: row 0 is the top of the view, column 0 its left edge. Gray uint8, or color as it is"""
    volumeNode: Any
    """That it was cut from"""
    viewName: str
    place: str
    """Which slice, in words"""
    isOfStack: bool
    """Whether the volume has more slices than this one"""
    stamp: tuple[Any, ...]
    """`stampOf` the volume when it was read"""
    worldToLocal: _Matrix

    @property
    def localGeometry(self) -> VolumeGeometry:
        """In the coordinates of the volume node, whose transforms the picture shares."""
        geometry = self.volume.geometry
        return replace(geometry, ijk_to_ras=self.worldToLocal @ geometry.ijk_to_ras)

    @property
    def isUpToDate(self) -> bool:
        """Whether the volume is still what it was when the picture was read."""
        return stampOf(self.volumeNode) == self.stamp

    def goTo(self) -> None:
        """Move the view that it was read from to its slice, where that view still shows the volume."""
        rows, columns = self.volume.geometry.shape[1:]
        middle = self.volume.geometry.ras_of(np.array([(columns - 1) / 2, (rows - 1) / 2, 0]))
        for view in visibleViews():
            if view.GetLayoutName() == self.viewName and backgroundOf(view) is self.volumeNode:
                view.JumpSliceByOffsetting(*middle)


def stampOf(volumeNode: Any) -> tuple[Any, ...]:
    """Another one where voxels or grid of a volume may be others; quick. Empty where it is not in the scene."""
    if volumeNode is None or volumeNode.GetScene() is None or volumeNode.GetImageData() is None:
        return ()
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    grid = slicer.util.arrayFromVTKMatrix(matrix).tobytes()
    return volumeNode.GetID(), volumeNode.GetImageData().GetMTime(), grid


def backgroundOf(view: Any) -> Any:
    """The volume node that a slice node shows; None where it shows none."""
    composite = slicer.vtkMRMLSliceLogic.GetSliceCompositeNode(view)
    return None if composite is None else slicer.mrmlScene.GetNodeByID(composite.GetBackgroundVolumeID() or "")


def pictureOf(view: Any, isWhole: bool = False) -> ViewPicture:
    """What a slice node shows of its background; with `isWhole`, also what lies outside of the view.

    Raises:
        IncompatibleInputError: no image, none of it in the view, one gray level only, NaN, or as `checkVolume`.
    """
    name = view.GetLayoutName()
    node = backgroundOf(view)
    if node is None:
        text = _("The view {view} shows no image. Show one there, or choose another view.")
        raise IncompatibleInputError(text.format(view=name))
    grid = geometryFromNode(node)
    toWorld = localToWorld(node)
    plane = _Plane(view, toWorld @ grid.ijk_to_ras, grid.shape, isWhole)
    if plane.shape is None:
        text = _("The view {view} shows nothing of {volume}. Scroll to it, or choose another view.")
        raise IncompatibleInputError(text.format(view=name, volume=node.GetName()))
    array = _gray(_sampled(node, plane), node)
    if array.min() == array.max():
        text = _("What {view} shows of {volume} has one gray level everywhere. Scroll, or change window and level.")
        raise IncompatibleInputError(text.format(view=name, volume=node.GetName()))
    geometry = VolumeGeometry(plane.shape, plane.toWorld, grid.is_calibrated or not isPlainPicture(node))
    isStack, local = grid.shape[0] > 1, np.asarray(np.linalg.inv(toWorld), dtype=np.float64)
    return ViewPicture(Volume(array, geometry), node, name, plane.place(view), isStack, stampOf(node), local)


def aroundSegment(picture: ViewPicture, segmentationNode: Any, segmentId: str) -> ViewPicture:
    """The part of a picture that shows a segment, with a margin.

    Raises:
        IncompatibleInputError: the segment is gone, or not in this picture; or a non-linear transform.
    """
    segment = segmentationNode.GetSegmentation().GetSegment(segmentId)
    if segment is None:
        raise IncompatibleInputError(_("The segment is no longer there. Choose another one."))
    mask = readFrames(segmentationNode, segment, picture.volumeNode, picture.localGeometry).get(0)
    if mask is None:
        text = _("{segment} is not in the slice that {view} shows. Scroll to it, or choose no segment.")
        raise IncompatibleInputError(text.format(segment=segment.GetName(), view=picture.viewName))
    rows, columns = (_span(np.asarray(mask.any(axis=axis))) for axis in (1, 0))
    matrix = picture.volume.geometry.ijk_to_ras.copy()
    matrix[:3, 3] = picture.volume.geometry.ras_of(np.array([columns.start, rows.start, 0]))
    array = picture.volume.array[:, :, rows, columns].copy()
    geometry = replace(picture.volume.geometry, shape=array.shape[1:], ijk_to_ras=matrix)
    return replace(picture, volume=Volume(array, geometry))


def _span(occupied: NDArray[np.bool_]) -> slice:
    """What is occupied along one side of a picture, with its margin."""
    first, last = np.flatnonzero(occupied)[[0, -1]]
    wanted = max((last + 1 - first) * (1 + 2 * MARGIN), _LEAST_PIXELS)
    middle = (first + last + 1) / 2
    return slice(max(int(middle - wanted / 2), 0), min(int(np.ceil(middle + wanted / 2)), len(occupied)))


class _Plane:
    """The grid of the picture: along the plane of a view, over what it cuts out of a volume."""

    shape: tuple[int, int, int] | None
    """(1, j, i); None: nothing of the volume is there"""

    def __init__(self, view: Any, voxelsToWorld: _Matrix, shapeKji: tuple[int, int, int], isWhole: bool) -> None:
        slicesToWorld = slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS())
        self._toVoxels = np.linalg.inv(voxelsToWorld)
        right, up, normal = (slicesToWorld[:3, n] for n in range(3))
        pixel = min(self._step(right), self._step(up))
        outline = _cut(np.linalg.inv(slicesToWorld) @ voxelsToWorld, shapeKji)
        self.shape, self.toWorld = None, np.eye(4)
        if not len(outline):
            return
        low, high = outline.min(axis=0), outline.max(axis=0)
        seenLow, seenHigh = (low, high) if isWhole else _seen(view)
        while True:
            count = np.maximum(np.rint((high - low) / pixel), 1)
            begin = (low + high) / 2 - (count - 1) / 2 * pixel  # middle of the first pixel, from the lower left
            first = np.maximum(np.ceil((seenLow - begin) / pixel - _ROUNDING), 0)
            last = np.minimum(np.floor((seenHigh - begin) / pixel + _ROUNDING), count - 1)
            size = last - first + 1
            if size.max() <= MOST_PIXELS:
                break
            pixel *= size.max() / MOST_PIXELS * (1 + _ROUNDING)
        if size.min() < 1:
            return
        corner = [*(begin[0] + first[0] * pixel, begin[1] + last[1] * pixel), 0, 1]
        self.shape = (1, int(size[1]), int(size[0]))
        self.toWorld[:3] = np.stack(
            [pixel * right, -pixel * up, self._step(normal) * normal, (slicesToWorld @ corner)[:3]], axis=1
        )

    @property
    def toVoxels(self) -> _Matrix:
        """Pixels i, j, k -> voxels i, j, k."""
        return np.asarray(self._toVoxels @ self.toWorld)

    def place(self, view: Any) -> str:
        """The slice of the volume, or how far the view is along its normal."""
        assert self.shape is not None
        normal = self.toVoxels[:3, 2]
        if abs(normal[2]) > _PARALLEL * np.linalg.norm(normal):
            middle = self.toVoxels @ [(self.shape[2] - 1) / 2, (self.shape[1] - 1) / 2, 0, 1]
            return str(_("slice {number}").format(number=int(np.floor(middle[2] + 0.5)) + 1))
        return str(_("{offset:.1f} mm").format(offset=view.GetSliceOffset()))

    def _step(self, direction: _Matrix) -> float:
        """mm from one voxel to the next along a direction."""
        return float(1 / np.abs(self._toVoxels[:3, :3] @ direction).max())


def _seen(view: Any) -> tuple[_Matrix, _Matrix]:
    """Lower left and upper right of a view, in mm along its plane."""
    toSlice = slicer.util.arrayFromVTKMatrix(view.GetXYToSlice())
    width, height = view.GetDimensions()[:2]
    corners = np.array([toSlice @ [x, y, 0, 1] for x, y in ((0, 0), (width, height))])[:, :2]
    return corners.min(axis=0), corners.max(axis=0)


def _cut(voxelsToSlice: _Matrix, shapeKji: tuple[int, int, int]) -> _Matrix:
    """(n, 2), mm: corners of what a plane z = 0 cuts out of a box of voxels; none where it misses it."""
    sides = [(-0.5, size - 0.5) for size in reversed(shapeKji)]
    corners = np.array([*product(*sides, (1,))]) @ voxelsToSlice.T
    found = [corner[:2] for corner in corners if corner[2] == 0]
    for a, b in product(range(8), range(8)):
        if a < b and (a ^ b).bit_count() == 1 and corners[a][2] * corners[b][2] < 0:  # an edge that crosses it
            part = corners[a][2] / (corners[a][2] - corners[b][2])
            found.append((corners[a] + part * (corners[b] - corners[a]))[:2])
    return np.array(found)


def _sampled(node: Any, plane: _Plane) -> NDArray[np.generic]:
    """(c, 1, j, i) of a volume node on the grid of a plane, linear; outside of it as dark as can be."""
    assert plane.shape is not None
    low, _high = _levels(node)
    reslice = vtk.vtkImageReslice()
    reslice.SetInputData(node.GetImageData())
    reslice.SetResliceAxes(slicer.util.vtkMatrixFromArray(plane.toVoxels))
    reslice.SetOutputSpacing(1, 1, 1)
    reslice.SetOutputOrigin(0, 0, 0)
    reslice.SetOutputExtent(0, plane.shape[2] - 1, 0, plane.shape[1] - 1, 0, 0)
    reslice.SetInterpolationModeToLinear()
    reslice.SetBackgroundColor(low, low, low, 255)
    reslice.Update()
    image = reslice.GetOutput()
    if image.GetNumberOfScalarComponents() == 1:
        return arrayOf(image)[np.newaxis]
    scalars = vtk_to_numpy(image.GetPointData().GetScalars())
    return np.asarray(np.moveaxis(scalars.reshape(*plane.shape, -1), 3, 0)[:_OPACITY])


def _levels(node: Any) -> tuple[float, float]:
    """What is black and what is white; of colors, and where nobody has set them, the range of the voxels."""
    display = node.GetDisplayNode()
    if node.GetImageData().GetNumberOfScalarComponents() > 1:
        return 0.0, 255.0
    if display is not None and display.IsA("vtkMRMLScalarVolumeDisplayNode") and display.GetWindow() > 0:
        half = display.GetWindow() / 2
        return display.GetLevel() - half, display.GetLevel() + half
    low, high = node.GetImageData().GetScalarRange()
    return low, high


def _gray(array: NDArray[np.generic], node: Any) -> NDArray[np.generic]:
    """uint8, as window and level say; colors stay as they are.

    Raises:
        IncompatibleInputError: NaN or infinite values.
    """
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        text = _("{volume} has values that are NaN or infinite in this slice. Repair it before use.")
        raise IncompatibleInputError(text.format(volume=node.GetName()))
    if len(array) > 1:
        return array.copy()
    low, high = _levels(node)
    part = (array.astype(np.float64) - low) / (high - low) if high > low else np.zeros(array.shape)
    return np.asarray(np.rint(255 * np.clip(part, 0, 1)), dtype=np.uint8)
