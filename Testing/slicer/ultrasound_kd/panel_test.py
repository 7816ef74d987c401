"""What the scenarios have in common: the panel with a sample loaded, and what a person sees of it."""

import time
import unittest
from contextlib import contextmanager
from unittest import mock

import numpy as np
import qt
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from leanseg.phantom import ultrasound_phantom
from Testing.slicer import gestures

STILL_IMAGE, CLIP = "BreastUltrasoundPhantom", "BreastUltrasoundClip"


class PanelTest(unittest.TestCase):
    """The module, entered anew in an empty scene."""

    def setUp(self):
        slicer.mrmlScene.Clear(0)
        slicer.util.selectModule("UltrasoundKD")
        self.widget = slicer.util.getModuleWidget("UltrasoundKD")
        self.ui, self.editor = self.widget.ui, self.widget.ui.segmentEditorWidget
        self.red = slicer.app.layoutManager().sliceWidget("Red")
        gestures.settle(20)

    def tearDown(self):
        slicer.mrmlScene.Clear(0)
        gestures.settle(20)

    # Doing

    def loadSample(self, name):
        """As the button of Sample Data does; then choose it in the panel."""
        import SampleData

        source = SampleData.SampleDataLogic().sourceForSampleName(name)
        [node] = source.customDownloader(source)
        self.choose(node)
        return node

    def choose(self, node):
        self.ui.inputSelector.setCurrentNode(node)
        gestures.settle(50)

    def settleViews(self):
        """Until the panel has looked at what the views show, however slowly they render."""
        gestures.settle(150)
        self.assertTrue(gestures.waitFor(lambda: not self.widget.panel.shown._timer.isActive()))

    def press(self, button):
        self.assertTrue(button.enabled, f"{button.text}: {button.toolTip}")
        gestures.click(button)

    def apply(self):
        """Press Apply and wait for the result."""
        self.press(self.ui.applyButton)
        self.assertTrue(gestures.waitFor(lambda: self.ui.applyButton.text == "Apply", 20))
        gestures.settle(50)

    def accept(self):
        """Press Accept; the segmentation node and the id of the segment that was written."""
        self.press(self.ui.acceptButton)
        gestures.settle(50)
        return self.editor.segmentationNode(), self.editor.currentSegmentID()

    def pressInEditor(self, name):
        self.press(slicer.util.findChild(self.editor, name))
        gestures.settle(50)

    def pick(self, comboBox, text):
        """Choose an entry with the arrow keys."""
        wanted = comboBox.findText(text)
        self.assertGreaterEqual(wanted, 0, f"{text} is not offered")
        for _step in range(comboBox.count):
            if comboBox.currentIndex != wanted:
                gestures.key(comboBox, qt.Qt.Key_Down if comboBox.currentIndex < wanted else qt.Qt.Key_Up)
        self.assertEqual(comboBox.currentIndex, wanted)
        gestures.settle(50)

    def pressKey(self, code, **modifiers):
        gestures.key(slicer.util.mainWindow(), code, **modifiers)
        gestures.settle(50)

    @contextmanager
    def slowModel(self, seconds=0.1):
        """The model takes its time; the frames it was given are counted."""
        predict, calls = self.widget.logic.predictFrame, []

        def slow(modelKey, frame):
            time.sleep(seconds)
            calls.append(frame)
            return predict(modelKey, frame)

        with mock.patch.object(self.widget.logic, "predictFrame", slow):
            self.widget.logic.cache.clear()
            yield calls

    # Looking

    @property
    def message(self):
        return self.ui.messageLabel.text if self.ui.messageLabel.isVisibleTo(self.ui.proposalCollapsibleButton) else ""

    def pixels(self, sliceWidget=None):
        """What a slice view shows: (y from below, x, RGB) integers."""
        gestures.settle(30)
        slicer.util.forceRenderAllViews()
        grab = vtk.vtkWindowToImageFilter()
        grab.SetInput((sliceWidget or self.red).sliceView().renderWindow())
        grab.ReadFrontBufferOff()
        grab.Update()
        image = grab.GetOutput()
        width, height, _depth = image.GetDimensions()
        return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)[..., :3].astype(int)

    def changedPoints(self, before, after):
        """World positions (n, 3), mm RAS, of the pixels of the red view that differ."""
        y, x = np.nonzero(np.abs(before - after).max(axis=2) > 20)
        toWorld = slicer.util.arrayFromVTKMatrix(self.red.mrmlSliceNode().GetXYToRAS())
        return (np.stack([x, y, np.zeros(len(x)), np.ones(len(x))], axis=1) @ toWorld.T)[:, :3]

    def mask(self, segmentationNode, segmentId, volumeNode):
        """(k, j, i) bool."""
        return slicer.util.arrayFromSegmentBinaryLabelmap(segmentationNode, segmentId, volumeNode) > 0

    def nodes(self, onlySaved=False):
        """Ids of the nodes of the scene, but for the module's own two parameter nodes."""
        scene = slicer.mrmlScene
        everything = [scene.GetNthNode(n) for n in range(scene.GetNumberOfNodes())]
        own = ("vtkMRMLScriptedModuleNode", "vtkMRMLSegmentEditorNode")
        wanted = [node for node in everything if node.GetClassName() not in own]
        return {node.GetID() for node in wanted if node.GetSaveWithScene() or not onlySaved}


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def stillImage():
    """The phantom that is the sample STILL_IMAGE; its truth is (1, j, i)."""
    return ultrasound_phantom("malignant", seed=1)


def clip():
    """The phantom that is the sample CLIP, 12 frames."""
    return ultrasound_phantom("benign", seed=2, frames=12)
