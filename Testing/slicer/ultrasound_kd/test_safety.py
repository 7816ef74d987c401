"""Nothing that somebody has made is lost unseen: undo, redo, overwriting, corrections by hand."""

import numpy as np
import qt
import slicer

from Testing.slicer import gestures
from Testing.slicer.ultrasound_kd.panel_test import CLIP, STILL_IMAGE, PanelTest

ACCEPTED = "Accepted into Breast lesion. Ctrl+Z takes it back."


class TestTarget(PanelTest):
    """Where an accepted proposal goes after undo and redo, and what the others lose to it."""

    def setUp(self):
        super().setUp()
        self.volume = self.loadSample(STILL_IMAGE)
        self.apply()
        self.node, self.lesion = self.accept()
        self.accepted = self.mask(self.node, self.lesion, self.volume)

    def testAfterUndoAndRedoTheSameSegmentIsMeant(self):
        self.undo()
        self.assertEqual(self.ui.targetSegmentSelector.currentText, "New lesion segment")
        self.redo()
        self.assertEqual(self.ui.targetSegmentSelector.currentText, "Replace Breast lesion")
        self.apply()
        self.assertEqual(self.accept(), (self.node, self.lesion))
        self.assertEqual(self.node.GetSegmentation().GetNumberOfSegments(), 1)
        np.testing.assert_array_equal(self.mask(self.node, self.lesion, self.volume), self.accepted)
        self.assertEqual(self.message, ACCEPTED)

    def testAlsoWhenAnOptionWasChangedInBetween(self):
        self.undo()
        self.ui.thresholdSlider.value = 0.45
        self.redo()
        self.assertEqual(self.ui.targetSegmentSelector.currentText, "Replace Breast lesion")

    def testWhoeverChoosesANewSegmentKeepsIt(self):
        self.pick(self.ui.targetSegmentSelector, "New lesion segment")
        self.undo()
        self.redo()
        self.assertEqual(self.ui.targetSegmentSelector.currentText, "New lesion segment")

    def testASegmentThatLosesPixelsIsNamed(self):
        """The Segment Editor's default is to overwrite all."""
        self.pick(self.ui.targetSegmentSelector, "New lesion segment")
        self.apply()
        self.accept()
        self.assertFalse(self.mask(self.node, self.lesion, self.volume).any())
        self.assertEqual(
            self.message,
            "Accepted into Breast lesion 2. Other segments that lost pixels to it: 1 (Breast lesion). Ctrl+Z takes it"
            " back.",
        )
        self.assertTrue(self.ui.messageIconLabel.isVisibleTo(self.ui.proposalCollapsibleButton))
        self.undo()
        np.testing.assert_array_equal(self.mask(self.node, self.lesion, self.volume), self.accepted)

    def testWithoutOverwritingNothingIsLost(self):
        editorNode = self.editor.mrmlSegmentEditorNode()
        editorNode.SetOverwriteMode(editorNode.OverwriteNone)
        self.pick(self.ui.targetSegmentSelector, "New lesion segment")
        self.apply()
        self.accept()
        np.testing.assert_array_equal(self.mask(self.node, self.lesion, self.volume), self.accepted)
        self.assertEqual(self.message, "Accepted into Breast lesion 2. Ctrl+Z takes it back.")

    def testTheChooserBesideTheSegmentSaysWhetherOthersAreOverwritten(self):
        """With no tool active, when the Segment Editor shows no Masking section. The node follows, and is followed."""
        editorNode = self.editor.mrmlSegmentEditorNode()
        self.assertEqual(self.ui.overwriteSelector.currentText, "Overwrite all")
        self.pick(self.ui.overwriteSelector, "Allow overlap")
        self.assertEqual(editorNode.GetOverwriteMode(), editorNode.OverwriteNone)
        self.pick(self.ui.targetSegmentSelector, "New lesion segment")
        self.apply()
        self.accept()
        np.testing.assert_array_equal(self.mask(self.node, self.lesion, self.volume), self.accepted)
        editorNode.SetOverwriteMode(editorNode.OverwriteVisibleSegments)
        self.assertEqual(self.ui.overwriteSelector.currentText, "Overwrite visible")
        slicer.mrmlScene.Clear(0)
        self.loadSample(STILL_IMAGE)
        self.assertEqual(self.ui.overwriteSelector.currentText, "Overwrite all", "of the new scene's node")
        self.pick(self.ui.overwriteSelector, "Allow overlap")
        self.assertEqual(self.editor.mrmlSegmentEditorNode().GetOverwriteMode(), editorNode.OverwriteNone)

    def testACorrectedSegmentIsNotReplacedUnseen(self):
        self.paint()
        corrected = self.mask(self.node, self.lesion, self.volume)
        self.apply()
        self.assertEqual(self.ui.acceptButton.text, "Accept, replacing corrections")
        self.assertIn("Breast lesion was drawn or corrected by hand here", self.message)
        self.accept()
        np.testing.assert_array_equal(self.mask(self.node, self.lesion, self.volume), self.accepted)
        self.assertIn("What was drawn there by hand is replaced. Ctrl+Z takes it back.", self.message)
        self.undo()
        np.testing.assert_array_equal(self.mask(self.node, self.lesion, self.volume), corrected)

    def testANewSegmentationKeepsBoth(self):
        """What the message recommends."""
        self.paint()
        corrected = self.mask(self.node, self.lesion, self.volume)
        self.apply()
        self.ui.targetSegmentationSelector.setCurrentNode(None)
        self.assertEqual(self.ui.acceptButton.text, "Accept")
        second, segmentId = self.accept()
        np.testing.assert_array_equal(self.mask(self.node, self.lesion, self.volume), corrected)
        np.testing.assert_array_equal(self.mask(second, segmentId, self.volume), self.accepted)

    def testWhatAnUndoHasTakenBackIsNoCorrection(self):
        self.paint()
        self.undo()
        self.apply()
        self.assertEqual(self.ui.acceptButton.text, "Accept")
        self.assertEqual(self.message, "")

    def testPaintingWhileAProposalIsShownIsSeen(self):
        self.apply()
        self.assertEqual(self.ui.acceptButton.text, "Accept")
        self.paint()
        self.assertEqual(self.ui.acceptButton.text, "Accept, replacing corrections")

    def undo(self):
        self.pressKey(qt.Qt.Key_Z, control=True)

    def redo(self):
        self.pressKey(qt.Qt.Key_Y, control=True)

    def paint(self):
        self.pressInEditor("Paint")
        x, y = gestures.pointInView(self.red, (-36, -30, 0))
        gestures.drag(self.red, [(x, y), (x + 15, y), (x + 30, y)])
        gestures.settle(50)
        self.pressInEditor("NULL")


class TestClip(PanelTest):
    def setUp(self):
        super().setUp()
        self.volume = self.loadSample(CLIP)

    def testACorrectionOfAnotherFrameIsNotConcerned(self):
        self.apply()
        node, segmentId = self.accept()
        frame = self.widget.panel.session.frames.currentIndex()
        array = slicer.util.arrayFromSegmentBinaryLabelmap(node, segmentId, self.volume)
        array[frame, :10, :10] = 1
        slicer.util.updateSegmentBinaryLabelmapFromArray(array, node, segmentId, self.volume)
        gestures.wheel(self.red, 1)
        self.apply()
        self.assertEqual(self.ui.acceptButton.text, "Accept")
        gestures.wheel(self.red, -1)
        self.apply()
        self.assertEqual(self.ui.acceptButton.text, "Accept, replacing corrections")
        self.ui.scopeSelector.setCurrentIndex(1)
        self.apply()
        self.assertEqual(self.ui.acceptButton.text, "Accept 12 frames, replacing corrections")

    def testLivePreviewBeginsWithTheFrameThatWasDecided(self):
        for decide in (self.ui.rejectButton, self.ui.acceptButton):
            with self.subTest(decide.text):
                self.apply()
                self.press(decide)
                self.assertEqual(self.widget.panel.session.proposed, [])
                self.press(self.ui.livePreviewCheckBox)
                self.assertTrue(gestures.waitFor(lambda: self.ui.acceptButton.enabled, 10))
                self.press(self.ui.rejectButton)
                self.press(self.ui.livePreviewCheckBox)


class TestMessage(PanelTest):
    """What was said about an accepted result is said no longer than it holds."""

    def setUp(self):
        super().setUp()
        self.loadSample(CLIP)
        self.apply()
        self.accept()
        self.assertEqual(self.message, ACCEPTED)

    def testUndoAndRedo(self):
        self.pressKey(qt.Qt.Key_Z, control=True)
        self.assertEqual(self.message, "")
        self.widget.panel.message.say("something")
        self.pressKey(qt.Qt.Key_Y, control=True)
        self.assertEqual(self.message, "")

    def testPainting(self):
        self.pressInEditor("Paint")
        self.assertEqual(self.message, ACCEPTED, "nothing has changed yet")
        gestures.click(self.red, gestures.pointInView(self.red, (-36, -30, 0)))
        self.assertEqual(self.message, "")
        self.pressInEditor("NULL")

    def testScrolling(self):
        gestures.wheel(self.red, 1)
        self.assertEqual(self.message, "")
