"""A proposal is seen as an outline in its frame, quickly, and is nothing that stays."""

import tempfile
import time
import unittest
from pathlib import Path

import numpy as np
import slicer

from leanseg.errors import IncompatibleInputError
from leanseg.slicer_bridge.frames import framesOf
from leanseg.slicer_bridge.proposal import Proposal
from Testing.slicer.bridge.segmentations import box, worldCentroid
from Testing.slicer.bridge.views import pixelsOf, showVolume
from Testing.slicer.bridge.volumes import CASES, clip, volumeNode

GREEN = (0.0, 1.0, 0.0)


def greenPixels(name="Red"):
    """(row, column) of what is drawn in green."""
    pixels = pixelsOf(name).astype(int)
    return np.argwhere((pixels[..., 1] > 180) & (pixels[..., 0] < 100) & (pixels[..., 2] < 100))


class TestProposal(unittest.TestCase):
    def setUp(self):
        slicer.mrmlScene.Clear(0)
        self.volume = volumeNode(np.full((4, 40, 40), 20, np.uint8), np.diag([0.5, 0.5, 2, 1]), name="clip")
        showVolume(self.volume)
        self.frames = framesOf(self.volume)
        self.proposal = Proposal(self.volume)
        self.mask = box((40, 40), (10, 30), (10, 30))

    def testItIsAnOutlineInItsFrame(self):
        self.proposal.show(self.mask, 2, self.frames, GREEN)
        self.frames.select(2)
        green = greenPixels()
        self.assertGreater(len(green), 100)
        # A filled square would have as many green pixels as its bounding box.
        size = np.ptp(green, axis=0) + 1
        self.assertLess(len(green), 0.2 * size[0] * size[1])
        # The mask is the middle half of a square image that fills the view along its shorter side.
        shorter = min(pixelsOf("Red").shape[:2])
        np.testing.assert_allclose(size, shorter / 2, rtol=0.1)
        for index in (0, 1, 3):
            self.frames.select(index)
            self.assertEqual(len(greenPixels()), 0, index)

    def testAStackIsSeenInViewsAcrossItsSlices(self):
        """Slices 1 and 2 of four: a rectangle of half the height in the view from the side."""
        self.proposal.showStack(np.stack([self.mask, self.mask]), 1, self.frames, GREEN)
        for index, isThere in enumerate((False, True, True, False)):
            self.frames.select(index)
            self.assertEqual(len(greenPixels()) > 100, isThere, index)
        center = self.frames.geometry(1).ras_of(np.array([20, 20, 0.5]))
        slicer.vtkMRMLSliceNode.JumpAllSlices(slicer.mrmlScene, *center, 0)
        height, width = np.ptp(greenPixels("Yellow"), axis=0) + 1
        # 20 voxels of 0.5 mm by 2 slices of 2 mm
        np.testing.assert_allclose(width / height, 10 / 4, rtol=0.15)

    def testTheNextOneReplacesIt(self):
        self.proposal.show(self.mask, 2, self.frames, GREEN)
        self.proposal.show(self.mask, 1, self.frames, GREEN)
        self.frames.select(2)
        self.assertEqual(len(greenPixels()), 0)
        self.frames.select(1)
        self.assertGreater(len(greenPixels()), 100)
        self.proposal.show(np.zeros_like(self.mask), 1, self.frames, GREEN)
        self.assertEqual(len(greenPixels()), 0)
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode"), 1)

    def testHidingAndShowingAgain(self):
        self.assertFalse(self.proposal.isVisible)
        self.proposal.hide()
        self.proposal.show(self.mask, 2, self.frames, GREEN)
        self.frames.select(2)
        self.assertTrue(self.proposal.isVisible)
        self.proposal.hide()
        self.assertFalse(self.proposal.isVisible)
        self.assertEqual(len(greenPixels()), 0)
        self.proposal.show(self.mask, 2, self.frames, GREEN)
        self.assertTrue(self.proposal.isVisible)
        self.assertGreater(len(greenPixels()), 100)

    def testItLiesWhereTheFrameLies(self):
        for case in CASES:
            with self.subTest(case.name):
                volume = case.node()
                proposal = Proposal(volume)
                k = 0 if case.shape[0] == 1 else 4
                proposal.show(case.blob[k], k, framesOf(volume), GREEN)
                segmentId = proposal.node.GetSegmentation().GetNthSegmentID(0)
                centroid = worldCentroid(proposal.node, segmentId, volume)
                self.assertLess(np.abs(np.subtract(centroid, case.world)).max(), case.halfVoxel)

    def testFramesOfAClip(self):
        volume, browser = clip(4)
        showVolume(volume)
        proposal, frames = Proposal(volume), framesOf(volume)
        browser.SetSelectedItemNumber(3)
        proposal.show(box((32, 40), (2, 9), (2, 9)), 3, frames, GREEN)
        self.assertTrue(proposal.isVisible)

    def testItIsDrawnOnlyWhereItsImageIs(self):
        other = volumeNode(np.full((4, 40, 40), 20, np.uint8), np.diag([0.5, 0.5, 2, 1]), name="other")
        slicer.mrmlScene.GetNodeByID("vtkMRMLSliceCompositeNodeRed").SetBackgroundVolumeID(other.GetID())
        self.proposal.show(self.mask, 2, self.frames, GREEN)
        self.frames.select(2)
        self.assertEqual(len(greenPixels("Red")), 0)
        self.assertGreater(len(greenPixels("Green")), 10)
        showVolume(other)
        self.proposal.show(self.mask, 2, self.frames, GREEN)
        self.assertFalse(self.proposal.isVisible)
        slicer.util.setSliceViewerLayers(foreground=self.volume)
        self.proposal.show(self.mask, 2, self.frames, GREEN)
        self.assertTrue(self.proposal.isVisible, "also where it is the foreground")

    def testNoSelectorListsItAndNoSceneFileKeepsIt(self):
        self.proposal.show(self.mask, 2, self.frames, GREEN)
        self.assertEqual(self.proposal.node.GetName(), "clip proposal")
        self.assertTrue(self.proposal.node.GetHideFromEditors())
        self.proposal.node.CreateDefaultDisplayNodes()
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "scene.mrb")
            self.assertTrue(slicer.util.saveScene(path))
            slicer.mrmlScene.Clear(0)
            slicer.util.loadScene(path)
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode"), 0)
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationDisplayNode"), 0)
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode"), 1)

    def testRemovingLeavesNothing(self):
        before = slicer.mrmlScene.GetNumberOfNodes()
        self.proposal.show(self.mask, 2, self.frames, GREEN)
        self.proposal.remove()
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodes(), before)
        self.assertFalse(self.proposal.isVisible)
        self.proposal.remove()

    def testItSurvivesTheCloseOfTheScene(self):
        self.proposal.show(self.mask, 2, self.frames, GREEN)
        slicer.mrmlScene.Clear(0)
        self.assertFalse(self.proposal.isVisible)
        self.proposal.hide()
        with self.assertRaises(IncompatibleInputError):
            self.proposal.show(self.mask, 2, self.frames, GREEN)
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode"), 0)

    def testItIsQuick(self):
        volume = volumeNode(np.zeros((100, 256, 256), np.uint8))
        frames, proposal = framesOf(volume), Proposal(volume)
        masks = [box((256, 256), (60, 180), (40 + 2 * n, 160 + 2 * n)) for n in range(20)]
        proposal.show(masks[0], 50, frames, GREEN)
        seconds = []
        for mask in masks:
            start = time.perf_counter()
            proposal.show(mask, 50, frames, GREEN)
            seconds.append(time.perf_counter() - start)
        self.assertLess(min(seconds), 0.010)
