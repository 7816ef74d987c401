"""Sentences that tell one of several objects apart and that nobody reads: one line, and nothing else changes."""

import numpy as np
import qt

from Testing.slicer import gestures
from Testing.slicer.text_guided_seg.panel_test import MIDDLE, RIGHT, PanelTest, block
from Testing.slicer.text_guided_seg.test_sentences import SentenceTest


class TestRefused(SentenceTest):
    def testWhatCannotBeReadIsRefusedInOneLineAndTheProposalStays(self):
        self.load()
        self.say("mass, left")
        before, steps, asked = self.panel.dialog.proposals, self.steps(), len(self.described)
        for text, line in (
            ("not the leftmost lesion", 'Negation ("not") is not read. Say which object is meant'),
            ("the one with the largest below it", '"with" makes the other object the one that is meant.'),
        ):
            self.say(text)
            self.assertTrue(self.message.startswith(line), self.message)
            self.assertNotIn("\n", self.message)
            self.assertEqual(self.ui.warningsLabel.text, self.message)
            self.assertEqual(self.ui.parsedLabel.text, "nothing, it is not read")
            self.assertIs(self.panel.dialog.proposals, before)
            self.assertEqual(self.steps(), steps)
            self.assertTrue(self.ui.acceptButton.enabled)
        self.assertEqual(len(self.described), asked, "nothing was computed")
        self.say("mass, right")
        np.testing.assert_array_equal(self.mask(), block(RIGHT)[MIDDLE])

    def testWhatCannotBeReadIsRefusedBeforeTheModelIsLoadedToo(self):
        self.load()
        self.say("mass, left")
        before = self.panel.dialog.proposals
        self.type("the one with the largest below it")
        self.panel.dialog._image.session = None
        gestures.key(self.ui.promptEdit, qt.Qt.Key_Return, control=True)
        self.finish()
        self.assertIn("makes the other object the one that is meant", self.message)
        self.assertIs(self.panel.dialog.proposals, before)
        self.assertEqual(self.panel.dialog.conversation.text, "mass, left")

    def testWhatIsADescriptionTooIsTakenForOneAndALineSaysWhy(self):
        self.load()
        self.say("the largest lesion in the upper left")
        self.assertIn("It is taken for a description.", self.ui.warningsLabel.text)
        self.assertEqual(self.described[-1][1], "the largest lesion in the upper left")


class TestWithoutTheModel(PanelTest):
    def testALineSaysWhichModelReadsItAndTheProposalStays(self):
        self.load()
        self.say("mass, left")
        before, asked = self.panel.dialog.proposals, len(self.session.calls)
        for text in ("second lesion from the left", "the one with the largest below it"):
            self.say(text)
            self.assertTrue(self.message.startswith(f'"{text}" tells one object from others'), self.message)
            self.assertIn("Such sentences are read by cm_mask_sd", self.message)
            self.assertEqual(self.ui.warningsLabel.text, self.message)
            self.assertIs(self.panel.dialog.proposals, before)
        self.assertEqual(len(self.session.calls), asked, "nothing was computed")
        self.assertFalse(self.ui.pointingCheckBox.visible)
        self.type("large irregular mass, left")
        self.assertNotIn("cm_mask_sd", self.ui.warningsLabel.text)
