"""What goes wrong while a mask is written leaves everything as it was."""

import unittest
from unittest import mock

import numpy as np
import slicer

from leanseg.errors import IncompatibleInputError, OutputError, UnknownNameError
from leanseg.slicer_bridge.frames import framesOf
from leanseg.slicer_bridge.segments import SegmentWriter, addSegment, segmentationFor
from Testing.slicer.bridge.segmentations import LESION, box, bytesOf, editorNode, fill
from Testing.slicer.bridge.volumes import underBendingTransform, volumeNode


class TestFailure(unittest.TestCase):
    def setUp(self):
        slicer.mrmlScene.Clear(0)
        self.volume = volumeNode(np.zeros((8, 24, 20), np.uint8))
        self.segmentation = segmentationFor(self.volume, "result")
        self.lesion = addSegment(self.segmentation, LESION)
        self.cyst = addSegment(self.segmentation, LESION, "Cyst")
        for segmentId, columns in ((self.lesion, (2, 9)), (self.cyst, (9, 18))):
            fill(self.segmentation, segmentId, box((8, 24, 20), (0, 8), (12, 20), columns), self.volume)
        self.frames = framesOf(self.volume)

    def writerWith(self, modify):
        """A writer whose logic does `modify(self, real, *arguments)` instead of ModifySegmentByLabelmap."""

        class Logic(slicer.vtkSlicerSegmentEditorLogic):
            def ModifySegmentByLabelmap(self, *arguments):
                modify(super().ModifySegmentByLabelmap, *arguments)

        with mock.patch.object(slicer, "vtkSlicerSegmentEditorLogic", Logic):
            return SegmentWriter(editorNode())

    def assertUnchangedBy(self, modify, words):
        before = bytesOf(self.segmentation)
        writer = self.writerWith(modify)
        masks = {2: box((24, 20), (4, 16), (4, 16)), 5: np.ones((24, 20), bool)}
        with self.assertRaisesRegex(OutputError, words):
            writer.write(self.segmentation, self.lesion, self.frames, masks)
        self.assertEqual(bytesOf(self.segmentation), before)
        self.assertFalse(writer.canUndo())

    def testAnExceptionAfterTheFirstHalf(self):
        calls = []

        def modify(real, *arguments):
            real(*arguments)
            calls.append(arguments)
            if len(calls) == 2:
                raise RuntimeError("out of memory")

        self.assertUnchangedBy(modify, "out of memory")
        self.assertEqual(len(calls), 2)

    def testALogicThatSilentlyDoesNothing(self):
        self.assertUnchangedBy(lambda real, *arguments: None, "did not write")

    def testALogicThatSilentlyStopsHalfWay(self):
        remove = slicer.vtkSlicerSegmentEditorLogic.ModificationModeRemove

        def modify(real, *arguments):
            if arguments[3] == remove:
                real(*arguments)

        self.assertUnchangedBy(modify, "did not write")

    def testTheEditorNodeIsBackToo(self):
        editor = editorNode()
        other = segmentationFor(self.volume, "other")
        editor.SetAndObserveSegmentationNode(other)
        editor.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment)
        with self.assertRaises(IncompatibleInputError):
            SegmentWriter(editor).write(self.segmentation, self.lesion, self.frames, {1: np.ones((24, 20), bool)})
        self.assertEqual(editor.GetSegmentationNode(), other)

    def testBadInputIsRefused(self):
        good = np.ones((24, 20), bool)
        writer = SegmentWriter(editorNode())
        before = bytesOf(self.segmentation)
        for segmentId, masks, error, words in (
            ("nobody", {1: good}, UnknownNameError, "no segment named 'nobody'"),
            (self.lesion, {8: good}, IncompatibleInputError, "slices 0 to 7"),
            (self.lesion, {1: good, 2: good[:5]}, IncompatibleInputError, r"\(5, 20\)"),
            (self.lesion, {1: good.astype(np.float32)}, IncompatibleInputError, "float32.*Threshold"),
            (self.lesion, {1: good.astype(np.int64)}, IncompatibleInputError, "int64"),
        ):
            with self.subTest(words), self.assertRaisesRegex(error, words):
                writer.write(self.segmentation, segmentId, self.frames, masks)
        self.assertEqual(bytesOf(self.segmentation), before)
        self.assertFalse(writer.canUndo())

    def testNothingToWriteIsNoStep(self):
        writer = SegmentWriter(editorNode())
        writer.write(self.segmentation, self.lesion, self.frames, {})
        self.assertFalse(writer.canUndo())

    def testRemovedNodesAreRefused(self):
        good = {1: np.ones((24, 20), bool)}
        writer = SegmentWriter(editorNode())
        slicer.mrmlScene.RemoveNode(self.segmentation)
        for gone in (self.segmentation, None):
            with self.assertRaisesRegex(IncompatibleInputError, "no longer in the scene"):
                writer.write(gone, self.lesion, self.frames, good)
        slicer.mrmlScene.RemoveNode(self.volume)
        with self.assertRaisesRegex(IncompatibleInputError, "ultrasound is no longer in the scene"):
            segmentationFor(self.volume, "result")

    def testARemovedVolumeOrEditorIsRefused(self):
        editor = editorNode()
        good, before = {1: np.ones((24, 20), bool)}, bytesOf(self.segmentation)
        writer = SegmentWriter(editor)
        slicer.mrmlScene.RemoveNode(editor)
        with self.assertRaisesRegex(IncompatibleInputError, "editor's settings"):
            writer.write(self.segmentation, self.lesion, self.frames, good)
        slicer.mrmlScene.RemoveNode(self.volume)
        with self.assertRaisesRegex(IncompatibleInputError, "ultrasound is no longer in the scene"):
            SegmentWriter(editorNode()).write(self.segmentation, self.lesion, self.frames, good)
        self.assertEqual(bytesOf(self.segmentation), before)

    def testSurfacesAndBendingTransformsAreRefused(self):
        good = {1: np.ones((24, 20), bool)}
        self.segmentation.CreateClosedSurfaceRepresentation()
        self.segmentation.GetSegmentation().SetSourceRepresentationName("Closed surface")
        with self.assertRaisesRegex(IncompatibleInputError, "binary labelmap is needed"):
            SegmentWriter(editorNode()).write(self.segmentation, self.lesion, self.frames, good)
        bent = segmentationFor(self.volume, "bent")
        segmentId = addSegment(bent, LESION)
        underBendingTransform(bent)
        with self.assertRaisesRegex(IncompatibleInputError, "non-linear"):
            SegmentWriter(editorNode()).write(bent, segmentId, self.frames, good)
