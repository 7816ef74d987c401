"""Several segments written in one step: nested ones overlap, one undo takes all back, a failure leaves nothing."""

import unittest
from unittest import mock

import numpy as np
import slicer

from leanseg.errors import IncompatibleInputError, UnknownNameError
from leanseg.slicer_bridge.frames import VolumeFrames
from leanseg.slicer_bridge.nodes import geometryFromNode
from leanseg.slicer_bridge.segments import SegmentWriter, addSegment, segmentationFor
from Testing.slicer.bridge.segmentations import LESION, box, bytesOf, editorNode, fill, voxels
from Testing.slicer.bridge.volumes import volumeNode

SHAPE = (8, 24, 20)
OUTER, INNER = box(SHAPE, (2, 6), (4, 20), (4, 16)), box(SHAPE, (3, 5), (8, 14), (6, 12))
OTHER = box(SHAPE, (0, 8), (12, 24), (0, 20))


class TestTogether(unittest.TestCase):
    def setUp(self):
        slicer.mrmlScene.Clear(0)
        self.volume = volumeNode(np.zeros(SHAPE, np.uint8))
        self.segmentation = segmentationFor(self.volume, "result")
        names = ("other", "outer", "inner")
        self.other, self.outer, self.inner = (addSegment(self.segmentation, LESION, name) for name in names)
        fill(self.segmentation, self.other, OTHER, self.volume)
        self.frames = VolumeFrames(self.volume)
        self.editor = editorNode()
        self.writer = SegmentWriter(self.editor)

    def write(self, isNested=True, **masks):
        ofFrames = {getattr(self, name): dict(enumerate(mask)) for name, mask in masks.items()}
        return self.writer.writeTogether(self.segmentation, self.frames, ofFrames, isNested)

    def assertHeld(self, **masks):
        for name, mask in masks.items():
            found = voxels(self.segmentation, getattr(self, name), self.volume)
            np.testing.assert_array_equal(found, mask, name)

    def testNestedSegmentsKeepTheirVoxels(self):
        losers = self.write(outer=OUTER, inner=INNER)
        self.assertEqual(losers, [self.other])
        self.assertHeld(outer=OUTER, inner=INNER, other=OTHER & ~OUTER)
        self.assertEqual(self.editor.GetOverwriteMode(), self.editor.OverwriteAllSegments)

    def testOthersTakeFromEachOther(self):
        self.write(isNested=False, outer=OUTER, inner=INNER)
        self.assertHeld(outer=OUTER & ~INNER, inner=INNER)

    def testWritingAgainReplaces(self):
        self.write(outer=OUTER, inner=INNER)
        smaller, moved = INNER, box(SHAPE, (3, 4), (9, 11), (6, 8))
        self.write(outer=smaller, inner=moved)
        self.assertHeld(outer=smaller, inner=moved, other=OTHER & ~OUTER)

    def testMaskingIsAskedBeforeAnyIsChanged(self):
        """Outside all segments: the inner one may lie in the outer one, which was not there when it was asked."""
        self.editor.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedOutsideAllSegments)
        self.write(outer=OUTER, inner=INNER)
        self.assertHeld(outer=OUTER & ~OTHER, inner=INNER & ~OTHER, other=OTHER)

    def testOnlyVoxelsWithinAreWritten(self):
        self.write(outer=OUTER, inner=INNER)
        within = box(SHAPE[1:], (0, 10), (0, 20))
        for k in (3, 4):  # nothing is left there
            nothing = {k: np.zeros(SHAPE[1:], bool)}
            masks = {self.outer: nothing, self.inner: nothing}
            losers = self.writer.writeTogether(self.segmentation, self.frames, masks, True, {k: within})
            self.assertEqual(losers, [])
        gone = box(SHAPE, (3, 5), (0, 10), (0, 20))
        self.assertHeld(outer=OUTER & ~gone, inner=INNER & ~gone, other=OTHER & ~OUTER)

    def testAddingLeavesFineCorrectionsAndWhatOthersHoldAlready(self):
        """The segmentation is twice as fine along k; one segment has a plane that no slice of the image can say."""
        fine = volumeNode(np.zeros((16, 24, 20), np.uint8), np.diag([1, 1, 0.5, 1]))
        segmentation = segmentationFor(fine, "fine")
        tumor, other = addSegment(segmentation, LESION, "tumor"), addSegment(segmentation, LESION, "other")
        corrected = box((16, 24, 20), (5, 6), (4, 10), (4, 10))
        fill(segmentation, tumor, corrected, fine)
        fill(segmentation, other, box((16, 24, 20), (5, 6), (4, 8), (4, 8)), fine)
        masks = dict(enumerate(box(SHAPE, (0, 8), (14, 20), (4, 16))))
        losers = self.writer.writeTogether(segmentation, self.frames, {tumor: masks}, within=masks)
        self.assertEqual(losers, [])
        found = voxels(segmentation, tumor, fine)
        np.testing.assert_array_equal(found[:, :14], corrected[:, :14])
        self.assertTrue(found[:15, 14:20, 4:16].all())
        np.testing.assert_array_equal(voxels(segmentation, other, fine).sum(), 16)

    def testTheGridOfTheVolumeIsLookedUpOnceForAllFrames(self):
        deep = volumeNode(np.zeros((200, 4, 4), np.uint8))
        frames, masks = VolumeFrames(deep), {k: np.ones((4, 4), bool) for k in range(200)}
        with mock.patch("leanseg.slicer_bridge.frames.geometryFromNode", wraps=geometryFromNode) as looked:
            self.writer.check(segmentationFor(deep, "deep"), "", frames, masks)
        self.assertLessEqual(looked.call_count, 2)  # for its first and its last frame
        for index in (-1, 200):
            with self.assertRaises(IncompatibleInputError):
                self.writer.check(self.segmentation, "", frames, {**masks, index: masks[0]})

    def testOneUndoTakesAllBack(self):
        before = bytesOf(self.segmentation)
        self.write(outer=OUTER, inner=INNER)
        after = bytesOf(self.segmentation)
        self.writer.undo()
        self.assertEqual(bytesOf(self.segmentation), before)
        self.assertFalse(self.writer.canUndo())
        self.writer.redo()
        self.assertEqual(bytesOf(self.segmentation), after)

    def testABadMaskLeavesAllAsItWas(self):
        before = bytesOf(self.segmentation)
        with self.assertRaisesRegex(IncompatibleInputError, "The mask of frame 0"):
            self.write(outer=OUTER, inner=INNER[:, :5])
        with self.assertRaises(UnknownNameError):
            self.writer.writeTogether(self.segmentation, self.frames, {"nobody": dict(enumerate(OUTER))})
        self.assertEqual(bytesOf(self.segmentation), before)
        self.assertFalse(self.writer.canUndo())


class TestOneState(unittest.TestCase):
    def setUp(self):
        slicer.mrmlScene.Clear(0)
        self.volume = volumeNode(np.zeros(SHAPE, np.uint8))
        self.segmentation = segmentationFor(self.volume, "result")
        self.saved = 0

    def addAndWrite(self, writer):
        added = addSegment(self.segmentation, LESION)
        writer.write(self.segmentation, added, VolumeFrames(self.volume), dict(enumerate(OUTER)))
        return added

    def testAddingAndWritingAreUndoneTogether(self):
        writer = SegmentWriter(editorNode())
        with writer.oneState(self.segmentation):
            added = [self.addAndWrite(writer) for _time in range(2)]
        writer.undo()
        self.assertEqual(bytesOf(self.segmentation), [])
        self.assertFalse(writer.canUndo())
        writer.redo()
        self.assertEqual(list(self.segmentation.GetSegmentation().GetSegmentIDs()), added)

    def testTheEmbeddedEditorSavesOnceAndBefore(self):
        states = []
        writer = SegmentWriter(editorNode(), lambda: states.append(bytesOf(self.segmentation)))
        with writer.oneState(self.segmentation):
            self.addAndWrite(writer)
        self.assertEqual(states, [[]])
        self.addAndWrite(writer)
        self.assertEqual(len(states), 2)

    def testAnErrorInsideTakesAllBack(self):
        writer = SegmentWriter(editorNode())
        with self.assertRaises(ZeroDivisionError), writer.oneState(self.segmentation):
            self.addAndWrite(writer)
            raise ZeroDivisionError
        self.assertEqual(bytesOf(self.segmentation), [])
        self.assertFalse(writer.canUndo())
        self.addAndWrite(writer)  # it goes on working
        writer.undo()
        self.assertEqual(len(bytesOf(self.segmentation)), 1)


if __name__ == "__main__":
    unittest.main()
