"""What cannot be used: one line that names the volume and says what to do, and a scene that stays as it is."""

from unittest import mock

import numpy as np
import slicer

from Testing.slicer import gestures
from Testing.slicer.dynamic_brain_seg import brain_phantom
from Testing.slicer.dynamic_brain_seg.panel_test import NAMES, PanelTest, truth

FAR_AWAY = brain_phantom.AXIAL + np.array([[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 900], [0, 0, 0, 0]])


class TestRefusedBeforeARun(PanelTest):
    """The reason is in the message line and in the tooltip of Segment, which is disabled."""

    def testNothingIsChosen(self):
        self.assertRefused("Choose at least one of FLAIR, T1ce, T1 and T2.")
        nodes = self.nodes()
        for button in (self.ui.segmentButton, self.ui.refineButton, self.ui.computeSliceButton, self.ui.exportButton):
            gestures.click(button)
        gestures.click(self.ui.stripLabel)
        self.widget.panel.runs.onSegmentOrCancel()  # as from a script
        self.assertRefused("Choose at least one")
        self.assertEqual(self.nodes(), nodes)

    def testOneVolumeForTwoSequences(self):
        nodes = self.load()
        for name, other in (("flair", "t2"), ("t1ce", "t1")):
            self.choose(name, nodes[other])
            self.assertRefused(f"case_{other} is chosen as")
            self.choose(name, nodes[name])
            self.assertTrue(self.ui.segmentButton.enabled)
            self.assertEqual(self.message, "")

    def testEachSequenceInColor(self):
        self.refuseEach(lambda: self.vectorVolume(3), "in color (3 values in each voxel)")

    def testEachSequenceOfFourDimensions(self):
        self.refuseEach(lambda: self.vectorVolume(6), "Extract each")

    def testEachSequenceEmpty(self):
        self.refuseEach(
            lambda: slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "bad"), "bad has no voxels."
        )

    def testEachSequenceUnderANonLinearTransform(self):
        def bent():
            node = brain_phantom.node("t1", name="bad")
            transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLBSplineTransformNode", "bend")
            node.SetAndObserveTransformNodeID(transform.GetID())
            return node

        self.refuseEach(bent, "Harden it first")

    def testALabelmapIsNotOffered(self):
        node = slicer.util.addVolumeFromArray(np.ones((8, 8, 8), np.uint8), nodeClassName="vtkMRMLLabelMapVolumeNode")
        self.choose("flair", node)
        self.assertIsNone(self.selectors["flair"].currentNode())

    def vectorVolume(self, channels):
        array = np.zeros((8, 32, 32, channels), np.uint8)
        return slicer.util.addVolumeFromArray(array, name="bad", nodeClassName="vtkMRMLVectorVolumeNode")

    def refuseEach(self, makeBad, words):
        """Each of the four in turn is the bad one; put right, everything works again."""
        nodes = self.load()
        bad = makeBad()
        for name in NAMES:
            self.choose(name, bad)
            self.assertRefused(words)
            self.choose(name, nodes[name])
            self.assertTrue(self.ui.segmentButton.enabled, self.message)

    def assertRefused(self, words):
        self.assertFalse(self.ui.segmentButton.enabled)
        self.assertIn(words, self.ui.segmentButton.toolTip)
        self.assertIn(words, self.message)
        self.assertNotIn("\n", self.message)


class TestRefusedByARun(PanelTest):
    """What only the voxels tell."""

    def testEachSequenceWithNan(self):
        def broken(name):
            array = brain_phantom.voxels(name).astype(np.float32)
            array[10, 20, 20] = np.nan
            return array

        self.failEach(broken, "NaN")

    def testTwoFilesOfOneImage(self):
        self.failEach(lambda name: brain_phantom.voxels("t1" if name != "t1" else "t2"), "the same image")

    def testEachSequenceFarAway(self):
        nodes = self.load()
        for name in NAMES:
            far = brain_phantom.node(name, matrix=FAR_AWAY, name="far")
            self.fail_(name, far, "covers 0 %")
            self.choose(name, nodes[name])
            slicer.mrmlScene.RemoveNode(far)

    def testAFlatPicture(self):
        array = brain_phantom.voxels("flair")[15:16, ::8, ::8]
        node = slicer.util.addVolumeFromArray(np.ascontiguousarray(array), name="small_flair")
        self.choose("flair", node)
        self.fail_("flair", node, "mm")

    def failEach(self, voxelsOf, words):
        nodes = self.load()
        for name in NAMES:
            bad = brain_phantom.node(name, name="bad")
            slicer.util.updateVolumeFromArray(bad, voxelsOf(name))
            self.fail_(name, bad, words)
            self.choose(name, nodes[name])
            slicer.mrmlScene.RemoveNode(bad)
        self.segment()
        np.testing.assert_array_equal(self.mask("Whole tumor (WT)", nodes["flair"]), truth("WT"))

    def fail_(self, name, bad, words):
        self.choose(name, bad)
        nodes = self.nodes()
        self.press(self.ui.segmentButton)
        self.finish()
        self.assertIn(words, self.message)
        self.assertNotIn("\n", self.message)
        self.assertEqual(self.nodes(), nodes)
        self.assertIsNone(self.segmentation)
        self.assertEqual(self.ui.costLabel.text, "")


class TestOddButUsable(PanelTest):
    def testWhatSpeaksAgainstTheImagesIsSaidLineByLineWithAWarning(self):
        self.load()
        lines = ["T1 and T2 look swapped.", "The skull is still there."]
        with mock.patch("leanseg.processing.prepare_brain.sequence_warnings", return_value=lines):
            self.segment()
        self.assertEqual(self.message.split("\n")[1:], lines)
        self.assertTrue(self.isShown(self.ui.messageIconLabel))
        self.assertEqual(len(self.segmentNames()), 3)

    def testAConstantSequenceIsAsGoodAsMissing(self):
        nodes = self.load()
        slicer.util.updateVolumeFromArray(nodes["t1"], np.full(brain_phantom.AXIAL_SHAPE, 7, np.int16))
        self.segment()
        np.testing.assert_array_equal(self.mask("Whole tumor (WT)", nodes["flair"]), truth("WT"))

    def testSequencesOfOtherVoxelsAreResampledAndThatIsSaid(self):
        nodes = self.load("flair", "t1ce", "t1")
        matrix = brain_phantom.AXIAL @ np.diag([1.5, 1.5, 1, 1])
        self.choose("t2", brain_phantom.node("t2", (29, 44, 44), matrix))
        self.segment()
        np.testing.assert_array_equal(self.mask("Whole tumor (WT)", nodes["flair"]), truth("WT"))
        self.assertIn("t2", self.message.lower())
        self.assertIn("resampled", self.message)

    def testOneSequenceIsEnough(self):
        nodes = self.loadAndSegment("flair")
        np.testing.assert_array_equal(self.mask("Whole tumor (WT)", nodes["flair"]), truth("WT"))
        self.assertIn("Missing: T1ce, T1, T2.", self.ui.sequencesLabel.text)
