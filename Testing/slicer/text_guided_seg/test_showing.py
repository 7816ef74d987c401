"""Clicks, boxes and strokes in views of any orientation; and what gets a line instead of a result."""

import numpy as np
import qt
import slicer

from Testing.slicer import gestures
from Testing.slicer.text_guided_seg.panel_test import MIDDLE, PanelTest, addImage, image, ras


class TestShowing(PanelTest):
    def hints(self):
        return self.panel.dialog.conversation.hints

    def testAClickInAViewAcrossTheSlicesIsAtItsVoxel(self):
        self.load()
        yellow = slicer.app.layoutManager().sliceWidget("Yellow")
        slicer.vtkMRMLSliceNode.JumpAllSlices(slicer.mrmlScene, *ras(MIDDLE, 30, 40), 0)
        gestures.settle(50)
        self.press(self.ui.positiveButton)
        self.clickAt(5, 12, 40, view="Yellow")
        [click] = self.hints().clicks
        np.testing.assert_allclose(click.kji, (5, 12, 40), atol=0.6)
        self.assertEqual(self.session.calls[-1][0], [5])
        self.assertEqual(self.session.calls[-1][1], "")  # nothing was said: the click alone
        self.assertEqual(yellow.mrmlSliceNode().GetName(), "Yellow")

    def testABoxIsDrawnInTheViewAlongTheSlicesOnly(self):
        self.load()
        self.press(self.ui.boxButton)
        self.dragThrough((MIDDLE, 18, 8), (MIDDLE, 25, 15), (MIDDLE, 40, 30))
        [box] = self.hints().boxes
        self.assertEqual(box.k, MIDDLE)
        np.testing.assert_allclose((box.j0, box.i0, box.j1, box.i1), (18, 8, 40, 30), atol=0.6)
        slicer.vtkMRMLSliceNode.JumpAllSlices(slicer.mrmlScene, *ras(MIDDLE, 30, 40), 0)
        gestures.settle(50)
        self.dragThrough((2, 10, 40), (6, 30, 40), view="Yellow")
        self.assertIn("view along the slices", self.message)
        self.assertEqual(len(self.hints().boxes), 1)

    def testAStrokeKeepsItsWay(self):
        self.load()
        self.press(self.ui.positiveStrokeButton)
        self.dragThrough((MIDDLE, 20, 10), (MIDDLE, 20, 30), (MIDDLE, 40, 30))
        [stroke] = self.hints().scribbles
        self.assertTrue(stroke.positive)
        np.testing.assert_allclose(stroke.points_kji, [(MIDDLE, 20, 10), (MIDDLE, 20, 30), (MIDDLE, 40, 30)], atol=0.6)
        self.assertIn("Stroke in tumor", self.steps()[-1])

    def testMarksAreThereForEveryHintAndGoWithIt(self):
        self.load()
        self.press(self.ui.positiveButton)
        self.clickAt(MIDDLE, 30, 40)
        self.press(self.ui.boxButton)
        self.dragThrough((MIDDLE, 18, 8), (MIDDLE, 40, 30))
        self.assertEqual(len(slicer.util.getNodesByClass("vtkMRMLMarkupsNode")), 2)
        for node in slicer.util.getNodesByClass("vtkMRMLMarkupsNode"):
            self.assertFalse(node.GetSaveWithScene())
            self.assertTrue(node.GetHideFromEditors())
        self.pressAndFinish(self.ui.rejectButton)
        self.assertEqual(len(slicer.util.getNodesByClass("vtkMRMLMarkupsNode")), 0)

    def testTheToolIsPutAwayWhereThePersonTakesAnother(self):
        self.load()
        self.press(self.ui.positiveButton)
        self.press(self.ui.negativeButton)
        self.assertEqual(self.panel.tools.held, "negative")
        self.assertFalse(self.ui.positiveButton.checked)
        slicer.app.applicationLogic().GetInteractionNode().SetCurrentInteractionMode(
            slicer.vtkMRMLInteractionNode.Place
        )
        self.assertEqual(self.panel.tools.held, "")
        slicer.app.applicationLogic().GetInteractionNode().SetCurrentInteractionMode(
            slicer.vtkMRMLInteractionNode.ViewTransform
        )
        self.press(self.ui.negativeButton)
        self.press(self.ui.negativeButton)
        self.assertEqual(self.panel.tools.held, "")
        steps = len(self.steps())
        self.clickAt(MIDDLE, 30, 40)
        self.assertEqual(len(self.steps()), steps)

    def testTheWheelStaysSlicersWhileAToolIsHeld(self):
        self.load()
        self.press(self.ui.positiveButton)
        before = self.red.mrmlSliceNode().GetSliceOffset()
        gestures.wheel(self.red, 1)
        self.assertNotEqual(self.red.mrmlSliceNode().GetSliceOffset(), before)

    def testClicksMadeWhileTheModelWorksAllCount(self):
        self.load()
        self.say("mass")
        self.session.delay = 0.3
        self.press(self.ui.positiveButton)
        for j, i in ((50, 10), (50, 40), (50, 70)):
            gestures.click(self.red, gestures.pointInView(self.red, ras(MIDDLE, j, i)))
        self.finish()
        self.assertEqual(len(self.session.calls[-1][2].clicks), 3)
        for j, i in ((50, 10), (50, 40), (50, 70)):
            self.assertTrue(self.mask()[j, i])


class TestBadInput(PanelTest):
    def check(self, *parts):
        """One line, with these parts; and nothing was added."""
        self.assertNotIn("\n", self.message)
        for part in parts:
            self.assertIn(part, self.message)

    def testAClickOutsideOfTheImage(self):
        self.load()
        self.press(self.ui.positiveButton)
        self.clickAt(MIDDLE, -5, 40)
        self.check("outside the image")
        self.assertEqual(self.steps(), [])

    def testABoxOfNoArea(self):
        self.load()
        self.press(self.ui.boxButton)
        self.clickAt(MIDDLE, 20, 20)
        self.check("no area")
        self.assertEqual(self.steps(), [])

    def testAPlaceThatIsTumorAndIsNot(self):
        self.load()
        self.press(self.ui.positiveButton)
        self.clickAt(MIDDLE, 20, 20)
        self.press(self.ui.negativeButton)
        self.clickAt(MIDDLE, 20, 20)
        self.check("marked as tumor and as no tumor")
        self.assertEqual(len(self.steps()), 1)

    def testAnEmptyPromptLooksForAnyTumor(self):
        self.load()
        self.say("")
        self.assertEqual(self.session.calls[-1][1], "")
        self.assertTrue(self.mask().any())
        self.assertIn("any tumor", self.steps()[0])

    def testATextOfTenThousandCharactersIsCutAndSaidSo(self):
        self.load()
        self.type("mass " * 2000)
        self.assertIn("10000 characters", self.ui.warningsLabel.text)
        self.assertFalse(self.ui.warningsLabel.isHidden())

    def testOtherLanguagesAndOrgansAreSaidToBeNotUnderstood(self):
        self.load()
        for text in ("опухоль справа", "😀", "lesion of the liver"):
            self.type(text)
            self.assertTrue(self.ui.warningsLabel.text, text)
        self.type("mass, right")
        self.assertEqual(self.ui.warningsLabel.text, "")
        self.assertTrue(self.ui.warningsLabel.isHidden())

    def testWhatTheImageSaysAboutThePromptIsSaid(self):
        self.load()
        self.type("mass on CT")
        self.assertIn("This is no CT.", self.ui.warningsLabel.text)

    def testAnotherModalityIsWarnedAbout(self):
        self.load()
        self.session.warnings = ("This looks like ultrasound, not like MRI.",)
        self.panel.showState()
        self.assertIn("looks like ultrasound", self.message)

    def testWhatIsAbsentHasAnEmptyMaskAndAReason(self):
        self.load()
        self.say("no visible tumor")
        self.assertFalse(self.mask().any())
        self.assertFalse(self.ui.acceptButton.enabled)
        self.assertTrue(self.ui.rejectButton.enabled)
        self.check("not in this slice")

    def testASequenceIsRefusedInOneLine(self):
        node = addImage()
        browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode")
        sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode")
        frame = addImage(image()[:1])
        for number in range(2):
            sequence.SetDataNodeAtValue(frame, str(number))
        browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
        browser.AddProxyNode(frame, sequence, False)
        self.ui.inputSelector.setCurrentNode(frame)
        self.finish()
        self.check("shows a sequence")
        self.assertFalse(self.ui.applyButton.enabled)
        self.ui.inputSelector.setCurrentNode(node)
        self.finish()
        self.assertTrue(self.ui.applyButton.enabled)

    def testWithoutAModelItIsSaidWhatToDo(self):
        from unittest import mock

        with mock.patch("leanseg.list_models", return_value=[], create=True):
            slicer.util.selectModule("Data")
            slicer.util.selectModule("TextGuidedSeg")
            addImage()
            self.ui.inputSelector.setCurrentNode(addImage())
            gestures.settle(100)
            self.assertFalse(self.ui.applyButton.enabled)
            self.check("No model that is guided by text")
            gestures.key(self.ui.promptEdit, qt.Qt.Key_Return, control=True)
            self.assertEqual(self.steps(), [])


class TestInterruptions(PanelTest):
    def testCancelTakesTheStepBack(self):
        self.load()
        self.say("mass, right")
        self.session.delay = 1
        self.pick(self.ui.scopeSelector, "Whole volume")
        self.type("mass, left")
        self.press(self.ui.applyButton)
        self.assertEqual(self.ui.applyButton.text, "Cancel")
        self.press(self.ui.applyButton)
        self.assertEqual(self.ui.applyButton.text, "Apply")
        self.assertIn("Cancelled", self.message)
        self.session.delay = 0
        self.finish()
        self.assertTrue(self.mask()[25, 15])
        self.assertEqual(self.panel.dialog.conversation.text, "mass, right")

    def testAnErrorOfTheModelIsOneLineAndTakesTheStepBack(self):
        from leanseg.errors import LeanSegError

        self.load()

        def fail(*_args):
            raise LeanSegError("The bundle is damaged. Restore it.")

        self.session.propose = fail
        self.say("mass")
        self.assertEqual(self.message, "The bundle is damaged. Restore it.")
        self.assertEqual(self.panel.dialog.conversation.steps, ())

    def testTheImageIsRemovedWhileTheModelWorks(self):
        node = self.load()
        self.session.delay = 0.5
        self.type("mass")
        self.press(self.ui.applyButton)
        slicer.mrmlScene.RemoveNode(node)
        gestures.settle(100)
        self.assertIn("was removed", self.message)
        self.assertEqual(self.steps(), [])
        self.assertEqual(len(slicer.util.getNodesByClass("vtkMRMLMarkupsNode")), 0)

    def testTheSceneIsClosedWhileTheModelWorks(self):
        self.load()
        self.session.delay = 0.5
        self.type("mass")
        self.press(self.ui.applyButton)
        slicer.mrmlScene.Clear(0)
        gestures.settle(100)
        self.assertIn("The scene was closed", self.message)

    def testAnotherImageHasAnotherConversationAndTheFirstOneComesBack(self):
        first = self.load()
        self.say("mass, right")
        second = addImage(name="Other")
        self.ui.inputSelector.setCurrentNode(second)
        self.finish()
        self.assertEqual(self.steps(), [])
        self.assertEqual(self.ui.promptEdit.plainText, "")
        self.ui.inputSelector.setCurrentNode(first)
        self.finish()
        self.assertEqual(len(self.steps()), 1)
        self.assertEqual(self.ui.promptEdit.plainText, "mass, right")

    def testAnImageThatHasChangedIsNotAccepted(self):
        node = self.load()
        self.say("mass, right")
        slicer.util.arrayFromVolume(node)[MIDDLE] = 0
        slicer.util.arrayFromVolumeModified(node)
        gestures.settle(50)
        self.press(self.ui.acceptButton)
        self.finish()
        self.assertIn("has changed", self.message)
        self.assertEqual(self.segments(), {})

    def testReloadingKeepsWhatWasSaid(self):
        self.load()
        self.say("mass, right")
        self.widget.onReload()
        self.takePanel()
        self.finish()
        self.assertEqual(len(self.steps()), 1)
        self.assertEqual(self.ui.promptEdit.plainText, "mass, right")
