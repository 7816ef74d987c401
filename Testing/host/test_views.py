"""What the views show, and what mouse and wheel do in them."""

import numpy as np
import qt
import slicer
import slicer_host
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from Testing.slicer import gestures


def _shown(shape=(5, 64, 64), value=0):
    volume = slicer.util.addVolumeFromArray(np.full(shape, value, np.float32), name="image")
    volume.GetDisplayNode().AutoWindowLevelOff()
    volume.GetDisplayNode().SetWindowLevelMinMax(0, 100)
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    return volume


def _red():
    return slicer.app.layoutManager().sliceWidget("Red")


def _pixels(widget, path):
    """RGB (row, column, 3) of a screenshot."""
    gestures.screenshot(widget, path)
    reader = vtk.vtkPNGReader()
    reader.SetFileName(str(path))
    reader.Update()
    image = reader.GetOutput()
    width, height, _ = image.GetDimensions()
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)[::-1, :, :3].astype(int)


def _colorAt(pixels, view, ras):
    x, y = gestures.pointInView(view, ras)
    return pixels[pixels.shape[0] - 1 - y, x]


def test_a_slice_shows_the_gray_value_of_the_window(tmp_path):
    _shown(value=50)
    pixels = _pixels(_red().sliceView(), tmp_path / "red.png")
    np.testing.assert_allclose(_colorAt(pixels, _red(), (32, 32, 2)), 127.5, atol=2)


def test_a_segment_shows_its_outline_in_its_color(tmp_path):
    volume = _shown()
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    node.GetSegmentation().AddEmptySegment("lesion", "lesion", [0.0, 1.0, 0.0])
    mask = np.zeros((5, 64, 64), np.uint8)
    mask[2, 20:44, 20:44] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, "lesion", volume)
    node.GetDisplayNode().SetVisibility2DFill(False)
    _red().sliceLogic().SetSliceOffset(2)
    pixels = _pixels(_red().sliceView(), tmp_path / "red.png")
    green = (pixels[:, :, 1] > 150) & (pixels[:, :, 0] < 100)
    x, y = gestures.pointInView(_red(), (19.5, 32, 2))
    row = pixels.shape[0] - 1 - y
    assert green[row, x - 4 : x + 5].any()
    np.testing.assert_array_equal(_colorAt(pixels, _red(), (32, 32, 2)), 0)


def test_the_foreground_blends_with_its_opacity(tmp_path):
    _shown(value=0)
    overlay = slicer.util.addVolumeFromArray(np.full((5, 64, 64), 100, np.float32), name="uncertainty")
    overlay.GetDisplayNode().AutoWindowLevelOff()
    overlay.GetDisplayNode().SetWindowLevelMinMax(0, 100)
    slicer.util.setSliceViewerLayers(foreground=overlay, foregroundOpacity=0.4)
    pixels = _pixels(_red().sliceView(), tmp_path / "red.png")
    np.testing.assert_allclose(_colorAt(pixels, _red(), (32, 32, 2)), 0.4 * 255, atol=3)


def test_a_closed_surface_shows_in_three_dimensions(tmp_path):
    volume = _shown((20, 20, 20))
    view = slicer.app.layoutManager().threeDWidget(0).threeDView()
    before = _pixels(view, tmp_path / "before.png")
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    node.GetSegmentation().AddEmptySegment("lesion", "lesion", [1.0, 0.0, 0.0])
    mask = np.zeros((20, 20, 20), np.uint8)
    mask[5:15, 5:15, 5:15] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, "lesion", volume)
    node.CreateClosedSurfaceRepresentation()
    view.resetFocalPoint()
    view.resetCamera()
    after = _pixels(view, tmp_path / "after.png")
    red = [(each[:, :, 0] > 100) & (each[:, :, 1] < 60) & (each[:, :, 2] < 60) for each in (before, after)]
    assert red[0].mean() == 0
    # The box around the volume and its labels are 24 mm wide, half their diagonal is 21 mm; a camera of 30 degrees
    # stands 21 / sin 15 deg = 80 mm away and sees 2 * 80 * tan 15 deg = 43 mm. The cube is 10 mm wide, its front 75 mm
    # away: it fills 10 * 80 / 75 / 43 = 1/4 of the height. Smoothing rounds its edges by less than a voxel.
    expected = (view.height / 4) ** 2 / (view.height * view.width)
    np.testing.assert_allclose(red[1].mean(), expected, rtol=0.25)


def test_looking_at_the_contents_moves_the_focal_point_only():
    volume = _shown((20, 20, 20))
    volume.SetOrigin(100, 0, 0)
    model = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode")
    sphere = vtk.vtkSphereSource()
    sphere.SetCenter(30, 40, 50)
    model.SetPolyDataConnection(sphere.GetOutputPort())
    model.CreateDefaultDisplayNodes()
    view = slicer.app.layoutManager().threeDWidget(0).threeDView()
    camera = slicer.util.getNodesByClass("vtkMRMLCameraNode")[0]
    before = camera.GetPosition()
    view.resetFocalPoint()
    assert camera.GetFocalPoint() == (30, 40, 50)
    assert camera.GetPosition() == before
    assert view.mrmlViewNode().GetBoxVisible()


def test_the_wheel_goes_one_slice_a_step():
    _shown()
    _red().sliceLogic().SetSliceOffset(2)
    gestures.wheel(_red(), 2)
    assert _red().sliceLogic().GetSliceOffset() == 4
    gestures.wheel(_red(), -3)
    assert _red().sliceLogic().GetSliceOffset() == 1


def test_a_mouse_event_of_qt_arrives_in_the_view():
    view, seen = _red().sliceView(), []
    tag = view.interactor().AddObserver(
        "LeftButtonPressEvent", lambda caller, event: seen.append(caller.GetEventPosition()), 1.0
    )
    position = qt.QPointF(30, 20)
    args = (
        position,
        qt.QPointF(view.mapToGlobal(qt.QPoint(30, 20))),
        qt.Qt.LeftButton,
        qt.Qt.LeftButton,
        qt.Qt.NoModifier,
    )
    qt.QCoreApplication.sendEvent(view, qt.QMouseEvent(qt.QEvent.MouseButtonPress, *args))
    qt.QCoreApplication.sendEvent(view, qt.QMouseEvent(qt.QEvent.MouseButtonRelease, *args))
    view.interactor().RemoveObserver(tag)
    assert seen == [(30, view.height - 1 - 20)]  # VTK counts from below


def test_the_offset_slider_moves_the_slice():
    _shown()
    slider = _red().findChildren("ctkSliderWidget")[0]
    slider.value = 3
    assert _red().sliceLogic().GetSliceOffset() == 3


def test_layouts_show_their_views():
    manager = slicer.app.layoutManager()
    views = {name: manager.sliceWidget(name) for name in ("Red", "Yellow", "Green")} | {"3D": manager.threeDWidget(0)}
    for only in ("Red", "Yellow", "Green"):
        manager.setLayout(getattr(slicer.vtkMRMLLayoutNode, f"SlicerLayoutOneUp{only}SliceView"))
        assert [name for name, view in views.items() if view.visible] == [only]
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    assert all(view.visible for view in views.values())


def test_closing_the_scene_leaves_working_views(tmp_path):
    _shown(value=50)
    slicer.mrmlScene.Clear(0)
    np.testing.assert_array_equal(_pixels(_red().sliceView(), tmp_path / "empty.png")[100, 100], 0)
    _shown(value=100)
    pixels = _pixels(_red().sliceView(), tmp_path / "again.png")
    np.testing.assert_allclose(_colorAt(pixels, _red(), (32, 32, 2)), 255, atol=2)


def test_a_view_that_the_layout_hides_is_not_rendered():
    manager = slicer.app.layoutManager()
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
    rendered = []
    for name in ("Red", "Yellow"):
        view = manager.sliceWidget(name).sliceView()
        view.renderWindow().AddObserver("StartEvent", lambda *_, name=name: rendered.append(name))
        view.forceRender()
    assert set(rendered) == {"Red"}


def test_a_picture_is_rendered_once():
    view, rendered = _red().sliceView(), []
    view.renderWindow().AddObserver("StartEvent", lambda *_: rendered.append(1))
    view.forceRender()
    assert len(rendered) == 1


def test_only_the_views_of_the_layout_are_mapped():
    manager = slicer.app.layoutManager()
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
    nodes = [manager.sliceWidget(name).mrmlSliceNode() for name in ("Red", "Yellow", "Green")]
    nodes.append(manager.threeDWidget(0).mrmlViewNode())
    assert [bool(node.IsMappedInLayout()) for node in nodes] == [True, False, False, False]
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    assert all(node.IsMappedInLayout() for node in nodes)


def test_reset_slice_views_shows_the_whole_volume_again():
    _shown()
    node = _red().mrmlSliceNode()
    node.SetFieldOfView(6, 6 * _red().sliceView().height / _red().sliceView().width, 1)
    node.JumpSlice(500, 500, 0)
    slicer.util.resetSliceViews()
    corners = [gestures.pointInView(_red(), corner) for corner in ((0, 0, 2), (63, 63, 2))]
    width, height, _ = node.GetDimensions()
    assert all(0 <= x < width and 0 <= y < height for x, y in corners)
    assert abs(corners[0][1] - corners[1][1]) > 0.9 * height  # and not more: the lower side is the shorter one


def test_reset_three_d_views_looks_at_the_contents(tmp_path):
    model = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode")
    sphere = vtk.vtkSphereSource()
    sphere.SetRadius(10)
    model.SetPolyDataConnection(sphere.GetOutputPort())
    model.CreateDefaultDisplayNodes()
    model.GetDisplayNode().SetColor(1, 0, 0)
    camera = slicer.util.getNodesByClass("vtkMRMLCameraNode")[0]
    camera.SetFocalPoint(500, 0, 0)
    camera.SetPosition(500, 100, 0)
    red = []
    for name in ("before.png", "after.png"):
        pixels = _pixels(slicer.app.layoutManager().threeDWidget(0).threeDView(), tmp_path / name)
        red.append(((pixels[:, :, 0] > 100) & (pixels[:, :, 1] < 60)).any())
        slicer.util.resetThreeDViews()
    assert red == [False, True]


def test_starting_over_brings_back_layout_directions_and_an_empty_scene():
    volume = _shown()
    manager = slicer.app.layoutManager()
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
    _red().mrmlSliceNode().SetOrientation("Sagittal")
    gestures.startOver()
    assert volume.GetScene() is None
    assert manager.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView
    assert _red().mrmlSliceNode().GetOrientation() == "Axial"
    assert slicer.util.selectedModule() == "Data"


def test_after_clear_1_the_views_have_their_nodes_again(tmp_path):
    slicer.mrmlScene.Clear(1)
    assert slicer_host.stubsUsed == {"mrmlScene.Clear(1)"}
    slicer_host.clearRecords()
    assert slicer.mrmlScene.GetNodeByID("vtkMRMLSliceNodeRed") is _red().mrmlSliceNode()
    _shown(value=100)
    pixels = _pixels(_red().sliceView(), tmp_path / "red.png")
    np.testing.assert_allclose(_colorAt(pixels, _red(), (32, 32, 2)), 255, atol=2)
