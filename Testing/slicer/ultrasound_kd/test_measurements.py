"""Sizes in the table and in the CSV file, against sizes computed by hand."""

import csv
import tempfile
import time
from datetime import datetime
from pathlib import Path
from unittest import mock

import numpy as np
import slicer
import vtk

from Testing.slicer import gestures
from Testing.slicer.ultrasound_kd.panel_test import STILL_IMAGE, PanelTest

SPACING_MM = 0.2


class TestMeasurements(PanelTest):
    def testAnEllipseOfKnownAxes(self):
        """Half axes of 20 x 10 pixels of 0.2 mm: 8 x 4 mm, area pi x 4 x 2 = 25.13 mm2."""
        self.addVolume(np.diag([-SPACING_MM, -SPACING_MM, 1, 1]))
        j, i = np.mgrid[0:60, 0:80]
        self.fill(((i - 40) / 20) ** 2 + ((j - 30) / 10) ** 2 <= 1)
        frame, lesion, area, long, short, ratio = self.row(0)
        self.assertEqual((frame, lesion), ("2", "1"))
        self.assertAlmostEqual(float(area), 25.13, delta=0.4)
        self.assertAlmostEqual(float(long), 8, delta=SPACING_MM + 0.05)
        self.assertAlmostEqual(float(short), 4, delta=SPACING_MM + 0.05)
        self.assertAlmostEqual(float(ratio), 0.51, delta=0.011)  # 21 pixels over 41
        self.assertEqual(self.ui.measurementsTable.horizontalHeaderItem(2).text(), "Area\n(mm²)")

    def testARectangleIsExactAlsoInTheFile(self):
        """20 x 10 pixels: 4 x 2 mm, 8 mm2; the diagonal is sqrt(20) = 4.4721 mm at atan(1/2) = 26.565 degrees.

        To 1 degree that is 27: 4 cos 27 + 2 sin 27 = 4.4720, and across it 4 sin 27 + 2 cos 27 = 3.5980.
        """
        self.addVolume(np.diag([-SPACING_MM, -SPACING_MM, 1, 1]))
        self.fill(rectangle())
        self.assertEqual(self.row(0), ["2", "1", "8.0", "4.5", "3.6", "0.50"])
        self.assertEqual(
            self.exported(),
            {
                "image": "Volume",
                "segment": "lesion",
                "frame": "2",
                "lesion": "1",
                "area_mm2": "8.0000",
                "long_axis_mm": "4.4720",
                "short_axis_mm": "3.5980",
                "depth_width_ratio": "0.5000",
                "origin": "other",
                "model": "",
                "precision": "",
                "threshold": "",
            },
        )
        self.assertEqual(self.message, "Measurements written: 1. File: sizes.csv.")

    def testTheFileSaysWhichModelAndThreshold(self):
        """And that somebody has corrected its result; an undo takes that back, too."""
        volume = self.loadSample(STILL_IMAGE)
        self.ui.thresholdSlider.value = 0.4
        self.apply()
        node, segmentId = self.accept()
        self.ui.thresholdSlider.value = 0.6  # not what was accepted
        ofModel = {"model": "t2kd_busi", "precision": "int8", "threshold": "0.40"}
        self.assertLessEqual((ofModel | {"origin": "model", "image": STILL_IMAGE}).items(), self.exported().items())
        self.editor.saveStateForUndo()
        array = slicer.util.arrayFromSegmentBinaryLabelmap(node, segmentId, volume)
        array[0, 120:125, 150:155] = 0
        slicer.util.updateSegmentBinaryLabelmapFromArray(array, node, segmentId, volume)
        gestures.settle(400)
        self.assertLessEqual((ofModel | {"origin": "corrected"}).items(), self.exported().items())
        self.pressInEditor("UndoButton")
        gestures.settle(400)
        self.assertEqual(self.exported()["origin"], "model")

    def exported(self):
        """The only line of the file, but for the date, which is that of now."""
        self.assertTrue(gestures.waitFor(lambda: self.ui.measurementsTable.rowCount == 1, 5))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "sizes.csv"
            self.widget.measurements.askForFile = lambda suggested: str(path)
            self.press(self.ui.exportButton)
            with path.open(encoding="utf-8", newline="") as file:
                [row] = csv.DictReader(file)
        age = datetime.now().astimezone() - datetime.fromisoformat(row.pop("date"))
        self.assertLess(abs(age.total_seconds()), 60)
        return row

    def testWithoutSpacingSizesAreInPixels(self):
        self.addVolume(np.eye(4))
        self.fill(rectangle())
        self.assertEqual(self.row(0)[:3], ["2", "1", "200.0"])
        self.assertEqual(self.ui.measurementsTable.horizontalHeaderItem(2).text(), "Area\n(px²)")

    def testTheStepBetweenFramesIsNoSpacing(self):
        """A clip that states no spacing of its pixels, with a step of 0.04 (seconds)."""
        self.addVolume(np.diag([1, 1, 0.04, 1]))
        self.fill(rectangle())
        self.assertEqual(self.row(0)[:3], ["2", "1", "200.0"])
        self.assertEqual(self.ui.measurementsTable.horizontalHeaderItem(2).text(), "Area\n(px²)")

    def testAScalingTransformCounts(self):
        """Twice the size in the world: 4 times the area."""
        volume = self.addVolume(np.diag([-SPACING_MM, -SPACING_MM, 1, 1]))
        transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        matrix = vtk.vtkMatrix4x4()
        for n in range(3):
            matrix.SetElement(n, n, 2)
        transform.SetMatrixTransformToParent(matrix)
        volume.SetAndObserveTransformNodeID(transform.GetID())
        self.fill(rectangle(), transform)
        self.assertEqual(self.row(0)[2], "32.0")

    def testAStrokeIsMeasuredSoon(self):
        self.addVolume(np.diag([-SPACING_MM, -SPACING_MM, 1, 1]))
        node, segmentId = self.fill(rectangle())
        array = slicer.util.arrayFromSegmentBinaryLabelmap(node, segmentId, self.volume)
        array[1, 50:52, 70:72] = 1  # a second lesion: 4 pixels, 0.16 mm2
        slicer.util.updateSegmentBinaryLabelmapFromArray(array, node, segmentId, self.volume)
        self.assertTrue(gestures.waitFor(lambda: self.ui.measurementsTable.rowCount == 2, 5))
        self.assertEqual(self.row(1)[:3], ["2", "2", "0.2"])

    def testALargeClipIsMeasuredQuickly(self):
        """A brush stroke must not stop the panel for seconds; only the frames with the segment are looked at."""
        self.volume = slicer.util.addVolumeFromArray(np.zeros((200, 768, 1024), np.uint8))
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
        node.SetReferenceImageGeometryParameterFromVolumeNode(self.volume)
        spot = slicer.util.addVolumeFromArray(
            np.ones((2, 50, 60), np.uint8),
            np.array([[1, 0, 0, 400], [0, 1, 0, 300], [0, 0, 1, 120], [0, 0, 0, 1]]),
            nodeClassName="vtkMRMLLabelMapVolumeNode",
        )
        slicer.modules.segmentations.logic().ImportLabelmapToSegmentationNode(spot, node)
        segmentId = node.GetSegmentation().GetNthSegmentID(0)
        self.choose(self.volume)
        frames = self.widget.panel.session.frames
        started = time.perf_counter()
        rows, _origins = self.widget.logic.measure(frames, node, segmentId)
        self.assertLess(time.perf_counter() - started, 0.5)
        self.assertEqual([(row.slice, row.area) for row in rows], [(120, 3000), (121, 3000)])

    def testNothingIsMeasuredInAnotherModuleButOnComingBack(self):
        self.addVolume(np.diag([-SPACING_MM, -SPACING_MM, 1, 1]))
        node, segmentId = self.fill(rectangle())
        slicer.util.selectModule("Data")
        array = slicer.util.arrayFromSegmentBinaryLabelmap(node, segmentId, self.volume)
        array[1, 50:52, 70:72] = 1
        with mock.patch.object(self.widget.logic, "measure", side_effect=AssertionError("nobody looks")):
            slicer.util.updateSegmentBinaryLabelmapFromArray(array, node, segmentId, self.volume)
            gestures.settle(400)
        slicer.util.selectModule("UltrasoundKD")
        self.assertTrue(gestures.waitFor(lambda: self.ui.measurementsTable.rowCount == 2, 5))

    def testAFolderThatCannotBeWritten(self):
        self.addVolume(np.eye(4))
        self.fill(rectangle())
        self.widget.measurements.askForFile = lambda suggested: str(
            Path(tempfile.gettempdir()) / "no such folder" / "a.csv"
        )
        with self.assertLogs(level="ERROR") as logged:
            self.press(self.ui.exportButton)
        self.assertEqual(len(logged.records), 1)
        self.assertIn("cannot be written", self.message)

    def tearDown(self):
        self.widget.measurements.__dict__.pop("askForFile", None)
        super().tearDown()

    def addVolume(self, matrix):
        """Three frames of 60 x 80 pixels."""
        noise = np.random.default_rng(0).integers(0, 255, (3, 60, 80)).astype(np.uint8)
        self.volume = slicer.util.addVolumeFromArray(noise, matrix)
        self.choose(self.volume)
        return self.volume

    def fill(self, mask, transform=None):
        """A segment with the mask in the second frame, chosen as target; waits for the table."""
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
        node.CreateDefaultDisplayNodes()
        node.SetReferenceImageGeometryParameterFromVolumeNode(self.volume)
        if transform is not None:
            node.SetAndObserveTransformNodeID(transform.GetID())
        segmentId = node.GetSegmentation().AddEmptySegment("lesion", "lesion")
        array = np.zeros((3, 60, 80), np.uint8)
        array[1] = mask
        slicer.util.updateSegmentBinaryLabelmapFromArray(array, node, segmentId, self.volume)
        self.ui.targetSegmentationSelector.setCurrentNode(node)
        self.editor.setCurrentSegmentID(segmentId)
        self.assertTrue(gestures.waitFor(lambda: self.ui.measurementsTable.rowCount == 1, 5))
        return node, segmentId

    def row(self, number):
        table = self.ui.measurementsTable
        return [table.item(number, column).text() for column in range(table.columnCount)]


def rectangle():
    """20 pixels wide, 10 high."""
    mask = np.zeros((60, 80), bool)
    mask[10:20, 30:50] = True
    return mask
