"""Sentences that tell one of several objects apart: who answers, what clicks do then, what the words point at."""

import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import qt
import slicer

from leanseg.errors import BundleError
from Testing.engine.referring_tiny import write_referring_bundle
from Testing.slicer import gestures
from Testing.slicer.text_guided_seg import fake_session
from Testing.slicer.text_guided_seg.panel_test import LEFT, MIDDLE, RIGHT, PanelTest, block, image

POINTED = "Pointed at"


def overlap(mask, other):
    """Dice"""
    return 2 * np.count_nonzero(mask & other) / (np.count_nonzero(mask) + np.count_nonzero(other))


class SentenceTest(PanelTest):
    """With a model that reads which half of the picture a sentence means, beside the one that reads descriptions."""

    folder = None

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = tempfile.TemporaryDirectory()
        cls.bundle = write_referring_bundle(Path(cls.folder.name) / "refers")

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()
        super().tearDownClass()

    def useFake(self):
        super().useFake()
        cards = [fake_session.card(), self.bundle.card]
        cards[0].system = "text_bcs"
        for patch in (
            mock.patch("leanseg.list_models", return_value=cards, create=True),
            mock.patch("leanseg.load_engine", side_effect=self.loadEngine, create=True),
        ):
            patch.start()
            self.addCleanup(patch.stop)

    def loadEngine(self, name, precision):
        from leanseg.api import load_engine

        return load_engine(str(self.bundle.folder), precision=precision) if name == "refers" else (name, precision)

    @property
    def described(self):
        """What the model of descriptions was asked."""
        return self.session.text.calls

    def heatNodes(self):
        nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        return [node for node in nodes if POINTED[:1].lower() + POINTED[1:] in node.GetName()]

    def foreground(self):
        composite = slicer.vtkMRMLSliceLogic.GetSliceCompositeNode(self.red.mrmlSliceNode())
        return composite.GetForegroundVolumeID()


class TestWhoAnswers(SentenceTest):
    def testTheLeftOfThePatientIsOutlinedAndAcceptedAsAnyOther(self):
        self.load()
        self.say("the leftmost lesion")
        self.assertGreater(overlap(self.mask(), block(LEFT)[MIDDLE]), 0.85)
        self.assertEqual(self.described, [])
        line = "refers answers, for this tells one of several by place. In the picture: The rightmost lesion."
        self.assertEqual(self.ui.parsedLabel.text, line)
        self.assertIn('Heard: "The rightmost lesion."', self.message)
        mask = self.mask()
        self.pressAndFinish(self.ui.acceptButton)
        np.testing.assert_array_equal(self.segments()["Tumor"][MIDDLE], mask)
        self.pressAndFinish(self.ui.undoStepButton)
        np.testing.assert_array_equal(self.mask(), mask)
        self.pressAndFinish(self.ui.undoStepButton)
        self.assertEqual(self.panel.dialog.proposals, {})

    def testTheStructureSaysNothingOfSuchASentenceAndADescriptionIsReadAsBefore(self):
        self.load()
        self.type("the second lesion from the left")
        self.assertFalse(any(button.checked for button in self.panel.editor.grid.buttons))
        self.say("large mass, left")
        self.assertEqual(self.described[-1][1], "large mass, left")
        self.assertEqual(self.ui.sizeSelector.currentData, "large")
        np.testing.assert_array_equal(self.mask(), block(LEFT)[MIDDLE])

    def testOfAVolumeOnlyTheShownSliceIsAsked(self):
        self.load()
        self.pick(self.ui.scopeSelector, "Whole volume")
        self.say("the rightmost one")
        self.assertEqual(list(self.panel.dialog.proposals), [MIDDLE])
        self.assertIn(f"in slice {MIDDLE + 1}", self.steps()[-1])
        self.say("mass")
        self.assertEqual(self.described[-1][0], list(range(8)))

    def testASentenceThatIsSaidBeforeTheModelIsLoadedAsksTheShownSliceOnlyToo(self):
        self.load()
        self.pick(self.ui.scopeSelector, "Whole volume")
        for text, slices in (("the rightmost one", [MIDDLE]), ("mass", list(range(8)))):
            self.type(text)
            self.panel.dialog._image.session = None
            gestures.key(self.ui.promptEdit, qt.Qt.Key_Return, control=True)
            self.finish()
            self.assertEqual(list(self.panel.dialog.proposals), slices)

    def testWhatIsToBeKnownOfTheResultIsALineOnceAndInItsSlice(self):
        line = "Of 2 objects the words fit more than one equally well; the network's choice is shown."

        def open_(found, *_args):
            from leanseg.inference.chosen_object import Decision

            return Decision(found.probability, "", line)

        self.load()
        with mock.patch("leanseg.referring_session.decide", open_):
            self.say("the letfmost lesion")
        self.assertEqual(self.message.count(line), 1)
        self.assertNotIn("is read as", self.message, "that is said beside the prompt")
        self.assertIn("is read as", self.ui.warningsLabel.text)
        self.panel.dialog.frames.select(0)
        gestures.settle(30)
        self.assertNotIn(line, self.message)

    def testEmptyForeignAndLongTextsStayWithTheModelOfDescriptions(self):
        self.load()
        for text in ("", "die größte Läsion links", "the largest lesion " * 40):
            self.say(text)
            self.assertEqual(self.described[-1][1], text)
        self.assertEqual(self.heatNodes(), [])

    def testWhatIsNotThereIsALineAndNothingToAccept(self):
        self.load()
        self.say("the fourth lesion from the left")
        self.assertIn("There is no such object (probability to exist 0.00", self.message)
        self.assertFalse(self.ui.acceptButton.enabled)

    def testASliceWithoutAnythingIsALine(self):
        array = image()
        array[MIDDLE] = 7
        self.load(array)
        self.say("the leftmost lesion")
        self.assertIn("The slice is empty: every value is 7.", self.message)
        self.assertFalse(self.ui.acceptButton.enabled)

    def testAModelThatCannotBeLoadedIsALineAndTheSceneStaysAsItWas(self):
        self.load()
        self.say("mass")
        before, nodes = self.panel.dialog.proposals, slicer.mrmlScene.GetNumberOfNodes()

        def damaged(name, precision):
            raise BundleError(f"{name} is damaged. Restore the bundle.")

        with mock.patch.object(self, "loadEngine", damaged), mock.patch("leanseg.load_engine", damaged):
            self.say("the leftmost lesion")
        self.assertEqual(self.message, "refers is damaged. Restore the bundle.")
        self.assertIs(self.panel.dialog.proposals, before)
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodes(), nodes)
        self.say("the leftmost lesion")
        self.assertGreater(overlap(self.mask(), block(LEFT)[MIDDLE]), 0.85)


class TestClicksAfterwards(SentenceTest):
    def testAClickCorrectsTheMaskOfTheSentenceAndUndoBringsItBack(self):
        self.load()
        self.say("the rightmost lesion")
        first = self.mask()
        self.assertGreater(overlap(first, block(RIGHT)[MIDDLE]), 0.85)
        self.press(self.ui.positiveButton)
        self.clickAt(MIDDLE, 45, 40)
        slices, text, _hints, earlier = self.described[-1]
        self.assertEqual((slices, text, earlier), ([MIDDLE], "", [MIDDLE]))
        self.assertTrue(self.mask()[45, 40])
        self.assertTrue(self.mask()[first].all())
        self.assertFalse(self.ui.pointingCheckBox.visible)
        self.pressAndFinish(self.ui.undoStepButton)
        np.testing.assert_array_equal(self.mask(), first)
        self.assertTrue(self.ui.pointingCheckBox.visible)


class TestWhatTheWordsPointAt(SentenceTest):
    def testItIsOffUntilItIsChosenAndGoesWithTheProposal(self):
        self.load()
        before = self.foreground()
        self.assertFalse(self.ui.pointingCheckBox.visible)
        self.say("the leftmost lesion")
        self.assertTrue(self.ui.pointingCheckBox.visible)
        self.assertFalse(self.ui.pointingCheckBox.checked)
        self.assertFalse(self.ui.pointingSelector.enabled)
        self.assertEqual(self.heatNodes(), [])
        gestures.key(self.ui.pointingCheckBox, qt.Qt.Key_Space)
        [node] = self.heatNodes()
        self.assertEqual(self.foreground(), node.GetID())
        self.assertFalse(node.GetSaveWithScene())
        self.assertFalse(self.panel._shown._overlay.isVisible, "one of the two at a time")
        heat = slicer.util.arrayFromVolume(node)[0]
        self.assertEqual(heat.shape, (60, 80))
        self.assertGreater(heat[block(LEFT)[MIDDLE]].mean(), 0.5)
        self.assertLess(heat[block(RIGHT)[MIDDLE]].max(), 0.1)
        self.pressAndFinish(self.ui.rejectButton)
        self.assertEqual(self.heatNodes(), [])
        self.assertFalse(self.ui.pointingCheckBox.visible)
        self.assertEqual(self.foreground(), before)
        self.say("the leftmost lesion")
        self.assertFalse(self.ui.pointingCheckBox.checked)

    def testEachWordHasItsOwn(self):
        self.load()
        self.say("the lesion below the leftmost one")
        offered = [self.ui.pointingSelector.itemText(n) for n in range(self.ui.pointingSelector.count)]
        self.assertEqual(offered, ["Whole sentence", "the", "lesion", "below", "the", "rightmost", "one"])
        gestures.key(self.ui.pointingCheckBox, qt.Qt.Key_Space)
        self.pick(self.ui.pointingSelector, "rightmost")
        [node] = self.heatNodes()
        heat = slicer.util.arrayFromVolume(node)[0]
        self.assertGreater(heat[:, 50:].min(), 0.9)
        self.assertLess(heat[:, :30].max(), 0.1)
        self.pick(self.ui.pointingSelector, "below")
        heat = slicer.util.arrayFromVolume(node)[0]
        self.assertGreater(heat[45:].min(), 0.9)
        self.assertLess(heat[:15].max(), 0.1)
        self.assertEqual(len(self.heatNodes()), 1)

    def testUncertaintyIsThereAgainWhereItIsSwitchedOff(self):
        self.load()
        self.say("the leftmost lesion")
        shown = self.panel._shown
        self.assertTrue(shown._overlay.isVisible)
        gestures.key(self.ui.pointingCheckBox, qt.Qt.Key_Space)
        gestures.key(self.ui.pointingCheckBox, qt.Qt.Key_Space)
        self.assertTrue(shown._overlay.isVisible)
        self.assertEqual(self.foreground(), shown._overlay.node.GetID())
        self.assertEqual(self.heatNodes(), [])
        gestures.key(self.ui.pointingCheckBox, qt.Qt.Key_Space)
        self.say("mass, left")
        self.assertEqual(self.heatNodes(), [])
        self.assertFalse(self.ui.pointingCheckBox.visible)

    def testAnotherImageTakesItAway(self):
        first = self.load()
        self.say("the leftmost lesion")
        gestures.key(self.ui.pointingCheckBox, qt.Qt.Key_Space)
        self.load(name="Other")
        self.assertEqual(self.heatNodes(), [])
        self.assertFalse(self.ui.pointingCheckBox.visible)
        slicer.mrmlScene.RemoveNode(first)
