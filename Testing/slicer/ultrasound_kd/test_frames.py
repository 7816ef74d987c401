"""Clips, sequences and color images: frame by frame, all at once, and live while scrolling."""

from unittest import mock

import numpy as np
import slicer
import vtk

from Testing.slicer import gestures
from Testing.slicer.ultrasound_kd.panel_test import CLIP, PanelTest, clip, dice


class TestClip(PanelTest):
    def setUp(self):
        super().setUp()
        self.volume = self.loadSample(CLIP)
        self.truth = clip().truth

    def testTheCurrentFrameIsTheOneInTheSliceView(self):
        gestures.wheel(self.red, -2)
        gestures.settle(50)
        frame = self.widget.panel.session.frames.currentIndex()
        self.assertEqual(self.ui.frameLabel.text, f"Frame {frame + 1} of 12")
        self.apply()
        segmentation, segmentId = self.accept()
        mask = self.mask(segmentation, segmentId, self.volume)
        self.assertEqual(np.flatnonzero(mask.any(axis=(1, 2))).tolist(), [frame])
        self.assertGreater(dice(mask[frame], self.truth[frame]), 0.9)

    def testAllFrames(self):
        self.ui.scopeSelector.setCurrentIndex(1)
        self.apply()
        self.assertEqual(self.ui.acceptButton.text, "Accept 12 frames")
        segmentation, segmentId = self.accept()
        mask = self.mask(segmentation, segmentId, self.volume)
        for k in range(12):
            self.assertGreater(dice(mask[k], self.truth[k]), 0.9)
        self.pressInEditor("UndoButton")
        self.assertEqual(segmentation.GetSegmentation().GetNumberOfSegments(), 0)

    def testFramesWithoutAnyLesionCannotBeAccepted(self):
        self.ui.scopeSelector.setCurrentIndex(1)
        with mock.patch("UltrasoundKDLib.frame_results.FrameResult.probabilities", return_value=np.zeros((2, 2))):
            self.apply()
            self.assertFalse(self.ui.acceptButton.enabled)
            self.assertFalse(self.ui.rejectButton.enabled)
            threshold = self.ui.thresholdSlider.value
            self.assertEqual(self.message, f"No lesion in any of 12 frames at a threshold of {threshold:.2f}.")

    def testTheNextFrameGoesIntoTheSameSegment(self):
        self.apply()
        first = self.accept()
        self.assertEqual(self.ui.targetSegmentSelector.currentText, "Replace Breast lesion")
        before = self.mask(*first, self.volume)
        gestures.wheel(self.red, 1)
        self.apply()
        self.assertEqual(self.accept(), first)
        mask = self.mask(*first, self.volume)
        self.assertEqual(np.count_nonzero(mask.any(axis=(1, 2))), 2)
        np.testing.assert_array_equal(mask[before.any(axis=(1, 2))], before[before.any(axis=(1, 2))])

    def testLivePreviewFollowsTheWheel(self):
        self.press(self.ui.livePreviewCheckBox)
        session = self.widget.panel.session
        for steps in (1, 1, -3, 2, 5):
            gestures.wheel(self.red, steps)
            frame = session.frames.currentIndex()
            self.assertTrue(gestures.waitFor(lambda frame=frame: session.proposed == [frame], 10))
            self.assertTrue(self.ui.acceptButton.enabled)
        shown = self.pixels()
        self.press(self.ui.rejectButton)
        self.assertGreater(len(self.changedPoints(shown, self.pixels())), 50, "the outline is gone")
        gestures.wheel(self.red, -1)
        self.assertTrue(
            gestures.waitFor(lambda: session.proposed == [frame - 1], 10), "the next frame is previewed again"
        )

    def testScrollingFastSkipsFramesThatNobodyLooksAt(self):
        self.loadedModel()
        self.press(self.ui.livePreviewCheckBox)
        with self.slowModel(0.6) as calls:
            gestures.wheel(self.red, -5)
            last = self.widget.panel.session.frames.currentIndex()
            self.assertTrue(gestures.waitFor(lambda: self.widget.panel.session.proposed == [last], 10))
        self.assertLess(len(calls), 5)

    def testAFrameSeenBeforeNeedsNoInference(self):
        self.press(self.ui.livePreviewCheckBox)
        session = self.widget.panel.session
        first = session.frames.currentIndex()
        self.assertTrue(gestures.waitFor(lambda: session.proposed == [first], 20))
        gestures.wheel(self.red, 1)
        self.assertTrue(gestures.waitFor(lambda: session.proposed == [first + 1], 10))
        with mock.patch.object(self.widget.logic, "predictFrame", side_effect=AssertionError("seen before")):
            gestures.wheel(self.red, -1)
            self.assertTrue(gestures.waitFor(lambda: session.proposed == [first], 10))

    def testChangedVoxelsAreSegmentedAnew(self):
        self.press(self.ui.livePreviewCheckBox)
        session = self.widget.panel.session
        frame = session.frames.currentIndex()
        self.assertTrue(gestures.waitFor(lambda: session.proposed == [frame], 20))
        before = self.pixels()
        voxels = slicer.util.arrayFromVolume(self.volume)
        voxels[frame] = voxels[frame, :, ::-1].copy()
        slicer.util.arrayFromVolumeModified(self.volume)
        self.assertTrue(gestures.waitFor(lambda: session.proposed == [frame], 10))
        gestures.settle(300)
        self.assertGreater(len(self.changedPoints(before, self.pixels())), 50)
        segmentation, segmentId = self.accept()
        mask = self.mask(segmentation, segmentId, self.volume)[frame]
        self.assertGreater(dice(mask, self.truth[frame, :, ::-1]), 0.9)

    def testAProposalOfVoxelsThatHaveChangedCannotBeAccepted(self):
        self.apply()
        frame = self.widget.panel.session.frames.currentIndex()
        array = slicer.util.arrayFromVolume(self.volume)
        array[frame] = 255 - array[frame]  # in place, and nobody is told
        self.press(self.ui.acceptButton)
        self.assertIn("has changed", self.message)
        self.assertEqual(slicer.util.getNodesByClass("vtkMRMLSegmentationNode"), [])

    def testARowOfTheTableLeadsToItsFrame(self):
        self.ui.scopeSelector.setCurrentIndex(1)
        self.apply()
        self.accept()
        table = self.ui.measurementsTable
        self.assertTrue(gestures.waitFor(lambda: table.rowCount >= 12, 5))
        row = next(n for n in range(table.rowCount) if table.item(n, 0).text() == "3")
        table.scrollToItem(table.item(row, 0))
        place = table.visualItemRect(table.item(row, 0)).center()
        gestures.click(table.viewport(), (place.x(), place.y()))
        gestures.settle(50)
        self.assertEqual(self.ui.frameLabel.text, "Frame 3 of 12")

    def loadedModel(self):
        self.apply()
        self.press(self.ui.rejectButton)


class TestSequence(PanelTest):
    COUNT = 4

    def setUp(self):
        super().setUp()
        phantom = clip()
        self.truth = phantom.truth[: self.COUNT]
        self.browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "Clip browser")
        sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "Clip")
        for n in range(self.COUNT):
            sequence.SetDataNodeAtValue(imageNode(phantom.image.array[0, n : n + 1]), str(n))
        self.browser.AddSynchronizedSequenceNode(sequence)
        slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(self.browser)
        self.volume = self.browser.GetProxyNode(sequence)
        self.volume.CreateDefaultDisplayNodes()
        self.choose(self.volume)

    def testItemsAreFrames(self):
        self.assertEqual(self.ui.frameLabel.text, "Frame 1 of 4")
        self.browser.SetSelectedItemNumber(2)
        gestures.settle(50)
        self.assertEqual(self.ui.frameLabel.text, "Frame 3 of 4")
        self.apply()
        segmentation, segmentId = self.accept()
        gestures.settle(50)
        self.assertGreater(dice(self.mask(segmentation, segmentId, self.volume)[0], self.truth[2]), 0.9)
        self.browser.SetSelectedItemNumber(0)
        gestures.settle(50)
        self.assertFalse(self.mask(segmentation, segmentId, self.volume).any())

    def testAllItemsAndUndo(self):
        self.ui.scopeSelector.setCurrentIndex(1)
        self.apply()
        segmentation, segmentId = self.accept()
        for n in range(self.COUNT):
            self.browser.SetSelectedItemNumber(n)
            gestures.settle(20)
            self.assertGreater(dice(self.mask(segmentation, segmentId, self.volume)[0], self.truth[n]), 0.9)
        self.assertTrue(gestures.waitFor(lambda: self.ui.measurementsTable.rowCount >= self.COUNT, 5))
        self.press(self.ui.undoAcceptButton)
        for n in range(self.COUNT):
            self.browser.SetSelectedItemNumber(n)
            gestures.settle(20)
            self.assertFalse(self.mask(segmentation, segmentId, self.volume).any())
        self.press(self.ui.redoAcceptButton)
        gestures.settle(20)
        self.assertGreater(dice(self.mask(segmentation, segmentId, self.volume)[0], self.truth[-1]), 0.9)

    def testACorrectionAfterAStepIsMeasuredAndExported(self):
        """The node holds another vtkSegmentation in each item. A square of 10 x 10 pixels of 0.15 mm: 2.25 mm2."""
        self.apply()
        node, segmentId = self.accept()
        self.browser.SetSelectedItemNumber(2)
        gestures.settle(400)
        self.assertEqual(self.ui.measurementsTable.rowCount, 1)
        self.fillSquare(node, segmentId)
        self.assertTrue(gestures.waitFor(lambda: self.ui.measurementsTable.rowCount == 2, 5))
        self.assertEqual(self.ui.measurementsTable.item(1, 0).text(), "3")
        self.assertEqual(self.ui.measurementsTable.item(1, 2).text(), "2.2")

    def testTheFileHasWhatIsThereWhenItIsWritten(self):
        self.apply()
        node, segmentId = self.accept()
        self.assertTrue(gestures.waitFor(lambda: self.ui.measurementsTable.rowCount == 1, 5))
        self.browser.SetSelectedItemNumber(2)
        self.fillSquare(node, segmentId)
        with mock.patch.object(self.widget.measurements, "askForFile", return_value=""):
            self.press(self.ui.exportButton)
        self.assertEqual(self.ui.measurementsTable.rowCount, 2)

    def fillSquare(self, node, segmentId):
        square = np.zeros((1, *self.truth.shape[1:]), np.uint8)
        square[0, :10, :10] = 1
        slicer.util.updateSegmentBinaryLabelmapFromArray(square, node, segmentId, self.volume)

    def testASegmentThatLosesPixelsInAnyItemIsNamed(self):
        """Drawn by hand in the third item, while the first is shown when all are accepted."""
        self.press(self.ui.newLesionButton)
        node, drawn = self.editor.segmentationNode(), self.editor.currentSegmentID()
        self.browser.SetSelectedItemNumber(2)
        gestures.settle(50)
        square = np.zeros((1, *self.truth.shape[1:]), np.uint8)
        square[0][self.truth[2]] = 1
        slicer.util.updateSegmentBinaryLabelmapFromArray(square, node, drawn, self.volume)
        self.browser.SetSelectedItemNumber(0)
        gestures.settle(50)
        self.assertFalse(self.mask(node, drawn, self.volume).any(), "what is drawn belongs to one frame")
        self.ui.scopeSelector.setCurrentIndex(1)
        self.apply()
        self.assertEqual(self.ui.acceptButton.text, "Accept 4 frames, replacing corrections")
        self.pick(self.ui.targetSegmentSelector, "New lesion segment")
        self.assertEqual(self.ui.acceptButton.text, "Accept 4 frames")
        self.accept()
        self.assertIn("Other segments that lost pixels to it: 1 (Breast lesion). Undo accept takes it", self.message)

    def testLivePreviewFollowsTheBrowser(self):
        self.press(self.ui.livePreviewCheckBox)
        session = self.widget.panel.session
        for n in (1, 3, 0):
            self.browser.SetSelectedItemNumber(n)
            self.assertTrue(gestures.waitFor(lambda n=n: session.proposed == [n], 20))


class TestColor(PanelTest):
    def testAGrayImageStoredAsRgb(self):
        gray = clip().image.array[0, :1]
        node = slicer.util.addVolumeFromArray(
            np.repeat(gray[..., np.newaxis], 3, axis=3),
            np.diag([-0.15, -0.15, 1, 1]),
            nodeClassName="vtkMRMLVectorVolumeNode",
        )
        self.choose(node)
        self.apply()
        segmentation, segmentId = self.accept()
        self.assertGreater(dice(self.mask(segmentation, segmentId, node)[0], clip().truth[0]), 0.9)

    def testAColorPhotographIsRefusedBeforeApplyIsPressed(self):
        colors = np.random.default_rng(0).integers(0, 255, (1, 64, 64, 3)).astype(np.uint8)
        node = slicer.util.addVolumeFromArray(colors, np.eye(4), nodeClassName="vtkMRMLVectorVolumeNode")
        with self.assertNoLogs(level="INFO"):
            self.choose(node)
        self.assertFalse(self.ui.applyButton.enabled)
        self.assertIn("Switch the color overlay off", self.message)
        self.assertIn("Crop Volume", self.message)
        self.assertFalse(self.ui.messageIconLabel.isVisibleTo(self.ui.proposalCollapsibleButton))

    def testOnlyTheFramesInColorAreRefused(self):
        """Three frames: the last one is Doppler. Live preview passes over it."""
        rgb = np.repeat(clip().image.array[0, :3, ..., np.newaxis], 3, axis=3)
        rgb[2] = np.random.default_rng(0).integers(0, 255, rgb[2].shape)
        node = slicer.util.addVolumeFromArray(
            rgb, np.diag([-0.15, -0.15, 1, 1]), nodeClassName="vtkMRMLVectorVolumeNode"
        )
        self.choose(node)
        self.press(self.ui.livePreviewCheckBox)
        session = self.widget.panel.session
        with self.assertNoLogs(level="INFO"):
            for frame, isUsable in ((0, True), (2, False), (1, True)):
                gestures.wheel(self.red, frame - session.frames.currentIndex())
                self.assertEqual(self.ui.frameLabel.text, f"Frame {frame + 1} of 3")
                if isUsable:
                    self.assertTrue(gestures.waitFor(lambda frame=frame: session.proposed == [frame], 10))
                self.assertEqual(self.ui.applyButton.enabled, isUsable)
                self.assertEqual("color" in self.message, not isUsable)


def imageNode(array):
    """A volume node outside of the scene, with pixels of 0.15 mm."""
    node = slicer.vtkMRMLScalarVolumeNode()
    slicer.util.updateVolumeFromArray(node, array)
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 0, -0.15)
    matrix.SetElement(1, 1, -0.15)
    node.SetIJKToRASMatrix(matrix)
    return node
