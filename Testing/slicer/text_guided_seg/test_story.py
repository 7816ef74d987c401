"""The story of the module: say, look, answer questions, accept, undo, redo, save, reload."""

import tempfile
from pathlib import Path

import numpy as np
import qt
import slicer

from Testing.slicer import gestures
from Testing.slicer.text_guided_seg.panel_test import LEFT, MIDDLE, RIGHT, PanelTest, block


class TestStory(PanelTest):
    def testWhatIsSaidIsOutlinedAndAcceptedIntoASegmentThatUndoTakesBack(self):
        self.load()
        self.say("large irregular mass, right")
        np.testing.assert_array_equal(self.mask(), block(RIGHT)[MIDDLE])
        self.assertTrue(self.outline().isVisible)
        self.assertEqual(self.steps(), ['1. "large irregular mass, right" in slice 5'])
        self.pressAndFinish(self.ui.acceptButton)
        expected = np.zeros_like(block())
        expected[MIDDLE] = block(RIGHT)[MIDDLE]
        np.testing.assert_array_equal(self.segments()["Tumor"], expected)
        self.assertFalse(self.outline().isVisible)
        self.assertIn("Ctrl+Z", self.message)
        self.ui.correctCollapsibleButton.collapsed = False
        gestures.settle(50)
        self.press(slicer.util.findChild(self.editor, "UndoButton"))
        self.assertEqual(self.segments(), {})
        self.press(slicer.util.findChild(self.editor, "RedoButton"))
        np.testing.assert_array_equal(self.segments()["Tumor"], expected)

    def testTheQuestionJumpsThereSaysWhyAndTakesTheAnswer(self):
        self.load()
        self.say("mass, right")
        before = self.mask().copy()
        self.press(self.ui.questionButton)
        self.finish()
        self.assertIn("The edge is blurred here.", self.ui.questionLabel.text)
        offset = self.red.mrmlSliceNode().GetSliceOffset()
        self.assertAlmostEqual(offset, -8 + 2 * MIDDLE, delta=0.01)
        yellow = slicer.app.layoutManager().sliceWidget("Yellow").mrmlSliceNode()
        self.assertAlmostEqual(yellow.GetSliceToRAS().GetElement(0, 3), 40 - 10, delta=0.01)  # R of column 10
        self.pressAndFinish(self.ui.noButton)
        expected = before.copy()
        expected[17:24, 7:14] = False  # 3 voxels around row 20, column 10
        np.testing.assert_array_equal(self.mask(), expected)
        self.assertEqual(self.ui.questionLabel.text, "")

    def testThereIsNoQuestionWhereNothingIsUncertain(self):
        self.load()
        self.say("mass, right")
        for _time in range(2):  # the second time, the only place was asked about
            self.press(self.ui.questionButton)
            self.finish()
        self.assertIn("Nothing is uncertain enough", self.ui.questionLabel.text)
        self.assertFalse(self.ui.yesButton.enabled)

    def testEveryStepIsUndoneAndRedone(self):
        self.load()
        self.say("mass, right")
        said = self.mask().copy()
        self.press(self.ui.positiveButton)
        self.clickAt(MIDDLE, 50, 70)
        clicked = self.mask().copy()
        self.assertEqual(np.count_nonzero(clicked) - np.count_nonzero(said), 49)
        self.say("mass, left")
        self.assertEqual(self.steps()[2], '3. "mass, left" in slice 5')
        calls = len(self.session.calls)
        self.pressAndFinish(self.ui.undoStepButton)
        np.testing.assert_array_equal(self.mask(), clicked)
        self.assertEqual(self.ui.promptEdit.plainText, "mass, right")
        self.pressAndFinish(self.ui.undoStepButton)
        np.testing.assert_array_equal(self.mask(), said)
        self.pressAndFinish(self.ui.undoStepButton)
        self.assertEqual(self.panel.dialog.proposals, {})
        self.assertFalse(self.outline().isVisible)
        self.assertFalse(self.ui.undoStepButton.enabled)
        for expected in (said, clicked):
            self.pressAndFinish(self.ui.redoStepButton)
            np.testing.assert_array_equal(self.mask(), expected)
        self.assertEqual(len(self.session.calls), calls)  # what was there is shown again, not computed again

    def testSeveralLesionsGoIntoSeveralSegmentsOfSeveralColors(self):
        node = self.load()
        self.say("mass, right")
        self.pressAndFinish(self.ui.acceptButton)
        self.say("mass, left")
        self.pressAndFinish(self.ui.acceptButton)
        segments = self.segments()
        self.assertEqual(list(segments), ["Tumor", "Tumor 2"])
        np.testing.assert_array_equal(segments["Tumor 2"][MIDDLE], block(LEFT)[MIDDLE])
        segmentation = self.ui.targetSelector.currentNode().GetSegmentation()
        self.assertNotEqual(segmentation.GetNthSegment(0).GetColor(), segmentation.GetNthSegment(1).GetColor())
        self.assertIs(self.panel.volume, node)
        self.assertEqual(self.steps()[1], "2. Accepted into Tumor")

    def testAcceptIntoASegmentAddsToItOrReplacesIt(self):
        self.load()
        self.say("mass, right")
        self.pressAndFinish(self.ui.acceptButton)
        self.say("mass, left")
        self.choose("Add to Tumor")
        np.testing.assert_array_equal(self.segments()["Tumor"][MIDDLE], block(RIGHT, LEFT)[MIDDLE])
        self.say("mass, left")
        self.choose("Replace Tumor in these slices")
        np.testing.assert_array_equal(self.segments()["Tumor"][MIDDLE], block(LEFT)[MIDDLE])
        self.assertEqual(list(self.segments()), ["Tumor"])

    def choose(self, text):
        """In the menu of Accept into segment...; it is filled when it is about to show."""
        menu = self.panel.decision.menu
        self.panel.decision.fillMenu()
        [action] = [action for action in menu.actions() if action.text == text]
        action.trigger()
        self.finish()

    def testRejectRemovesTheProposalAndUndoBringsItBack(self):
        self.load()
        self.say("mass, right")
        self.pressAndFinish(self.ui.rejectButton)
        self.assertFalse(self.outline().isVisible)
        self.assertEqual(self.steps()[-1], "2. Rejected")
        self.assertFalse(self.ui.acceptButton.enabled)
        self.pressAndFinish(self.ui.undoStepButton)
        np.testing.assert_array_equal(self.mask(), block(RIGHT)[MIDDLE])

    def testTheConversationIsSavedWithTheSceneAndGoesOnAfterLoading(self):
        self.load()
        self.say("mass, right")
        self.press(self.ui.positiveButton)
        self.clickAt(MIDDLE, 50, 70)
        self.pressAndFinish(self.ui.undoStepButton)
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "scene.mrb")
            self.assertTrue(slicer.util.saveScene(path))
            slicer.mrmlScene.Clear(0)
            gestures.settle(50)
            self.assertEqual(self.steps(), [])
            slicer.util.loadScene(path)
            gestures.settle(200)
            self.finish()
        self.assertEqual(self.steps(), ['1. "mass, right" in slice 5', "2. Tumor at a point of slice 5"])
        self.assertEqual(self.ui.promptEdit.plainText, "mass, right")
        np.testing.assert_array_equal(self.mask(), block(RIGHT)[MIDDLE])  # no mask is saved, it is computed again
        self.pressAndFinish(self.ui.redoStepButton)
        expected = block(RIGHT)[MIDDLE]
        expected[47:54, 67:74] = True
        np.testing.assert_array_equal(self.mask(), expected)

    def testTheConversationIsExportedAsJson(self):
        import json

        self.load()
        self.say("mass, right")
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "talk")
            original = qt.QFileDialog.getSaveFileName
            qt.QFileDialog.getSaveFileName = staticmethod(lambda *_args: path)
            try:
                self.press(self.ui.exportButton)
            finally:
                qt.QFileDialog.getSaveFileName = original
            values = json.loads(Path(path + ".json").read_text(encoding="utf-8"))
        self.assertEqual(values["steps"], [{"kind": "prompt", "text": "mass, right", "first_k": 4, "last_k": 4}])

    def testAnEarlierPromptIsRecalled(self):
        self.load()
        self.say("mass, right")
        self.say("mass, left")
        self.assertEqual([self.ui.historySelector.itemText(n) for n in range(2)], ["mass, left", "mass, right"])
        self.panel.steps._onHistory(1)
        self.assertEqual(self.ui.promptEdit.plainText, "mass, right")

    def testBlinkShowsTheTwoResultsInTurn(self):
        self.load()
        self.say("mass, right")
        self.assertFalse(self.ui.blinkButton.enabled)
        self.say("mass, left")
        self.press(self.ui.blinkButton)
        self.assertIn('Earlier prompt: "mass, right"', self.message)
        self.assertTrue(gestures.waitFor(lambda: 'Last prompt: "mass, left"' in self.message, 3))
        self.press(self.ui.blinkButton)
        self.assertNotIn("prompt:", self.message)
        np.testing.assert_array_equal(self.mask(), block(LEFT)[MIDDLE])
