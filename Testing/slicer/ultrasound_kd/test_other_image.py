"""A second image in the scene: results belong to the image that a person looks at."""

import tempfile
from pathlib import Path

import numpy as np
import slicer

from Testing.slicer import gestures
from Testing.slicer.ultrasound_kd.panel_test import CLIP, STILL_IMAGE, PanelTest


class TestSecondImage(PanelTest):
    def setUp(self):
        super().setUp()
        self.first = self.load(STILL_IMAGE)

    def testALoadedImageIsTheInput(self):
        self.assertIs(self.ui.inputSelector.currentNode(), self.first)
        second = self.load(CLIP)
        self.assertIs(self.ui.inputSelector.currentNode(), second)
        self.assertEqual(self.message, "")

    def testAlsoOneThatWasLoadedInAnotherModule(self):
        slicer.util.selectModule("Data")
        second = self.load(CLIP)
        self.assertIs(self.ui.inputSelector.currentNode(), self.first)
        slicer.util.selectModule("UltrasoundKD")
        gestures.settle(150)
        self.assertIs(self.ui.inputSelector.currentNode(), second)

    def testAnUnansweredProposalHoldsTheImageAndSaysSo(self):
        self.apply()
        second = self.load(CLIP)
        self.assertIs(self.ui.inputSelector.currentNode(), self.first)
        self.assertEqual(
            self.message,
            f"The views show {CLIP}. Choose it as Image, or press Apply to see {STILL_IMAGE}.",
        )
        self.assertFalse(self.ui.acceptButton.enabled, "nobody sees what would be accepted")
        self.apply()
        self.assertIs(self.background(), self.first)
        self.assertEqual(self.message, "")
        self.assertTrue(self.ui.acceptButton.enabled)
        self.show(second)
        self.press(self.ui.rejectButton)
        gestures.settle(150)
        self.assertIs(self.ui.inputSelector.currentNode(), second, "nothing holds it any more")

    def testALivePreviewDoesNotHoldTheImage(self):
        self.press(self.ui.livePreviewCheckBox)
        self.assertTrue(gestures.waitFor(lambda: self.ui.acceptButton.enabled, 20))
        second = self.load(CLIP)
        self.assertIs(self.ui.inputSelector.currentNode(), second)

    def testARunHoldsTheImage(self):
        with self.slowModel(0.6):
            self.press(self.ui.applyButton)
            self.load(CLIP)
            self.assertIs(self.ui.inputSelector.currentNode(), self.first)
            self.assertTrue(gestures.waitFor(lambda: self.ui.applyButton.text == "Apply", 20))
        self.assertFalse(self.ui.acceptButton.enabled)

    def testALabelmapInTheBackgroundIsNoInput(self):
        node = slicer.util.addVolumeFromArray(np.ones((1, 64, 64), np.uint8), nodeClassName="vtkMRMLLabelMapVolumeNode")
        self.show(node)
        self.assertIs(self.ui.inputSelector.currentNode(), self.first)

    def testALoadedSceneKeepsItsInput(self):
        """Also where the views showed something else when it was saved."""
        self.apply()
        second = self.load(CLIP)
        self.assertIs(self.background(), second)
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "scene.mrb")
            self.assertTrue(slicer.util.saveScene(path))
            slicer.mrmlScene.Clear(0)
            gestures.settle(150)
            slicer.util.loadScene(path)
        gestures.settle(400)
        self.assertEqual(self.ui.inputSelector.currentNode().GetName(), STILL_IMAGE)
        self.assertEqual(self.background().GetName(), CLIP)
        self.assertIn(f"The views show {CLIP}", self.message)

    def load(self, name):
        """As the button of Sample Data does, and nothing else."""
        import SampleData

        source = SampleData.SampleDataLogic().sourceForSampleName(name)
        [node] = source.customDownloader(source)
        gestures.settle(150)
        return node

    def show(self, node):
        slicer.util.setSliceViewerLayers(background=node)
        gestures.settle(150)

    def background(self):
        return slicer.app.layoutManager().sliceWidget("Red").sliceLogic().GetBackgroundLayer().GetVolumeNode()


class TestSegmentationOfAnotherImage(PanelTest):
    """It is not drawn over the image that is worked on, and comes back with its own."""

    def setUp(self):
        super().setUp()
        self.first = self.loadSample(STILL_IMAGE)
        self.apply()
        self.segmentation, _lesion = self.accept()
        self.assertTrue(self.isDrawn(self.segmentation))
        self.seen = self.pixels()
        self.second = self.loadSample(CLIP)

    def testItGoesAndComesBack(self):
        self.assertFalse(self.isDrawn(self.segmentation))
        withIt = self.pixels()
        slicer.mrmlScene.RemoveNode(slicer.util.getNode(f"{STILL_IMAGE} segmentation"))
        np.testing.assert_array_equal(self.pixels(), withIt, "it was to be seen")

    def testItsOwnImageBringsItBack(self):
        self.choose(self.first)
        self.assertTrue(self.isDrawn(self.segmentation))
        np.testing.assert_array_equal(self.pixels(), self.seen)

    def testOneThatSomebodyHidesStaysHidden(self):
        self.choose(self.first)
        self.segmentation.GetDisplayNode().SetVisibility2D(False)
        self.choose(self.second)
        self.choose(self.first)
        self.assertFalse(self.isDrawn(self.segmentation))

    def testThoseOfOthersAreLeftAlone(self):
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "by hand")
        node.CreateDefaultDisplayNodes()
        node.SetReferenceImageGeometryParameterFromVolumeNode(self.second)
        self.choose(self.first)
        self.assertTrue(self.isDrawn(node))

    def testOtherModulesSeeAll(self):
        slicer.util.selectModule("Data")
        self.assertTrue(self.isDrawn(self.segmentation))
        slicer.util.selectModule("UltrasoundKD")
        self.assertFalse(self.isDrawn(self.segmentation))

    def testASavedSceneHidesNothing(self):
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "scene.mrb")
            self.assertTrue(slicer.util.saveScene(path))
            self.assertFalse(self.isDrawn(self.segmentation), "saving changes nothing here")
            slicer.util.selectModule("Data")
            slicer.mrmlScene.Clear(0)
            slicer.util.loadScene(path)
        [loaded] = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
        self.assertTrue(self.isDrawn(loaded))

    def isDrawn(self, segmentationNode):
        return bool(segmentationNode.GetDisplayNode().GetVisibility2D())
