"""The prompt as text and as a structure: each changes the other, in the directions of the patient."""

import numpy as np
import slicer
from TextGuidedSegLib.location_grid import cellOf, placeOf

from leanseg.prompts.directions import PictureFrame
from leanseg.prompts.structure import Location
from Testing.slicer import gestures
from Testing.slicer.text_guided_seg.panel_test import IJK_TO_RAS, LEFT, MIDDLE, RIGHT, PanelTest, block, image


class TestPrompt(PanelTest):
    def pressed(self):
        """Labels of the places that are pressed."""
        return [button.text for button in self.panel.editor.grid.buttons if button.checked]

    def button(self, text):
        [found] = [button for button in self.panel.editor.grid.buttons if button.text == text]
        return found

    def testTypingFillsTheStructureAndSaysWhatWasUnderstood(self):
        self.load()
        self.type("2 small oval masses, upper right and left")
        self.assertEqual(self.ui.numberSelector.currentData, "two")
        self.assertEqual(self.ui.shapeSelector.currentData, "oval")
        self.assertEqual(self.ui.sizeSelector.currentData, "small")
        self.assertIn("two · oval", self.ui.parsedLabel.text)
        self.assertTrue({"AR"} <= set(self.pressed()), self.pressed())

    def testTheGridIsThatOfThePictureAndTheWordsAreThoseOfThePatient(self):
        """In an axial picture the patient's right is on the left, and anterior is at the top."""
        self.load()
        labels = [button.text for button in self.panel.editor.grid.buttons]
        self.assertEqual(labels, ["AR", "A", "AL", "R", "•", "L", "PR", "P", "PL"])
        self.press(self.button("R"))
        self.assertEqual(self.ui.promptEdit.plainText, "Mass, right.")
        self.press(self.button("AL"))
        self.assertEqual(self.pressed(), ["AL", "R"])
        self.press(self.button("R"))
        self.assertEqual(self.ui.promptEdit.plainText, "Mass, upper left.")
        self.press(self.button("AL"))
        self.assertEqual(self.ui.promptEdit.plainText, "")

    def testOfAnUltrasoundImageLeftIsLeft(self):
        self.load()
        self.pick(self.ui.kindSelector, "Ultrasound")
        self.press(self.button("←"))
        self.assertEqual(self.ui.promptEdit.plainText, "Mass, left.")

    def testChoosingInTheStructureKeepsTheRestOfThePrompt(self):
        self.load()
        self.type("irregular mass with smooth margin, right, MRI")
        self.pick(self.ui.sizeSelector, "large")
        self.assertEqual(self.ui.promptEdit.plainText, "Irregular mass, smooth margin, large size, right, MRI.")
        self.assertEqual(self.ui.shapeSelector.currentData, "irregular")
        self.pick(self.ui.shapeSelector, "any")
        self.assertEqual(self.ui.promptEdit.plainText, "Mass, smooth margin, large size, right, MRI.")

    def testTypingIsNotRewritten(self):
        """The structure follows the words; the words stay as they were typed."""
        self.load()
        self.type("LARGE mass  please, on the rihgt")
        self.assertEqual(self.ui.promptEdit.plainText, "LARGE mass  please, on the rihgt")
        self.assertEqual(self.pressed(), ["R"])

    def testSidesAreNotMixedUp(self):
        """Radiological convention: the patient's left is on the right of the picture."""
        self.load()
        self.say("mass, left")
        np.testing.assert_array_equal(self.mask(), block(LEFT)[MIDDLE])
        self.press(self.button("L"))
        self.press(self.button("R"))
        self.pressAndFinish(self.ui.applyButton)
        np.testing.assert_array_equal(self.mask(), block(RIGHT)[MIDDLE])

    def testASlabAndAVolumeAreAskedAsAWhole(self):
        self.load()
        self.pick(self.ui.scopeSelector, "Slab around it")
        self.ui.slabSpinBox.value = 2
        self.say("mass")
        self.assertEqual(self.session.calls[-1][0], [2, 3, 4, 5, 6])
        self.pick(self.ui.scopeSelector, "Whole volume")
        self.say("mass")
        self.assertEqual(self.session.calls[-1][0], list(range(8)))
        self.pressAndFinish(self.ui.acceptButton)
        np.testing.assert_array_equal(self.segments()["Tumor"], block(RIGHT, LEFT))

    def testAClickComputesItsSliceOnlyFromTheMaskBefore(self):
        self.load()
        self.pick(self.ui.scopeSelector, "Whole volume")
        self.say("mass")
        self.press(self.ui.negativeButton)
        self.clickAt(MIDDLE, 25, 15)
        slices, text, hints, earlier = self.session.calls[-1]
        self.assertEqual((slices, text, earlier), ([MIDDLE], "mass", [MIDDLE]))
        [click] = hints.clicks
        np.testing.assert_allclose(click.kji, (MIDDLE, 25, 15), atol=0.6)
        self.assertFalse(click.positive)
        self.assertEqual(np.count_nonzero(self.mask(3)), 15 * 15 + 10 * 10)  # as before

    def testInAnotherFrameTheWordsAreOthers(self):
        """Coronal slices: superior is at the top."""
        editor = self.panel.editor
        editor.readFor(PictureFrame("R", "S", "A"))
        labels = [button.text for button in editor.grid.buttons]
        self.assertEqual(labels, ["SR", "S", "SL", "R", "•", "L", "IR", "I", "IL"])
        editor.readFor(PictureFrame("A", "S", "R"))  # sagittal: no prompt says anterior and means the picture's left
        enabled = [button.text for button in editor.grid.buttons if button.enabled]
        self.assertEqual(enabled, ["S", "•", "I"])


class TestCells(PanelTest):
    def testEveryCellIsAPlaceAndBack(self):
        self.assertEqual([cellOf(Location(*placeOf(cell))) for cell in range(9)], list(range(9)))
        self.assertEqual(placeOf(3), ("", "left"))
        self.assertEqual(placeOf(8), ("lower", "right"))
        self.assertEqual(cellOf(Location("middle", "left")), 3)


class TestOneSlice(PanelTest):
    def testAVolumeOfOneSliceWorksInAllScopes(self):
        self.load(image()[MIDDLE : MIDDLE + 1], k=0, matrix=IJK_TO_RAS)
        for scope in ("Shown slice", "Slab around it", "Whole volume"):
            self.pick(self.ui.scopeSelector, scope)
            self.say("mass, right")
            self.assertEqual(self.session.calls[-1][0], [0])
        self.pressAndFinish(self.ui.acceptButton)
        self.assertEqual(np.count_nonzero(self.segments()["Tumor"]), 15 * 15)
        self.assertEqual(slicer.util.mainWindow().isVisible(), True)
        gestures.settle(20)
