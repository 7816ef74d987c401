"""The whole story on a patient's brain with the model that ships: say, look, answer twice, accept, save, reload."""

import os
import tempfile
import unittest
from pathlib import Path

import numpy as np
import slicer

from Testing.slicer import gestures
from Testing.slicer.text_guided_seg.test_module import hasModel

CASE = "Brats18_TCIA10_628_1"


class TestRealMRI(unittest.TestCase):
    def setUp(self):
        self.folder = Path(os.environ.get("LEANSEG_DATA", ""), "brats18", CASE)
        if not self.folder.is_dir() or not hasModel():
            self.skipTest(f"no {CASE} below LEANSEG_DATA, or no model text_bcs")
        slicer.mrmlScene.Clear(0)
        slicer.util.selectModule("TextGuidedSeg")
        self.takePanel()

    def tearDown(self):
        slicer.mrmlScene.Clear(0)

    def takePanel(self):
        self.widget = slicer.util.getModuleWidget("TextGuidedSeg")
        self.ui, self.dialog = self.widget.ui, self.widget.panel.dialog

    def test_WhatIsSaidOfAPatientIsOutlinedCorrectedKeptAndFoundAgain(self):
        [flair], [truth] = self.folder.glob("*flair.nii*"), self.folder.glob("*seg.nii*")
        labels = slicer.util.loadLabelVolume(str(truth))
        tumor = slicer.util.arrayFromVolume(labels) > 0
        slicer.mrmlScene.RemoveNode(labels)
        k = int(tumor.sum(axis=(1, 2)).argmax())
        node = slicer.util.loadVolume(str(flair))
        self.ui.inputSelector.setCurrentNode(node)
        self.finish()
        self.dialog.frames.select(k)
        self.ui.promptEdit.setPlainText(f"large irregular mass, {self.side(node, tumor[k])}")
        self.click(self.ui.applyButton)
        said = self.overlap(tumor[k], k)
        self.assertGreater(said, 0.3)
        for _time in range(2):
            self.click(self.ui.questionButton)
            asked = self.widget.panel.questions.asked
            self.assertIsNotNone(asked, self.ui.questionLabel.text)
            place = tuple(round(x) for x in asked.kji)
            self.click(self.ui.yesButton if tumor[place] else self.ui.noButton)
        self.assertGreater(self.overlap(tumor[k], k), said)
        mask, name = self.mask(k).copy(), node.GetName()
        self.assertEqual(len(self.steps()), 3)
        self.click(self.ui.acceptButton)
        steps = self.steps()
        segmentation = self.ui.targetSelector.currentNode()
        number = segmentation.GetSegmentation().GetNumberOfSegments
        self.assertEqual(number(), 1)
        self.ui.segmentEditorWidget.undo()
        self.assertEqual(number(), 0)
        self.ui.segmentEditorWidget.redo()
        self.assertEqual(number(), 1)
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "scene.mrb")
            self.assertTrue(slicer.util.saveScene(path))
            slicer.mrmlScene.Clear(0)
            slicer.util.loadScene(path)
            self.finish()
        self.takePanel()
        self.ui.inputSelector.setCurrentNode(slicer.util.getNode(name))
        self.finish()
        self.assertEqual(self.steps(), steps)
        saved = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
        [segmentation] = [one for one in saved if one.GetSegmentation().GetNumberOfSegments()]
        segmentId = segmentation.GetSegmentation().GetNthSegmentID(0)
        image = slicer.util.getNode(name)
        found = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segmentId, image)
        np.testing.assert_array_equal(found[k] > 0, mask)

    def side(self, node, tumor):
        """Of the patient, by the middle of the picture."""
        i = np.nonzero(tumor)[1].mean()
        matrix = slicer.util.arrayFromVTKMatrix(self.ijkToRAS(node))
        isRight = (i > (tumor.shape[1] - 1) / 2) == (matrix[0, 0] > 0)
        return "right" if isRight else "left"

    def ijkToRAS(self, node):
        import vtk

        matrix = vtk.vtkMatrix4x4()
        node.GetIJKToRASMatrix(matrix)
        return matrix

    def mask(self, k):
        return self.dialog.proposals[k].mask

    def overlap(self, truth, k):
        """Dice."""
        mask = self.mask(k)
        return 2 * (mask & truth).sum() / (mask.sum() + truth.sum())

    def steps(self):
        return [self.ui.stepsList.item(n).text() for n in range(self.ui.stepsList.count)]

    def click(self, button):
        gestures.click(button)
        self.finish()

    def finish(self):
        gestures.settle(50)
        panel = self.widget.panel
        self.assertTrue(gestures.waitFor(lambda: not panel.runner.busy and not panel.dialog.isRunning, 60))
        gestures.settle(50)
