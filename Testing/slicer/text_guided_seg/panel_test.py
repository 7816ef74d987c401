"""What the scenarios have in common: the panel with an image whose answers are known, and what a person sees of it.

The image has 8 slices of 60 x 80 voxels of 2 x 1 x 1 mm, axial as of an MRI: row 0 is anterior, column 0 is the
patient's right. Two blocks are bright, in slices 3 to 5: `RIGHT` on the left of the picture, `LEFT` on its right.
"""

import unittest
from unittest import mock

import numpy as np
import qt
import slicer

from leanseg.volume import VolumeGeometry
from Testing.slicer import gestures
from Testing.slicer.text_guided_seg import fake_session

SHAPE = (8, 60, 80)
RIGHT = (slice(3, 6), slice(20, 35), slice(10, 25))  # of the patient: 15 x 15 voxels
LEFT = (slice(3, 6), slice(20, 30), slice(50, 60))  # 10 x 10 voxels
MIDDLE = 4  # a slice with both
# ijk -> RAS, mm: i runs to the patient's left, j to posterior, k to superior
IJK_TO_RAS = np.array([[-1.0, 0, 0, 40], [0, -1.0, 0, 30], [0, 0, 2.0, -8], [0, 0, 0, 1]])


def image():
    """(k, j, i)"""
    array = np.random.default_rng(1).normal(20, 4, SHAPE).astype(np.float32)
    array[RIGHT], array[LEFT] = 200, 180
    return array


def addImage(array=None, name="MRI", matrix=IJK_TO_RAS):
    from leanseg.slicer_bridge.nodes import scalarVolumeNode

    array = image() if array is None else array
    return scalarVolumeNode(name, array, VolumeGeometry(array.shape, matrix))


def ras(k, j, i):
    return (IJK_TO_RAS @ [i, j, k, 1])[:3]


class PanelTest(unittest.TestCase):
    """The module, entered anew in an empty scene, with the session by hand."""

    def setUp(self):
        slicer.mrmlScene.Clear(0)
        self.useFake()
        slicer.util.selectModule("TextGuidedSeg")
        self.takePanel()
        self.red = slicer.app.layoutManager().sliceWidget("Red")
        gestures.settle(20)

    def useFake(self):
        """The only model there is; everything that models need is there."""
        kind = "leanseg.slicer_bridge.environment_panel.EnvironmentPanel.isComplete"
        for patch in (
            mock.patch("leanseg.load_engine", side_effect=lambda name, precision: (name, precision), create=True),
            mock.patch("leanseg.list_models", return_value=[fake_session.card()], create=True),
            mock.patch("leanseg.text_session.TextSession", fake_session.FakeSession),
            mock.patch(kind, new_callable=mock.PropertyMock, return_value=True),
        ):
            patch.start()
            self.addCleanup(patch.stop)

    def takePanel(self):
        """Of the module as it is now; a reload makes another one."""
        self.widget = slicer.util.getModuleWidget("TextGuidedSeg")
        self.ui, self.panel = self.widget.ui, self.widget.panel
        self.editor = self.ui.segmentEditorWidget
        self.widget.logic._loaded.clear()

    def tearDown(self):
        slicer.mrmlScene.Clear(0)
        self.widget.logic._loaded.clear()
        gestures.settle(20)

    # Doing

    def load(self, array=None, k=MIDDLE, **options):
        """The image, chosen and shown, at a slice."""
        node = addImage(array, **options)
        slicer.util.setSliceViewerLayers(background=node, fit=True)
        self.ui.inputSelector.setCurrentNode(node)
        self.finish()
        self.panel.dialog.frames.select(min(k, self.panel.dialog.frames.count - 1))
        gestures.settle(80)
        return node

    @property
    def session(self):
        return self.panel.dialog.session

    def type(self, text):
        """Into the prompt, as a person: select everything, then the letters."""
        self.ui.promptEdit.setFocus()
        gestures.key(self.ui.promptEdit, qt.Qt.Key_A, control=True)
        self.ui.promptEdit.selectAll()
        self.ui.promptEdit.insertPlainText(text)
        gestures.settle(200)

    def say(self, text):
        """Type and press Ctrl+Enter."""
        self.type(text)
        gestures.key(self.ui.promptEdit, qt.Qt.Key_Return, control=True)
        self.finish()

    def press(self, button):
        self.assertTrue(button.enabled, f"{button.text}: {button.toolTip}")
        gestures.click(button)

    def pressAndFinish(self, button):
        self.press(button)
        self.finish()

    def finish(self):
        gestures.settle(20)
        self.assertTrue(gestures.waitFor(lambda: not self.panel.runner.busy and not self.panel.dialog.isRunning, 20))
        gestures.settle(30)

    def pick(self, comboBox, text):
        """Choose an entry with the arrow keys."""
        wanted = comboBox.findText(text)
        self.assertGreaterEqual(wanted, 0, f"{text} is not offered")
        for _step in range(comboBox.count):
            if comboBox.currentIndex != wanted:
                gestures.key(comboBox, qt.Qt.Key_Down if comboBox.currentIndex < wanted else qt.Qt.Key_Up)
        self.assertEqual(comboBox.currentIndex, wanted)
        self.finish()

    def clickAt(self, k, j, i, view="Red"):
        """With the left button, where this voxel is in a view; that view has to show it."""
        widget = slicer.app.layoutManager().sliceWidget(view)
        gestures.click(widget, gestures.pointInView(widget, ras(k, j, i)))
        self.finish()

    def dragThrough(self, *voxels, view="Red"):
        widget = slicer.app.layoutManager().sliceWidget(view)
        gestures.drag(widget, [gestures.pointInView(widget, ras(*voxel)) for voxel in voxels])
        self.finish()

    # Looking

    @property
    def message(self):
        return self.ui.messageLabel.text

    def mask(self, k=MIDDLE):
        """(j, i) of the proposal in a slice."""
        return self.panel.dialog.proposals[k].mask

    def outline(self):
        """The node that outlines the proposal."""
        return self.panel._shown._outline

    def steps(self):
        return [self.ui.stepsList.item(n).text() for n in range(self.ui.stepsList.count)]

    def segments(self):
        """Name -> (k, j, i) bool of every segment of the chosen segmentation."""
        node = self.ui.targetSelector.currentNode()
        if node is None:
            return {}
        segmentation = node.GetSegmentation()
        return {
            segmentation.GetSegment(name).GetName():
            slicer.util.arrayFromSegmentBinaryLabelmap(node, name, self.panel.volume) > 0
            for name in segmentation.GetSegmentIDs()
        }  # fmt: skip


def block(*places):
    """(k, j, i) bool: these places of the image."""
    mask = np.zeros(SHAPE, bool)
    for place in places:
        mask[place] = True
    return mask
