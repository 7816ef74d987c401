"""Volume nodes in the geometries that the bridge must handle, with world positions that were computed by hand."""

from dataclasses import dataclass

import numpy as np
import slicer

BLOB_IJK = (6, 11, 4)
"""Middle of the blob: i 4 to 8, j 10 to 12, k 3 to 5."""
C30, S30 = 0.8660254037844387, 0.5


@dataclass(frozen=True)
class Case:
    """A grid, and where the middle of the blob lies."""

    name: str
    ijkToRas: tuple[tuple[float, ...], ...]
    """Upper three rows"""
    local: tuple[float, float, float]
    """mm, RAS, of BLOB_IJK in the volume's own coordinates"""
    world: tuple[float, float, float]
    parent: tuple[tuple[float, ...], ...] | None = None
    """Linear parent transform, upper three rows"""
    shape: tuple[int, int, int] = (8, 24, 20)

    @property
    def matrix(self):
        return np.vstack([self.ijkToRas, [0, 0, 0, 1]]).astype(float)

    @property
    def blob(self):
        """(k, j, i); in the single slice its middle is k = 0."""
        mask = np.zeros(self.shape, bool)
        mask[0 if self.shape[0] == 1 else slice(3, 6), 10:13, 4:9] = True
        return mask

    @property
    def halfVoxel(self):
        return 0.5 * float(np.linalg.norm(self.matrix[:3, :3], axis=0).min())

    def node(self):
        """The volume: 100 in the blob, 10 elsewhere."""
        array = np.where(self.blob, 100, 10).astype(np.uint8)
        return volumeNode(array, self.matrix, None if self.parent is None else np.vstack([self.parent, [0, 0, 0, 1]]))


# Each world position is ijkToRas (and then parent) applied to (6, 11, 4) with pencil and paper.
CASES = (
    Case("identity", ((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0)), (6, 11, 4), (6, 11, 4)),
    Case(
        "LPS-flipped",
        ((-0.5, 0, 0, 10), (0, -0.5, 0, 20), (0, 0, 2, -30)),
        (10 - 3, 20 - 5.5, -30 + 8),
        (7, 14.5, -22),
    ),
    Case(
        "permuted axes: i to A, j to S, k to R",
        ((0, 0, 2, 1), (0.5, 0, 0, -3), (0, -0.8, 0, 5)),
        (1 + 8, -3 + 3, 5 - 8.8),
        (9, 0, -3.8),
    ),
    Case(
        "30 degrees oblique about R, 0.5 x 0.5 x 1.5 mm",
        ((0.5, 0, 0, 100), (0, 0.5 * C30, -1.5 * S30, -50), (0, 0.5 * S30, 1.5 * C30, 25)),
        (103, -50 + 4.7631397 - 3, 25 + 2.75 + 5.1961524),
        (103, -48.2368603, 32.9461524),
    ),
    Case(
        "anisotropic 0.5 x 0.5 x 5 mm",
        ((0.5, 0, 0, -10), (0, 0.5, 0, -20), (0, 0, 5, -30)),
        (-10 + 3, -20 + 5.5, -30 + 20),
        (-7, -14.5, -10),
    ),
    Case(
        "linear parent transform: a quarter turn about S, then a shift",
        ((0.5, 0, 0, 0), (0, 0.5, 0, 0), (0, 0, 2, 0)),
        (3, 5.5, 8),
        (-5.5 + 10, 3 + 20, 8 + 30),
        parent=((0, -1, 0, 10), (1, 0, 0, 20), (0, 0, 1, 30)),
    ),
    Case(
        "single slice",
        ((0.3, 0, 0, 5), (0, 0.3, 0, 6), (0, 0, 1, 7)),
        (5 + 1.8, 6 + 3.3, 7),
        (6.8, 9.3, 7),
        shape=(1, 24, 20),
    ),
)


def volumeNode(array, matrix=None, parent=None, name="ultrasound"):
    """A volume node in the scene; array (k, j, i), or (k, j, i, c) for a vector volume."""
    kind = "vtkMRMLVectorVolumeNode" if array.ndim == 4 else "vtkMRMLScalarVolumeNode"
    node = slicer.mrmlScene.AddNewNodeByClass(kind, name)
    slicer.util.updateVolumeFromArray(node, array)
    if matrix is not None:
        node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(np.asarray(matrix, float)))
    node.CreateDefaultDisplayNodes()
    if parent is not None:
        transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "patient")
        transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.asarray(parent, float)))
        node.SetAndObserveTransformNodeID(transform.GetID())
    return node


def clip(count=5, shape=(32, 40), components=1, depth=1):
    """A sequence of images in a browser: frame n has value 10 n (modulo 256). Returns (proxy volume, browser)."""
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "clip")
    sequence.SetIndexName("frame")
    kind = slicer.vtkMRMLVectorVolumeNode if components > 1 else slicer.vtkMRMLScalarVolumeNode
    for index in range(count):
        item = kind()
        item.SetName("clip")
        size = (depth, *shape, components) if components > 1 else (depth, *shape)
        slicer.util.updateVolumeFromArray(item, np.full(size, 10 * index % 256, np.uint8))
        item.SetSpacing(0.3, 0.3, 1.0)
        sequence.SetDataNodeAtValue(item, str(index))
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "clip browser")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    return browser.GetProxyNode(sequence), browser


def underBendingTransform(node):
    """Put a node under a non-linear transform: a field that shifts one corner."""
    import vtk

    field = vtk.vtkThinPlateSplineTransform()
    source, target = vtk.vtkPoints(), vtk.vtkPoints()
    for x, y, z in ((0, 0, 0), (9, 0, 0), (0, 9, 0), (0, 0, 9), (9, 9, 9)):
        source.InsertNextPoint(x, y, z)
        target.InsertNextPoint(x, y, z + (3 if x == y == z == 9 else 0))
    field.SetSourceLandmarks(source)
    field.SetTargetLandmarks(target)
    field.SetBasisToR()
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "bending")
    transform.SetAndObserveTransformToParent(field)
    node.SetAndObserveTransformNodeID(transform.GetID())
