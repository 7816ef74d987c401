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
        self.assertTrue(gestures.waitFor(lambda: self.ui.inputSelector.currentNode() is self.first, 5))

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
        self.settleViews()
        self.assertIs(self.ui.inputSelector.currentNode(), second)

    def testAProposalIsNotDrawnOverAnotherImage(self):
        """Neither its outline nor its uncertainty; both are back with their image, in each view that shows it."""
        self.press(self.ui.uncertaintyCheckBox)
        self.apply()
        self.assertGreater(self.outlined(), 50)
        self.load(CLIP)
        self.assertEqual(self.foregrounds(), {None})
        self.assertEqual(self.outlined(), 0)
        red = slicer.mrmlScene.GetNodeByID("vtkMRMLSliceCompositeNodeRed")
        red.SetBackgroundVolumeID(self.first.GetID())
        outline = self.widget.panel.session.shown.outline.node.GetDisplayNode()
        self.assertEqual(list(outline.GetViewNodeIDs()), ["vtkMRMLSliceNodeRed"])
        self.show(self.first)
        self.widget.panel.session.frames.select(0)  # the other one lay around another slice
        self.assertGreater(self.outlined(), 50)
        self.assertNotIn(None, self.foregrounds())

    def testNorInAnotherModule(self):
        self.apply()
        slicer.util.selectModule("Data")
        self.load(CLIP)
        self.assertFalse(self.widget.panel.session.shown.outline.isVisible)
        self.show(self.first)
        self.assertTrue(self.widget.panel.session.shown.outline.isVisible)

    def testTheUncertaintyCannotBeChosenAsImage(self):
        self.press(self.ui.uncertaintyCheckBox)
        self.apply()
        uncertainty = slicer.util.getNode(f"{STILL_IMAGE} uncertainty")
        self.assertTrue(uncertainty.GetHideFromEditors())
        self.ui.inputSelector.setCurrentNode(uncertainty)
        self.assertIsNot(self.ui.inputSelector.currentNode(), uncertainty)

    def testTheUncertaintyMayBeRemovedByHand(self):
        self.press(self.ui.uncertaintyCheckBox)
        self.apply()
        slicer.mrmlScene.RemoveNode(slicer.util.getNode(f"{STILL_IMAGE} uncertainty"))
        self.press(self.ui.rejectButton)
        self.assertEqual(slicer.util.getNodesByClass("vtkMRMLColorLegendDisplayNode"), [])
        self.apply()
        self.assertEqual(len(self.foregrounds()), 1)
        self.assertNotIn(None, self.foregrounds())

    def outlined(self):
        """Pixels of the red view that are cyan."""
        red, green, blue = np.moveaxis(self.pixels(), 2, 0)
        return np.count_nonzero((red < 80) & (green > 180) & (blue > 200))

    def foregrounds(self):
        composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
        return {composite.GetForegroundVolumeID() for composite in composites}

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
        self.settleViews()
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
            self.settleViews()
            slicer.util.loadScene(path)
        gestures.settle(400)
        self.assertEqual(self.ui.inputSelector.currentNode().GetName(), STILL_IMAGE)
        self.assertEqual(self.background().GetName(), CLIP)
        self.assertIn(f"The views show {CLIP}", self.message)

    def testAResultNeverLandsInTheSegmentationOfARemovedImage(self):
        """Neither when the next image is loaded, nor when it is found in the module that is entered."""
        self.apply()
        segmentation, lesion = self.accept()
        labelmap = segmentation.GetSegmentation().GetSegment(lesion).GetRepresentation("Binary labelmap")
        before = labelmap.GetMTime()
        slicer.mrmlScene.RemoveNode(self.first)
        gestures.settle(50)
        self.assertIsNone(self.ui.targetSegmentationSelector.currentNode())
        self.load(CLIP)
        self.assertIsNone(self.ui.targetSegmentationSelector.currentNode())
        self.apply()
        self.assertIsNot(self.accept()[0], segmentation)
        self.assertEqual(labelmap.GetMTime(), before)

    def testNorWhenItsImageWasRemovedInAnotherModule(self):
        self.apply()
        self.accept()
        slicer.util.selectModule("Data")
        slicer.mrmlScene.RemoveNode(self.first)
        self.load(CLIP)
        slicer.util.selectModule("UltrasoundKD")
        self.settleViews()
        self.assertEqual(self.ui.inputSelector.currentNode().GetName(), CLIP)
        self.assertIsNone(self.ui.targetSegmentationSelector.currentNode())

    def testWhoeverChoosesTheImageAfterItsSegmentationWasLeftIsSafe(self):
        """The segmentation says of no image that it belongs to it."""
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "of nobody")
        self.ui.targetSegmentationSelector.setCurrentNode(node)
        self.load(CLIP)
        self.assertIsNone(self.ui.targetSegmentationSelector.currentNode())

    def testOfSeveralImagesThatNobodyShowsNoneIsChosen(self):
        self.load(CLIP)
        slicer.util.selectModule("Data")
        self.widget.panel.parameters.setNode("inputVolume", None)
        slicer.util.setSliceViewerLayers(background=None)
        gestures.settle(100)
        slicer.util.selectModule("UltrasoundKD")
        self.settleViews()
        self.assertIsNone(self.ui.inputSelector.currentNode())

    def testTheShownImageIsChosenOnEntering(self):
        """Not the first of the scene; and entering changes no view."""
        second = self.load(CLIP)
        slicer.util.selectModule("Data")
        self.widget.panel.parameters.setNode("inputVolume", None)
        slicer.util.selectModule("UltrasoundKD")
        self.assertIs(self.ui.inputSelector.currentNode(), second)
        self.assertIs(self.background(), second)
        self.assertFalse(self.editor.autoShowSourceVolumeNode, "the Segment Editor would show its source volume")

    def load(self, name):
        """As the button of Sample Data does, and nothing else."""
        import SampleData

        source = SampleData.SampleDataLogic().sourceForSampleName(name)
        [node] = source.customDownloader(source)
        self.settleViews()
        return node

    def show(self, node):
        slicer.util.setSliceViewerLayers(background=node)
        self.settleViews()

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
