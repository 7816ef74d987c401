"""A question about a view: the answer, how sure it is, what it is about; also where there is none."""

import time
from unittest import mock

import numpy as np
import qt
import slicer
from TextGuidedSegLib.ask_work import kindOf

from leanseg.errors import LeanSegError
from leanseg.request import step
from leanseg.slicer_bridge.nodes import scalarVolumeNode
from leanseg.slicer_bridge.view_picture import pictureOf
from leanseg.volume import VolumeGeometry
from Testing.slicer import gestures
from Testing.slicer.bridge.volumes import underBendingTransform, volumeNode
from Testing.slicer.text_guided_seg.ask_test import IS_IT, WHERE, AskTest
from Testing.slicer.text_guided_seg.panel_test import IJK_TO_RAS, MIDDLE, RIGHT, SHAPE


def half(isRight):
    """Bright in one half of each slice; by a little, so that the model is not certain."""
    array = np.full(SHAPE, 100, np.float32)
    array[:, :, 40:] += 60 if isRight else -60
    array += np.random.default_rng(0).normal(0, 20, SHAPE).astype(np.float32)
    return array


class TestAsk(AskTest):
    def testTheAnswerWithItsProbabilityTypeAndCard(self):
        self.load(half(True))
        self.ask(WHERE)
        self.assertEqual(self.said, "")
        self.assertIn("<b>right</b>", self.answer)
        self.assertRegex(self.answer, r"(\d+|&gt; 99) %$")
        names = [text for text, _value in self.choices()]
        self.assertEqual(names[:2], ["right", "left"])
        self.assertGreater(self.choices()[0][1], 500)
        self.assertIn("position", self.form.typeLabel.text)
        self.assertEqual(self.form.useLabel.text, self.bundle.card.intended_use)
        self.assertTrue(self.form.useLabel.isVisibleTo(self.form.widget))
        self.assertIn(f"{WHERE} (MRI, Red, slice {MIDDLE + 1})", self.form.askedLabel.text)
        self.ask(IS_IT)
        self.assertIn("yes/no", self.form.typeLabel.text)

    def testWhatIsSeenIsWhatIsAsked(self):
        """The gray levels of window and level reach the model, and the slice that the view shows."""
        array = half(True)
        array[2] = array[2, :, ::-1]
        node = self.load(array)
        seen = []
        with mock.patch("leanseg.question_session.QuestionSession", side_effect=self.recorder(seen)):
            self.ask()
            self.panel.dialog.frames.select(2)
            self.ask()
            node.GetDisplayNode().SetAutoWindowLevel(False)
            node.GetDisplayNode().SetWindowLevel(20, 100)
            self.ask()
            self.ask(IS_IT)
        self.assertEqual(len(seen), 3, "a picture is looked at once")
        self.assertEqual([one.array.shape for one in seen], [(1, 1, *SHAPE[1:])] * 3)
        expected = np.rint(255 * np.clip((array[2].astype(float) - 90) / 20, 0, 1))
        np.testing.assert_array_equal(seen[2].array[0, 0], expected)
        self.assertEqual([row[1] for row in self.rows()[:2]], ["right", "left"])
        self.assertEqual([row[4] for row in self.rows()[:2]], ["Red, slice 5", "Red, slice 3"])

    def recorder(self, seen):
        from leanseg.question_session import QuestionSession

        def make(model, volume, **options):
            seen.append(volume)
            return QuestionSession(model, volume, **options)

        return make

    def testItCannotTellAndShowsWhatItThinksOf(self):
        array = np.full(SHAPE, 100, np.float32)
        array[:, :30] = 200
        self.load(array)
        self.ask()
        self.assertEqual(self.answer, "<b>I cannot tell</b>")
        self.assertEqual({text for text, _value in self.choices()}, {"left", "right"})
        self.assertEqual([value for _text, value in self.choices()], [500, 500])
        self.assertIn("50%", self.form.warningsLabel.text)
        self.assertEqual(self.rows()[0][1:3], ["I cannot tell", "50 %"])

    def testTheViewIsThatUnderTheMouseOrTheOneThatIsChosen(self):
        manager = slicer.app.layoutManager()
        manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
        self.load(half(True))
        selector = self.form.viewSelector
        names = [selector.itemText(n) for n in range(selector.count)]
        self.assertEqual(names[1:], ["Red", "Yellow", "Green"])
        for name in ("Green", "Yellow", "Red"):
            gestures.moveTo(manager.sliceWidget(name), (40, 40))
            self.assertEqual(selector.currentText, f"Under the mouse: {name}")
            self.ask()
            self.assertEqual(self.rows()[-1][4].split(",")[0], name)
        self.pick(selector, "Green")
        gestures.moveTo(manager.sliceWidget("Yellow"), (40, 40))
        self.ask()
        self.assertEqual(self.rows()[-1][4].split(",")[0], "Green")
        manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
        self.assertTrue(gestures.waitFor(lambda: selector.count == 2, 2))
        self.assertEqual([selector.itemText(n) for n in range(selector.count)], ["Under the mouse: Red", "Red"])
        self.ask()
        self.assertEqual(self.rows()[-1][4].split(",")[0], "Red")
        with mock.patch("TextGuidedSegLib.ask_views.visibleViews", return_value=[]):  # a layout without slice views
            self.ask()
        self.assertIn("No slice view is shown", self.said)
        self.assertEqual(self.answer[:3], "<b>", "what was answered stays")

    def testWhatCannotBeAskedIsSaidInOneLine(self):
        self.ask()
        self.assertIn("The view Red shows no image", self.said)
        node = self.load(half(True))
        for question, reason in ((" ", "Nothing is asked"), ("Xyzzy qwertz uiop?", "words"), ("bright", "question"),
                                 ("Is it bright " + 500 * "x" + "?", "characters")):  # fmt: skip
            with self.subTest(question=question):
                if question.strip():
                    with self.assertLogs(level="ERROR"):
                        self.ask(question)
                else:
                    self.ask(question)
                self.assertIn(reason, self.said)
                self.assertEqual(self.rows(), [])
        self.red.mrmlSliceNode().SetSliceOffset(900)
        self.ask()
        self.assertIn("Red shows nothing of MRI", self.said)
        underBendingTransform(node)
        self.ask()
        self.assertIn("Harden it first", self.said)

    def testARealColorPictureIsRefusedAndATintedOneIsNot(self):
        gray = half(True)[:1].clip(0, 255).astype(np.uint8)
        color = np.stack([gray, 255 - gray, gray // 2], axis=-1)
        for array, isRefused in ((color, True), (np.stack([gray, gray, gray], axis=-1), False)):
            node = volumeNode(array, np.diag([-1.0, -1, 1, 1]), name="picture")
            slicer.util.setSliceViewerLayers(background=node, fit=True)
            gestures.settle(80)
            self.ask()
            self.assertEqual("color" in self.said, isRefused, self.said)
            self.assertEqual("right" in self.answer, not isRefused)

    def testAnObliqueViewIsAnsweredToo(self):
        self.load(half(True))
        node = self.red.mrmlSliceNode()
        node.SetSliceToRASByNTP(0.3, 0.1, 0.95, 1, 0, 0, 0, 0, 0, 0)
        gestures.settle(50)
        self.ask()
        self.assertIn("right", self.answer)
        self.assertRegex(self.rows()[0][4], r"^Red, -?\d+\.\d mm$")

    def testLeftAndRightAreThePatientsWhereTheImageSaysSo(self):
        """Shown from the other side: a slice of a stack is turned for the model as Slicer usually shows it."""
        self.load(half(True))
        picture = pictureOf(self.red.mrmlSliceNode())
        self.assertEqual(kindOf(picture, ""), "mri")
        self.assertEqual(kindOf(picture, "ultrasound"), "ultrasound")
        self.ask()
        self.assertIn("right", self.answer)
        node = self.red.mrmlSliceNode()
        node.SetSliceToRASByNTP(0, 0, -1, 1, 0, 0, 0, 0, 0, 0)  # seen from above: right is on the right
        gestures.settle(50)
        self.ask()
        self.assertIn("right", self.answer)
        self.pick(self.ui.kindSelector, "Ultrasound")
        self.ask()
        self.assertIn("left", self.answer, "of a picture it is the side that is seen")

    def testAroundASegment(self):
        """The right half is the brighter one; in the segment on the left it is the left."""
        array = half(True)
        array[:, 20:35, 4:16] = 230
        node = self.load(array)
        self.assertFalse(self.form.segmentSelector.enabled)
        self.say("mass, right")
        self.press(self.ui.acceptButton)
        name = next(iter(self.segments()))
        self.ask()
        with mock.patch("leanseg.question_session.QuestionSession", side_effect=self.recorder(seen := [])):
            self.pick(self.form.segmentSelector, f"Around {name}")
            self.ask()
        rows, columns = np.nonzero(self.segments()[name][MIDDLE])
        height, width = seen[0].array.shape[2:]
        self.assertLess(height * width, SHAPE[1] * SHAPE[2])
        wanted = max(1.4 * (columns.max() + 1 - columns.min()), 32)
        self.assertLessEqual(abs(width - wanted), 2 + wanted / 2, "a margin on either side, within the picture")
        self.assertGreaterEqual(height, rows.max() + 1 - rows.min())
        self.assertEqual(self.rows()[1][4], f"Red, slice {MIDDLE + 1}, {name}")
        self.panel.dialog.frames.select(SHAPE[0] - 1)
        self.ask()
        self.assertIn(f"{name} is not in the slice that Red shows", self.said)
        self.assertEqual(len(self.rows()), 2)
        self.ui.targetSelector.currentNode().GetSegmentation().RemoveAllSegments()
        gestures.settle(50)
        self.assertEqual(self.form.segmentSelector.currentText, "The whole view")
        self.assertIsNotNone(node.GetScene())

    def testTheKeys(self):
        self.load(half(True))
        self.write(WHERE)
        self.ui.askCollapsibleButton.collapsed = True
        gestures.key(self.red, qt.Qt.Key_A, shift=True)
        self.finishAsking()
        self.assertIn("right", self.answer)
        self.assertFalse(self.ui.askCollapsibleButton.collapsed)
        gestures.key(self.red, qt.Qt.Key_H, shift=True)
        self.finishAsking()
        self.assertTrue(self.form.heatCheckBox.checked)
        order = [self.form.questionEdit]
        while order[-1] is not self.form.exportButton and len(order) < 80:
            order.append(order[-1].nextInFocusChain())
        names = [one.objectName for one in order if one.objectName.startswith("ask")]
        self.assertEqual(names[:2], ["askQuestionEdit", "askButton"])
        self.assertLess(names.index("askHeatCheckBox"), names.index("askStageSelector"))

    def testCancel(self):
        self.load(half(True))

        def slow(*args):
            for n in range(1000):
                step(args[-1], n, 1000, "looking at the picture")
                time.sleep(0.005)

        self.write(WHERE)
        with mock.patch("TextGuidedSegLib.ask_panel.answered", slow):
            self.press(self.form.askButton)
            self.assertTrue(gestures.waitFor(lambda: self.form.progressBar.value > 2))
            self.assertEqual(self.form.askButton.text, "Cancel")
            gestures.key(self.form.questionEdit, qt.Qt.Key_Return)  # does not cancel
            gestures.settle(50)
            self.assertEqual(self.form.askButton.text, "Cancel")
            self.press(self.form.askButton)
            self.finishAsking()
        self.assertIn("Cancelled", self.said)
        self.assertEqual((self.rows(), self.form.questionEdit.text), ([], WHERE))
        self.press(self.form.askButton)
        self.finishAsking()
        self.assertIn("right", self.answer)

    def testAModelThatCannotBeLoadedIsSaid(self):
        self.load(half(True))
        with (
            mock.patch("leanseg.load_engine", side_effect=LeanSegError("The bundle is damaged. Restore it.")),
            self.assertLogs(level="ERROR"),
        ):
            self.ask()
        self.assertEqual(self.said, "The bundle is damaged. Restore it.")
        self.ask()
        self.assertIn("right", self.answer)

    def again(self):
        """As when another module was shown meanwhile."""
        self.widget.exit()
        self.widget.enter()
        gestures.settle(30)

    def testWithoutAModelItIsSaidAndTheChoosersKeepApart(self):
        for name, ids in (("modelSelector", ["fake"]), ("askModelSelector", ["answers"])):
            selector = self.ui.modelSelector if name == "modelSelector" else self.form.modelSelector
            self.assertEqual([selector.itemData(n) for n in range(selector.count)], ids)
        self.assertNotIn("answers", [card.id for card in self.widget.logic.rankingModels()])
        self.cards = self.cards[:1]
        self.again()
        self.assertIn("No model that answers questions was found. See Environment", self.said)
        self.assertFalse(self.form.askButton.enabled)
        self.assertEqual(self.form.useLabel.text, "")
        self.assertFalse("No model" in self.message)
        self.cards = [self.bundle.card]
        self.again()
        self.assertEqual(self.said, "")
        self.assertEqual(self.ui.modelSelector.count, 0)
        self.missing = ("question_answering",)
        self.again()
        self.assertIn("Something that the models need is missing", self.said)

    def testAVolumeOfOneSliceIsAPicture(self):
        array = half(True)[:1]
        node = scalarVolumeNode("still", array, VolumeGeometry(array.shape, IJK_TO_RAS))
        slicer.util.setSliceViewerLayers(background=node, fit=True)
        gestures.settle(50)
        self.ask()
        self.assertIn("right", self.answer)
        self.assertEqual(self.rows()[0][4], "Red, slice 1")
        self.assertEqual(RIGHT[0].start, 3)
