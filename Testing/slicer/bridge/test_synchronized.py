"""Results of a clip: one segmentation for each image, shown as the browser scrolls, kept in the scene file."""

import tempfile
import unittest
from pathlib import Path
from unittest import mock

import numpy as np
import slicer

from leanseg.errors import IncompatibleInputError, OutputError
from leanseg.slicer_bridge.frames import framesOf
from leanseg.slicer_bridge.segments import SegmentWriter, addSegment, segmentationFor
from Testing.slicer.bridge.segmentations import LESION, MASS, box, bytesOf, editorNode, fill, voxels
from Testing.slicer.bridge.volumes import clip, volumeNode

COUNT = 5
SHAPE = (32, 40)


def maskOf(index):
    """A different one for each frame: index + 2 rows of 10."""
    return box(SHAPE, (5, 7 + index), (5, 15))


class ClipCase(unittest.TestCase):
    components = 1

    def setUp(self):
        slicer.mrmlScene.Clear(0)
        self.volume, self.browser = clip(COUNT, SHAPE, self.components)
        self.frames = framesOf(self.volume)
        self.segmentation = segmentationFor(self.volume, "lesions")
        self.lesion = addSegment(self.segmentation, LESION)
        self.writer = SegmentWriter(editorNode())

    def write(self, masks):
        self.writer.write(self.segmentation, self.lesion, self.frames, masks)

    def shown(self):
        """What a person sees who scrolls through the clip: number of voxels of the lesion in each frame."""
        selected = self.browser.GetSelectedItemNumber()
        sizes = []
        for index in range(COUNT):
            self.browser.SetSelectedItemNumber(index)
            sizes.append(int(voxels(self.segmentation, self.lesion, self.volume).sum()))
        self.browser.SetSelectedItemNumber(selected)
        return sizes

    def sequences(self):
        return slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSequenceNode")


class TestWriting(ClipCase):
    def testScrollingShowsTheMaskOfEachFrame(self):
        self.browser.SetSelectedItemNumber(2)
        self.write({index: maskOf(index) for index in range(COUNT)})
        self.assertEqual(self.browser.GetSelectedItemNumber(), 2)
        self.assertEqual(slicer.util.arrayFromVolume(self.volume).max(), 20)
        np.testing.assert_array_equal(voxels(self.segmentation, self.lesion, self.volume)[0], maskOf(2))
        self.assertEqual(self.shown(), [20, 30, 40, 50, 60])

    def testOnlyTheGivenFramesChange(self):
        self.write({1: maskOf(1), 4: maskOf(4)})
        self.assertEqual(self.shown(), [0, 30, 0, 0, 60])
        self.write({1: maskOf(0), 3: np.zeros(SHAPE, bool)})
        self.assertEqual(self.shown(), [0, 20, 0, 0, 60])

    def testWhatWasPaintedBeforeBelongsToTheFrameThatWasShown(self):
        self.browser.SetSelectedItemNumber(3)
        fill(self.segmentation, self.lesion, maskOf(3)[np.newaxis], self.volume)
        self.write({0: maskOf(0)})
        self.assertEqual(self.shown(), [20, 0, 0, 50, 0])

    def testWhatIsPaintedLaterStaysWithItsFrame(self):
        self.write({0: maskOf(0)})
        self.browser.SetSelectedItemNumber(2)
        fill(self.segmentation, self.lesion, maskOf(4)[np.newaxis], self.volume)
        self.assertEqual(self.shown(), [20, 0, 60, 0, 0])

    def testItLivesInTheBrowserOfTheImages(self):
        self.write({0: maskOf(0)})
        sequence = self.browser.GetSequenceNode(self.segmentation)
        self.assertIsNotNone(sequence)
        self.assertTrue(self.browser.GetSaveChanges(sequence))
        self.assertEqual(self.browser.GetProxyNode(sequence), self.segmentation)
        self.assertEqual(sequence.GetNumberOfDataNodes(), COUNT)
        self.write({1: maskOf(1)})
        self.assertEqual(self.sequences(), 2)  # images and segmentations: no third one for the second call

    def testASegmentAddedLaterIsInAllFrames(self):
        self.write({0: maskOf(0)})
        cyst = addSegment(self.segmentation, LESION, "Cyst")
        self.writer.write(self.segmentation, cyst, self.frames, {3: maskOf(3)})
        for index in range(COUNT):
            self.browser.SetSelectedItemNumber(index)
            segment = self.segmentation.GetSegmentation().GetSegment(cyst)
            self.assertEqual((segment.GetName(), segment.GetTerminology()), ("Cyst", MASS))
            self.assertEqual(voxels(self.segmentation, cyst, self.volume).sum(), 50 if index == 3 else 0)

    def testNobodyIsToldOfFramesThatOnlyTheWriterVisits(self):
        calls = []
        self.frames.observe(lambda: calls.append(self.frames.currentIndex()))
        self.addCleanup(self.frames.unobserve)
        self.write({index: maskOf(index) for index in range(COUNT)})
        self.assertEqual(calls, [])
        self.browser.SetSelectedItemNumber(4)
        self.assertEqual(calls, [4])

    def testMaskingHoldsInEveryFrame(self):
        neighbor = addSegment(self.segmentation, LESION, "Neighbor")
        protected = box(SHAPE, (0, 6), (0, 40))  # covers one of the rows that maskOf begins with
        self.writer.write(self.segmentation, neighbor, self.frames, {1: protected, 2: protected})
        editor = editorNode()
        editor.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedOutsideAllSegments)
        SegmentWriter(editor).write(
            self.segmentation, self.lesion, self.frames, {index: maskOf(index) for index in range(COUNT)}
        )
        self.assertEqual(self.shown(), [20, 20, 30, 50, 60])

    def testASceneFileKeepsIt(self):
        self.browser.SetSelectedItemNumber(1)
        self.write({0: maskOf(0), 1: maskOf(1), 3: maskOf(3)})
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "clip.mrb")
            self.assertTrue(slicer.util.saveScene(path))
            slicer.mrmlScene.Clear(0)
            slicer.util.loadScene(path)
        self.browser = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSequenceBrowserNode")
        self.volume = self.browser.GetProxyNode(self.browser.GetMasterSequenceNode())
        self.segmentation = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
        self.assertEqual(self.browser.GetSelectedItemNumber(), 1)
        self.assertEqual(self.shown(), [20, 30, 0, 50, 0])
        segment = self.segmentation.GetSegmentation().GetSegment(self.lesion)
        self.assertEqual((segment.GetName(), segment.GetTerminology()), ("Lesion", MASS))
        self.frames = framesOf(self.volume)  # and it can go on
        SegmentWriter(editorNode()).write(self.segmentation, self.lesion, self.frames, {4: maskOf(4)})
        self.assertEqual(self.shown(), [20, 30, 0, 50, 60])


class TestWritingColor(TestWriting):
    components = 3


class TestUndo(ClipCase):
    def testOneStepForAllFramesThereAndBack(self):
        self.write({0: maskOf(0), 2: maskOf(2)})
        self.write({index: maskOf(4) for index in range(COUNT)})
        self.browser.SetSelectedItemNumber(3)
        self.writer.undo()
        self.assertEqual(self.shown(), [20, 0, 40, 0, 0])
        self.writer.undo()
        self.assertEqual(self.shown(), [0, 0, 0, 0, 0])
        self.assertFalse(self.writer.canUndo())
        self.writer.redo()
        self.writer.redo()
        self.assertEqual(self.shown(), [60] * COUNT)
        self.assertFalse(self.writer.canRedo())

    def testFramesThatWereNotWrittenKeepLaterEdits(self):
        self.write({0: maskOf(0)})
        self.browser.SetSelectedItemNumber(2)
        fill(self.segmentation, self.lesion, maskOf(2)[np.newaxis], self.volume)
        self.writer.undo()
        self.assertEqual(self.shown(), [0, 0, 40, 0, 0])

    def testLaterEditsOfWrittenFramesAreNotLost(self):
        self.write({0: maskOf(0), 2: maskOf(2)})
        self.browser.SetSelectedItemNumber(2)
        fill(self.segmentation, self.lesion, maskOf(4)[np.newaxis], self.volume)
        edited = self.shown()
        with self.assertRaisesRegex(OutputError, "have been changed since"):
            self.writer.undo()
        self.assertEqual(self.shown(), edited)
        fill(self.segmentation, self.lesion, maskOf(2)[np.newaxis], self.volume)  # as it was
        self.writer.undo()
        self.assertEqual(self.shown(), [0, 0, 0, 0, 0])

    def testASegmentThatWasAddedSinceIsNotLost(self):
        self.write({0: maskOf(0)})
        self.browser.SetSelectedItemNumber(0)
        other = self.segmentation.GetSegmentation().AddEmptySegment("other")
        with self.assertRaisesRegex(OutputError, "have been changed since"):
            self.writer.undo()
        self.assertIsNotNone(self.segmentation.GetSegmentation().GetSegment(other))

    def testTheEmbeddedEditorIsAskedForTheShownFrameOnly(self):
        saved = []
        writer = SegmentWriter(editorNode(), lambda: saved.append(self.browser.GetSelectedItemNumber()))
        self.browser.SetSelectedItemNumber(2)
        writer.write(self.segmentation, self.lesion, self.frames, {2: maskOf(2)})
        self.assertEqual(saved, [2])
        writer.write(self.segmentation, self.lesion, self.frames, {2: maskOf(1), 3: maskOf(3)})
        self.assertEqual(saved, [2])
        writer.undo()
        writer.undo()
        self.assertEqual(self.shown(), [0] * COUNT)


class TestFailure(ClipCase):
    def failingWriter(self, succeed):
        calls = []

        class Logic(slicer.vtkSlicerSegmentEditorLogic):
            def ModifySegmentByLabelmap(self, *arguments):
                calls.append(arguments)
                if len(calls) > succeed:
                    raise RuntimeError("out of memory")
                super().ModifySegmentByLabelmap(*arguments)

        with mock.patch.object(slicer, "vtkSlicerSegmentEditorLogic", Logic):
            return SegmentWriter(editorNode())

    def testTheFirstWriteLeavesNoSequence(self):
        self.browser.SetSelectedItemNumber(1)
        fill(self.segmentation, self.lesion, maskOf(0)[np.newaxis], self.volume)
        before = bytesOf(self.segmentation)
        with self.assertRaisesRegex(OutputError, "out of memory"):
            self.failingWriter(2).write(
                self.segmentation, self.lesion, self.frames, {index: maskOf(index) for index in range(COUNT)}
            )
        self.assertEqual(bytesOf(self.segmentation), before)
        self.assertEqual(self.sequences(), 1)
        self.assertIsNone(self.browser.GetSequenceNode(self.segmentation))
        self.assertEqual(self.browser.GetSelectedItemNumber(), 1)
        self.assertEqual(slicer.util.arrayFromVolume(self.volume).max(), 10)

    def testALaterWriteLeavesEveryFrameAsItWas(self):
        self.write({0: maskOf(0), 3: maskOf(3)})
        cyst = addSegment(self.segmentation, LESION, "Cyst")
        contents = []
        for index in range(COUNT):
            self.browser.SetSelectedItemNumber(index)
            contents.append(bytesOf(self.segmentation))
        self.browser.SetSelectedItemNumber(0)
        with self.assertRaises(OutputError):
            self.failingWriter(3).write(
                self.segmentation, cyst, self.frames, {index: maskOf(index) for index in range(COUNT)}
            )
        for index in range(COUNT):
            self.browser.SetSelectedItemNumber(index)
            self.assertEqual(bytesOf(self.segmentation), contents[index], index)

    def testASegmentationOfAnotherClipIsRefused(self):
        self.write({0: maskOf(0)})
        other, _browser = clip(COUNT, SHAPE)
        with self.assertRaisesRegex(IncompatibleInputError, "belongs to another sequence"):
            SegmentWriter(editorNode()).write(self.segmentation, self.lesion, framesOf(other), {0: maskOf(0)})

    def testAResultThatDoesNotFitIsRefused(self):
        elsewhere = segmentationFor(volumeNode(np.zeros((1, 8, 8), np.uint8)), "elsewhere")
        lesion = addSegment(elsewhere, LESION)
        with self.assertRaisesRegex(IncompatibleInputError, "outside the grid"):
            self.writer.write(elsewhere, lesion, self.frames, {0: np.ones(SHAPE, bool)})
        self.assertEqual(self.sequences(), 1)
