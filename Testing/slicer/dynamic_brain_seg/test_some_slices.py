"""Single slices computed anew are written, and nothing else: corrections in the others stay."""

import unittest

import numpy as np
from DynamicBrainSegLib.logic import BrainLogic
from DynamicBrainSegLib.region_segments import editedRegions, newSegmentation, writeRegions
from DynamicBrainSegLib.result import NESTED

from leanseg.slicer_bridge.segments import addSegment, segmentationFor
from Testing.slicer.bridge.segmentations import LESION, box, bytesOf, fill
from Testing.slicer.bridge.volumes import volumeNode
from Testing.slicer.dynamic_brain_seg import brain_model
from Testing.slicer.dynamic_brain_seg.brain_phantom import AXIAL_SHAPE, exported, node, truth
from Testing.slicer.dynamic_brain_seg.test_segments import SegmentsCase


class TestSomeSlices(SegmentsCase):
    """Slices are counted on the model grid, which begins at slice 3 of the axial phantom (-24 mm)."""

    def writeWhole(self):
        self.segmentation = newSegmentation(self.reference)
        self.ids = self.write(NESTED, self.segmentation).ids

    def skip(self, *slices):
        """These computed anew, and only they written."""
        with brain_model.loaded():
            self.result = BrainLogic().refine(self.result, dict.fromkeys(slices, 0))
        return writeRegions(self.result, self.segmentation, NESTED, self.writer, slices)

    def exported(self, region):
        return exported(self.segmentation, self.ids[region], self.reference)

    def correct(self, region, mask):
        fill(self.segmentation, self.ids[region], mask, self.reference)

    def testCorrectionsInOtherSlicesStayAndAreStillKnown(self):
        self.writeWhole()
        mine = truth("TC")
        mine[14] = False
        self.correct("TC", mine)
        written = self.skip(13)
        mine[16] = False
        np.testing.assert_array_equal(self.exported("TC"), mine)
        whole = truth("WT")
        whole[16] = False
        np.testing.assert_array_equal(self.exported("WT"), whole)
        self.assertEqual((written.ids, written.losers), (self.ids, []))
        self.assertEqual(editedRegions(self.segmentation), [self.ids["TC"]])
        self.skip(11, 12)
        self.assertEqual(editedRegions(self.segmentation), [], "the correction was in slice 11")

    def testOneUndoTakesItBack(self):
        self.writeWhole()
        mine = truth("ET")
        mine[15] = False
        self.correct("ET", mine)
        before = bytesOf(self.segmentation)
        self.skip(13)
        self.assertNotEqual(bytesOf(self.segmentation), before)
        self.writer.undo()
        self.assertEqual(bytesOf(self.segmentation), before)
        self.assertEqual(editedRegions(self.segmentation), [self.ids["ET"]])

    def testOtherSegmentsLoseNothingElsewhere(self):
        self.writeWhole()
        other = addSegment(self.segmentation, LESION, "mine")
        voxels = box(AXIAL_SHAPE, (13, 18), (20, 40), (10, 30))
        self.assertTrue((voxels & truth("WT"))[14].any())
        fill(self.segmentation, other, voxels, self.reference)
        self.assertEqual(self.skip(13).losers, [])
        np.testing.assert_array_equal(exported(self.segmentation, other, self.reference), voxels)

    def testAxialSlicesOfASagittalVolume(self):
        """2 mm voxels: i to P, j to I from 80 mm, k to R. The brain reaches down to z = -25."""
        sagittal, shape = np.array([[0, 0, 2.0, -50], [-2, 0, 0, 60], [0, -2, 0, 80], [0, 0, 0, 1]]), (60, 62, 64)
        self.use({"flair": node("flair", shape, sagittal), "t1": node("t1", shape, sagittal)})
        self.writeWhole()
        mine = truth("WT", shape, sagittal)
        mine[:, :, 28] = False  # a coronal plane, through all that is written
        self.assertTrue((truth("WT", shape, sagittal) & ~mine).any())
        self.correct("WT", mine)
        self.skip(27)  # z = 30 mm: j = 25
        self.assertTrue(mine[:, 25].any())
        mine[:, 25] = False
        np.testing.assert_array_equal(self.exported("WT"), mine)
        self.assertEqual(editedRegions(self.segmentation), [self.ids["WT"]])

    def testASegmentationOfAnotherGrid(self):
        fine = np.array([[-1.0, 0, 0, 69.5], [0, -1, 0, 54.5], [0, 0, 2, -37], [0, 0, 0, 1]])
        other = volumeNode(np.zeros((58, 128, 128), np.uint8), fine)
        self.segmentation = segmentationFor(other, "fine")
        self.ids = self.write(NESTED, self.segmentation).ids
        mine = truth("WT").repeat(2, axis=0).repeat(2, axis=1).repeat(2, axis=2)
        mine[29] = False  # one of the two thin slices in slice 14
        fill(self.segmentation, self.ids["WT"], mine, other)
        self.skip(13)
        mine[32:34] = False
        np.testing.assert_array_equal(exported(self.segmentation, self.ids["WT"], other), mine)
        self.assertEqual(editedRegions(self.segmentation), [self.ids["WT"]])
        self.skip(11)
        self.assertEqual(editedRegions(self.segmentation), [])


if __name__ == "__main__":
    unittest.main()
