"""Quantize and look: two precisions of the real model beside each other; the user's segments are never touched."""

import json
import shutil
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np
import slicer

import leanseg
from leanseg.request import step
from leanseg.slicer_bridge.nodes import volumeFromNode
from leanseg.slicer_bridge.placement import arrayOf
from leanseg.weights.store import SHIPPED_MODELS
from Testing.slicer import gestures
from Testing.slicer.ultrasound_kd.panel_test import CLIP, STILL_IMAGE, PanelTest, clip
from Testing.slicer.ultrasound_kd.test_frames import imageNode
from Testing.slicer.ultrasound_kd.test_models import megabytes


class TestQuantizeAndLook(PanelTest):
    def setUp(self):
        super().setUp()
        patch = mock.patch("leanseg.slicer_bridge.precision_subject.REPEATS", 1)
        patch.start()
        self.addCleanup(patch.stop)
        self.section = self.widget.precisions
        self.form = self.section.form
        self.ui.precisionsCollapsibleButton.collapsed = False
        self.addCleanup(self.section.forget)

    def measure(self):
        self.press(self.form.measureButton)
        self.assertTrue(gestures.waitFor(lambda: self.form.measureButton.text == "Measure and look", 30))
        gestures.settle(50)

    def rows(self):
        table = self.form.table
        return {
            table.verticalHeaderItem(row).text(): [table.item(row, n).text() for n in range(table.columnCount)]
            for row in range(table.rowCount)
        }

    @property
    def said(self):
        return self.form.messageLabel.text

    def layers(self):
        """Segmentation nodes of what is shown; and (k, j, i) bool of all of them together."""
        nodes = [] if self.section._overlay is None else self.section._overlay.nodes
        masks = []
        for node in nodes:
            labelmap = slicer.vtkOrientedImageData()
            node.GetBinaryLabelmapRepresentation("proposal", labelmap)
            masks.append(arrayOf(labelmap) > 0)
        return nodes, masks

    def testSizeTimeDiceAndWhereTheyDiffer(self):
        volume = self.loadSample(STILL_IMAGE)
        self.apply()
        segmentation, segmentId = self.accept()
        accepted, saved = self.mask(segmentation, segmentId, volume), self.nodes(onlySaved=True)
        before = self.pixels()
        self.assertEqual(self.form.firstLabel.text, "t2kd_busi, INT8")
        self.assertEqual(self.form.otherSelector.currentText, "fp32")
        self.assertFalse(self.form.table.isVisibleTo(self.form.widget))
        self.measure()
        rows = self.rows()
        for text, precision in zip(rows["Size on disk"], ("int8", "fp32"), strict=False):
            self.assertTrue(text.startswith(megabytes(precision)), text)
        self.assertRegex(" ".join(rows["Time here"]), r"^\d+\.\d m?s \d+\.\d m?s × \d+\.\d\d$")
        self.assertRegex(" ".join(rows["Validation Dice"]), r"^0\.652 0\.651 −0\.001$")

        image = volumeFromNode(volume)
        masks = [
            leanseg.segment(image, leanseg.load_engine("t2kd_busi", precision=one)).labelmap > 0
            for one in ("int8", "fp32")
        ]
        expected = int(np.count_nonzero(masks[0] != masks[1]))
        self.assertGreater(expected, 0)
        self.assertIn(f"{expected:,} of {masks[0].size:,} voxels differ", self.form.differenceLabel.text)
        self.assertEqual(sum(int(mask.sum()) for mask in self.layers()[1]), expected)
        shown = self.changedPoints(before, self.pixels())
        self.assertGreater(len(shown), 0)

        gestures.click(self.form.showCheckBox, (8, 8))
        np.testing.assert_array_equal(self.pixels(), before)
        gestures.click(self.form.showCheckBox, (8, 8))
        slicer.util.selectModule("Data")
        self.assertEqual(self.layers()[0], [])
        slicer.util.selectModule("UltrasoundKD")
        self.assertGreater(len(self.layers()[0]), 0, "it is shown again")
        self.assertEqual(self.nodes(onlySaved=True), saved, "nothing of it is saved")
        np.testing.assert_array_equal(self.mask(segmentation, segmentId, volume), accepted)
        self.pick(self.ui.precisionSelector, "fp32")
        self.assertEqual(self.form.otherSelector.currentText, "INT8")
        self.assertEqual(self.layers()[0], [], "it was of another precision")
        self.assertEqual(self.nodes(onlySaved=True), saved)

    def testOfAClipItIsTheShownFrame(self):
        volume = self.loadSample(CLIP)
        frames = self.widget.panel.session.frames
        frames.select(5)
        gestures.settle(50)
        before = self.pixels()
        self.measure()
        self.assertIn(f"of {np.prod(frames.geometry(5).shape):,} voxels", self.form.differenceLabel.text)
        shown = self.changedPoints(before, self.pixels())
        self.assertGreater(len(shown), 0)
        frames.select(6)
        other = self.pixels()
        gestures.click(self.form.showCheckBox, (8, 8))
        np.testing.assert_array_equal(self.pixels(), other, "it lies on the frame that was measured, and no other")
        slicer.mrmlScene.RemoveNode(volume)
        gestures.settle(50)
        self.assertFalse(self.form.table.isVisibleTo(self.form.widget))

    def testOfASequenceItIsTheShownItem(self):
        browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "Clip browser")
        sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "Clip")
        for n, one in enumerate(clip().image.array[0, :2]):
            sequence.SetDataNodeAtValue(imageNode(one[np.newaxis]), str(n))
        browser.AddSynchronizedSequenceNode(sequence)
        slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
        self.choose(browser.GetProxyNode(sequence))
        self.measure()
        nodes, _masks = self.layers()
        self.assertEqual([bool(node.GetDisplayNode().GetVisibility()) for node in nodes], [True] * len(nodes))
        self.assertGreater(len(nodes), 0)
        for index, isShown in ((1, False), (0, True)):
            browser.SetSelectedItemNumber(index)
            gestures.settle(50)
            self.assertEqual({bool(node.GetDisplayNode().GetVisibility()) for node in nodes}, {isShown})

    def testWithoutAnImageItSaysSo(self):
        with self.assertLogs(level="ERROR"):
            self.press(self.form.measureButton)
        self.assertIn("No image is chosen", self.said)
        self.assertEqual(self.form.measureButton.text, "Measure and look")

    def testCancel(self):
        self.loadSample(STILL_IMAGE)

        def slow(*_args):
            for n in range(1000):
                step(_args[-1], n, 1000, "t2kd_busi int8")
                time.sleep(0.005)

        with mock.patch("leanseg.inference.precision_comparison.compare", slow):
            self.press(self.form.measureButton)
            self.assertTrue(gestures.waitFor(lambda: self.form.progressBar.value > 2))
            self.measure()
        self.assertIn("Cancelled", self.said)
        self.assertFalse(self.form.table.isVisibleTo(self.form.widget))

    def testAModelOfTheUserMustBeOfTheSameSystem(self):
        self.loadSample(STILL_IMAGE)
        with tempfile.TemporaryDirectory() as folder:
            mine = Path(folder) / "mine"
            shutil.copytree(SHIPPED_MODELS / "t2kd_busi", mine)
            card = json.loads((mine / "card.json").read_text(encoding="utf-8"))
            card["metrics"].pop("validation")
            (mine / "card.json").write_text(json.dumps({**card, "id": "mine"}), encoding="utf-8")
            for other, text in ((SHIPPED_MODELS / "text_bcs", "of the same system"), (Path(folder), "card.json")):
                with self.assertLogs(level="ERROR"):
                    self.add(other)
                self.assertIn(text, self.said)
                self.assertNotIn("\n", self.said)
            self.add(mine)
            self.pick(self.form.otherSelector, "mine, INT8")
            self.measure()
            self.assertEqual(self.rows()["Validation Dice"], ["0.652", "not in the card", ""])
            self.assertIn("No voxel of 76,800 differs", self.form.differenceLabel.text)
            self.assertEqual(self.layers()[0], [])
        self.measure()
        self.assertIn("mine", self.said, "it is gone")

    def add(self, folder):
        with mock.patch.object(self.section, "askForFolder", return_value=str(folder)):
            self.press(self.form.addButton)
