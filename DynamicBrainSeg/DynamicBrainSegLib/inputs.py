"""Volume nodes of the four sequences: whether they can be used, and what the engine is given of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from slicer.i18n import tr as _

from leanseg.errors import IncompatibleInputError, UnknownNameError
from leanseg.slicer_bridge.nodes import checkVolume, geometryFromNode, localToWorld, pictureFile, volumeFromNode

if TYPE_CHECKING:
    from leanseg.volume import Volume, VolumeGeometry

_MAX_SHEAR = 1e-4  # of two unit axes
_COLORS = 3  # values in each voxel of a color image; any other number but 1 is that of sequences, or frames


@dataclass(frozen=True, eq=False)
class BrainImages:
    """Copies of the voxels, safe to use in any thread."""

    volumes: Mapping[str, Volume]
    """By sequence (`flair`, `t1ce`, `t1`, `t2`), each (1, k, j, i) with the geometry that it has in the world."""
    reference: str
    """The sequence on whose voxels the result will be."""
    referenceNode: Any
    """Its volume node, for the GUI thread only."""


def checkNodes(nodes: Mapping[str, Any]) -> None:
    """Whether these nodes, by sequence, can be read; their voxels are not looked at.

    :raises UnknownNameError: a name that is none of the four sequences.
    :raises IncompatibleInputError: none is given; or one is no gray volume, holds several sequences, was removed, is a
        labelmap, empty, under a non-linear transform, of a picture without voxel size; or the same node is given twice.
    """
    from leanseg.processing.brain import SEQUENCES

    if not nodes:
        raise IncompatibleInputError(_("No volume is chosen. Choose at least one of FLAIR, T1ce, T1 and T2."))
    seen: dict[str, str] = {}
    for name, node in nodes.items():
        if name not in SEQUENCES:
            raise UnknownNameError("sequence", name, SEQUENCES)
        _checkOneSequence(name, node)
        checkVolume(node)
        _checkGrayAndCalibrated(name, node)
        other = seen.setdefault(node.GetID(), name)
        if other != name:
            text = _("{node} is chosen as {first} and as {second}. Choose the right one, or leave one of them empty.")
            raise IncompatibleInputError(text.format(node=node.GetName(), first=label(other), second=label(name)))


def readNodes(nodes: Mapping[str, Any], referenceName: str) -> BrainImages:
    """Copy the voxels of all nodes; parent transforms are part of the geometry. In the GUI thread.

    :raises LeanSegError: as `checkNodes`; no node of this name; or sheared axes of the reference in the world.
    """
    checkNodes(nodes)
    if referenceName not in nodes:
        raise UnknownNameError("chosen sequence", referenceName, nodes)
    worldGeometry(nodes[referenceName])
    volumes = {}
    for name, node in nodes.items():
        volume = volumeFromNode(node)
        volumes[name] = replace(volume, geometry=_moved(volume.geometry, localToWorld(node)))
    return BrainImages(volumes, referenceName, nodes[referenceName])


def worldGeometry(node: Any) -> VolumeGeometry:
    """The grid of a volume in the world, calibrated.

    :raises IncompatibleInputError: as `checkVolume`, or a parent transform shears the axes.
    """
    geometry = _moved(geometryFromNode(node), localToWorld(node))
    axes = geometry.ijk_to_ras[:3, :3] / np.linalg.norm(geometry.ijk_to_ras[:3, :3], axis=0)
    if np.abs(axes.T @ axes - np.eye(3)).max() > _MAX_SHEAR:
        text = _("The parent transform of {name} shears its axes, so no result can be on its voxels. Choose another"
                 " reference, or resample it to a straight grid.")  # fmt: skip
        raise IncompatibleInputError(text.format(name=node.GetName()))
    return geometry


def label(sequence: str) -> str:
    """What a person calls a sequence: `t1ce` is T1ce."""
    from leanseg.processing.plausibility import sequence_label

    return sequence_label(sequence)


def _moved(geometry: VolumeGeometry, toWorld: np.ndarray) -> VolumeGeometry:
    """Voxels of exactly 1 mm are usual here (BraTS); pictures, of which Slicer assumes that, were refused."""
    return replace(geometry, ijk_to_ras=toWorld @ geometry.ijk_to_ras, is_calibrated=True)


def _checkOneSequence(name: str, node: Any) -> None:
    """Before `checkVolume`, which takes four values in a voxel for a color with opacity, and asks for RGB."""
    channels = _channels(node)
    if channels not in (1, _COLORS):
        text = _("{node}, chosen as {name}, holds several sequences in one file ({channels} values in each voxel); one"
                 " is needed. Extract each to a volume of its own (module Vector to Scalar Volume, Single Component),"
                 " and choose those.")  # fmt: skip
        raise IncompatibleInputError(text.format(node=node.GetName(), name=label(name), channels=channels))


def _channels(node: Any) -> int:
    """Values in each voxel; 1 where there are none, which `checkVolume` refuses."""
    hasVoxels = node is not None and node.IsA("vtkMRMLScalarVolumeNode") and node.GetImageData() is not None
    return int(node.GetImageData().GetNumberOfScalarComponents()) if hasVoxels else 1


def _checkGrayAndCalibrated(name: str, node: Any) -> None:
    if _channels(node) == _COLORS:
        text = _("{node}, chosen as {name}, is in color (3 values in each voxel); a gray MRI is needed."
                 " Choose another volume.")  # fmt: skip
        raise IncompatibleInputError(text.format(node=node.GetName(), name=label(name)))
    file = pictureFile(node)
    if file:
        text = _("{node}, chosen as {name}, comes from a picture ({file}), which states no voxel size; millimeters are"
                 " needed. Load NIfTI, NRRD or DICOM, or set its spacing in the module Volumes.")  # fmt: skip
        raise IncompatibleInputError(text.format(node=node.GetName(), name=label(name), file=file))
