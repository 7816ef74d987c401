"""What cannot be used: one message that says what to do, logged once, and a scene that stays as it is."""

import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import qt
import slicer

from Testing.slicer import gestures
from Testing.slicer.ultrasound_kd.panel_test import STILL_IMAGE, PanelTest


class TestBadImage(PanelTest):
    """The reason is in the message line and in the tooltip of Apply, which is disabled."""

    def testNoImage(self):
        self.choose(None)
        self.assertRefused("Choose an image volume.")

    def testALabelmapIsNotOfferedAndIsRefused(self):
        node = slicer.util.addVolumeFromArray(np.ones((1, 64, 64), np.uint8), nodeClassName="vtkMRMLLabelMapVolumeNode")
        self.choose(node)
        self.assertIsNone(self.ui.inputSelector.currentNode())
        with self.assertRaisesRegex(Exception, "is a labelmap"):
            self.widget.panel.session.open(node)

    def testA4DVolume(self):
        self.refuse(np.zeros((1, 32, 32, 6), np.uint8), "Extract one frame", "vtkMRMLVectorVolumeNode")

    def testAnEmptyVolume(self):
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "nothing")
        self.choose(node)
        self.assertRefused("nothing has no voxels. Load the image again.")

    def testANonLinearTransform(self):
        node = self.image()
        transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLBSplineTransformNode", "bend")
        node.SetAndObserveTransformNodeID(transform.GetID())
        self.choose(node)
        self.assertRefused("Harden it first")

    def testWhatWasMendedInAnotherModuleIsUsable(self):
        """The message says that the transform is to be hardened, in the module Data."""
        node = self.image()
        transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLBSplineTransformNode", "bend")
        node.SetAndObserveTransformNodeID(transform.GetID())
        self.choose(node)
        self.assertFalse(self.ui.applyButton.enabled)
        slicer.util.selectModule("Data")
        node.SetAndObserveTransformNodeID(None)
        slicer.util.selectModule("UltrasoundKD")
        self.assertTrue(self.ui.applyButton.enabled)
        self.assertEqual(self.message, "No view shows Volume. Press Apply to see it.")

    def testATransformThatBecomesNonLinearAfterTheImageWasChosen(self):
        node = self.image()
        self.choose(node)
        self.assertTrue(self.ui.applyButton.enabled)
        nodes = None
        transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLBSplineTransformNode", "bend")
        with self.assertLogs(level="INFO") as logged:
            node.SetAndObserveTransformNodeID(transform.GetID())
            nodes = self.nodes()
            gestures.settle(200)
        self.assertEqual(len(logged.records), 1)
        self.assertRefused("Harden it first")
        self.assertEqual(self.nodes(), nodes)
        self.assertFalse(self.ui.acceptButton.enabled)
        node.SetAndObserveTransformNodeID(None)
        self.assertTrue(self.ui.applyButton.enabled)
        self.assertNotIn("Harden", self.message)

    def testAPanelThatHasNeverHadAnImage(self):
        self.widget.onReload()
        ui = slicer.util.getModuleWidget("UltrasoundKD").ui
        self.assertFalse(ui.applyButton.enabled)
        self.assertIn("Choose an image volume.", ui.messageLabel.text)

    def testKeysAndButtonsDoNothingWithoutAnImage(self):
        self.choose(None)
        nodes = self.nodes()
        for widget in (self.ui.applyButton, self.ui.acceptButton, self.ui.rejectButton, self.ui.exportButton):
            gestures.click(widget)
        for code in (qt.Qt.Key_A, qt.Qt.Key_Return, qt.Qt.Key_R, qt.Qt.Key_L, qt.Qt.Key_U):
            self.pressKey(code, shift=True)
        self.widget.panel.onApplyOrCancel()  # as from a script
        self.assertIn("Choose an image volume.", self.message)
        self.assertEqual(self.nodes(), nodes)

    def testAFolderOfTheSceneThatCannotBeWritten(self):
        """Only exporting writes, and only where it is told to."""
        self.loadSample(STILL_IMAGE)
        with tempfile.TemporaryDirectory() as folder:
            barred = Path(folder) / "barred"
            barred.write_text("no folder: not even an administrator can write below it", encoding="utf-8")
            slicer.mrmlScene.SetRootDirectory(str(barred))
            self.apply()
            self.accept()
            self.assertTrue(gestures.waitFor(lambda: self.ui.measurementsTable.rowCount == 1, 5))
            asked = mock.patch.object(self.widget.measurements, "askForFile", lambda suggested: str(barred / suggested))
            with asked, self.assertLogs(level="ERROR") as logged:
                self.press(self.ui.exportButton)
            self.assertEqual(len(logged.records), 1)
            self.assertIn("cannot be written", self.message)
            self.assertEqual(list(Path(folder).iterdir()), [barred])

    def testAnImageThatIsTooSmall(self):
        self.failing(np.arange(64, dtype=np.uint8).reshape(1, 8, 8), "at least 16 x 16")

    def testAnImageWithoutContrast(self):
        self.failing(np.full((1, 64, 64), 7, np.uint8), "every value is 7")

    def testAnImageWithNan(self):
        self.failing(np.full((1, 64, 64), np.nan, np.float32), "NaN")

    def image(self):
        return slicer.util.addVolumeFromArray(np.random.default_rng(0).integers(0, 255, (1, 64, 64)).astype(np.uint8))

    def refuse(self, array, words, nodeClass="vtkMRMLScalarVolumeNode"):
        self.choose(slicer.util.addVolumeFromArray(array, nodeClassName=nodeClass))
        self.assertRefused(words)

    def failing(self, array, words):
        """An image whose values the model refuses: only a run tells. It is no error, and is told without a warning."""
        self.choose(slicer.util.addVolumeFromArray(array))
        nodes = self.nodes()
        with self.assertLogs(level="INFO") as logged:
            self.apply()
        self.assertEqual([record.levelname for record in logged.records], ["INFO"])
        self.assertIn(words, self.message)
        self.assertFalse(self.ui.messageIconLabel.isVisibleTo(self.ui.proposalCollapsibleButton))
        self.assertEqual(self.nodes(), nodes)

    def assertRefused(self, words):
        self.assertFalse(self.ui.applyButton.enabled)
        self.assertIn(words, self.ui.applyButton.toolTip)
        self.assertIn(words, self.message)
