"""Segmentations of the tests: a segment to write to, and what is in it, read through Slicer's own means."""

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from leanseg.segmentation import Segment

MASS = (
    "Segmentation category and type - DICOM master list~SCT^49755003^Morphologically Altered Structure"
    "~SCT^4147007^Mass~^^~Anatomic codes - DICOM master list~SCT^76752008^Breast~^^"
)
LESION = Segment("lesion", "Lesion", 1, (0.8, 0.2, 0.1), MASS)


def editorNode():
    """A segment editor's settings; as Slicer makes them: edit everywhere, overwrite all."""
    return slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")


def box(shape, *bounds):
    """Booleans, true inside bounds (first, last + 1) along each axis."""
    mask = np.zeros(shape, bool)
    mask[tuple(slice(first, last) for first, last in bounds)] = True
    return mask


def fill(segmentation, segmentId, voxels, volume):
    """Put voxels (k, j, i) into a segment, with no regard to other segments."""
    slicer.util.updateSegmentBinaryLabelmapFromArray(voxels.astype(np.uint8), segmentation, segmentId, volume)


def voxels(segmentation, segmentId, volume):
    """(k, j, i) of a segment on the grid of a volume, as Slicer exports it."""
    return slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segmentId, volume) > 0


def bytesOf(segmentation):
    """All that makes up the segments: order, names, colors, terminology, label values, extents, grids, voxels."""
    content = []
    segments = segmentation.GetSegmentation()
    for segmentId in segments.GetSegmentIDs():
        segment = segments.GetSegment(segmentId)
        labelmap = segment.GetRepresentation("Binary labelmap")
        extent = labelmap.GetExtent()
        isEmpty = extent[0] > extent[1]
        scalars = b"" if isEmpty else vtk_to_numpy(labelmap.GetPointData().GetScalars()).tobytes()
        matrix = vtk.vtkMatrix4x4()
        labelmap.GetImageToWorldMatrix(matrix)
        grid = tuple(slicer.util.arrayFromVTKMatrix(matrix).ravel())
        description = (segment.GetName(), segment.GetColor(), segment.GetTerminology(), segment.GetLabelValue())
        content.append((segmentId, description, extent, grid, scalars))
    return content


def worldCentroid(segmentation, segmentId, volume):
    """Exported by Slicer as a labelmap node; mean world position (mm, RAS) of its voxels."""
    label = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    ids = vtk.vtkStringArray()
    ids.InsertNextValue(segmentId)
    slicer.modules.segmentations.logic().ExportSegmentsToLabelmapNode(segmentation, ids, label, volume)
    k, j, i = np.argwhere(slicer.util.arrayFromVolume(label)).mean(axis=0)
    ijkToRas, toWorld = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    label.GetIJKToRASMatrix(ijkToRas)
    if label.GetParentTransformNode():
        label.GetParentTransformNode().GetMatrixTransformToWorld(toWorld)
    return toWorld.MultiplyPoint(ijkToRas.MultiplyPoint((i, j, k, 1)))[:3]
