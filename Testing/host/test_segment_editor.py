"""The Segment Editor: Slicer's own logic behind the stand-in, driven by mouse and keyboard."""

import numpy as np
import pytest
import qt
import slicer
import vtk

from Testing.slicer import gestures

SHAPE = (3, 40, 40)  # (k, j, i), 1 mm voxels
MIDDLE_K = 1


class Editor:
    """An editor on a new volume and segmentation with two segments; the middle slice is in the Red view."""

    def __init__(self):
        voxels = np.zeros(SHAPE, np.int16)
        voxels[:, :, 20:] = 100  # the half with larger i is bright
        self.volume = slicer.util.addVolumeFromArray(voxels, name="image")
        self.node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "lesions")
        self.node.CreateDefaultDisplayNodes()
        self.node.SetReferenceImageGeometryParameterFromVolumeNode(self.volume)
        for segmentID in ("first", "second"):
            self.node.GetSegmentation().AddEmptySegment(segmentID, segmentID)
        self.parameters = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
        self.widget = slicer.qMRMLSegmentEditorWidget()
        self.widget.setMRMLScene(slicer.mrmlScene)
        self.widget.setMRMLSegmentEditorNode(self.parameters)
        self.widget.setSegmentationNode(self.node)
        self.widget.setSourceVolumeNode(self.volume)
        self.widget.setCurrentSegmentID("first")
        self.widget.show()
        slicer.util.setSliceViewerLayers(background=self.volume, fit=True)
        self.red = slicer.app.layoutManager().sliceWidget("Red")
        self.red.sliceLogic().SetSliceOffset(MIDDLE_K)
        gestures.settle(50)

    def draw(self, *corners):
        """Draw a closed outline through (i, j) positions of the middle slice."""
        self.widget.setActiveEffectByName("Draw")
        ring = [gestures.pointInView(self.red, (i, j, MIDDLE_K)) for i, j in (*corners, corners[0])]
        gestures.drag(self.red, ring)

    def mask(self, segmentID="first"):
        return slicer.util.arrayFromSegmentBinaryLabelmap(self.node, segmentID, self.volume).astype(bool)

    def child(self, name):
        return slicer.util.findChild(self.widget, name)


@pytest.fixture
def editor():
    made = Editor()
    yield made
    made.widget.setActiveEffect(None)
    made.widget.uninstallKeyboardShortcuts()
    made.widget.delete()


# Corners between voxel centers: the square holds exactly the voxels 10..19 in both directions.
SQUARE = ((9.5, 9.5), (19.5, 9.5), (19.5, 19.5), (9.5, 19.5))


def test_draw_fills_the_outline_in_the_slice_shown(editor):
    editor.draw(*SQUARE)
    expected = np.zeros(SHAPE, bool)
    expected[MIDDLE_K, 10:20, 10:20] = True
    np.testing.assert_array_equal(editor.mask(), expected)


def test_undo_and_redo_by_their_buttons(editor):
    undo, redo = editor.child("UndoButton"), editor.child("RedoButton")
    assert not undo.enabled and not redo.enabled
    editor.draw(*SQUARE)
    assert undo.enabled
    gestures.click(undo)
    assert editor.mask().sum() == 0 and redo.enabled and not undo.enabled
    gestures.click(redo)
    assert editor.mask().sum() == 100


def test_redo_brings_back_a_segment_with_its_display(editor, capfd):
    editor.widget.saveStateForUndo()
    editor.node.GetSegmentation().AddEmptySegment("third", "third")
    gestures.click(editor.child("UndoButton"))
    gestures.click(editor.child("RedoButton"))
    rows = editor.child("SegmentsTable")
    assert [rows.item(row, 2).text() for row in range(rows.rowCount)] == ["first", "second", "third"]
    assert [rows.item(row, 0).text() for row in range(rows.rowCount)] == ["●", "●", "●"]
    assert "No display properties" not in capfd.readouterr().err


def test_one_state_for_undo_however_many_changes_follow_it(editor):
    editor.widget.saveStateForUndo()
    for k in range(3):
        voxels = np.zeros(SHAPE, np.uint8)
        voxels[: k + 1, 5, 5] = 1
        slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, editor.node, "first", editor.volume)
    editor.widget.undo()
    assert editor.mask().sum() == 0
    assert not editor.child("UndoButton").enabled


def test_ctrl_z_works_only_with_keyboard_shortcuts_installed(editor):
    editor.draw(*SQUARE)
    window = slicer.util.mainWindow()
    gestures.key(window, qt.Qt.Key_Z, control=True)
    assert editor.mask().sum() == 100
    editor.widget.installKeyboardShortcuts()
    gestures.key(window, qt.Qt.Key_Z, control=True)
    assert editor.mask().sum() == 0
    gestures.key(window, qt.Qt.Key_Y, control=True)
    assert editor.mask().sum() == 100
    editor.widget.uninstallKeyboardShortcuts()
    gestures.key(window, qt.Qt.Key_Z, control=True)
    assert editor.mask().sum() == 100


def test_the_keyboard_of_qt_finds_the_shortcut_that_gestures_find(editor):
    from PySide6 import QtTest

    editor.draw(*SQUARE)
    editor.widget.installKeyboardShortcuts()
    window = slicer.util.mainWindow()
    window.activateWindow()
    gestures.settle(50)
    QtTest.QTest.keyClick(window, qt.Qt.Key_Z, qt.Qt.ControlModifier)
    assert editor.mask().sum() == 0


@pytest.mark.parametrize(
    ("mode", "left", "gained"),
    [("OverwriteAllSegments", 0, 100), ("OverwriteNone", 100, 100), ("OverwriteVisibleSegments", 100, 100)],
)
def test_overwrite_mode_decides_what_other_segments_lose(editor, mode, left, gained):
    editor.draw(*SQUARE)
    editor.node.GetDisplayNode().SetSegmentVisibility("first", False)
    editor.parameters.SetOverwriteMode(getattr(slicer.vtkMRMLSegmentEditorNode, mode))
    editor.widget.setCurrentSegmentID("second")
    editor.draw(*SQUARE)
    assert (editor.mask("first").sum(), editor.mask("second").sum()) == (left, gained)


def test_the_masking_section_is_there_only_while_an_effect_is_active(editor):
    box = editor.child("MaskModeComboBox")
    for name, isShown in (("", False), ("Paint", True), ("", False)):
        editor.widget.setActiveEffectByName(name)
        assert box.isVisibleTo(editor.widget) == isShown


def test_masking_keeps_out_of_other_segments(editor):
    editor.draw(*SQUARE)
    editor.widget.setCurrentSegmentID("second")
    box = editor.child("MaskModeComboBox")
    outside = slicer.vtkMRMLSegmentationNode.EditAllowedOutsideAllSegments
    box.setCurrentIndex(box.findData(outside))
    box.activated.emit(box.currentIndex)
    assert editor.parameters.GetMaskMode() == outside
    editor.draw((14.5, 9.5), (24.5, 9.5), (24.5, 19.5), (14.5, 19.5))  # half of it lies in the first segment
    assert (editor.mask("first").sum(), editor.mask("second").sum()) == (100, 50)


def test_the_intensity_mask_is_honored(editor):
    editor.parameters.SetSourceVolumeIntensityMaskRange(50, 150)
    editor.widget.setActiveEffectByName("Draw")
    gestures.click(editor.child("SourceVolumeIntensityMaskCheckBox"), (6, 10))
    assert editor.parameters.GetSourceVolumeIntensityMask()
    editor.draw((14.5, 9.5), (24.5, 9.5), (24.5, 19.5), (14.5, 19.5))
    assert np.unique(np.nonzero(editor.mask())[2]).tolist() == [20, 21, 22, 23, 24]


def test_paint_adds_and_erase_removes_a_disk(editor):
    place = gestures.pointInView(editor.red, (20, 20, MIDDLE_K))
    editor.widget.setActiveEffectByName("Paint")
    gestures.click(editor.red, place)
    mask = editor.mask()
    pixel_mm = editor.red.mrmlSliceNode().GetXYToRAS().MultiplyPoint([1, 0, 0, 0])
    radius_mm = 0.015 * editor.red.mrmlSliceNode().GetDimensions()[1] * np.linalg.norm(pixel_mm)
    assert mask[MIDDLE_K, 20, 20] and not mask[0].any() and not mask[2].any()
    assert np.hypot(*(np.argwhere(mask[MIDDLE_K]) - 20).T).max() <= radius_mm + 0.1
    editor.widget.setActiveEffectByName("Erase")
    gestures.click(editor.red, place)
    assert editor.mask().sum() == 0


def test_no_effect_changes_nothing(editor):
    editor.widget.setActiveEffect(None)
    gestures.drag(editor.red, [(50, 50), (90, 90)])
    assert editor.mask().sum() == 0


def test_segments_are_added_removed_and_selected(editor):
    gestures.click(editor.child("AddSegmentButton"))
    segmentation = editor.node.GetSegmentation()
    assert segmentation.GetNumberOfSegments() == 3
    assert editor.widget.currentSegmentID() == segmentation.GetNthSegmentID(2)
    gestures.click(editor.child("RemoveSegmentButton"))
    assert list(segmentation.GetSegmentIDs()) == ["first", "second"]
    table = editor.child("SegmentsTableView")
    table.setSelectedSegmentIDs(["first"])
    assert table.selectedSegmentIDs() == ["first"]


def test_closing_the_scene_leaves_an_editor_without_nodes(editor):
    editor.draw(*SQUARE)
    slicer.mrmlScene.Clear(0)
    assert editor.widget.mrmlSegmentEditorNode() is None
    assert editor.widget.segmentationNode() is None


def test_the_logic_alone_has_a_history_of_its_own():
    volume = slicer.util.addVolumeFromArray(np.zeros(SHAPE, np.int16))
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    node.GetSegmentation().AddEmptySegment("first")
    parameters = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    logic = slicer.vtkSlicerSegmentEditorLogic()
    logic.SetMRMLScene(slicer.mrmlScene)
    logic.SetSegmentEditorNode(parameters)
    logic.SetSegmentationNode(node)
    logic.SetSourceVolumeNode(volume)
    logic.SaveStateForUndo()
    logic.ResetModifierLabelmapToDefault()
    modifier = logic.GetModifierLabelmap()
    vtk.util.numpy_support.vtk_to_numpy(modifier.GetPointData().GetScalars())[:] = 1
    logic.ModifySegmentByLabelmap(node, "first", modifier, logic.ModificationModeAdd, True, False)
    assert slicer.util.arrayFromSegmentBinaryLabelmap(node, "first", volume).sum() == np.prod(SHAPE)
    assert logic.CanUndo() and not logic.CanRedo()
    logic.Undo()
    assert slicer.util.arrayFromSegmentBinaryLabelmap(node, "first", volume).sum() == 0
