"""The decision view: what the strip shows, going to a slice by it, and a person's own decisions."""

import numpy as np
import qt
import slicer

from Testing.slicer import gestures
from Testing.slicer.dynamic_brain_seg.panel_test import (
    CROPPED,
    LOWEST_MM,
    SKIPPED,
    SLICES,
    STEP_MM,
    WHOLE,
    PanelTest,
    truth,
)

GRAY, BLUE, ORANGE = "#a8a8a8", "#8cc4e8", "#e07b2a"
TUMOR_SLICE, CROPPED_SLICE, EMPTY_SLICE = 13, 10, 3


class TestStrip(PanelTest):
    def setUp(self):
        super().setUp()
        self.volumes = self.loadAndSegment()

    def testTheColorsAreTheDecisions(self):
        expected = dict.fromkeys(SKIPPED, GRAY) | dict.fromkeys(CROPPED, BLUE) | dict.fromkeys(WHOLE, ORANGE)
        colors = self.barColors()
        self.assertEqual(len(colors), SLICES - 1, "all but the shown one")
        self.assertEqual(colors, {k: expected[k] for k in colors})

    def testTheLegendCountsThemAndTheLineBelowAddsThemUp(self):
        legend = self.ui.legendLabel.text.replace("&nbsp;", " ")
        for text in ("skip: 15", "crop 24: 2", "whole: 6"):
            self.assertIn(text, legend)
        # 23 decisions of 0.001, two crops of 0.1 with their positions of 0.002, six whole slices of 0.7 GMACs
        self.assertIn("Cost so far: 4.4 of 16.1 GMACs (27 %)", self.ui.costLabel.text)

    def testAClickGoesToTheSliceAndLeavesTheViewsThatCutThroughAllOfThem(self):
        others = self.offset("Yellow"), self.offset("Green")
        for index in (TUMOR_SLICE, EMPTY_SLICE, SLICES - 1):
            self.clickBar(index)
            self.assertAlmostEqual(self.offset(), LOWEST_MM + STEP_MM * index)
            self.assertEqual(self.widget.panel.decisions.current, index)
            self.assertIn(f"Slice {index + 1} of 23", self.ui.sliceLabel.text)
        self.assertEqual((self.offset("Yellow"), self.offset("Green")), others)

    def testAllViewsAlongTheSlicesGoThere(self):
        yellow = slicer.app.layoutManager().sliceWidget("Yellow").mrmlSliceNode()
        yellow.SetOrientation("Axial")
        self.addCleanup(yellow.SetOrientation, "Sagittal")
        self.clickBar(TUMOR_SLICE)
        self.assertAlmostEqual(self.offset(), LOWEST_MM + STEP_MM * TUMOR_SLICE)
        self.assertAlmostEqual(self.offset("Yellow"), LOWEST_MM + STEP_MM * TUMOR_SLICE)

    def testOfTwoViewsAlongTheSlicesTheMarkFollowsTheOneThatIsMoved(self):
        yellow = slicer.app.layoutManager().sliceWidget("Yellow")
        yellow.mrmlSliceNode().SetOrientation("Axial")
        self.addCleanup(yellow.mrmlSliceNode().SetOrientation, "Sagittal")
        self.clickBar(TUMOR_SLICE)
        decisions = self.widget.panel.decisions
        for view, steps, index in ((yellow, 2, 15), (self.red, 1, 14), (yellow, 1, 16)):
            gestures.wheel(view, steps)
            self.assertTrue(gestures.waitFor(lambda index=index: decisions.current == index, 10), index)

    def testTheMarkFollowsTheViewAndTheKeys(self):
        self.clickBar(TUMOR_SLICE)
        gestures.wheel(self.red, 2)
        decisions = self.widget.panel.decisions
        self.assertTrue(gestures.waitFor(lambda: decisions.current == TUMOR_SLICE + 2, 10))
        self.assertIn(f"Slice {TUMOR_SLICE + 3} of 23", self.ui.sliceLabel.text)
        gestures.key(self.ui.stripLabel, qt.Qt.Key_Left)
        self.assertAlmostEqual(self.offset(), LOWEST_MM + STEP_MM * (TUMOR_SLICE + 1))

    def testASliceIsDescribed(self):
        self.clickBar(CROPPED_SLICE)
        self.assertIn("Slice 11 of 23: crop 24, asks for 8 bits, runs in fp32, 0.10 GMACs", self.ui.sliceLabel.text)
        self.clickBar(EMPTY_SLICE)
        self.assertEqual(self.ui.sliceLabel.text, "Slice 4 of 23: skip, 0.00 GMACs.")


class TestOtherOrientations(PanelTest):
    """The model sees axial slices, whatever was acquired."""

    def testTheStripOfASagittalVolumeHasAxialSlices(self):
        sagittal = np.array([[0, 0, 2.0, -50], [-2, 0, 0, 60], [0, -2, 0, 80], [0, 0, 0, 1]])  # i to P, j to I, k to R
        self.load("flair", shape=(60, 62, 64), matrix=sagittal)
        self.check(range(-24, 66, 2))

    def testAParentTransformMovesTheSlices(self):
        parent = np.array([[1.0, 0, 0, 5], [0, 1, 0, -20], [0, 0, 1, 12], [0, 0, 0, 1]])
        self.load("flair", parent=parent)  # in the world it lies where it would without
        self.check(range(LOWEST_MM, LOWEST_MM + STEP_MM * SLICES, STEP_MM))

    def check(self, places):
        """A bar for each slice in the brain, of which those with tumor are from 14 to 46 mm."""
        self.segment()
        decided = self.decisions()
        self.assertEqual(len(decided), len(places))
        for index, mm in enumerate(places):
            self.assertEqual(decided[index] != "skip", 14 < mm < 46, f"{mm} mm")
        for index in (0, len(places) // 2):
            self.clickBar(index)
            self.assertAlmostEqual(self.offset(), places[index], places=3)


class TestOverriding(PanelTest):
    def setUp(self):
        super().setUp()
        self.volumes = self.loadAndSegment()
        self.whole = self.model.engine.graphs["whole"]

    def wt(self):
        return self.mask("Whole tumor (WT)", self.volumes["flair"])

    def testASkippedSliceIsComputedFullyAndNoOther(self):
        computed = self.whole.slices
        self.clickBar(EMPTY_SLICE)
        self.pressAndFinish(self.ui.computeSliceButton)
        self.assertEqual(self.whole.slices - computed, 1)
        self.assertEqual(self.decisions()[EMPTY_SLICE], "whole")
        self.assertIn("whole (yours)", self.ui.sliceLabel.text)
        self.assertFalse(self.ui.computeSliceButton.enabled)
        self.assertIn("whole: 7", self.ui.legendLabel.text.replace("&nbsp;", " "))
        np.testing.assert_array_equal(self.wt(), truth("WT"))

    def testATumorSliceIsSkippedAndComesBack(self):
        self.clickBar(TUMOR_SLICE)
        self.pressAndFinish(self.ui.skipSliceButton)
        expected = truth("WT").copy()
        expected[TUMOR_SLICE + 3] = False  # the brain begins at slice 3 of the volume
        np.testing.assert_array_equal(self.wt(), expected)
        self.assertTrue(self.ui.modelSliceButton.enabled)
        self.pressAndFinish(self.ui.modelSliceButton)
        np.testing.assert_array_equal(self.wt(), truth("WT"))
        self.assertEqual(self.decisions()[TUMOR_SLICE], "whole")
        self.assertNotIn("yours", self.ui.sliceLabel.text)
        self.assertFalse(self.ui.modelSliceButton.enabled)

    def testEachOverrideIsOneStateOfUndoAndTheStripFollows(self):
        self.clickBar(TUMOR_SLICE)
        self.pressAndFinish(self.ui.skipSliceButton)
        self.pressKey(qt.Qt.Key_Z, control=True)
        np.testing.assert_array_equal(self.wt(), truth("WT"))
        self.assertEqual(self.decisions()[TUMOR_SLICE], "whole")
        self.assertNotIn("yours", self.ui.sliceLabel.text)
        self.pressKey(qt.Qt.Key_Y, control=True)
        self.assertEqual(self.decisions()[TUMOR_SLICE], "skip")
        self.assertIn("skip (yours)", self.ui.sliceLabel.text)

    def testUndoOfADecisionThatChangedNoVoxelTakesTheStripBackToo(self):
        self.clickBar(EMPTY_SLICE)
        self.pressAndFinish(self.ui.computeSliceButton)
        self.pressAndFinish(self.ui.undoButton)
        self.assertEqual(self.decisions()[EMPTY_SLICE], "skip")
        self.assertNotIn("yours", self.ui.sliceLabel.text)

    def testWhatTheModelDecidedIsKnownAgainAfterUndo(self):
        self.clickBar(TUMOR_SLICE)
        self.pressAndFinish(self.ui.skipSliceButton)
        self.pressAndFinish(self.ui.modelSliceButton)
        self.ui.qualitySlider.value = 10
        self.finish()
        for _time in range(2):
            self.pressAndFinish(self.ui.undoButton)
        self.assertIn("skip (yours)", self.ui.sliceLabel.text)
        self.pressAndFinish(self.ui.modelSliceButton)
        self.assertEqual(self.decisions()[TUMOR_SLICE], "whole")
        np.testing.assert_array_equal(self.wt(), truth("WT"))

    def testCorrectionsInOtherSlicesStay(self):
        mine = self.correctWholeTumor()
        self.clickBar(CROPPED_SLICE)
        self.pressAndFinish(self.ui.skipSliceButton)
        mine[CROPPED_SLICE + 3] = False
        np.testing.assert_array_equal(self.wt(), mine)
        self.assertIn("What was corrected by hand in other slices stays.", self.message)
        self.assertEqual(self.ui.segmentButton.text, "Segment, replacing corrections")
        self.pressAndFinish(self.ui.refineButton)
        mine[CROPPED_SLICE + 3] = truth("WT")[CROPPED_SLICE + 3]  # of which nobody was certain
        np.testing.assert_array_equal(self.wt(), mine)

    def testADecisionInANewSegmentationWritesAllSlices(self):
        self.correctWholeTumor()
        self.ui.outputSelector.setCurrentNode(None)
        self.finish()
        self.clickBar(EMPTY_SLICE)
        self.pressAndFinish(self.ui.computeSliceButton)
        np.testing.assert_array_equal(self.wt(), truth("WT"))

    def correctWholeTumor(self):
        """Half of a slice is taken away by hand."""
        mine, segmentation = truth("WT"), self.segmentation.GetSegmentation()
        mine[TUMOR_SLICE + 3, :32] = False
        segmentId = segmentation.GetSegmentIdBySegmentName("Whole tumor (WT)")
        slicer.util.updateSegmentBinaryLabelmapFromArray(
            mine.astype(np.uint8), self.segmentation, segmentId, self.volumes["flair"]
        )
        self.finish()
        return mine

    def testTheKeyComputesTheShownSlice(self):
        self.clickBar(CROPPED_SLICE)
        self.pressKey(qt.Qt.Key_F, shift=True)
        self.finish()
        self.assertEqual(self.decisions()[CROPPED_SLICE], "whole")

    def testTheContextMenuGoesToItsSliceAndDecides(self):
        left, right = self.widget.panel.decisions.strip.span(TUMOR_SLICE)
        point = qt.QPoint((left + right) // 2, 30)
        event = qt.QContextMenuEvent(qt.QContextMenuEvent.Mouse, point, self.ui.stripLabel.mapToGlobal(point))
        qt.QCoreApplication.sendEvent(self.ui.stripLabel, event)
        menu = self.widget.panel.decisions._menu
        self.assertAlmostEqual(self.offset(), LOWEST_MM + STEP_MM * TUMOR_SLICE)
        actions = {action.text: action for action in menu.actions()}
        self.assertEqual(list(actions), ["Compute fully", "Skip", "As the model decides"])
        self.assertEqual([action.enabled for action in actions.values()], [False, True, False])
        actions["Skip"].trigger()
        menu.close()
        self.finish()
        self.assertEqual(self.decisions()[TUMOR_SLICE], "skip")

    def testOwnDecisionsHoldInANewRunAndCanAllBeTakenBack(self):
        for index in (EMPTY_SLICE, EMPTY_SLICE + 1):
            self.clickBar(index)
            self.pressAndFinish(self.ui.computeSliceButton)
        self.segment()
        self.assertEqual(self.decisions()[EMPTY_SLICE : EMPTY_SLICE + 2], ["whole", "whole"])
        self.widget.panel.decisions._onAllAsTheModelDecides()
        self.finish()
        self.assertEqual(self.decisions()[EMPTY_SLICE : EMPTY_SLICE + 2], ["skip", "skip"])

    def testRecomputeWhereUncertainComputesTheCroppedSlicesFully(self):
        """And the skipped ones beside the tumor: nothing else can be in doubt here."""
        self.pressAndFinish(self.ui.refineButton)
        decided = self.decisions()
        computed = {k for k in range(SLICES) if decided[k] == "whole"} - WHOLE
        self.assertTrue(computed >= {9, 18}, computed)
        self.assertEqual(computed - CROPPED - {9, 18}, set())
        np.testing.assert_array_equal(self.wt(), truth("WT"))

    def testImagesThatHaveChangedAreNotMixed(self):
        array = slicer.util.arrayFromVolume(self.volumes["t1"])
        array[:] = array // 2
        slicer.util.arrayFromVolumeModified(self.volumes["t1"])
        before = self.wt()
        self.clickBar(TUMOR_SLICE)
        self.press(self.ui.skipSliceButton)
        self.finish()
        self.assertEqual(self.message, "The images have changed since they were segmented. Press Segment again.")
        np.testing.assert_array_equal(self.wt(), before)
        self.segment()
        self.pressAndFinish(self.ui.skipSliceButton)
        self.assertEqual(self.decisions()[TUMOR_SLICE], "skip")


class TestQuality(PanelTest):
    """The decisions: whole or skip where a whole slice was wanted, by 3 - bias against 0; crop by 3 - 0.15 * bias."""

    def testFasterSkipsMoreAndThoroughSkipsNone(self):
        self.loadAndSegment()
        self.move(10)
        self.assertEqual(self.decisions().count("skip"), 0)
        self.move(-10)
        self.assertEqual({k for k, name in enumerate(self.decisions()) if name == "skip"}, SKIPPED | WHOLE)
        self.assertIn("skip: 21", self.ui.legendLabel.text.replace("&nbsp;", " "))

    def testUndoTakesTheSliderBack(self):
        self.loadAndSegment()
        self.move(-10)
        self.pressAndFinish(self.ui.undoButton)
        self.assertEqual(self.ui.qualitySlider.value, 0)
        self.assertEqual({k for k, name in enumerate(self.decisions()) if name == "whole"}, WHOLE)

    def testNothingIsComputedBeforeSegmentWasPressed(self):
        self.load()
        self.move(5)
        self.assertIsNone(self.segmentation)

    def move(self, quality):
        """With the keys, as a person does; then wait for what follows."""
        while self.ui.qualitySlider.value != quality:
            isLower = self.ui.qualitySlider.value < quality
            gestures.key(self.ui.qualitySlider, qt.Qt.Key_Right if isLower else qt.Qt.Key_Left)
        self.finish()
