"""Threshold and largest component change a proposal at once, without the model."""

from dataclasses import replace
from unittest import mock

import numpy as np
import qt
import slicer

from leanseg.slicer_bridge.placement import arrayOf
from Testing.slicer import gestures
from Testing.slicer.ultrasound_kd.panel_test import STILL_IMAGE, PanelTest


class TestOptions(PanelTest):
    """The model's probabilities are replaced by rectangles, so that every area is known.

    The model sees 128 x 128 pixels, each 300 / 128 = 2.34 pixels of the image (300 wide, 256 high) along both axes.
    So 16 x 32 of them are 37.5 x 75 pixels, 0.0366 of the image.
    """

    PART = 37.5 * 75 / (300 * 256)

    def setUp(self):
        super().setUp()
        self.volume = self.loadSample(STILL_IMAGE)
        predict = self.widget.logic.predictFrame
        self.runs = 0

        def rectangles(modelKey, frame):
            """The left half has 0.9, with a hole of 0.3; a rectangle in the right half has 0.7."""
            self.runs += 1
            result = predict(modelKey, frame)
            volume = result.prediction.probabilities
            array = np.zeros_like(volume.array)
            array[..., :64] = 0.9
            array[..., 32:64, 16:32] = 0.3
            array[..., 56:72, 90:122] = 0.7
            return replace(result, prediction=replace(result.prediction, probabilities=volume.with_array(array)))

        patch = mock.patch.object(self.widget.logic, "predictFrame", rectangles)
        patch.start()
        self.addCleanup(patch.stop)
        self.widget.logic.cache.clear()
        self.addCleanup(self.widget.logic.cache.clear)
        self.apply()

    def testTheThresholdIsAppliedAnewWithoutTheModel(self):
        np.testing.assert_allclose(self.shares(), (0.5 - self.PART, self.PART), atol=0.01)
        self.setThreshold(0.8)
        np.testing.assert_allclose(self.shares(), (0.5 - self.PART, 0), atol=0.01)
        self.setThreshold(0.2)
        np.testing.assert_allclose(self.shares(), (0.5, self.PART), atol=0.01)
        self.assertEqual(self.runs, 1)

    def testTheSliderIsMovedWithKeys(self):
        """And the outline in the view follows."""
        before = self.pixels()
        parts = slicer.util.findChildren(self.ui.thresholdSlider)
        spinBox = next(part for part in parts if part.inherits("QDoubleSpinBox"))
        start = self.ui.thresholdSlider.value
        for _step in range(30):
            gestures.key(spinBox, qt.Qt.Key_Up)
        self.assertAlmostEqual(self.ui.thresholdSlider.value, start + 0.3, places=6)
        self.assertGreater(len(self.changedPoints(before, self.pixels())), 50)
        self.assertEqual(self.runs, 1)

    def testTheLargestComponentAloneAndBothAgain(self):
        self.press(self.ui.largestComponentCheckBox)
        np.testing.assert_allclose(self.shares(), (0.5 - self.PART, 0), atol=0.01)
        self.press(self.ui.largestComponentCheckBox)
        np.testing.assert_allclose(self.shares(), (0.5 - self.PART, self.PART), atol=0.01)
        self.assertEqual(self.runs, 1)

    def testWhatIsAcceptedIsWhatIsShown(self):
        self.setThreshold(0.8)
        shown = self.shares()
        mask = self.mask(*self.accept(), self.volume)[0]
        half = mask.shape[1] // 2
        np.testing.assert_allclose((mask[:, :half].mean() / 2, mask[:, half:].mean() / 2), shown, atol=0.001)

    def testNothingAboveTheThresholdIsSaidAndCannotBeAccepted(self):
        self.setThreshold(0.95)
        self.assertEqual(self.message, "No lesion at a threshold of 0.95. If you see one, draw it under Correct.")
        self.assertFalse(self.ui.acceptButton.enabled)
        self.assertFalse(self.ui.rejectButton.enabled, "there is nothing to reject")
        self.setThreshold(0.5)
        self.assertEqual(self.message, "")
        self.assertTrue(self.ui.acceptButton.enabled)

    def testAnOptionLeavesTheSelectionOfTheSegmentEditorAlone(self):
        """Somebody corrects another segment there."""
        node, lesion = self.accept()
        other = node.GetSegmentation().AddEmptySegment("other", "other")
        self.editor.setCurrentSegmentID(other)
        self.setThreshold(0.8)
        self.assertEqual(self.editor.currentSegmentID(), other)
        self.pick(self.ui.targetSegmentSelector, "Replace other")
        self.pick(self.ui.targetSegmentSelector, "Replace Breast lesion")
        self.assertEqual(self.editor.currentSegmentID(), lesion, "choosing the target selects it")

    def setThreshold(self, value):
        self.ui.thresholdSlider.value = value
        gestures.settle(50)

    def shares(self):
        """Of the image: the proposal's part in the left half, and in the right half. Read from the outlined node."""
        labelmap = slicer.vtkOrientedImageData()
        self.widget.panel.session.shown.outline.node.GetBinaryLabelmapRepresentation("proposal", labelmap)
        mask = np.asarray(arrayOf(labelmap)[0] > 0)
        half = mask.shape[1] // 2
        return mask[:, :half].mean() / 2, mask[:, half:].mean() / 2
