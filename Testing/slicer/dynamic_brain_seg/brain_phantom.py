"""A brain with a tumor, known in world coordinates, as volume nodes on any grid: balls in an egg."""

import numpy as np
import slicer

from Testing.slicer.bridge.volumes import volumeNode

BRAIN_CENTER, BRAIN_RADII = np.array([5.0, -10.0, 20.0]), np.array([48.0, 56.0, 45.0])
TUMOR_CENTER = np.array([25.0, 5.0, 30.0])
RADII_MM = {"WT": 16.0, "TC": 11.0, "ET": 7.0}
SEQUENCES = ("flair", "t1ce", "t1", "t2")
VENTRICLE_CENTER, VENTRICLE_MM = np.array([-15.0, -20.0, 20.0]), 12.0

AXIAL = np.array([[-2.0, 0, 0, 69], [0, -2, 0, 54], [0, 0, 4, -36], [0, 0, 0, 1]])
"""LPS, 2 x 2 x 4 mm; with AXIAL_SHAPE it holds the brain."""
AXIAL_SHAPE = (29, 64, 64)


def centers(shape, matrix):
    """World positions (k, j, i, 3) of the voxels of a grid."""
    k, j, i = np.indices(shape)
    return np.stack([i, j, k], axis=-1) @ np.asarray(matrix)[:3, :3].T + np.asarray(matrix)[:3, 3]


def truth(region, shape=AXIAL_SHAPE, matrix=AXIAL):
    """(k, j, i) bool: voxels whose center lies in a region."""
    return np.linalg.norm(centers(shape, matrix) - TUMOR_CENTER, axis=-1) <= RADII_MM[region]


def voxels(sequence, shape=AXIAL_SHAPE, matrix=AXIAL):
    """(k, j, i) int16: 0 outside the brain, about 100 inside; fluid, edema, core and enhancement as known from MRI.

    FLAIR is bright in WT, T2 there and in fluid; T1 and T1ce are dark in TC and in fluid, but T1ce is bright in ET.
    """
    places = centers(shape, matrix)
    fromTumor = np.linalg.norm(places - TUMOR_CENTER, axis=-1)
    texture = {"flair": places[..., 1], "t2": places[..., 0]}.get(sequence, places.sum(axis=-1))
    array = 100 + 10 * np.sin(texture / 9)
    isT1 = sequence in ("t1", "t1ce")
    array[fromTumor <= RADII_MM["TC" if isT1 else "WT"]] = 40 if isT1 else 300
    array[np.linalg.norm(places - VENTRICLE_CENTER, axis=-1) <= VENTRICLE_MM] = 300 if sequence == "t2" else 40
    if sequence == "t1ce":
        array[fromTumor <= RADII_MM["ET"]] = 300
    inside = (((places - BRAIN_CENTER) / BRAIN_RADII) ** 2).sum(axis=-1) <= 1
    return np.where(inside, array, 0).astype(np.int16)


def node(sequence, shape=AXIAL_SHAPE, matrix=AXIAL, parent=None, name=None):
    """A volume node; with a parent transform (4 x 4) it lies, in the world, where it would without."""
    array = voxels(sequence, shape, matrix)
    local = matrix if parent is None else np.linalg.inv(parent) @ matrix
    return volumeNode(array, local, parent, name or f"case_{sequence}")


def nodes(*sequences):
    """All, or some, on the axial grid."""
    return {sequence: node(sequence) for sequence in sequences or SEQUENCES}


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def ids(segmentationNode):
    return list(segmentationNode.GetSegmentation().GetSegmentIDs())


def exported(segmentationNode, segmentId, volume):
    """(k, j, i) bool of a segment on a volume's voxels, as Slicer exports it."""
    return slicer.util.arrayFromSegmentBinaryLabelmap(segmentationNode, segmentId, volume) > 0
