"""Volume nodes <-> Volume: voxels are copied once, geometry stays that of the node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from slicer.i18n import tr as _

from leanseg.errors import IncompatibleInputError
from leanseg.volume import Volume, VolumeGeometry

_MAX_SHEAR = 1e-4  # of two unit axes
_CHANNELS = (1, 3, 4)
_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")  # state no voxel size, or no trustworthy one
_OPACITY = 3  # the channel that a PNG may have after red, green, blue


def checkVolume(node: Any) -> None:
    """Whether voxels and geometry of a node can be used.

    Raises:
        IncompatibleInputError: none, removed from the scene, no image volume, a labelmap, empty, not gray or RGB (a 4-D
            volume), under a non-linear transform, or with sheared axes.
    """
    if node is None:
        raise IncompatibleInputError(_("No volume is chosen. Choose an image volume."))
    name = node.GetName()
    if node.GetScene() is None:
        raise IncompatibleInputError(_("{name} is no longer in the scene. Choose another volume.").format(name=name))
    if not node.IsA("vtkMRMLScalarVolumeNode"):
        what = node.GetNodeTagName()
        raise IncompatibleInputError(
            _("{name} is a {what}; an image volume is needed. Choose a volume.").format(name=name, what=what)
        )
    if node.IsA("vtkMRMLLabelMapVolumeNode"):
        raise IncompatibleInputError(
            _("{name} is a labelmap; an image is needed. Choose the image that it belongs to.").format(name=name)
        )
    image = node.GetImageData()
    if image is None or image.GetPointData().GetScalars() is None or image.GetNumberOfPoints() == 0:
        raise IncompatibleInputError(_("{name} has no voxels. Load the image again.").format(name=name))
    channels = image.GetNumberOfScalarComponents()
    if channels not in _CHANNELS:
        text = _("{name} has {channels} values in each voxel (a 4-D volume or a vector field); gray (1) or RGB (3) is "
                 "needed. Extract one frame to a volume of its own.")  # fmt: skip
        raise IncompatibleInputError(text.format(name=name, channels=channels))
    localToWorld(node)
    _checkAxes(node)


def _checkAxes(node: Any) -> None:
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASDirectionMatrix(matrix)
    directions = slicer.util.arrayFromVTKMatrix(matrix)[:3, :3]
    if np.abs(directions.T @ directions - np.eye(3)).max() > _MAX_SHEAR:
        text = _(
            "The axes of {name} are sheared (gantry tilt?); right angles are needed. Resample it to a straight grid."
        )
        raise IncompatibleInputError(text.format(name=node.GetName()))


def localToWorld(node: Any) -> NDArray[np.float64]:
    """4 x 4, mm RAS of the node -> mm RAS of the world: all its parent transforms.

    Raises:
        IncompatibleInputError: one of them is non-linear.
    """
    matrix = vtk.vtkMatrix4x4()
    transform = node.GetParentTransformNode()
    if transform is not None:
        if not transform.IsTransformToWorldLinear():
            text = _(
                "{name} is under the non-linear transform {transform}. Harden it first (Data module, Transform column)."
            )
            raise IncompatibleInputError(text.format(name=node.GetName(), transform=transform.GetName()))
        transform.GetMatrixTransformToWorld(matrix)
    return np.array(slicer.util.arrayFromVTKMatrix(matrix))


def geometryFromNode(node: Any) -> VolumeGeometry:
    """The node's own grid, without its parent transforms.

    Spacing of exactly 1 mm along all axes is what Slicer assumes where a file states none: not calibrated.

    Raises:
        IncompatibleInputError: as `checkVolume`.
    """
    checkVolume(node)
    i, j, k = node.GetImageData().GetDimensions()
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    isCalibrated = tuple(node.GetSpacing()) != (1.0, 1.0, 1.0)
    return VolumeGeometry((k, j, i), np.array(slicer.util.arrayFromVTKMatrix(matrix)), isCalibrated)


def pictureFile(node: Any) -> str:
    """Name of the picture file that a volume comes from; empty where it does not, or somebody has set its spacing."""
    storage = node.GetStorageNode()
    file = Path(storage.GetFileName() or "") if storage is not None else Path()
    isPicture = file.suffix.lower() in _PICTURES and tuple(node.GetSpacing()) == (1.0, 1.0, 1.0)
    return file.name if isPicture else ""


def isPlainPicture(node: Any) -> bool:
    """Whether nobody has said how a volume lies in a patient: from a picture file, or one slice without rotation.

    Raises:
        IncompatibleInputError: as `checkVolume`.
    """
    geometry = geometryFromNode(node)
    toWorld = localToWorld(node) @ geometry.ijk_to_ras
    axes = toWorld[:3, :3] / np.linalg.norm(toWorld[:3, :3], axis=0)
    return bool(pictureFile(node)) or (geometry.shape[0] == 1 and bool(np.allclose(np.abs(axes), np.eye(3), atol=1e-6)))


def sliceGeometry(geometry: VolumeGeometry, k: int) -> VolumeGeometry:
    """Slice k of a grid, as a grid of depth 1.

    Raises:
        IncompatibleInputError: there is no such slice.
    """
    depth, height, width = geometry.shape
    if not 0 <= k < depth:
        text = _("Slice {k} was asked for, but the volume has slices 0 to {last}. Choose one of these.")
        raise IncompatibleInputError(text.format(k=k, last=depth - 1))
    matrix = geometry.ijk_to_ras.copy()
    matrix[:3, 3] += k * matrix[:3, 2]
    return VolumeGeometry((1, height, width), matrix, geometry.is_calibrated)


def volumeFromNode(node: Any, k: int | None = None) -> Volume:
    """A copy of the voxels, (c, k, j, i), with the node's own geometry; with `k` of one slice only, (c, 1, j, i).

    RGB becomes three channels; opacity is dropped.

    Raises:
        IncompatibleInputError: as `checkVolume`, or no slice k.
    """
    geometry = geometryFromNode(node)
    array = slicer.util.arrayFromVolume(node)  # a view, (k, j, i) or (k, j, i, c)
    if k is not None:
        geometry = sliceGeometry(geometry, k)
        array = array[k : k + 1]
    channelsFirst = array[np.newaxis] if array.ndim == 3 else np.moveaxis(array, 3, 0)[:_OPACITY]
    return Volume(np.array(channelsFirst, order="C"), geometry)


def setVolumeArray(node: Any, array: NDArray[np.generic], geometry: VolumeGeometry) -> None:
    """Put voxels (k, j, i) and their geometry into a scalar volume node; they are copied.

    Raises:
        IncompatibleInputError: the array does not fit the geometry.
    """
    if array.shape != geometry.shape:
        text = _("The voxels are {array} on a grid of {grid} (k, j, i); they must agree. Report this as a bug.")
        raise IncompatibleInputError(text.format(array=array.shape, grid=geometry.shape))
    modified = node.StartModify()
    try:
        slicer.util.updateVolumeFromArray(node, array.astype(_storable(array.dtype), copy=False))
        node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(geometry.ijk_to_ras))
    finally:
        node.EndModify(modified)


def scalarVolumeNode(name: str, array: NDArray[np.generic], geometry: VolumeGeometry) -> Any:
    """A new scalar volume node with display node; array (k, j, i).

    Raises:
        IncompatibleInputError: the array does not fit the geometry.
    """
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    try:
        setVolumeArray(node, array, geometry)
    except IncompatibleInputError:
        slicer.mrmlScene.RemoveNode(node)
        raise
    node.CreateDefaultDisplayNodes()
    return node


def _storable(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """VTK has no bool and no float16, and on Windows its readers do not take 64-bit integers."""
    if dtype == np.bool_:
        return np.dtype(np.uint8)
    if dtype == np.float16:
        return np.dtype(np.float32)
    return np.dtype(np.int32) if dtype in (np.dtype(np.int64), np.dtype(np.uint64)) else dtype
