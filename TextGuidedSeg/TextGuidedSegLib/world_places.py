"""Places of an image in the world, where the views and the patient are: through all its parent transforms."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from leanseg.slicer_bridge.nodes import geometryFromNode, isPlainPicture, localToWorld, volumeFromNode

if TYPE_CHECKING:
    from leanseg.volume import Volume


def worldMatrix(volumeNode: Any) -> np.ndarray:
    """4 x 4: ijk of a volume -> mm RAS of the world.

    :raises IncompatibleInputError: the volume cannot be used.
    """
    return localToWorld(volumeNode) @ geometryFromNode(volumeNode).ijk_to_ras


def volumeInWorld(volumeNode: Any) -> Volume:
    """A copy, with the directions that it has under its parent transforms: left is the patient's.

    Voxels of exactly 1 mm are usual in MRI of the brain, and such an image lies in a patient; a picture, of which
    Slicer assumes that size, does not.

    :raises IncompatibleInputError: the volume cannot be used.
    """
    volume, matrix = volumeFromNode(volumeNode), worldMatrix(volumeNode)
    isCalibrated = volume.geometry.is_calibrated or not isPlainPicture(volumeNode)
    return replace(volume, geometry=replace(volume.geometry, ijk_to_ras=matrix, is_calibrated=isCalibrated))


def worldPoints(pointsKji: Iterable, toWorld: np.ndarray) -> np.ndarray:
    """(n, 3) voxels k, j, i -> (n, 3) mm RAS of the world; `toWorld` as of `worldMatrix`."""
    points = np.array(list(pointsKji), dtype=np.float64)[:, ::-1]
    return points @ toWorld[:3, :3].T + toWorld[:3, 3]


def voxelsAt(points: np.ndarray, toWorld: np.ndarray) -> np.ndarray:
    """The inverse of `worldPoints`."""
    toVoxel = np.linalg.inv(toWorld)
    return (points @ toVoxel[:3, :3].T + toVoxel[:3, 3])[:, ::-1]
