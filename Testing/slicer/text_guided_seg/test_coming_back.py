"""Back to what was proposed: after Cancel, undo and redo, and where a conversation is opened again."""

import numpy as np

from Testing.slicer import gestures
from Testing.slicer.text_guided_seg.panel_test import MIDDLE, RIGHT, PanelTest, addImage, block


def square(j, i):
    """(j, i) bool: what a click adds, 3 voxels around it."""
    mask = np.zeros_like(block()[MIDDLE])
    mask[j - 3 : j + 4, i - 3 : i + 4] = True
    return mask


class TestComingBack(PanelTest):
    def click(self, j, i):
        self.panel.tools.hold("positive")
        self.clickAt(MIDDLE, j, i)

    def reopen(self, node):
        """Choose another image, then this one again."""
        self.ui.inputSelector.setCurrentNode(addImage(name="Other"))
        self.finish()
        self.ui.inputSelector.setCurrentNode(node)
        self.finish()

    def testCancelBringsTheProposalBackAlsoAfterAnotherKindWasChosenMeanwhile(self):
        self.load()
        self.say("mass, right")
        self.pick(self.ui.scopeSelector, "Whole volume")
        self.session.delay = 0.3
        self.type("mass, left")
        self.press(self.ui.applyButton)
        self.ui.kindSelector.setCurrentIndex(self.ui.kindSelector.findData("mri"))
        self.assertTrue(self.panel.dialog.isRunning)
        self.pressAndFinish(self.ui.applyButton)
        np.testing.assert_array_equal(self.mask(), block(RIGHT)[MIDDLE])
        self.pressAndFinish(self.ui.undoStepButton)
        self.pressAndFinish(self.ui.redoStepButton)
        np.testing.assert_array_equal(self.mask(), block(RIGHT)[MIDDLE])

    def testWhatWasCancelledAtAnUndoIsComputedAtTheNext(self):
        self.load()
        self.say("mass, right")
        self.click(50, 70)
        self.panel.dialog._kept.clear()  # as if the conversation was longer than what is kept
        self.session.delay = 0.5
        self.press(self.ui.undoStepButton)
        self.assertTrue(self.panel.dialog.isRunning)
        self.press(self.ui.applyButton)
        self.assertEqual(self.panel.dialog.proposals, {})
        self.session.delay = 0
        self.finish()
        for button, expected in (
            (self.ui.redoStepButton, block(RIGHT)[MIDDLE] | square(50, 70)),
            (self.ui.undoStepButton, block(RIGHT)[MIDDLE]),
        ):
            self.pressAndFinish(button)
            np.testing.assert_array_equal(self.mask(), expected)

    def testAClickWhereTheProposalIsNotKnownCorrectsWhatThePromptFinds(self):
        self.load()
        self.say("mass, right")
        self.click(50, 70)
        self.panel.dialog._kept.clear()
        self.session.delay = 0.5
        self.press(self.ui.undoStepButton)
        self.press(self.ui.applyButton)
        self.session.delay = 0
        self.finish()
        self.click(50, 40)
        np.testing.assert_array_equal(self.mask(), block(RIGHT)[MIDDLE] | square(50, 40))

    def testAnOpenedConversationHasItsProposalAgain(self):
        """Step by step: each click corrects what the ones before have made of the prompt."""
        node = self.load()
        self.say("mass, right")
        self.click(50, 70)
        self.click(50, 40)
        expected = block(RIGHT)[MIDDLE] | square(50, 70) | square(50, 40)
        np.testing.assert_array_equal(self.mask(), expected)
        self.reopen(node)
        np.testing.assert_array_equal(self.mask(), expected)
        self.assertTrue(self.ui.acceptButton.enabled)
        calls = len(self.session.calls)
        self.pressAndFinish(self.ui.undoStepButton)
        np.testing.assert_array_equal(self.mask(), block(RIGHT)[MIDDLE] | square(50, 70))
        self.assertEqual(len(self.session.calls), calls)  # it was computed on the way

    def testAPromptBeginsAnewAlsoWhenItIsComputedAgain(self):
        node = self.load()
        self.say("mass, right")
        self.click(50, 70)
        self.panel.dialog.frames.select(3)
        gestures.settle(50)
        self.say("mass, right")
        self.assertEqual(list(self.panel.dialog.proposals), [3])
        self.reopen(node)
        self.assertEqual(list(self.panel.dialog.proposals), [3])

    def testADecidedConversationIsOpenedWithoutAProposal(self):
        node = self.load()
        self.say("mass, right")
        self.pressAndFinish(self.ui.acceptButton)
        self.reopen(node)
        self.assertEqual(self.panel.dialog.proposals, {})
        self.assertEqual(self.session.calls, [])
