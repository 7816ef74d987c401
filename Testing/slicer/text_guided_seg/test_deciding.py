"""Accept, reject and undo: what they leave alone, and what they put an end to."""

import threading

import numpy as np
import slicer

from Testing.slicer import gestures
from Testing.slicer.text_guided_seg.panel_test import LEFT, MIDDLE, RIGHT, SHAPE, PanelTest, addImage, block


class TestDeciding(PanelTest):
    def choose(self, text):
        """In the menu of Accept into segment...; it is filled when it is about to show."""
        self.panel.decision.fillMenu()
        [action] = [action for action in self.panel.decision.menu.actions() if action.text == text]
        action.trigger()
        self.finish()

    def ask(self):
        self.load()
        self.say("mass, right")
        self.pressAndFinish(self.ui.questionButton)
        self.assertTrue(self.ui.yesButton.enabled)

    def assertNothingIsAsked(self):
        self.assertIsNone(self.panel.questions.asked)
        self.assertEqual(self.ui.questionLabel.text, "")
        self.assertFalse(self.ui.yesButton.enabled)
        self.assertEqual(len(slicer.util.getNodesByClass("vtkMRMLMarkupsNode")), 0)

    def compare(self):
        """The earlier of two prompts is seen."""
        self.load()
        self.say("mass, right")
        self.say("mass, left")
        self.press(self.ui.blinkButton)
        self.assertIn("Earlier prompt", self.message)

    def testAddingTakesNothingFromOthersWhereTheResultIsNot(self):
        self.load()
        self.say("mass, right")
        self.pressAndFinish(self.ui.acceptButton)
        node = self.ui.targetSelector.currentNode()
        node.GetSegmentation().AddEmptySegment("other", "Other")
        other = np.zeros(SHAPE, np.uint8)
        other[MIDDLE, 18:30, 10:25] = 1  # overlaps the tumor
        slicer.util.updateSegmentBinaryLabelmapFromArray(other, node, "other", self.panel.volume)
        self.say("mass, left")
        self.choose("Add to Tumor")
        np.testing.assert_array_equal(self.segments()["Other"], other > 0)
        np.testing.assert_array_equal(self.segments()["Tumor"][MIDDLE], block(RIGHT, LEFT)[MIDDLE])
        self.assertNotIn("lost voxels", self.message)

    def testRejectUndoAndRedoEndTheQuestion(self):
        self.ask()
        self.pressAndFinish(self.ui.rejectButton)
        self.assertNothingIsAsked()
        self.pressAndFinish(self.ui.undoStepButton)
        self.say("mass, left")
        self.pressAndFinish(self.ui.questionButton)
        self.assertTrue(self.ui.yesButton.enabled)
        self.pressAndFinish(self.ui.undoStepButton)
        self.assertNothingIsAsked()

    def testAQuestionThatComesAfterTheDecisionIsNotAsked(self):
        self.load()
        self.say("mass, right")
        isDecided, ask = threading.Event(), self.session.next_question

        def slowly(*args):
            isDecided.wait(10)
            return ask(*args)

        self.session.next_question = slowly
        self.press(self.ui.questionButton)
        self.press(self.ui.rejectButton)
        isDecided.set()
        self.finish()
        self.assertNothingIsAsked()
        self.assertEqual(self.panel.tools.held, "")

    def testRejectEndsTheComparison(self):
        self.compare()
        self.pressAndFinish(self.ui.rejectButton)
        self.assertFalse(self.ui.blinkButton.checked)
        self.assertFalse(self.outline().isVisible)
        self.assertNotIn("prompt:", self.message)

    def testOnlyWhatIsSeenCanBeAccepted(self):
        self.compare()
        self.assertFalse(self.ui.acceptButton.enabled)
        self.assertTrue(gestures.waitFor(lambda: "Last prompt" in self.message, 5))
        self.assertTrue(self.ui.acceptButton.enabled)
        self.press(self.ui.blinkButton)
        self.assertTrue(self.ui.acceptButton.enabled)

    def testTheSceneIsClosedWhileTwoResultsAreCompared(self):
        self.compare()
        slicer.mrmlScene.Clear(0)
        gestures.settle(50)
        self.assertFalse(self.ui.blinkButton.checked)
        self.assertEqual(self.steps(), [])

    def testTheStepsNameTheSegmentOfTheirImage(self):
        """The segments of two images have the same id."""
        self.load()
        self.say("mass, right")
        self.pressAndFinish(self.ui.acceptButton)
        self.ui.targetSelector.currentNode().GetSegmentation().GetNthSegment(0).SetName("Of the first")
        self.ui.inputSelector.setCurrentNode(addImage(name="Second"))
        self.finish()
        self.panel.dialog.frames.select(MIDDLE)
        self.say("mass, left")
        self.pressAndFinish(self.ui.acceptButton)
        self.assertEqual(self.steps()[-1], "2. Accepted into Tumor")

    def testTheStepsNameTheSegmentOfTheSegmentationThatWasWritten(self):
        from leanseg.slicer_bridge.segments import segmentationFor

        node = self.load()
        self.say("mass, right")
        self.pressAndFinish(self.ui.acceptButton)
        self.ui.targetSelector.currentNode().GetSegmentation().GetNthSegment(0).SetName("Of the first")
        self.ui.targetSelector.setCurrentNode(segmentationFor(node, "Of another reader"))
        self.finish()
        self.say("mass, left")
        self.pressAndFinish(self.ui.acceptButton)
        self.assertEqual([self.steps()[n] for n in (1, 3)], ["2. Accepted into Of the first", "4. Accepted into Tumor"])
