"""From four volumes to measured segments, and back by undo."""

import csv
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import qt
import slicer

from leanseg.slicer_bridge.segments import addSegment, segmentationFor
from Testing.slicer import gestures
from Testing.slicer.bridge.segmentations import LESION, fill
from Testing.slicer.dynamic_brain_seg import brain_phantom
from Testing.slicer.dynamic_brain_seg.panel_test import PanelTest, truth, volumeMl

NESTED = {"Whole tumor (WT)": "WT", "Tumor core (TC)": "TC", "Enhancing tumor (ET)": "ET"}


class TestSequences(PanelTest):
    def testLoadedVolumesAreFoundByThemselves(self):
        self.load("t2", "t1", "flair", "t1ce")
        self.assertEqual(self.ui.sequencesLabel.text, "Complete. The result is on the voxels of FLAIR.")
        self.assertTrue(self.ui.segmentButton.enabled)

    def testAVolumeThatComesLaterIsAdded(self):
        first = self.load("flair", "t1")
        self.assertIn("Missing: T1ce, T2.", self.ui.sequencesLabel.text)
        later = brain_phantom.node("t2")
        self.assertTrue(gestures.waitFor(lambda: self.chosen() == {**first, "t2": later}, 5))
        self.assertIn("Missing: T1ce. Without T1ce,", self.ui.sequencesLabel.text)

    def testWhatAPersonLeftEmptyIsNotFilled(self):
        nodes = self.load("flair", "t1")
        self.choose("t1", None)
        brain_phantom.node("t2")
        self.assertTrue(gestures.waitFor(lambda: "t2" in self.chosen(), 5))
        self.assertEqual(set(self.chosen()), {"flair", "t2"})
        self.press(self.ui.guessButton)
        self.assertIs(self.chosen()["t1"], nodes["t1"])

    def testWhatAPersonChoseIsNotReplaced(self):
        nodes = self.load("flair", "t1")
        self.choose("t2", nodes["t1"])
        self.choose("t1", None)
        brain_phantom.node("t1ce")
        self.finish()
        self.assertEqual(self.chosen(), {"flair": nodes["flair"], "t2": nodes["t1"]})

    def testTheReferenceIsTheFirstChosen(self):
        nodes = self.loadAndSegment("t1ce", "t2")
        reference = self.segmentation.GetNodeReference(self.segmentation.GetReferenceImageGeometryReferenceRole())
        self.assertIs(reference, nodes["t1ce"])
        self.assertIn("Missing: FLAIR, T1.", self.ui.sequencesLabel.text)


class TestSegmenting(PanelTest):
    def testTheSegmentsAreTheTruth(self):
        nodes = self.loadAndSegment()
        self.assertEqual(self.segmentNames(), list(NESTED))
        for name, region in NESTED.items():
            np.testing.assert_array_equal(self.mask(name, nodes["flair"]), truth(region))
        self.assertIn("Written to case_flair tumor.", self.message)
        self.assertFalse(self.ui.messageIconLabel.isVisibleTo(self.ui.tumorCollapsibleButton))

    def testTheVolumesAreThoseOfTheTruthAndGoIntoAFile(self):
        self.loadAndSegment()
        table = self.ui.volumesTable
        shown = [[table.item(row, column).text() for column in range(3)] for row in range(table.rowCount)]
        expected = [[name, f"{volumeMl(truth(region)):.1f}", "model"] for name, region in NESTED.items()]
        self.assertEqual(shown, expected)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "v.csv"
            with mock.patch.object(self.widget.volumes, "askForFile", return_value=str(path)):
                self.press(self.ui.exportButton)
            with path.open(encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file))
        self.assertEqual([row["region"] for row in rows], ["WT", "TC", "ET"])
        self.assertEqual(rows[0]["image"], "case_flair")
        self.assertAlmostEqual(float(rows[0]["volume_ml"]), volumeMl(truth("WT")), places=2)
        self.assertEqual(self.message, "Volumes written to v.csv.")

    def testVolumesWithoutAnImageGoIntoAFileToo(self):
        for name in reversed(self.loadAndSegment()):  # the reference last: another one means another brain
            self.choose(name, None)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "v.csv"
            with mock.patch.object(self.widget.volumes, "askForFile", return_value=str(path)):
                self.press(self.ui.exportButton)
            with path.open(encoding="utf-8", newline="") as file:
                self.assertEqual([row["image"] for row in csv.DictReader(file)], [""] * 3)

    def testUndoAndRedoTakeDecisionsAndVolumesAlong(self):
        nodes = self.loadAndSegment()
        self.assertFalse(self.ui.redoButton.enabled)
        self.pressAndFinish(self.ui.undoButton)
        self.assertEqual(self.segmentNames(), [])
        self.assertEqual(self.ui.volumesTable.rowCount, 0)
        self.assertEqual(self.ui.costLabel.text, "")
        self.assertFalse(self.ui.undoButton.enabled, "one run is one state")
        self.pressAndFinish(self.ui.redoButton)
        np.testing.assert_array_equal(self.mask("Whole tumor (WT)", nodes["flair"]), truth("WT"))
        self.assertEqual(self.ui.volumesTable.rowCount, 3)
        self.assertIn("GMACs", self.ui.costLabel.text)
        self.pressKey(qt.Qt.Key_Z, control=True)
        self.assertEqual(self.segmentNames(), [])

    def testSeparateSegmentsTakeThePlaceOfNestedOnesWithoutComputing(self):
        nodes = self.loadAndSegment()
        computed = self.model.engine.graphs["whole"].slices
        self.pick(self.ui.regionsSelector, "Separate: ED, NCR, ET")
        self.assertEqual(len(self.segmentNames()), 3)
        np.testing.assert_array_equal(self.mask("Edema (ED)", nodes["flair"]), truth("WT") & ~truth("TC"))
        np.testing.assert_array_equal(self.mask("Enhancing tumor (ET)", nodes["flair"]), truth("ET"))
        self.assertEqual(self.model.engine.graphs["whole"].slices, computed)
        self.pressAndFinish(self.ui.undoButton)
        self.assertEqual(self.segmentNames(), list(NESTED))

    def testASecondRunReplacesTheFirstAndOtherSegmentsStay(self):
        self.loadAndSegment()
        self.segmentation.GetSegmentation().AddEmptySegment("mine", "Mine")
        self.segment()
        self.assertEqual(self.segmentNames(), [*NESTED, "Mine"])
        self.assertEqual(len(slicer.util.getNodesByClass("vtkMRMLSegmentationNode")), 1)

    def testTheChooserBesideTheEditorSaysWhetherOthersAreOverwritten(self):
        """With no tool active, when the Segment Editor shows no Masking section. The node follows, and is followed."""
        nodes, selector, wt = self.load(), self.ui.overwriteSelector, truth("WT")
        self.ui.correctCollapsibleButton.collapsed = False
        self.assertEqual(selector.currentText, "Overwrite all")
        segmentation = segmentationFor(nodes["flair"], "mine")
        mine = np.zeros_like(wt)
        mine[:, 25:] = True
        fill(segmentation, addSegment(segmentation, LESION, "Mine"), mine, nodes["flair"])
        self.ui.outputSelector.setCurrentNode(segmentation)
        for text, left in (("Allow overlap", mine), ("Overwrite all", mine & ~wt)):
            self.pick(selector, text)
            self.segment()
            np.testing.assert_array_equal(self.mask("Mine", nodes["flair"]), left)
            np.testing.assert_array_equal(self.mask("Whole tumor (WT)", nodes["flair"]), wt)
            self.assertEqual("Other segments that lost voxels to it: Mine." in self.message, left is not mine)
            self.pressAndFinish(self.ui.undoButton)
        editorNode = self.editor.mrmlSegmentEditorNode()
        editorNode.SetOverwriteMode(editorNode.OverwriteVisibleSegments)
        self.assertEqual(selector.currentText, "Overwrite visible")
        slicer.mrmlScene.Clear(0)
        gestures.settle(50)
        self.assertEqual(selector.currentText, "Overwrite all", "of the new scene's node")
        self.pick(selector, "Allow overlap")
        self.assertEqual(self.editor.mrmlSegmentEditorNode().GetOverwriteMode(), editorNode.OverwriteNone)

    def testCorrectionsAreMeasuredAndReplacedOnlyOnDemand(self):
        nodes = self.loadAndSegment()
        name, segmentation = "Enhancing tumor (ET)", self.segmentation
        segmentId = segmentation.GetSegmentation().GetSegmentIdBySegmentName(name)
        half = truth("ET")
        half[:, :32] = False
        slicer.util.updateSegmentBinaryLabelmapFromArray(half.astype(np.uint8), segmentation, segmentId, nodes["flair"])
        self.finish()
        self.assertEqual(self.ui.volumesTable.item(2, 2).text(), "corrected")
        self.assertEqual(self.ui.volumesTable.item(2, 1).text(), f"{volumeMl(half):.1f}")
        self.assertEqual(self.ui.segmentButton.text, "Segment, replacing corrections")
        self.ui.qualitySlider.value = 5
        self.finish()
        np.testing.assert_array_equal(self.mask(name, nodes["flair"]), half)
        self.assertIn("corrected by hand", self.message)
        self.ui.qualitySlider.value = 0
        self.finish()
        self.segment()
        np.testing.assert_array_equal(self.mask(name, nodes["flair"]), truth("ET"))
        self.assertIn("What was corrected by hand is replaced.", self.message)
        self.pressAndFinish(self.ui.undoButton)
        np.testing.assert_array_equal(self.mask(name, nodes["flair"]), half)

    def testOtherSegmentsDoNotTakeFromWhatWasCorrected(self):
        nodes = self.loadAndSegment()
        segmentId = self.segmentation.GetSegmentation().GetSegmentIdBySegmentName("Tumor core (TC)")
        mine = truth("TC")
        mine[:, :30] = False
        slicer.util.updateSegmentBinaryLabelmapFromArray(
            mine.astype(np.uint8), self.segmentation, segmentId, nodes["flair"]
        )
        self.pick(self.ui.regionsSelector, "Separate: ED, NCR, ET")
        self.assertEqual(self.segmentNames(), list(NESTED))
        np.testing.assert_array_equal(self.mask("Tumor core (TC)", nodes["flair"]), mine)
        self.assertIn("corrected by hand", self.message)

    def testAnotherBrainGetsItsOwnSegmentation(self):
        self.loadAndSegment()
        first = self.segmentation
        other = brain_phantom.node("flair", name="other_flair")
        for name in ("t1ce", "t1", "t2"):
            self.choose(name, None)
        self.choose("flair", other)
        self.assertIsNone(self.segmentation)
        self.segment()
        self.assertIsNot(self.segmentation, first)
        self.assertEqual(self.segmentation.GetName(), "other_flair tumor")

    def testUncertaintyLiesOverWhicheverSequenceIsShown(self):
        nodes = self.load()
        self.press(self.ui.uncertaintyCheckBox)
        before = self.nodes()
        self.segment()
        composite = slicer.app.layoutManager().sliceWidget("Red").sliceLogic().GetSliceCompositeNode()
        self.assertIn(
            "case_flair uncertainty", slicer.mrmlScene.GetNodeByID(composite.GetForegroundVolumeID()).GetName()
        )
        slicer.util.setSliceViewerLayers(background=nodes["t1ce"])
        self.finish()
        self.assertIn(
            "case_t1ce uncertainty", slicer.mrmlScene.GetNodeByID(composite.GetForegroundVolumeID()).GetName()
        )
        self.ui.uncertaintyOpacitySlider.value = 0.25
        self.assertAlmostEqual(composite.GetForegroundOpacity(), 0.25)
        self.press(self.ui.uncertaintyCheckBox)
        self.assertFalse(composite.GetForegroundVolumeID())
        left = {slicer.mrmlScene.GetNodeByID(each).GetName() for each in self.nodes() - before}
        self.assertFalse([name for name in left if "ncertainty" in name])

    def testKeysStandForButtons(self):
        self.load()
        self.pressKey(qt.Qt.Key_A, shift=True)
        self.finish()
        self.assertEqual(len(self.segmentNames()), 3)
        self.pressKey(qt.Qt.Key_U, shift=True)
        self.assertTrue(self.ui.uncertaintyCheckBox.checked)

    def testChoicesAreSavedWithTheScene(self):
        self.loadAndSegment()
        self.ui.qualitySlider.value = -4
        self.pick(self.ui.alignmentSelector, "Register rigidly, then resample")
        self.finish()
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "scene.mrb")
            self.assertTrue(slicer.util.saveScene(path))
            slicer.mrmlScene.Clear(0)
            gestures.settle(50)
            self.assertEqual(self.chosen(), {})
            self.assertEqual(self.ui.volumesTable.rowCount, 0)
            slicer.util.loadScene(path)
        self.finish()
        self.assertEqual({name: node.GetName() for name, node in self.chosen().items()},
                         {"flair": "case_flair", "t1ce": "case_t1ce", "t1": "case_t1", "t2": "case_t2"})  # fmt: skip
        self.assertEqual(self.ui.qualitySlider.value, -4)
        self.assertEqual(self.ui.alignmentSelector.currentText, "Register rigidly, then resample")
        self.assertEqual(self.segmentNames(), list(NESTED))
        self.assertEqual(self.ui.volumesTable.rowCount, 3)
        self.pick(self.ui.alignmentSelector, "Resample")  # registering takes a while
        self.segment()
        self.assertEqual(self.segmentNames(), list(NESTED))
