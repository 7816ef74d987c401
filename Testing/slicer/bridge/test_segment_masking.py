"""What is written keeps to the mask modes, intensity range and overwrite modes of the Segment Editor."""

import unittest

import numpy as np
import slicer

from leanseg.errors import IncompatibleInputError
from leanseg.slicer_bridge.frames import framesOf
from leanseg.slicer_bridge.segments import SegmentWriter, addSegment, segmentationFor
from Testing.slicer.bridge.segmentations import LESION, box, bytesOf, editorNode, fill, voxels
from Testing.slicer.bridge.volumes import volumeNode

Editing = slicer.vtkMRMLSegmentationNode
Overwriting = slicer.vtkMRMLSegmentEditorNode
SHAPE = (6, 20, 20)
NEW = box(SHAPE[1:], (2, 10), (2, 10))  # 64 voxels
OLD = box(SHAPE, (0, 6), (8, 14), (2, 8))  # of the segment itself: 36 voxels a frame, 12 of them in NEW
NEIGHBOR = box(SHAPE, (0, 6), (4, 9), (6, 16))  # 50 voxels a frame
FRAME = 2


class MaskingCase(unittest.TestCase):
    """A segment with content, a neighbor that partly covers what will be written, in frame 2."""

    def setUp(self):
        slicer.mrmlScene.Clear(0)
        image = np.zeros(SHAPE, np.uint8)
        image[:, :, :6] = 50
        self.volume = volumeNode(image, np.diag([0.5, 0.5, 2, 1]))
        self.segmentation = segmentationFor(self.volume, "result")
        self.lesion = addSegment(self.segmentation, LESION)
        self.neighbor = addSegment(self.segmentation, LESION, "Neighbor")
        fill(self.segmentation, self.lesion, OLD & ~NEIGHBOR, self.volume)
        fill(self.segmentation, self.neighbor, NEIGHBOR, self.volume)
        self.old = OLD[FRAME] & ~NEIGHBOR[FRAME]
        self.editor = editorNode()
        self.writer = SegmentWriter(self.editor)

    def write(self):
        return self.writer.write(self.segmentation, self.lesion, framesOf(self.volume), {FRAME: NEW})

    def after(self):
        """(lesion, neighbor) in the frame, once the others are known to be untouched and undo to work."""
        lesion = voxels(self.segmentation, self.lesion, self.volume)
        neighbor = voxels(self.segmentation, self.neighbor, self.volume)
        for k in set(range(SHAPE[0])) - {FRAME}:
            np.testing.assert_array_equal(lesion[k], OLD[k] & ~NEIGHBOR[k])
            np.testing.assert_array_equal(neighbor[k], NEIGHBOR[k])
        return lesion[FRAME], neighbor[FRAME]

    def assertWritten(self, lesion, neighbor):
        before = bytesOf(self.segmentation)
        losers = self.write()
        for found, expected in zip(self.after(), (lesion, neighbor), strict=True):
            np.testing.assert_array_equal(found, expected)
        self.assertEqual(losers, [self.neighbor] if neighbor.sum() < NEIGHBOR[FRAME].sum() else [])
        self.writer.undo()
        self.assertEqual(bytesOf(self.segmentation), before)


class TestOverwriteModes(MaskingCase):
    def testAll(self):
        self.editor.SetOverwriteMode(Overwriting.OverwriteAllSegments)
        self.assertWritten(NEW, NEIGHBOR[FRAME] & ~NEW)

    def testNone(self):
        self.editor.SetOverwriteMode(Overwriting.OverwriteNone)
        self.assertWritten(NEW, NEIGHBOR[FRAME])

    def testVisibleOnes(self):
        self.editor.SetOverwriteMode(Overwriting.OverwriteVisibleSegments)
        self.assertWritten(NEW, NEIGHBOR[FRAME] & ~NEW)

    def testHiddenOnesAreSpared(self):
        self.editor.SetOverwriteMode(Overwriting.OverwriteVisibleSegments)
        self.segmentation.GetDisplayNode().SetSegmentVisibility(self.neighbor, False)
        self.assertWritten(NEW, NEIGHBOR[FRAME])

    def testVoxelsThatWereShared(self):
        """The lesion overlapped its neighbor; what it leaves stays the neighbor's."""
        self.editor.SetOverwriteMode(Overwriting.OverwriteNone)
        fill(self.segmentation, self.lesion, OLD | NEIGHBOR, self.volume)
        self.write()
        lesion = voxels(self.segmentation, self.lesion, self.volume)
        np.testing.assert_array_equal(lesion[FRAME], NEW)
        np.testing.assert_array_equal(lesion[FRAME + 1], (OLD | NEIGHBOR)[FRAME + 1])
        np.testing.assert_array_equal(voxels(self.segmentation, self.neighbor, self.volume), NEIGHBOR)


class TestMaskModes(MaskingCase):
    def testOutsideAllSegments(self):
        self.editor.SetMaskMode(Editing.EditAllowedOutsideAllSegments)
        allowed = ~NEIGHBOR[FRAME]  # Slicer means the other segments
        self.assertWritten(np.where(allowed, NEW, self.old), NEIGHBOR[FRAME])

    def testOutsideVisibleSegments(self):
        self.editor.SetMaskMode(Editing.EditAllowedOutsideVisibleSegments)
        self.segmentation.GetDisplayNode().SetSegmentVisibility(self.neighbor, False)
        self.assertWritten(NEW, NEIGHBOR[FRAME] & ~NEW)

    def testInsideAllSegments(self):
        self.editor.SetMaskMode(Editing.EditAllowedInsideAllSegments)
        allowed = NEIGHBOR[FRAME] | self.old
        self.assertWritten(np.where(allowed, NEW, self.old), NEIGHBOR[FRAME] & ~NEW)

    def testInsideVisibleSegments(self):
        self.editor.SetMaskMode(Editing.EditAllowedInsideVisibleSegments)
        self.segmentation.GetDisplayNode().SetSegmentVisibility(self.neighbor, False)
        self.assertWritten(np.where(self.old, NEW, self.old), NEIGHBOR[FRAME])

    def testInsideOneSegment(self):
        self.editor.SetMaskMode(Editing.EditAllowedInsideSingleSegment)
        self.editor.SetMaskSegmentID(self.neighbor)
        allowed = NEIGHBOR[FRAME]
        self.assertWritten(np.where(allowed, NEW, self.old), NEIGHBOR[FRAME] & ~NEW)

    def testInsideOneSegmentThatTheOldOneShares(self):
        """Slicer gives back to the mask segment what is erased inside it; it must not grow by what it did not have."""
        self.editor.SetMaskMode(Editing.EditAllowedInsideSingleSegment)
        self.editor.SetMaskSegmentID(self.neighbor)
        self.editor.SetOverwriteMode(Overwriting.OverwriteNone)
        fill(self.segmentation, self.lesion, OLD, self.volume)
        self.write()
        lesion = voxels(self.segmentation, self.lesion, self.volume)[FRAME]
        np.testing.assert_array_equal(lesion, np.where(NEIGHBOR[FRAME], NEW, OLD[FRAME]))
        np.testing.assert_array_equal(voxels(self.segmentation, self.neighbor, self.volume), NEIGHBOR)

    def testInsideOneSegmentThatIsNotChosen(self):
        self.editor.SetMaskMode(Editing.EditAllowedInsideSingleSegment)
        before = bytesOf(self.segmentation)
        for missing in (None, "nobody"):
            self.editor.SetMaskSegmentID(missing)
            with self.assertRaisesRegex(IncompatibleInputError, "none is chosen"):
                self.write()
        self.assertEqual(bytesOf(self.segmentation), before)


class TestIntensityRange(MaskingCase):
    def setUp(self):
        super().setUp()
        self.editor.SetSourceVolumeIntensityMask(True)
        self.editor.SetSourceVolumeIntensityMaskRange(40, 60)
        self.allowed = np.zeros(SHAPE[1:], bool)
        self.allowed[:, :6] = True

    def testOfTheSameVolume(self):
        self.editor.SetAndObserveSourceVolumeNode(self.volume)
        self.assertWritten(np.where(self.allowed, NEW, self.old), NEIGHBOR[FRAME])

    def testWithAMaskModeToo(self):
        self.editor.SetAndObserveSourceVolumeNode(self.volume)
        self.editor.SetMaskMode(Editing.EditAllowedOutsideAllSegments)
        allowed = self.allowed & ~NEIGHBOR[FRAME]
        self.assertWritten(np.where(allowed, NEW, self.old), NEIGHBOR[FRAME])

    def testOfAVolumeOnAnotherGrid(self):
        """Twice as coarse in the plane, 50 in its columns 0 to 3, so in the columns 0 to 6 of the finer one."""
        image = np.zeros((6, 10, 10), np.uint8)
        image[:, :, :4] = 50
        other = volumeNode(image, np.diag([1, 1, 2, 1]))
        self.editor.SetAndObserveSourceVolumeNode(other)
        self.editor.SetSourceVolumeIntensityMaskRange(45, 55)
        self.write()
        lesion, _neighbor = self.after()
        self.assertTrue(lesion[2:8, 2:7].all())
        self.assertFalse((lesion & ~self.old)[:, 7:].any())

    def testOfAColorVolume(self):
        color = np.repeat(slicer.util.arrayFromVolume(self.volume)[..., np.newaxis], 3, axis=3)
        self.editor.SetAndObserveSourceVolumeNode(volumeNode(color, np.diag([0.5, 0.5, 2, 1])))
        self.assertWritten(np.where(self.allowed, NEW, self.old), NEIGHBOR[FRAME])

    def testWithoutAVolumeIsRefused(self):
        before = bytesOf(self.segmentation)
        with self.assertRaisesRegex(IncompatibleInputError, "no source volume"):
            self.write()
        self.assertEqual(bytesOf(self.segmentation), before)
        self.assertFalse(self.writer.canUndo())


class TestMaskingOnAnotherGrid(unittest.TestCase):
    def testTheNeighborIsProtectedThere(self):
        slicer.mrmlScene.Clear(0)
        volume = volumeNode(np.zeros((4, 20, 20), np.uint8), np.diag([1, 1, 1, 1]))
        fine = volumeNode(np.zeros((4, 40, 40), np.uint8), [[0.5, 0, 0, -0.25], [0, 0.5, 0, -0.25],
                                                            [0, 0, 1, 0], [0, 0, 0, 1]])  # fmt: skip
        segmentation = segmentationFor(fine, "fine")
        lesion, neighbor = addSegment(segmentation, LESION), addSegment(segmentation, LESION, "Neighbor")
        protected = box((4, 40, 40), (0, 4), (10, 20), (10, 20))
        fill(segmentation, neighbor, protected, fine)
        editor = editorNode()
        editor.SetMaskMode(Editing.EditAllowedOutsideAllSegments)
        mask = box((20, 20), (2, 8), (2, 8))  # on the fine grid: 4 to 15
        SegmentWriter(editor).write(segmentation, lesion, framesOf(volume), {1: mask})
        expected = box((40, 40), (4, 16), (4, 16)) & ~protected[1]
        np.testing.assert_array_equal(voxels(segmentation, lesion, fine)[1], expected)
        np.testing.assert_array_equal(voxels(segmentation, neighbor, fine), protected)
        self.assertEqual(voxels(segmentation, lesion, fine)[[0, 2, 3]].sum(), 0)
