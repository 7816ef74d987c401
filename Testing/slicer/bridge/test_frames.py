"""Frames of volumes and sequences: which one is current, how to get there, who is told."""

import gc
import unittest
import weakref

import numpy as np
import slicer

from leanseg.errors import IncompatibleInputError
from leanseg.slicer_bridge.frames import SequenceFrames, VolumeFrames, framesOf
from Testing.slicer.bridge.views import showVolume, sliceNode
from Testing.slicer.bridge.volumes import CASES, clip, underBendingTransform, volumeNode


class TestVolumeFrames(unittest.TestCase):
    def setUp(self):
        slicer.mrmlScene.Clear(0)

    def testSlicesAreFrames(self):
        frames = framesOf(CASES[4].node())
        self.assertIsInstance(frames, VolumeFrames)
        self.assertEqual(frames.count, 8)
        self.assertEqual(frames.volume(4).array.shape, (1, 1, 24, 20))
        self.assertEqual(frames.volume(4).array.max(), 100)
        self.assertEqual(frames.volume(1).array.max(), 10)
        np.testing.assert_allclose(frames.geometry(4).ras_of(np.array([6, 11, 0])), CASES[4].world)

    def testTheViewAlongKSaysWhichFrameIsCurrent(self):
        node = CASES[4].node()  # k runs along S: z = 5 k - 30
        showVolume(node)
        frames = framesOf(node)
        for offset, k in ((-30, 0), (-10, 4), (-12.4, 4), (-12.6, 3), (5, 7)):
            sliceNode("Red").SetSliceOffset(offset)
            self.assertEqual(frames.currentIndex(), k, offset)
        sliceNode("Yellow").SetSliceOffset(-9)
        self.assertEqual(frames.currentIndex(), 7)

    def testBeyondTheVolumeTheNearestFrameIsCurrent(self):
        node = CASES[4].node()
        showVolume(node)
        frames = framesOf(node)
        for offset, k in ((-500, 0), (500, 7)):
            sliceNode("Red").SetSliceOffset(offset)
            self.assertEqual(frames.currentIndex(), k)

    def testPermutedAxesAreFollowedByAnotherView(self):
        node = CASES[2].node()  # k runs along R: x = 2 k + 1
        showVolume(node)
        frames = framesOf(node)
        sliceNode("Yellow").JumpSliceByOffsetting(9, 0, 0)
        sliceNode("Red").SetSliceOffset(-3)
        self.assertEqual(frames.currentIndex(), 4)
        frames.select(6)
        self.assertAlmostEqual(sliceNode("Yellow").GetSliceToRAS().GetElement(0, 3), 13)
        self.assertAlmostEqual(sliceNode("Red").GetSliceOffset(), -3)

    def testObliqueFramesAreCountedWhereTheViewCutsTheirMiddle(self):
        node = CASES[3].node()
        showVolume(node)
        frames = framesOf(node)
        # Middle of slice k (i 9.5, j 11.5): S = 25 + 0.25 * 11.5 + 1.5 * 0.8660254 k = 27.875 + 1.2990381 k.
        for k in (0, 3, 7):
            sliceNode("Red").SetSliceOffset(27.875 + 1.2990381 * k + 0.4)
            self.assertEqual(frames.currentIndex(), k)
        frames.select(5)
        self.assertAlmostEqual(sliceNode("Red").GetSliceOffset(), 27.875 + 1.2990381 * 5, places=5)

    def testAViewTurnedToTheVolumeFollowsIt(self):
        node = CASES[3].node()
        showVolume(node)
        sliceNode("Red").RotateToVolumePlane(node)
        frames = framesOf(node)
        for k in range(8):
            frames.select(k)
            self.assertEqual(frames.currentIndex(), k)

    def testParentTransformsMoveTheFrames(self):
        node = CASES[5].node()  # world S = 2 k + 30
        showVolume(node)
        frames = framesOf(node)
        frames.select(4)
        self.assertAlmostEqual(sliceNode("Red").GetSliceOffset(), 38)
        sliceNode("Red").SetSliceOffset(42)
        self.assertEqual(frames.currentIndex(), 6)

    def testEveryGeometryComesBack(self):
        for case in CASES:
            with self.subTest(case.name):
                node = case.node()
                showVolume(node)
                frames = framesOf(node)
                for k in range(case.shape[0]):
                    frames.select(k)
                    self.assertEqual(frames.currentIndex(), k)

    def testAFrameThatDoesNotExistIsRefused(self):
        frames = framesOf(CASES[4].node())
        for index in (-1, 8):
            for attempt in (frames.select, frames.volume, frames.geometry):
                with self.assertRaises(IncompatibleInputError):
                    attempt(index)

    def testOneCallForEachRealChange(self):
        node = CASES[4].node()
        showVolume(node)
        frames = framesOf(node)
        frames.select(2)
        calls = []
        frames.observe(lambda: calls.append(frames.currentIndex()))
        sliceNode("Red").SetSliceOffset(-19)  # still slice 2
        sliceNode("Red").SetFieldOfView(50, 50, 1)
        sliceNode("Yellow").SetSliceOffset(-3)
        self.assertEqual(calls, [])
        frames.select(5)
        self.assertEqual(calls, [5])
        sliceNode("Red").SetSliceOffset(-30)
        self.assertEqual(calls, [5, 0])
        frames.unobserve()
        frames.select(3)
        self.assertEqual(calls, [5, 0])

    def testTurningTheWheelOverAnUnusableVolumeRaisesNothing(self):
        node, calls = CASES[4].node(), []
        showVolume(node)
        frames = framesOf(node)
        frames.observe(lambda: calls.append(frames.currentIndex()))
        known = frames.currentIndex()
        underBendingTransform(node)
        sliceNode("Red").SetSliceOffset(-10)  # an error in an observer fails the test
        self.assertEqual(calls, [])
        self.assertEqual(frames.currentIndex(), known)
        node.SetAndObserveTransformNodeID(None)
        sliceNode("Red").SetSliceOffset(5)
        self.assertEqual(calls, [7])

    def testUnobserveLeavesNoObserver(self):
        node = CASES[4].node()
        showVolume(node)
        holders = []

        def make(*steps):
            frames = framesOf(node)
            for step in steps:
                step(frames)
            holders.append(weakref.ref(frames))

        def observe(frames):
            frames.observe(int)

        def unobserve(frames):
            frames.unobserve()

        make(observe)
        make(observe, observe, observe, unobserve, unobserve)
        gc.collect()
        self.assertIsNotNone(holders[0]())  # VTK observers hold what they call: the measure works
        self.assertIsNone(holders[1]())
        holders[0]().unobserve()
        gc.collect()
        self.assertIsNone(holders[0]())

    def testAViewThatAppearsLaterIsObservedToo(self):
        node = CASES[4].node()
        showVolume(node)
        frames = framesOf(node)
        frames.select(2)
        calls = []
        frames.observe(lambda: calls.append(frames.currentIndex()))
        self.addCleanup(frames.unobserve)
        late = slicer.vtkMRMLSliceNode()
        late.SetName("Late")
        late.SetLayoutName("Late")
        late = slicer.mrmlScene.AddNode(late)
        self.addCleanup(slicer.mrmlScene.RemoveNode, late)
        for name in ("Red", "Yellow", "Green"):
            sliceNode(name).SetMappedInLayout(0)
            self.addCleanup(sliceNode(name).SetMappedInLayout, 1)
        late.SetOrientation("Axial")
        late.SetMappedInLayout(1)
        late.SetSliceOffset(0)
        self.assertEqual(calls[-1], 6)

    def testWithoutAViewAlongKTheLastFrameStays(self):
        node = CASES[4].node()
        showVolume(node)
        frames = framesOf(node)
        frames.select(3)
        for name in ("Red", "Yellow", "Green"):
            sliceNode(name).SetOrientation("Sagittal")
        self.assertEqual(frames.currentIndex(), 3)
        frames.select(6)
        self.assertEqual(frames.currentIndex(), 6)

    def testARemovedVolumeKeepsItsLastFrameAndIsRefused(self):
        node = CASES[4].node()
        showVolume(node)
        frames = framesOf(node)
        frames.select(3)
        slicer.mrmlScene.RemoveNode(node)
        self.assertEqual(frames.currentIndex(), 3)
        with self.assertRaisesRegex(IncompatibleInputError, "no longer in the scene"):
            frames.volume(3)


class TestSequenceFrames(unittest.TestCase):
    def setUp(self):
        slicer.mrmlScene.Clear(0)

    def testItemsAreFrames(self):
        proxy, browser = clip(5)
        frames = framesOf(proxy)
        self.assertIsInstance(frames, SequenceFrames)
        self.assertEqual(frames.count, 5)
        self.assertEqual([int(frames.volume(n).array.max()) for n in range(5)], [0, 10, 20, 30, 40])
        self.assertEqual(frames.geometry(2).shape, (1, 32, 40))
        self.assertEqual(browser.GetSelectedItemNumber(), 0)  # reading moves nothing

    def testColorClips(self):
        proxy, _browser = clip(3, components=3)
        self.assertEqual(framesOf(proxy).volume(2).array.shape, (3, 1, 32, 40))

    def testTheBrowserSaysWhichFrameIsCurrent(self):
        proxy, browser = clip(5)
        frames = framesOf(proxy)
        browser.SetSelectedItemNumber(3)
        self.assertEqual(frames.currentIndex(), 3)
        frames.select(1)
        self.assertEqual(browser.GetSelectedItemNumber(), 1)
        self.assertEqual(slicer.util.arrayFromVolume(proxy).max(), 10)

    def testOneCallForEachRealChange(self):
        proxy, browser = clip(5)
        frames = framesOf(proxy)
        calls = []
        frames.observe(lambda: calls.append((frames.currentIndex(), int(slicer.util.arrayFromVolume(proxy).max()))))
        browser.SetSelectedItemNumber(3)
        self.assertEqual(calls, [(3, 30)])  # and the volume node already shows it
        browser.SetPlaybackRateFps(7)
        self.assertEqual(len(calls), 1)
        frames.unobserve()
        browser.SetSelectedItemNumber(0)
        self.assertEqual(len(calls), 1)

    def testASequenceOf3DVolumesIsRefused(self):
        proxy, _browser = clip(3, depth=4)
        with self.assertRaisesRegex(IncompatibleInputError, "4-D volume .each frame has 4 slices"):
            framesOf(proxy)

    def testASequenceOfOneItemIsAVolume(self):
        proxy, _browser = clip(1, depth=4)
        self.assertEqual(framesOf(proxy).count, 4)

    def testAFrameThatDoesNotExistIsRefused(self):
        frames = framesOf(clip(3)[0])
        for attempt in (frames.select, frames.volume, frames.geometry):
            for index in (-1, 3):
                with self.assertRaisesRegex(IncompatibleInputError, "frames 0 to 2"):
                    attempt(index)

    def testARemovedBrowserIsRefused(self):
        proxy, browser = clip(3)
        frames = framesOf(proxy)
        slicer.mrmlScene.RemoveNode(browser)
        with self.assertRaisesRegex(IncompatibleInputError, "no longer in the scene"):
            frames.volume(1)


class TestRefusals(unittest.TestCase):
    def setUp(self):
        slicer.mrmlScene.Clear(0)

    def testWhatCheckVolumeRefuses(self):
        bent = volumeNode(np.zeros((2, 4, 5), np.uint8))
        underBendingTransform(bent)
        for node in (None, slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode"), bent):
            with self.assertRaises(IncompatibleInputError):
                framesOf(node)
