"""A lesion that the model does not find is drawn by hand; and what is hidden stays hidden."""

import numpy as np
import slicer

from leanseg.phantom import ultrasound_phantom
from leanseg.slicer_bridge.nodes import scalarVolumeNode
from Testing.slicer import gestures
from Testing.slicer.ultrasound_kd.panel_test import STILL_IMAGE, PanelTest


class TestByHand(PanelTest):
    def setUp(self):
        super().setUp()
        self.volume = self.loadSample(STILL_IMAGE)

    def testALesionIsDrawnWhereNoneWasProposed(self):
        phantom = ultrasound_phantom("normal", seed=1)
        self.volume = scalarVolumeNode("normal", phantom.image.array[0], phantom.image.geometry)
        self.choose(self.volume)
        self.apply()
        self.assertIn("If you see one, draw it under Correct.", self.message)
        self.assertFalse(slicer.util.findChild(self.editor, "AddSegmentButton").enabled)
        self.press(self.ui.newLesionButton)
        self.assertFalse(self.isShown(self.ui.newLesionButton), "from here on, Add does it")
        self.pressInEditor("Draw")
        corners = [
            gestures.pointInView(self.red, (r, a, 0)) for r, a in ((-20, -15), (-30, -15), (-30, -25), (-20, -25))
        ]
        gestures.drag(self.red, corners)
        gestures.settle(50)
        node, segmentId = self.editor.segmentationNode(), self.editor.currentSegmentID()
        area = self.mask(node, segmentId, self.volume).sum() * 0.15**2
        self.assertAlmostEqual(area, 100, delta=5)  # 10 x 10 mm
        segment = node.GetSegmentation().GetSegment(segmentId)
        self.assertEqual(segment.GetName(), "Breast lesion")
        self.assertIn("SCT^4147007^Mass", segment.GetTerminology())
        self.assertTrue(gestures.waitFor(lambda: self.ui.measurementsTable.rowCount == 1, 5))

    def testAnImageWithoutDoubtIsNotColored(self):
        """No probability reaches 10 % there; only the legend is to be seen."""
        phantom = ultrasound_phantom("normal", seed=1)
        self.choose(scalarVolumeNode("normal", phantom.image.array[0], phantom.image.geometry))
        self.apply()
        before = self.pixels()
        self.press(self.ui.uncertaintyCheckBox)
        changed = np.abs(self.pixels() - before).max(axis=2) > 5
        self.assertTrue(changed.any(), "the legend")
        height, width = changed.shape
        changed[: int(0.35 * height), int(0.75 * width) :] = False
        self.assertFalse(changed.any())

    def testWithoutAnImageThereIsNothingToDrawOn(self):
        self.choose(None)
        self.assertFalse(self.ui.newLesionButton.enabled)

    def testAModelsResultDoesNotReplaceADrawnLesionUnseen(self):
        self.press(self.ui.newLesionButton)
        node, segmentId = self.editor.segmentationNode(), self.editor.currentSegmentID()
        slicer.util.updateSegmentBinaryLabelmapFromArray(np.ones((1, 256, 300), np.uint8), node, segmentId, self.volume)
        self.apply()
        self.assertEqual(self.ui.acceptButton.text, "Accept, replacing corrections")

    def testFoldingASectionShowsNothingThatIsHidden(self):
        hidden = [self.ui.nextImageButton, self.ui.progressBar, self.ui.undoAcceptButton, self.ui.messageIconLabel]
        for _time in range(2):
            for widget in hidden:
                self.assertFalse(self.isShown(widget), widget.objectName)
            self.ui.proposalCollapsibleButton.collapsed = True
            gestures.settle(20)
            self.ui.proposalCollapsibleButton.collapsed = False
            gestures.settle(20)

    def isShown(self, widget):
        return widget.isVisibleTo(slicer.util.mainWindow())
