"""A result becomes segments, on the reference's voxels, in one step; and nothing else changes."""

import unittest
from unittest import mock

import numpy as np
import slicer
from DynamicBrainSegLib.inputs import readNodes
from DynamicBrainSegLib.logic import BrainLogic
from DynamicBrainSegLib.region_segments import editedRegions, newSegmentation, writeRegions, writtenRegions
from DynamicBrainSegLib.result import EXCLUSIVE, NESTED, BrainOptions

from leanseg.errors import IncompatibleInputError, OutputError
from leanseg.slicer_bridge.segments import SegmentWriter, addSegment, segmentationFor
from Testing.slicer.bridge.segmentations import LESION, box, bytesOf, editorNode, fill
from Testing.slicer.bridge.volumes import volumeNode
from Testing.slicer.dynamic_brain_seg import brain_model
from Testing.slicer.dynamic_brain_seg.brain_phantom import AXIAL, AXIAL_SHAPE, dice, exported, ids, node, nodes, truth

TURNED = np.array([[0, -1.0, 0, 30], [1, 0, 0, -40], [0, 0, 1, 12], [0, 0, 0, 1]])


class SegmentsCase(unittest.TestCase):
    def setUp(self):
        self.use(nodes())
        self.editor = editorNode()
        self.writer = SegmentWriter(self.editor)

    def use(self, volumes, reference="flair", **options):
        self.volumes = volumes
        with brain_model.loaded():
            self.result = BrainLogic().segment(readNodes(volumes, reference), BrainOptions(**options))
        self.reference = volumes[reference]

    def write(self, scheme, node=None):
        node = node or newSegmentation(self.reference)
        return writeRegions(self.result, node, scheme, self.writer)

    def assertNested(self, written, reference=None):
        for region, name in written.ids.items():
            found = exported(written.segmentationNode, name, reference or self.reference)
            np.testing.assert_array_equal(found, truth(region), region)


class TestWriting(SegmentsCase):
    def testNestedRegionsOverlap(self):
        written = self.write(NESTED)
        self.assertEqual(list(written.ids), ["WT", "TC", "ET"])
        self.assertNested(written)
        self.assertEqual(written.losers, [])

    def testExclusiveRegionsDoNot(self):
        written = self.write(EXCLUSIVE)
        wt, tc, et = (truth(region) for region in ("WT", "TC", "ET"))
        self.assertEqual(list(written.ids), ["ED", "NCR", "ET"])
        for region, expected in (("ED", wt & ~tc), ("NCR", tc & ~et), ("ET", et)):
            found = exported(written.segmentationNode, written.ids[region], self.reference)
            np.testing.assert_array_equal(found, expected, region)

    def testNamesColorsAndCodes(self):
        for scheme, expected in (
            (NESTED, {"Whole tumor (WT)": "SCT^52988006^Lesion", "Tumor core (TC)": "SCT^108369006^Neoplasm",
                      "Enhancing tumor (ET)": "NCIt^C113842^Enhancing Lesion"}),
            (EXCLUSIVE, {"Edema (ED)": "SCT^79654002^Edema", "Necrosis (NCR)": "SCT^6574001^Necrosis",
                         "Enhancing tumor (ET)": "NCIt^C113842^Enhancing Lesion"}),
        ):  # fmt: skip
            written = self.write(scheme)
            segmentation = written.segmentationNode.GetSegmentation()
            segments = [segmentation.GetSegment(name) for name in written.ids.values()]
            self.assertEqual([segment.GetName() for segment in segments], list(expected))
            for segment, label in zip(segments, brain_model.LABELS, strict=True):
                self.assertIn(expected[segment.GetName()], segment.GetTerminology())
                np.testing.assert_allclose(segment.GetColor(), label.color_rgb)

    def testTheGridIsThatOfTheReferenceUnderItsTransform(self):
        volumes = nodes("t1ce", "t1", "t2") | {"flair": node("flair", parent=TURNED)}
        self.use(volumes)
        written = self.write(NESTED)
        self.assertNested(written)
        self.assertIs(written.segmentationNode.GetParentTransformNode(), self.reference.GetParentTransformNode())
        role = written.segmentationNode.GetReferenceImageGeometryReferenceRole()
        self.assertIs(written.segmentationNode.GetNodeReference(role), self.reference)
        center = written.segmentationNode.GetSegmentCenterRAS(written.ids["WT"])
        self.assertLess(np.abs(np.subtract(center, (25, 5, 30))).max(), 2.1)  # within a voxel, in the world

    def testAThickReference(self):
        thick, shape = np.array([[-1.5, 0, 0, 65], [0, -1.5, 0, 60], [0, 0, 6, -34], [0, 0, 0, 1]]), (19, 84, 84)
        volumes = nodes("flair", "t1ce", "t1") | {"t2": node("t2", shape, thick)}
        self.use(volumes, "t2")
        written = self.write(NESTED)
        for region, name in written.ids.items():
            found = exported(written.segmentationNode, name, self.reference)
            np.testing.assert_array_equal(found, self.result.masks(NESTED)[region])
            self.assertGreater(dice(found, truth(region, shape, thick)), 0.8)  # 1.5 mm -> 2 mm -> 1.5 mm

    def testTheSceneIsAsBeforeWhereTheReferenceIsGone(self):
        segmentation = newSegmentation(self.reference)
        slicer.mrmlScene.RemoveNode(self.reference)
        with self.assertRaisesRegex(IncompatibleInputError, "no longer in the scene"):
            self.write(NESTED, segmentation)
        self.assertEqual(ids(segmentation), [])

    def testAReferenceThatHasChangedIsRefused(self):
        segmentation = newSegmentation(self.reference)
        slicer.util.updateVolumeFromArray(self.reference, np.zeros((5, 6, 7), np.int16))
        words = r"\(5, 6, 7\) voxels.* but had \(29, 64, 64\).* Press Segment again\."
        with self.assertRaisesRegex(IncompatibleInputError, words):
            self.write(NESTED, segmentation)


class TestUndo(SegmentsCase):
    def testOneStepTakesAllThreeBack(self):
        segmentation = newSegmentation(self.reference)
        self.write(NESTED, segmentation)
        written = bytesOf(segmentation)
        self.writer.undo()
        self.assertEqual(ids(segmentation), [])
        self.assertFalse(self.writer.canUndo())
        self.writer.redo()
        self.assertEqual(bytesOf(segmentation), written)
        self.assertEqual(len(writtenRegions(segmentation)), 3)

    def testOneStepOfAnEmbeddedEditor(self):
        widget = slicer.qMRMLSegmentEditorWidget()
        widget.setMRMLScene(slicer.mrmlScene)
        widget.setMRMLSegmentEditorNode(self.editor)
        segmentation = newSegmentation(self.reference)
        mine = addSegment(segmentation, LESION, "mine")
        fill(segmentation, mine, box(AXIAL_SHAPE, (5, 20), (20, 40), (10, 30)), self.reference)
        widget.setSegmentationNode(segmentation)
        before = bytesOf(segmentation)
        self.writer = SegmentWriter(self.editor, widget.saveStateForUndo)
        self.write(NESTED, segmentation)
        after = bytesOf(segmentation)
        widget.undo()
        self.assertEqual(bytesOf(segmentation), before)
        widget.redo()
        self.assertEqual(bytesOf(segmentation), after)

    def testTheSecondResultReplacesTheFirst(self):
        segmentation = newSegmentation(self.reference)
        first = self.write(NESTED, segmentation)
        before = bytesOf(segmentation)
        self.use(self.volumes, costBias=100.0)  # skips everything
        second = self.write(NESTED, segmentation)
        self.assertEqual(second.ids, first.ids)
        for name in second.ids.values():
            self.assertFalse(exported(segmentation, name, self.reference).any())
        self.assertEqual([origin.costBias for origin in writtenRegions(segmentation).values()], [100.0] * 3)
        self.writer.undo()
        self.assertEqual(bytesOf(segmentation), before)
        self.assertEqual([origin.costBias for origin in writtenRegions(segmentation).values()], [0.0] * 3)
        self.assertEqual(editedRegions(segmentation), [])


class TestOthers(SegmentsCase):
    def setUp(self):
        super().setUp()
        self.segmentation = segmentationFor(self.reference, "mine")
        self.mine = addSegment(self.segmentation, LESION, "mine")
        self.voxels = box(AXIAL_SHAPE, (5, 20), (10, 34), (15, 35))
        fill(self.segmentation, self.mine, self.voxels, self.reference)
        self.wt = truth("WT")
        self.assertTrue((self.voxels & self.wt).any())
        self.assertTrue((self.voxels & ~self.wt).any())

    def testOverwritingAllTakesFromOthersAndSaysSo(self):
        written = self.write(NESTED, self.segmentation)
        self.assertNested(written)
        self.assertEqual(written.losers, [self.mine])
        np.testing.assert_array_equal(exported(self.segmentation, self.mine, self.reference), self.voxels & ~self.wt)
        self.assertEqual(self.editor.GetOverwriteMode(), self.editor.OverwriteAllSegments)

    def testOverwritingNoneLeavesThem(self):
        self.editor.SetOverwriteMode(self.editor.OverwriteNone)
        for scheme in (NESTED, EXCLUSIVE):
            written = self.write(scheme, self.segmentation)
            self.assertEqual(written.losers, [])
            np.testing.assert_array_equal(exported(self.segmentation, self.mine, self.reference), self.voxels)
        self.assertNested(self.write(NESTED, self.segmentation))

    def testMaskingOutsideOthersHoldsForAllThree(self):
        self.editor.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedOutsideAllSegments)
        written = self.write(NESTED, self.segmentation)
        for region, name in written.ids.items():
            found = exported(self.segmentation, name, self.reference)
            np.testing.assert_array_equal(found, truth(region) & ~self.voxels, region)

    def testAnotherGridTakesTheNearestVoxels(self):
        fine = np.array([[-1.0, 0, 0, 69.5], [0, -1, 0, 54.5], [0, 0, 2, -37], [0, 0, 0, 1]])
        other = volumeNode(np.zeros((58, 128, 128), np.uint8), fine)
        segmentation = segmentationFor(other, "fine")
        written = self.write(NESTED, segmentation)
        expected = self.wt.repeat(2, axis=0).repeat(2, axis=1).repeat(2, axis=2)
        np.testing.assert_array_equal(exported(segmentation, written.ids["WT"], other), expected)

    def testAFailureLeavesEverythingAsItWas(self):
        before, editor = bytesOf(self.segmentation), (self.editor.GetOverwriteMode(), self.editor.GetMaskMode())
        calls = []

        class Failing(slicer.vtkSlicerSegmentEditorLogic):
            def ModifySegmentByLabelmap(self, *arguments):
                calls.append(arguments)
                if len(calls) == 3:
                    raise RuntimeError("out of memory")
                super().ModifySegmentByLabelmap(*arguments)

        good = self.writer
        with mock.patch.object(slicer, "vtkSlicerSegmentEditorLogic", Failing):
            self.writer = SegmentWriter(self.editor)
        for scheme in (NESTED, EXCLUSIVE):
            calls.clear()
            with self.assertRaisesRegex(OutputError, "out of memory"):
                self.write(scheme, self.segmentation)
            self.assertEqual(len(calls), 3)
            self.assertEqual(bytesOf(self.segmentation), before)
        self.assertEqual((self.editor.GetOverwriteMode(), self.editor.GetMaskMode()), editor)
        self.assertFalse(self.writer.canUndo())
        self.writer = good
        self.assertNested(self.write(NESTED, self.segmentation))

    def testASegmentationThatEndsInTheTumorIsRefused(self):
        small = segmentationFor(volumeNode(np.zeros((17, 64, 64), np.uint8), AXIAL), "small")
        with self.assertRaisesRegex(IncompatibleInputError, "lie outside the grid of small"):
            self.write(NESTED, small)
        self.assertEqual(ids(small), [])


class TestHandwork(SegmentsCase):
    def testAnEditedSegmentIsKnown(self):
        written = self.write(NESTED)
        self.assertEqual(editedRegions(written.segmentationNode), [])
        mask = truth("TC")
        mask[16] = False
        fill(written.segmentationNode, written.ids["TC"], mask, self.reference)
        self.assertEqual(editedRegions(written.segmentationNode), [written.ids["TC"]])
        self.assertEqual(editedRegions(written.segmentationNode, EXCLUSIVE), [])

    def testASegmentOfSomebodyElseIsNotTaken(self):
        segmentation = newSegmentation(self.reference)
        label = brain_model.LABELS[2]
        mine = addSegment(segmentation, label)
        self.assertEqual(mine, "ET")
        written = self.write(EXCLUSIVE, segmentation)
        self.assertNotEqual(written.ids["ET"], mine)
        self.assertNotIn(mine, writtenRegions(segmentation))
        name = segmentation.GetSegmentation().GetSegment(written.ids["ET"]).GetName()
        self.assertEqual(name, "Enhancing tumor (ET) 2")

    def testTheOriginSurvivesSavingAndLoading(self):
        import tempfile
        from pathlib import Path

        written = self.write(NESTED)
        with tempfile.TemporaryDirectory() as folder:
            file = str(Path(folder) / "tumor.seg.nrrd")
            self.assertTrue(slicer.util.saveNode(written.segmentationNode, file))
            loaded = slicer.util.loadSegmentation(file)
        origins = writtenRegions(loaded)
        self.assertEqual([origin.region for origin in origins.values()], ["WT", "TC", "ET"])
        self.assertEqual({origin.sequences for origin in origins.values()}, {"flair t1ce t1 t2"})
        self.assertEqual(editedRegions(loaded), [])


if __name__ == "__main__":
    unittest.main()
