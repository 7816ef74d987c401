"""A run that is cancelled, or whose scene, image or module goes away: nothing in the scene changes."""

import time

import slicer

from Testing.slicer import gestures
from Testing.slicer.dynamic_brain_seg.panel_test import PanelTest


class TestInterruptions(PanelTest):
    def setUp(self):
        super().setUp()
        self.volumes = self.load()

    def start(self, batches):
        """Press Segment; back when the model runs."""
        self.press(self.ui.segmentButton)
        self.assertTrue(gestures.waitFor(lambda: batches, 20))
        gestures.settle(20)

    def testCancelHalfWay(self):
        nodes = self.nodes()
        with self.slowModel() as batches:
            self.start(batches)
            self.assertTrue(self.isShown(self.ui.progressBar))
            self.assertEqual(self.ui.segmentButton.text, "Cancel")
            started = time.monotonic()
            self.press(self.ui.segmentButton)
            self.assertTrue(gestures.waitFor(lambda: self.ui.segmentButton.text == "Segment", 5))
            self.assertLess(time.monotonic() - started, 0.5)
            gestures.settle(400)
        self.assertEqual(self.message, "Cancelled; nothing was written.")
        self.assertEqual(self.nodes(), nodes)
        self.assertIsNone(self.segmentation)
        self.assertFalse(self.isShown(self.ui.progressBar))
        self.segment()
        self.assertEqual(len(self.segmentNames()), 3)

    def testCancellingAnOverrideKeepsTheResult(self):
        self.segment()
        before = self.decisions()
        self.clickBar(3)
        with self.slowModel():
            self.press(self.ui.computeSliceButton)
            gestures.settle(50)
            for button in (self.ui.computeSliceButton, self.ui.skipSliceButton, self.ui.refineButton):
                self.assertFalse(button.enabled)
            self.press(self.ui.segmentButton)
            self.finish()
        self.assertEqual(self.decisions(), before)
        self.assertTrue(self.ui.computeSliceButton.enabled)

    def testTheSceneIsClosedWhileRunning(self):
        with self.slowModel() as batches:
            self.start(batches)
            slicer.mrmlScene.Clear(0)
            gestures.settle(700)
        self.assertEqual(self.ui.segmentButton.text, "Segment")
        self.assertFalse(self.ui.segmentButton.enabled)
        self.assertIn("cancelled", self.message)
        self.assertEqual(slicer.util.getNodesByClass("vtkMRMLSegmentationNode"), [])
        self.load()
        self.segment()
        self.assertEqual(len(self.segmentNames()), 3)

    def testTheSceneIsClosedWithAResultShown(self):
        self.press(self.ui.uncertaintyCheckBox)
        self.segment()
        slicer.mrmlScene.Clear(0)
        self.finish()
        self.assertEqual(self.ui.costLabel.text, "")
        self.assertEqual(self.ui.volumesTable.rowCount, 0)
        self.assertFalse(self.ui.undoButton.enabled)
        gestures.click(self.ui.stripLabel)

    def testAnImageIsRemovedWhileRunning(self):
        with self.slowModel() as batches, self.assertLogs(level="ERROR") as logged:
            self.start(batches)
            slicer.mrmlScene.RemoveNode(self.volumes["t2"])
            gestures.settle(700)
        self.assertEqual(len(logged.records), 1)
        self.assertEqual(self.message, "case_t2 was removed, so the run was cancelled.")
        self.assertEqual(slicer.util.getNodesByClass("vtkMRMLSegmentationNode"), [])
        self.assertIn("Missing: T2.", self.ui.sequencesLabel.text)
        self.segment()
        self.assertEqual(len(self.segmentNames()), 3)

    def testTheOnlyImageIsRemovedWhileRunning(self):
        for name in ("t1ce", "t1", "t2"):
            self.choose(name, None)
        with self.slowModel() as batches, self.assertLogs(level="ERROR"):
            self.start(batches)
            slicer.mrmlScene.RemoveNode(self.volumes["flair"])
            gestures.settle(700)
        self.assertEqual(self.message, "case_flair was removed, so the run was cancelled. Choose another image.")
        self.assertFalse(self.ui.segmentButton.enabled)

    def testTheSegmentationIsRemoved(self):
        self.segment()
        slicer.mrmlScene.RemoveNode(self.segmentation)
        self.finish()
        self.assertIsNone(self.segmentation)
        self.assertEqual(self.ui.volumesTable.rowCount, 0)
        self.segment()
        self.assertEqual(len(self.segmentNames()), 3)

    def testTheModuleIsLeftWhileRunningAndEnteredAgain(self):
        with self.slowModel(0.1) as batches:
            self.start(batches)
            slicer.util.selectModule("Data")
            self.finish()
        slicer.util.selectModule("DynamicBrainSeg")
        self.finish()
        self.assertEqual(self.chosen(), self.volumes)
        self.assertEqual(len(self.segmentNames()), 3)
        self.assertEqual(self.ui.volumesTable.rowCount, 3)
        self.assertIn("GMACs", self.ui.costLabel.text)

    def testTheModuleIsReloadedWhileRunning(self):
        old, nodes = self.widget, self.nodes()
        with self.slowModel() as batches:
            self.start(batches)
            old.onReload()
            gestures.settle(700)
        self.assertEqual(self.nodes(), nodes)
        self.assertFalse(old.panel.runner.busy)
        self.takePanel()
        self.assertIsNot(self.widget, old)
        self.assertEqual(self.chosen(), self.volumes)
        self.segment()
        self.assertEqual(len(self.segmentNames()), 3)

    def testAfterAReloadTheSegmentsAreStillKnown(self):
        self.segment()
        self.widget.onReload()
        self.takePanel()
        self.finish()
        self.assertEqual(self.ui.volumesTable.rowCount, 3)
        self.assertEqual(self.ui.costLabel.text, "")
        self.segment()
        self.assertEqual(len(self.segmentNames()), 3)
