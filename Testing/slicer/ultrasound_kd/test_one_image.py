"""From the sample image to a corrected, saved and reloaded segmentation, as a radiologist goes through it."""

import tempfile
from pathlib import Path

import numpy as np
import qt
import slicer

from Testing.slicer import gestures
from Testing.slicer.ultrasound_kd.panel_test import STILL_IMAGE, PanelTest, dice, stillImage

SPACING_MM = 0.15


class TestOneImage(PanelTest):
    def setUp(self):
        super().setUp()
        self.volume = self.loadSample(STILL_IMAGE)
        self.truth = stillImage().truth

    def testApplyDrawsAnOutlineAroundTheLesionAndNothingElse(self):
        saved, before = self.nodes(onlySaved=True), self.pixels()
        self.apply()
        points = self.changedPoints(before, self.pixels())
        self.assertGreater(len(points), 50)
        _k, j, i = np.nonzero(self.truth)
        corners = -SPACING_MM * np.array(
            [[i.min(), j.min()], [i.max(), j.max()]]
        )  # R, A of the lesion: i and j run to L, P
        self.assertLess(np.abs(points[:, :2].max(axis=0) - corners[0]).max(), 2)
        self.assertLess(np.abs(points[:, :2].min(axis=0) - corners[1]).max(), 2)
        self.assertEqual(self.nodes(onlySaved=True), saved, "a proposal is not part of the scene that is saved")
        self.assertIsNone(self.editor.segmentationNode())

    def testRejectBringsBackTheSameViewAndScene(self):
        nodes, before = self.nodes(), self.pixels()
        self.press(self.ui.uncertaintyCheckBox)
        self.apply()
        self.press(self.ui.rejectButton)
        self.assertEqual(self.nodes(), nodes)
        np.testing.assert_array_equal(self.pixels(), before)
        self.assertFalse(self.ui.acceptButton.enabled)
        self.assertFalse(self.ui.rejectButton.enabled)

    def testUncertaintyLiesOverTheImageAndGoesAgain(self):
        self.apply()
        without = self.pixels()
        self.press(self.ui.uncertaintyCheckBox)
        withMap = self.pixels()
        self.assertGreater(np.count_nonzero(np.abs(withMap - without).max(axis=2) > 20), 100)
        self.ui.uncertaintyOpacitySlider.value = 0.1
        faint = self.pixels()
        self.assertLess(np.abs(faint - without).sum(), 0.6 * np.abs(withMap - without).sum())
        self.press(self.ui.uncertaintyCheckBox)
        np.testing.assert_array_equal(self.pixels(), without)

    def testAcceptIsOneStateOfUndo(self):
        self.apply()
        segmentation, segmentId = self.accept()
        accepted = self.mask(segmentation, segmentId, self.volume)
        self.assertGreater(dice(accepted, self.truth), 0.9)
        self.pressKey(qt.Qt.Key_Z, control=True)
        self.assertEqual(segmentation.GetSegmentation().GetNumberOfSegments(), 0)
        self.pressInEditor("RedoButton")
        np.testing.assert_array_equal(self.mask(segmentation, segmentId, self.volume), accepted)
        self.pressInEditor("UndoButton")
        self.assertEqual(segmentation.GetSegmentation().GetNumberOfSegments(), 0)
        self.assertFalse(
            slicer.util.findChild(self.editor, "UndoButton").enabled, "accepting must be one state, not two"
        )

    def testTheAcceptedSegmentCanBecomeDicomSeg(self):
        """It refers to its image, lies in the same study, and says in codes what it is."""
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
        patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "Phantom")
        study = hierarchy.CreateStudyItem(patient, "Breast ultrasound")
        hierarchy.SetItemParent(hierarchy.GetItemByDataNode(self.volume), study)
        self.apply()
        segmentation, segmentId = self.accept()
        segment = segmentation.GetSegmentation().GetSegment(segmentId)
        self.assertEqual(segment.GetName(), "Breast lesion")
        self.assertIn("SCT^4147007^Mass", segment.GetTerminology())
        role = segmentation.GetReferenceImageGeometryReferenceRole()
        self.assertIs(segmentation.GetNodeReference(role), self.volume)
        self.assertEqual(hierarchy.GetItemParent(hierarchy.GetItemByDataNode(segmentation)), study)

    def testPaintingCorrectsAndUndoKeepsTheAcceptedResult(self):
        self.apply()
        segmentation, segmentId = self.accept()
        accepted = self.mask(segmentation, segmentId, self.volume)
        self.brush("Paint", at=(-36, -30))
        corrected = self.mask(segmentation, segmentId, self.volume)
        self.assertFalse(accepted[0, 200, 240])
        self.assertTrue(corrected[0, 200, 240], "36 mm / 0.15 mm to the left, 30 mm / 0.15 mm down")
        self.assertTrue(corrected[accepted].all())
        self.pressKey(qt.Qt.Key_Z, control=True)
        np.testing.assert_array_equal(self.mask(segmentation, segmentId, self.volume), accepted)

    def testEverythingIsThereAfterSavingAndLoading(self):
        """Seen with uncertainty, accepted, undone, redone, painted, erased; saved while another proposal is shown."""
        self.ui.thresholdSlider.value = 0.35
        self.press(self.ui.largestComponentCheckBox)
        self.apply()
        self.press(self.ui.uncertaintyCheckBox)
        segmentation, segmentId = self.accept()
        self.pressKey(qt.Qt.Key_Z, control=True)
        self.pressKey(qt.Qt.Key_Y, control=True)
        accepted = self.mask(segmentation, segmentId, self.volume)
        self.assertTrue(accepted[0, 130, 160])
        self.brush("Paint", at=(-36, -30))
        self.brush("Erase", at=(-160 * SPACING_MM, -130 * SPACING_MM))
        saved = self.mask(segmentation, segmentId, self.volume)
        self.assertTrue(saved[0, 200, 240])
        self.assertFalse(saved[0, 130, 160])
        self.apply()  # a proposal that nobody accepts, and its uncertainty
        segmentation, segmentId = self.savedAndLoaded(), segmentId
        volume = self.ui.inputSelector.currentNode()
        self.assertEqual(volume.GetName(), STILL_IMAGE)
        self.assertIs(self.editor.segmentationNode(), segmentation)
        np.testing.assert_array_equal(self.mask(segmentation, segmentId, volume), saved)
        segment = segmentation.GetSegmentation().GetSegment(segmentId)
        self.assertEqual(segment.GetName(), "Breast lesion")
        np.testing.assert_allclose(segment.GetColor(), (0.565, 0.933, 0.565), atol=0.003)
        self.assertIn("SCT^4147007^Mass", segment.GetTerminology())
        self.assertEqual(self.ui.thresholdSlider.value, 0.35)
        self.assertTrue(self.ui.largestComponentCheckBox.checked)
        self.assertTrue(self.ui.uncertaintyCheckBox.checked)
        self.assertEqual(self.ui.targetSegmentSelector.currentText, "Replace Breast lesion")
        self.assertGreater(self.ui.measurementsTable.rowCount, 0)
        self.apply()
        self.assertTrue(self.ui.acceptButton.enabled)

    def savedAndLoaded(self):
        """By an .mrb file; the only segmentation that is there then. Of proposal and uncertainty nothing is left."""
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "scene.mrb")
            self.assertTrue(slicer.util.saveScene(path))
            slicer.mrmlScene.Clear(0)
            gestures.settle(50)
            self.assertIsNone(self.ui.inputSelector.currentNode())
            self.assertEqual(self.ui.measurementsTable.rowCount, 0)
            slicer.util.loadScene(path)
        gestures.settle(400)
        [segmentation] = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
        self.assertEqual(len(slicer.util.getNodesByClass("vtkMRMLVolumeNode")), 1)
        self.assertEqual(slicer.util.getNodesByClass("vtkMRMLColorLegendDisplayNode"), [])
        for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
            self.assertFalse(composite.GetForegroundVolumeID())
        return segmentation

    def testKeysDoWhatTheButtonsDo(self):
        before = self.pixels()
        self.pressKey(qt.Qt.Key_A, shift=True)
        self.assertTrue(gestures.waitFor(lambda: self.ui.acceptButton.enabled))
        self.pressKey(qt.Qt.Key_R, shift=True)
        np.testing.assert_array_equal(self.pixels(), before)
        self.pressKey(qt.Qt.Key_A, shift=True)
        self.pressKey(qt.Qt.Key_U, shift=True)
        self.assertTrue(self.ui.uncertaintyCheckBox.checked)
        self.pressKey(qt.Qt.Key_L, shift=True)
        self.assertTrue(self.ui.livePreviewCheckBox.checked)
        self.pressKey(qt.Qt.Key_Return, shift=True)
        self.assertIsNotNone(self.editor.segmentationNode())
        for key in ("Shift+A", "Shift+Return", "Shift+R", "Shift+L", "Shift+U"):
            self.assertIn(key, slicer.modules.ultrasoundkd.helpText)

    def brush(self, effect, at):
        """A short stroke with Paint or Erase, from a position in mm (R, A)."""
        self.pressInEditor(effect)
        start = gestures.pointInView(self.red, (*at, 0))
        gestures.drag(self.red, [start, (start[0] + 15, start[1]), (start[0] + 30, start[1])])
        gestures.settle(50)
        self.pressInEditor("NULL")
