"""Masks come to lie where they belong in a segmentation, and can be taken back."""

import time
import unittest

import numpy as np
import slicer

from leanseg.errors import IncompatibleInputError
from leanseg.slicer_bridge.frames import framesOf
from leanseg.slicer_bridge.nodes import geometryFromNode, volumeFromNode
from leanseg.slicer_bridge.placement import readFrames
from leanseg.slicer_bridge.segments import SegmentWriter, addSegment, segmentationFor
from Testing.slicer.bridge.segmentations import LESION, box, bytesOf, editorNode, fill, voxels, worldCentroid
from Testing.slicer.bridge.volumes import CASES, volumeNode


class TestGeometry(unittest.TestCase):
    def setUp(self):
        slicer.mrmlScene.Clear(0)

    def testABlobComesBackToItsPlaceInTheWorld(self):
        for case in CASES:
            with self.subTest(case.name):
                volume = case.node()
                segmentation = segmentationFor(volume, "result")
                segmentId = addSegment(segmentation, LESION)
                masks = volumeFromNode(volume).array[0] == 100
                written = {k: mask for k, mask in enumerate(masks) if mask.any()}
                SegmentWriter(editorNode()).write(segmentation, segmentId, framesOf(volume), written)
                np.testing.assert_array_equal(voxels(segmentation, segmentId, volume), case.blob)
                centroid = worldCentroid(segmentation, segmentId, volume)
                self.assertLess(np.abs(np.subtract(centroid, case.world)).max(), case.halfVoxel)
                center = segmentation.GetSegmentCenterRAS(segmentId)
                self.assertLess(np.abs(np.subtract(center, case.world)).max(), case.halfVoxel)

    def testASegmentationUnderAnotherTransformAndGrid(self):
        """Volume: 0.5 mm, moved by (10, 20, 30). Segmentation: 1 mm grid from (-5, -5, -5), turned by 90 degrees."""
        volume = volumeNode(np.zeros((8, 24, 20), np.uint8), np.diag([0.5, 0.5, 0.5, 1]),
                            [[1, 0, 0, 10], [0, 1, 0, 20], [0, 0, 1, 30], [0, 0, 0, 1]])  # fmt: skip
        grid = np.eye(4)
        grid[:3, 3] = (-5, -5, -5)
        other = volumeNode(np.zeros((60, 60, 60), np.uint8), grid,
                           [[0, -1, 0, 40], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])  # fmt: skip
        segmentation = segmentationFor(other, "made for another image")
        segmentId = addSegment(segmentation, LESION)
        blob = box((8, 24, 20), (2, 6), (8, 16), (4, 12))
        SegmentWriter(editorNode()).write(segmentation, segmentId, framesOf(volume), dict(enumerate(blob)))
        # Blob: i 4 to 11, j 8 to 15, k 2 to 5: middle (7.5, 11.5, 3.5) -> 0.5 mm steps + shift: (13.75, 25.75, 31.75)
        centroid = worldCentroid(segmentation, segmentId, other)
        self.assertLess(np.abs(np.subtract(centroid, (13.75, 25.75, 31.75))).max(), 0.5)
        # 4 x 4 x 2 mm are 32 voxels of 1 mm
        self.assertEqual(int(voxels(segmentation, segmentId, other).sum()), 32)

    def testFramesAreReadWhereTheyWereWritten(self):
        for case in CASES:
            with self.subTest(case.name):
                volume = case.node()
                segmentation = segmentationFor(volume, "result")
                segmentId = addSegment(segmentation, LESION)
                fill(segmentation, segmentId, case.blob, volume)
                self.assertRead(segmentation, segmentId, volume, case.blob)

    def testFramesAreReadThroughAnotherTransformAndGrid(self):
        """Volume: 0.5 mm, moved. Segmentation: 0.25 mm, turned by 90 degrees: each voxel center meets one of it."""
        volume = volumeNode(np.zeros((8, 24, 20), np.uint8), np.diag([0.5, 0.5, 0.5, 1]),
                            [[1, 0, 0, 10], [0, 1, 0, 20], [0, 0, 1, 30], [0, 0, 0, 1]])  # fmt: skip
        grid = np.diag([0.25, 0.25, 0.25, 1])
        grid[:3, 3] = (10, 10, 25)
        other = volumeNode(np.zeros((60, 120, 120), np.uint8), grid,
                           [[0, -1, 0, 40], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])  # fmt: skip
        segmentation = segmentationFor(other, "made for another image")
        segmentId = addSegment(segmentation, LESION)
        blob = box((8, 24, 20), (2, 6), (8, 16), (4, 12))
        blob[3, 15, 4:8] = False
        SegmentWriter(editorNode()).write(segmentation, segmentId, framesOf(volume), dict(enumerate(blob)))
        self.assertRead(segmentation, segmentId, volume, blob)

    def assertRead(self, segmentation, segmentId, volume, expected):
        segment = segmentation.GetSegmentation().GetSegment(segmentId)
        found = readFrames(segmentation, segment, volume, geometryFromNode(volume))
        self.assertEqual(sorted(found), np.flatnonzero(expected.any(axis=(1, 2))).tolist())
        for k, mask in found.items():
            np.testing.assert_array_equal(mask, expected[k])

    def testOtherFramesOfAnotherGridStay(self):
        """Grid twice as fine along k: frame 3 (z 1.5) owns the grid's planes z 1.25 to 1.75 - not their neighbors."""
        volume = volumeNode(np.zeros((8, 24, 20), np.uint8), np.diag([0.5, 0.5, 0.5, 1]))
        fine = volumeNode(np.zeros((16, 24, 20), np.uint8), np.diag([0.5, 0.5, 0.25, 1]))
        segmentation = segmentationFor(fine, "fine")
        segmentId = addSegment(segmentation, LESION)
        fill(segmentation, segmentId, np.ones((16, 24, 20), bool), fine)
        empty = np.zeros((24, 20), bool)
        SegmentWriter(editorNode()).write(segmentation, segmentId, framesOf(volume), {3: empty})
        after = voxels(segmentation, segmentId, fine)
        emptied = [k for k in range(16) if not after[k].any()]
        self.assertIn(6, emptied)  # z 1.5, the middle of frame 3
        self.assertTrue(set(emptied) <= {5, 6, 7})
        self.assertTrue(all(after[k].all() for k in range(16) if k not in emptied))

    def testAResultThatDoesNotFitIsRefused(self):
        volume = volumeNode(np.zeros((8, 24, 20), np.uint8), np.diag([0.5, 0.5, 0.5, 1]))
        small = volumeNode(np.zeros((8, 10, 10), np.uint8), np.diag([0.5, 0.5, 0.5, 1]))
        coarse = volumeNode(np.zeros((3, 24, 20), np.uint8), np.diag([0.5, 0.5, 2, 1]))
        mask = {3: np.ones((24, 20), bool)}
        for grid, words in ((small, r"380 voxels of the result lie outside the grid of for x"), (coarse, "too coarse")):
            segmentation = segmentationFor(grid, "for x")
            segmentId = addSegment(segmentation, LESION)
            with self.assertRaisesRegex(IncompatibleInputError, words):
                SegmentWriter(editorNode()).write(segmentation, segmentId, framesOf(volume), mask)
            self.assertEqual(voxels(segmentation, segmentId, grid).sum(), 0)

    def testASegmentationWithoutGeometryTakesThatOfTheVolume(self):
        volume = CASES[3].node()
        segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "bare")
        segmentId = addSegment(segmentation, LESION)
        written = dict(enumerate(CASES[3].blob))
        SegmentWriter(editorNode()).write(segmentation, segmentId, framesOf(volume), written)
        np.testing.assert_array_equal(voxels(segmentation, segmentId, volume), CASES[3].blob)
        role = segmentation.GetReferenceImageGeometryReferenceRole()
        self.assertEqual(segmentation.GetNodeReferenceID(role), volume.GetID())


class TestUndo(unittest.TestCase):
    def setUp(self):
        slicer.mrmlScene.Clear(0)
        self.volume = volumeNode(np.zeros((8, 24, 20), np.uint8))
        self.segmentation = segmentationFor(self.volume, "result")
        self.lesion = addSegment(self.segmentation, LESION)
        self.cyst = addSegment(self.segmentation, LESION, "Cyst")
        neighbor = box((8, 24, 20), (0, 8), (12, 20), (2, 18))
        fill(self.segmentation, self.cyst, neighbor, self.volume)
        self.frames = framesOf(self.volume)
        self.writer = SegmentWriter(editorNode())

    def write(self, masks):
        self.writer.write(self.segmentation, self.lesion, self.frames, masks)

    def testEachCallIsOneStateThereAndBack(self):
        large, small = box((24, 20), (4, 16), (4, 16)), box((24, 20), (1, 3), (1, 3))
        calls = ({2: large}, {2: small, 6: large}, {2: np.zeros((24, 20), bool)}, {2: large, 3: large, 4: small})
        states = [bytesOf(self.segmentation)]
        for masks in calls:
            self.write(masks)
            states.append(bytesOf(self.segmentation))
        self.assertEqual(len({str(state) for state in states}), 5)  # each call did something
        for _round in range(2):
            for state in states[-2::-1]:
                self.assertTrue(self.writer.canUndo())
                self.writer.undo()
                self.assertEqual(bytesOf(self.segmentation), state)
            self.assertFalse(self.writer.canUndo())
            for state in states[1:]:
                self.assertTrue(self.writer.canRedo())
                self.writer.redo()
                self.assertEqual(bytesOf(self.segmentation), state)
            self.assertFalse(self.writer.canRedo())

    def testTheNeighborIsBackAfterUndo(self):
        before = voxels(self.segmentation, self.cyst, self.volume)
        self.write({3: np.ones((24, 20), bool)})
        self.assertEqual(voxels(self.segmentation, self.cyst, self.volume)[3].sum(), 0)
        self.writer.undo()
        np.testing.assert_array_equal(voxels(self.segmentation, self.cyst, self.volume), before)

    def testWritingAfterUndoForgetsTheRedo(self):
        self.write({1: box((24, 20), (2, 5), (2, 5))})
        self.writer.undo()
        self.write({2: box((24, 20), (2, 5), (2, 5))})
        self.assertFalse(self.writer.canRedo())

    def testTheStateIsSavedOnceAndBeforeTheFirstChange(self):
        saved = []
        writer = SegmentWriter(editorNode(), lambda: saved.append(bytesOf(self.segmentation)))
        before = bytesOf(self.segmentation)
        mask = box((24, 20), (2, 5), (2, 5))
        writer.write(self.segmentation, self.lesion, self.frames, {1: mask, 4: mask})
        self.assertEqual(saved, [before])
        self.assertFalse(writer.canUndo())

    def testAnEmbeddedEditorTakesItBack(self):
        editor = slicer.qMRMLSegmentEditorWidget()
        editor.setMRMLScene(slicer.mrmlScene)
        settings = editorNode()
        editor.setMRMLSegmentEditorNode(settings)
        editor.setSegmentationNode(self.segmentation)
        editor.setSourceVolumeNode(self.volume)
        writer = SegmentWriter(settings, editor.saveStateForUndo)
        states = [bytesOf(self.segmentation)]
        for columns in ((2, 5), (3, 18)):
            mask = box((24, 20), (10, 16), columns)
            writer.write(self.segmentation, self.lesion, self.frames, {1: mask, 4: mask})
            states.append(bytesOf(self.segmentation))
        editor.undo()
        self.assertEqual(bytesOf(self.segmentation), states[1])
        editor.undo()
        self.assertEqual(bytesOf(self.segmentation), states[0])
        editor.redo()
        editor.redo()
        self.assertEqual(bytesOf(self.segmentation), states[2])

    def testItIsQuick(self):
        volume = volumeNode(np.zeros((100, 256, 256), np.uint8), np.diag([0.3, 0.3, 1, 1]))
        segmentation = segmentationFor(volume, "many frames")
        lesion, neighbor = addSegment(segmentation, LESION), addSegment(segmentation, LESION, "Neighbor")
        fill(segmentation, lesion, box((100, 256, 256), (0, 100), (60, 180), (60, 120)), volume)
        fill(segmentation, neighbor, box((100, 256, 256), (0, 100), (60, 180), (120, 200)), volume)
        frames, seconds = framesOf(volume), []
        for k in range(10):
            mask = box((256, 256), (50, 170), (70 + k, 150 + k))
            start = time.perf_counter()
            self.writer.write(segmentation, lesion, frames, {40 + k: mask})
            seconds.append(time.perf_counter() - start)
        self.assertLess(min(seconds), 0.1)

    def testARemovedSegmentationIsForgotten(self):
        self.write({1: box((24, 20), (2, 5), (2, 5))})
        slicer.mrmlScene.RemoveNode(self.segmentation)
        self.assertFalse(self.writer.canUndo())
        self.writer.undo()
        self.writer.redo()

    def testUndoAlsoWorksWhereSlicerShowsSurfaces(self):
        self.segmentation.CreateClosedSurfaceRepresentation()
        before = bytesOf(self.segmentation)
        self.write({3: box((24, 20), (4, 16), (4, 16))})
        self.assertTrue(self.segmentation.GetSegmentation().ContainsRepresentation("Closed surface"))
        self.writer.undo()
        self.assertEqual(bytesOf(self.segmentation), before)
