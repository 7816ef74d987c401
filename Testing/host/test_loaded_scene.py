"""A scene that is saved, closed and loaded again: views and Segment Editor show it as before."""

import numpy as np
import pytest
import slicer

from Testing.slicer import gestures

SHAPE = (1, 40, 60)  # (k, j, i)
SPACING = 0.15  # mm, far from the 1 mm of the views in an empty scene


def _volume():
    voxels = np.random.default_rng(0).integers(0, 200, SHAPE).astype(np.uint8)
    volume = slicer.util.addVolumeFromArray(voxels, name="image")
    volume.SetSpacing(SPACING, SPACING, 1)
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    return volume


def _addSegment(node, volume, segmentID, rows, columns):
    """A green segment in these (j) rows and (i) columns of the volume."""
    node.GetSegmentation().AddEmptySegment(segmentID, segmentID, [0.0, 1.0, 0.0])
    mask = np.zeros(SHAPE, np.uint8)
    mask[0, rows, columns] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, segmentID, volume)


def _segmented():
    volume = _volume()
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "lesions")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    _addSegment(node, volume, "lesion", slice(10, 30), slice(5, 35))
    return volume, node


@pytest.fixture
def reload(tmp_path):
    """reload(): save the scene, close it, load it. Views get the time to render what changes."""

    def savedAndLoaded():
        path = str(tmp_path / "scene.mrb")
        assert slicer.util.saveScene(path)
        slicer.mrmlScene.Clear(0)
        gestures.settle(50)
        slicer.util.loadScene(path)
        gestures.settle(50)

    return savedAndLoaded


def _sliceWidgets():
    manager = slicer.app.layoutManager()
    return [manager.sliceWidget(name) for name in manager.sliceViewNames()]


def _pictures():
    """RGB pictures (row, column, 3) of the slice views."""
    slicer.util.forceRenderAllViews()
    gestures.settle(50)
    images = [widget.sliceView().grab().toImage() for widget in _sliceWidgets()]
    return [_rgb(image.convertToFormat(image.Format.Format_RGB888)) for image in images]


def _rgb(image):
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).astype(int)


def _green(picture):
    return picture[..., 1] - picture[..., 0] > 25


def test_the_views_show_the_same_picture_again(reload):
    _segmented()
    before = _pictures()
    assert all(_green(picture).any() for picture in before)
    reload()
    for name, old, new in zip(("Red", "Yellow", "Green"), before, _pictures(), strict=True):
        assert (np.abs(old - new) > 2).any(axis=-1).mean() < 0.01, name  # files keep six digits


def test_a_segment_added_after_loading_lies_where_its_voxels_are(reload):
    _segmented()
    reload()
    volume, node = slicer.util.getNode("image"), slicer.util.getNode("lesions")
    _addSegment(node, volume, "second", slice(10, 30), slice(45, 55))
    red = _sliceWidgets()[0]
    picture = _green(_pictures()[0])
    for i, inside in ((3, False), (6, True), (33, True), (36, False), (43, False), (46, True), (53, True), (56, False)):
        x, y = gestures.pointInView(red, (i * SPACING, 20 * SPACING, 0))  # the voxels' axes are those of the world
        assert picture[picture.shape[0] - 1 - y, x] == inside, i


def test_the_segment_editor_shows_what_its_node_holds(reload):
    parameters = slicer.mrmlScene.CreateNodeByClass("vtkMRMLSegmentEditorNode")
    parameters.UnRegister(None)
    parameters.SetSingletonTag("test")
    parameters = slicer.mrmlScene.AddNode(parameters)
    volume, node = _segmented()
    editor = slicer.qMRMLSegmentEditorWidget()
    editor.setMRMLScene(slicer.mrmlScene)

    def setNode(*_event):
        editor.setMRMLSegmentEditorNode(slicer.mrmlScene.GetSingletonNode("test", "vtkMRMLSegmentEditorNode"))

    setNode()
    editor.setSegmentationNode(node)
    editor.setSourceVolumeNode(volume)
    tag = slicer.mrmlScene.AddObserver(slicer.vtkMRMLScene.EndImportEvent, setNode)
    try:
        reload()
    finally:
        slicer.mrmlScene.RemoveObserver(tag)
    assert editor.segmentationNode() is slicer.util.getNode("lesions")
    rows = slicer.util.findChild(editor, "SegmentsTable")
    assert [rows.item(row, 2).text() for row in range(rows.rowCount)] == ["lesion"]
    for name in ("AddSegmentButton", "RemoveSegmentButton", "Show3DButton", "Paint"):
        assert slicer.util.findChild(editor, name).enabled, name
    assert slicer.util.findChild(editor, "SegmentationNodeComboBox").currentNode() is editor.segmentationNode()
    editor.delete()
