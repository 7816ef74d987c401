"""A run that is cancelled, or whose scene, image or module goes away: nothing in the scene changes."""

import time

import qt
import slicer

from Testing.slicer import gestures
from Testing.slicer.ultrasound_kd.panel_test import CLIP, STILL_IMAGE, PanelTest


class TestInterruptions(PanelTest):
    def setUp(self):
        super().setUp()
        self.volume = self.loadSample(CLIP)
        self.ui.scopeSelector.setCurrentIndex(1)

    def testCancelHalfWay(self):
        nodes = self.nodes()
        with self.slowModel(0.15) as calls:
            self.start(calls)
            self.assertTrue(self.ui.progressBar.isVisibleTo(self.ui.proposalCollapsibleButton))
            self.assertGreaterEqual(self.ui.progressBar.value, 1)
            self.assertEqual(self.ui.progressBar.maximum, 12)
            self.assertEqual(self.ui.applyButton.text, "Cancel")
            started = time.monotonic()
            self.press(self.ui.applyButton)
            self.assertTrue(gestures.waitFor(lambda: self.ui.applyButton.text == "Apply", 5))
            self.assertLess(time.monotonic() - started, 0.5)
            gestures.settle(300)
            self.assertLess(len(calls), 12)
        self.assertEqual(self.message, "Cancelled; nothing was written.")
        self.assertEqual(self.nodes(), nodes)
        self.assertFalse(self.ui.acceptButton.enabled)
        self.assertFalse(self.ui.progressBar.isVisibleTo(self.ui.proposalCollapsibleButton))
        self.apply()
        self.assertEqual(self.ui.acceptButton.text, "Accept 12 frames")

    def testTheSceneIsClosedWhileRunning(self):
        with self.slowModel(0.15) as calls:
            self.start(calls)
            slicer.mrmlScene.Clear(0)
            gestures.settle(500)
            self.assertLess(len(calls), 12)
        self.assertEqual(self.ui.applyButton.text, "Apply")
        self.assertFalse(self.ui.applyButton.enabled)
        self.assertIn("cancelled", self.message)
        self.assertEqual(slicer.util.getNodesByClass("vtkMRMLVolumeNode"), [])
        self.loadSample(STILL_IMAGE)
        self.apply()
        self.assertTrue(self.ui.acceptButton.enabled)

    def testTheSceneIsClosedWithAProposalShown(self):
        self.press(self.ui.uncertaintyCheckBox)
        self.apply()
        slicer.mrmlScene.Clear(0)
        gestures.settle(50)
        self.assertFalse(self.ui.acceptButton.enabled)
        self.assertFalse(self.ui.rejectButton.enabled)
        self.assertEqual(self.ui.frameLabel.text, "")

    def testTheImageIsRemovedWhileRunning(self):
        other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode", "other")
        with self.slowModel(0.15) as calls, self.assertLogs(level="ERROR") as logged:
            self.start(calls)
            slicer.mrmlScene.RemoveNode(self.volume)
            gestures.settle(500)
            self.assertLess(len(calls), 12)
        self.assertEqual(len(logged.records), 1)
        self.assertEqual(self.ui.applyButton.text, "Apply")
        self.assertIn("was removed, so the run was cancelled. Choose another image.", self.message)
        self.assertIs(other.GetScene(), slicer.mrmlScene)
        self.assertFalse(self.ui.applyButton.enabled)

    def testTheImageIsRemovedWithAProposalShown(self):
        self.press(self.ui.uncertaintyCheckBox)
        self.apply()
        slicer.mrmlScene.RemoveNode(self.volume)
        gestures.settle(50)
        self.assertFalse(self.ui.acceptButton.enabled)
        remaining = slicer.util.getNodesByClass("vtkMRMLSegmentationNode") + slicer.util.getNodesByClass(
            "vtkMRMLVolumeNode"
        )
        self.assertEqual(remaining, [])

    def testTheModuleIsLeftWhileRunningAndEnteredAgain(self):
        with self.slowModel(0.15) as calls:
            self.start(calls)
            slicer.util.selectModule("Data")
            gestures.settle(100)
            self.assertFalse(self.isShortcutInstalled(), "Shift+A belongs to the other module now")
            self.assertTrue(gestures.waitFor(lambda: not self.widget.panel.session.applying, 20))
            self.assertEqual(len(calls), 12)
        slicer.util.selectModule("UltrasoundKD")
        gestures.settle(50)
        self.assertTrue(self.isShortcutInstalled())
        self.assertIs(self.ui.inputSelector.currentNode(), self.volume)
        self.assertEqual(self.ui.acceptButton.text, "Accept 12 frames")
        self.accept()
        self.assertEqual(len(slicer.util.getNodesByClass("vtkMRMLSegmentationNode")), 1)

    def testNothingIsPreviewedInAnotherModule(self):
        self.press(self.ui.livePreviewCheckBox)
        self.assertTrue(gestures.waitFor(lambda: self.widget.panel.session.proposed, 20))
        slicer.util.selectModule("Data")
        with self.slowModel(0) as calls:
            gestures.wheel(self.red, 3)
            gestures.settle(300)
        self.assertEqual(calls, [])
        slicer.util.selectModule("UltrasoundKD")
        frame = self.widget.panel.session.frames.currentIndex
        self.assertTrue(gestures.waitFor(lambda: self.widget.panel.session.proposed == [frame()], 10))

    def testTheModuleCanBeReloadedWhileItRuns(self):
        """The old panel ends its run and its thread; the new one takes over."""
        old, nodes = self.widget, self.nodes()
        with self.slowModel(0.15) as calls:
            self.start(calls)
            old.onReload()
            gestures.settle(500)
            self.assertLess(len(calls), 12)
        self.assertEqual(self.nodes(), nodes)
        self.assertFalse(old.panel.runner.busy)
        with self.assertRaises(RuntimeError):
            old.panel.runner.submit(lambda progress: None, onDone=print, onFailed=print)
        self.widget = slicer.util.getModuleWidget("UltrasoundKD")
        self.assertIsNot(self.widget, old)
        self.ui, self.editor = self.widget.ui, self.widget.ui.segmentEditorWidget
        self.assertIs(self.ui.inputSelector.currentNode(), self.volume)
        self.assertEqual(self.ui.scopeSelector.currentText, "All frames")
        self.pressKey(qt.Qt.Key_A, shift=True)
        self.assertTrue(gestures.waitFor(lambda: self.ui.acceptButton.enabled, 20))
        self.accept()
        self.assertEqual(len(slicer.util.getNodesByClass("vtkMRMLSegmentationNode")), 1)

    def start(self, calls):
        """Press Apply; back when two frames are done."""
        self.press(self.ui.applyButton)
        self.assertTrue(gestures.waitFor(lambda: len(calls) >= 2, 20))
        gestures.settle(50)

    def isShortcutInstalled(self):
        children = slicer.util.mainWindow().children()
        keys = [child.key.toString() for child in children if child.className() == "QShortcut" and child.enabled]
        return "Shift+A" in keys
