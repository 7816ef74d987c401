"""What is there stays: masking and overwriting hold for an accepted result, as for every edit."""

import numpy as np
import slicer

from Testing.slicer import gestures
from Testing.slicer.ultrasound_kd.panel_test import CLIP, STILL_IMAGE, PanelTest


class TestProtection(PanelTest):
    def setUp(self):
        super().setUp()
        self.volume = self.loadSample(STILL_IMAGE)
        self.apply()
        self.node, self.lesion = self.accept()
        self.accepted = self.mask(self.node, self.lesion, self.volume)
        self.newSegmentation()
        self.band = np.zeros_like(self.accepted)
        self.band[:, 100:120] = True  # across the lesion
        self.assertTrue((self.band & self.accepted).any())

    def testTwoSegmentationsDoNotKnowEachOther(self):
        self.apply()
        second, segmentId = self.accept()
        self.assertIsNot(second, self.node)
        np.testing.assert_array_equal(self.mask(second, segmentId, self.volume), self.accepted)
        np.testing.assert_array_equal(self.mask(self.node, self.lesion, self.volume), self.accepted)
        self.pressInEditor("UndoButton")
        self.assertEqual(second.GetSegmentation().GetNumberOfSegments(), 0)
        np.testing.assert_array_equal(self.mask(self.node, self.lesion, self.volume), self.accepted)

    def testANewLesionGetsANameOfItsOwn(self):
        self.ui.targetSegmentationSelector.setCurrentNode(self.node)
        self.assertEqual(self.ui.targetSegmentSelector.currentText, "New lesion segment")
        self.editorNode.SetOverwriteMode(self.editorNode.OverwriteNone)
        self.apply()
        _node, segmentId = self.accept()
        self.assertEqual(self.node.GetSegmentation().GetSegment(segmentId).GetName(), "Breast lesion 2")
        np.testing.assert_array_equal(self.mask(self.node, self.lesion, self.volume), self.accepted)

    def testOverwritingTakesFromOtherSegments(self):
        """The Segment Editor's default."""
        node, other = self.target()
        self.apply()
        self.accept()
        np.testing.assert_array_equal(self.mask(node, other, self.volume), self.band & ~self.accepted)

    def testOverwriteNoneLeavesOtherSegmentsAlone(self):
        node, other = self.target()
        self.editorNode.SetOverwriteMode(self.editorNode.OverwriteNone)
        self.apply()
        _node, lesion = self.accept()
        np.testing.assert_array_equal(self.mask(node, other, self.volume), self.band)
        np.testing.assert_array_equal(self.mask(node, lesion, self.volume), self.accepted)

    def testMaskingKeepsTheResultOutOfOtherSegments(self):
        node, other = self.target()
        self.editorNode.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedOutsideAllSegments)
        self.apply()
        _node, lesion = self.accept()
        np.testing.assert_array_equal(self.mask(node, other, self.volume), self.band)
        np.testing.assert_array_equal(self.mask(node, lesion, self.volume), self.accepted & ~self.band)

    def testTheEditableIntensityRangeKeepsTheResultOutOfOtherPixels(self):
        node, _other = self.target()
        self.editorNode.SetOverwriteMode(self.editorNode.OverwriteNone)
        gray = slicer.util.arrayFromVolume(self.volume)
        median = float(np.median(gray[self.accepted]))
        self.editorNode.SetSourceVolumeIntensityMask(True)
        self.editorNode.SetSourceVolumeIntensityMaskRange(0, median)
        self.apply()
        _node, lesion = self.accept()
        written = self.mask(node, lesion, self.volume)
        np.testing.assert_array_equal(written, self.accepted & (gray <= median))
        self.assertLess(written.sum(), 0.7 * self.accepted.sum())

    def testTheResultLandsInTheSegmentationThatIsChosen(self):
        """There and back between two: each gets its own result, and the other one stays."""
        second, other = self.target()
        self.ui.targetSegmentationSelector.setCurrentNode(self.node)
        gestures.settle(20)
        self.assertIs(self.editor.segmentationNode(), self.node)
        self.pick(self.ui.targetSegmentSelector, "Replace Breast lesion")
        self.setThreshold(0.9)
        self.apply()
        self.assertEqual(self.accept(), (self.node, self.lesion))
        smaller = self.mask(self.node, self.lesion, self.volume)
        self.assertLess(smaller.sum(), self.accepted.sum())
        np.testing.assert_array_equal(self.mask(second, other, self.volume), self.band)
        self.ui.targetSegmentationSelector.setCurrentNode(second)
        self.pick(self.ui.targetSegmentSelector, "Replace other")
        self.setThreshold(0.5)
        self.apply()
        self.assertEqual(self.accept(), (second, other))
        self.assertGreater(self.mask(second, other, self.volume).sum(), smaller.sum())
        np.testing.assert_array_equal(self.mask(self.node, self.lesion, self.volume), smaller)

    def testAnotherImageGetsASegmentationOfItsOwn(self):
        """And the first image finds its own again: a result never lands in the segmentation of another patient."""
        self.ui.targetSegmentationSelector.setCurrentNode(self.node)
        self.loadSample(CLIP)
        self.assertIsNone(self.ui.targetSegmentationSelector.currentNode())
        self.apply()
        second, _segment = self.accept()
        self.assertIsNot(second, self.node)
        np.testing.assert_array_equal(self.mask(self.node, self.lesion, self.volume), self.accepted)
        self.choose(self.volume)
        self.assertIs(self.ui.targetSegmentationSelector.currentNode(), self.node)
        self.assertIs(self.editor.segmentationNode(), self.node)

    def testRejectLeavesEverything(self):
        node, other = self.target()
        nodes = self.nodes()
        self.apply()
        self.press(self.ui.rejectButton)
        self.assertEqual(self.nodes(), nodes)
        np.testing.assert_array_equal(self.mask(node, other, self.volume), self.band)
        np.testing.assert_array_equal(self.mask(self.node, self.lesion, self.volume), self.accepted)
        self.assertEqual(node.GetSegmentation().GetNumberOfSegments(), 1)

    def testReplacingChangesTheChosenSegmentOnly(self):
        node, other = self.target()
        self.ui.targetSegmentSelector.setCurrentIndex(self.ui.targetSegmentSelector.findData(other))
        self.apply()
        self.assertEqual(self.accept(), (node, other))
        np.testing.assert_array_equal(self.mask(node, other, self.volume), self.accepted)
        self.assertEqual(node.GetSegmentation().GetNumberOfSegments(), 1)
        self.pressInEditor("UndoButton")
        np.testing.assert_array_equal(self.mask(node, other, self.volume), self.band)

    def testAFailureWritesNothingAndSaysSo(self):
        node, other = self.target()
        self.editorNode.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment)
        self.editorNode.SetMaskSegmentID("")
        self.apply()
        with self.assertLogs(level="ERROR") as logged:
            self.press(self.ui.acceptButton)
        self.assertEqual(len(logged.records), 1)
        self.assertIn("none is chosen", self.message)
        self.assertEqual(node.GetSegmentation().GetNumberOfSegments(), 1)
        np.testing.assert_array_equal(self.mask(node, other, self.volume), self.band)
        self.assertTrue(self.ui.acceptButton.enabled, "the proposal is still there")
        self.assertFalse(slicer.util.findChild(self.editor, "UndoButton").enabled, "there is nothing to undo")

    @property
    def editorNode(self):
        return self.editor.mrmlSegmentEditorNode()

    def setThreshold(self, value):
        self.ui.thresholdSlider.value = value
        gestures.settle(20)

    def newSegmentation(self):
        self.ui.targetSegmentationSelector.setCurrentNode(None)
        gestures.settle(20)

    def target(self):
        """A second segmentation that holds the band, chosen as target; a new segment is to be made in it."""
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "by hand")
        node.CreateDefaultDisplayNodes()
        node.SetReferenceImageGeometryParameterFromVolumeNode(self.volume)
        other = node.GetSegmentation().AddEmptySegment("other", "other")
        slicer.util.updateSegmentBinaryLabelmapFromArray(self.band.astype(np.uint8), node, other, self.volume)
        self.ui.targetSegmentationSelector.setCurrentNode(node)
        gestures.settle(20)
        self.assertEqual(self.ui.targetSegmentSelector.currentText, "New lesion segment")
        return node, other
