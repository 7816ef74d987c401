"""What goes into a file comes out of it: voxels, geometry, segments, transforms."""

import numpy as np
import pytest
import slicer
import vtk

VOXELS = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)  # (k, j, i)
IJK_TO_RAS = np.array([[0.0, -2.0, 0.0, 10.0], [0.5, 0.0, 0.0, 20.0], [0.0, 0.0, 3.0, -30.0], [0.0, 0.0, 0.0, 1.0]])


def _volume(voxels=VOXELS, className="vtkMRMLScalarVolumeNode"):
    node = slicer.mrmlScene.AddNewNodeByClass(className, "image")
    slicer.util.updateVolumeFromArray(node, voxels)
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(IJK_TO_RAS))
    return node


def _segmentation(volume):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "lesions")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    mask = np.zeros(VOXELS.shape, np.uint8)
    mask[1, 1:, 2] = 1
    segmentID = node.GetSegmentation().AddEmptySegment("lesion", "Lesion", [1.0, 0.5, 0.0])
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, segmentID, volume)
    return node, mask


def _matrix(volume):
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


@pytest.mark.parametrize("ending", [".nrrd", ".nii", ".nii.gz", ".mha"])
def test_a_volume_keeps_voxels_and_geometry(tmp_path, ending):
    path = str(tmp_path / f"image{ending}")
    assert slicer.util.saveNode(_volume(), path)
    slicer.mrmlScene.Clear(0)
    loaded = slicer.util.loadVolume(path)
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(loaded), VOXELS)
    np.testing.assert_allclose(_matrix(loaded), IJK_TO_RAS, atol=1e-5)
    assert loaded.GetName() == "image"


@pytest.mark.parametrize(("components", "className"), [(1, "vtkMRMLScalarVolumeNode"), (3, "vtkMRMLVectorVolumeNode")])
def test_a_picture_loads_as_one_slice(tmp_path, components, className):
    picture = vtk.vtkImageData()
    picture.SetDimensions(4, 2, 1)
    picture.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, components)
    picture.GetPointData().GetScalars().Fill(0)
    picture.SetScalarComponentFromDouble(3, 0, 0, components - 1, 200)  # the last column of the lower row
    writer = vtk.vtkPNGWriter()
    writer.SetFileName(str(tmp_path / "picture.png"))
    writer.SetInputData(picture)
    writer.Write()
    node = slicer.util.loadVolume(str(tmp_path / "picture.png"))
    assert node.GetClassName() == className
    voxels = slicer.util.arrayFromVolume(node).reshape(1, 2, 4, components)
    assert np.argwhere(voxels).tolist() == [[0, 1, 3, components - 1]]
    np.testing.assert_array_equal(_matrix(node), np.diag([-1, -1, 1, 1]))


def test_an_rgb_volume_keeps_its_components(tmp_path):
    voxels = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)
    path = str(tmp_path / "clip.nrrd")
    assert slicer.util.saveNode(_volume(voxels, "vtkMRMLVectorVolumeNode"), path)
    loaded = slicer.util.loadVolume(path)
    assert loaded.IsA("vtkMRMLVectorVolumeNode")
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(loaded), voxels)


def test_a_segmentation_keeps_segment_name_color_and_voxels(tmp_path):
    volume = _volume()
    node, mask = _segmentation(volume)
    path = str(tmp_path / "lesions.seg.nrrd")
    assert slicer.util.saveNode(node, path)
    loaded = slicer.util.loadSegmentation(path)
    segment = loaded.GetSegmentation().GetSegment("lesion")
    assert segment.GetName() == "Lesion"
    np.testing.assert_allclose(segment.GetColor(), [1.0, 0.5, 0.0], atol=1e-3)
    np.testing.assert_array_equal(slicer.util.arrayFromSegmentBinaryLabelmap(loaded, "lesion", volume), mask)


def test_a_scene_bundle_keeps_volume_segmentation_and_transform(tmp_path):
    volume = _volume()
    node, mask = _segmentation(volume)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "shift")
    shift = np.eye(4)
    shift[:3, 3] = [1.0, 2.0, 3.0]
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(shift))
    for each in (volume, node):
        each.SetAndObserveTransformNodeID(transform.GetID())
    path = str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(path)
    slicer.mrmlScene.Clear(0)
    assert slicer.mrmlScene.GetFirstNodeByName("image") is None
    slicer.util.loadScene(path)
    volume, node = slicer.util.getNode("image"), slicer.util.getNode("lesions")
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(volume), VOXELS)
    np.testing.assert_array_equal(slicer.util.arrayFromSegmentBinaryLabelmap(node, "lesion", volume), mask)
    parent = vtk.vtkMatrix4x4()
    node.GetParentTransformNode().GetMatrixTransformToParent(parent)
    np.testing.assert_array_equal(slicer.util.arrayFromVTKMatrix(parent), shift)


def test_a_file_that_is_none_is_refused(tmp_path):
    (tmp_path / "text.nrrd").write_text("no image")
    with pytest.raises(RuntimeError, match=r"text\.nrrd"):
        slicer.util.loadVolume(str(tmp_path / "text.nrrd"))
    with pytest.raises(RuntimeError, match=r"absent\.nrrd"):
        slicer.util.loadVolume(str(tmp_path / "absent.nrrd"))


def test_a_file_cannot_be_saved_into(tmp_path):
    (tmp_path / "file").write_text("no folder")
    assert not slicer.util.saveNode(_volume(), str(tmp_path / "file" / "image.nrrd"))
