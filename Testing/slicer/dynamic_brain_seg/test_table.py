"""Volumes in ml: counted by hand, followed by corrections, written to a file."""

import csv
import tempfile
import unittest
from datetime import datetime
from pathlib import Path

import numpy as np
import slicer
from DynamicBrainSegLib.inputs import readNodes
from DynamicBrainSegLib.logic import BrainLogic
from DynamicBrainSegLib.region_segments import newSegmentation, writeRegions
from DynamicBrainSegLib.result import EXCLUSIVE, NESTED, BrainOptions
from DynamicBrainSegLib.volumes_table import regionVolumes, writeCsv

from leanseg.errors import OutputError
from leanseg.slicer_bridge.segments import SegmentWriter, addSegment
from Testing.slicer.bridge.segmentations import LESION, editorNode, fill
from Testing.slicer.dynamic_brain_seg import brain_model
from Testing.slicer.dynamic_brain_seg.brain_phantom import nodes, truth

VOXEL_ML = 2 * 2 * 4 / 1000


class TestVolumes(unittest.TestCase):
    def setUp(self):
        self.volumes = nodes()
        with brain_model.loaded():
            result = BrainLogic().segment(readNodes(self.volumes, "flair"), BrainOptions(costBias=-0.5))
        self.segmentation = newSegmentation(self.volumes["flair"])
        self.ids = writeRegions(result, self.segmentation, NESTED, SegmentWriter(editorNode())).ids

    def testEachRegionByCounting(self):
        rows = regionVolumes(self.segmentation)
        self.assertEqual([row.origin.region for row in rows], ["WT", "TC", "ET"])
        for row in rows:
            self.assertAlmostEqual(row.ml, truth(row.origin.region).sum() * VOXEL_ML, places=6)
            self.assertFalse(row.isCorrected)
        ball = 4 / 3 * np.pi * 16**3 / 1000
        self.assertAlmostEqual(rows[0].ml, ball, delta=0.05 * ball)

    def testACorrectionIsMeasuredAndSaid(self):
        mask = truth("TC")
        mask[:16] = False
        fill(self.segmentation, self.ids["TC"], mask, self.volumes["flair"])
        whole, core, _enhancing = regionVolumes(self.segmentation)
        self.assertAlmostEqual(core.ml, mask.sum() * VOXEL_ML, places=6)
        self.assertEqual((whole.isCorrected, core.isCorrected), (False, True))

    def testSegmentsOfOthersAreNotInIt(self):
        addSegment(self.segmentation, LESION, "mine")
        self.assertEqual(len(regionVolumes(self.segmentation)), 3)

    def testATransformThatScalesCounts(self):
        transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.diag([2.0, 1, 1, 1])))
        self.segmentation.SetAndObserveTransformNodeID(transform.GetID())
        self.assertAlmostEqual(regionVolumes(self.segmentation)[0].ml, 2 * truth("WT").sum() * VOXEL_ML, places=6)

    def testTheFile(self):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "volumes.csv"
            writeCsv(regionVolumes(self.segmentation), "case_flair", file)
            with file.open(newline="", encoding="utf-8") as opened:
                rows = list(csv.DictReader(opened))
            self.assertEqual(len(rows), 3)
            first = rows[0]
            datetime.fromisoformat(first.pop("date"))
            self.assertEqual(
                first,
                {
                    "image": "case_flair",
                    "segment": "Whole tumor (WT)",
                    "region": "WT",
                    "volume_ml": f"{truth('WT').sum() * VOXEL_ML:.3f}",
                    "origin": "model",
                    "model": "by_hand",
                    "precision": "fp32",
                    "sequences": "flair t1ce t1 t2",
                    "cost_bias": "-0.5",
                },
            )
            with self.assertRaises(OutputError):
                writeCsv(regionVolumes(self.segmentation), "x", Path(folder) / "missing" / "volumes.csv")

    def testBothSchemesSideBySide(self):
        with brain_model.loaded():
            result = BrainLogic().segment(readNodes(self.volumes, "flair"), BrainOptions())
        editor = editorNode()
        editor.SetOverwriteMode(editor.OverwriteNone)
        writeRegions(result, self.segmentation, EXCLUSIVE, SegmentWriter(editor))
        regions = [(row.origin.scheme, row.origin.region) for row in regionVolumes(self.segmentation)]
        self.assertEqual(regions, [(NESTED, one) for one in ("WT", "TC", "ET")]
                         + [(EXCLUSIVE, one) for one in ("ED", "NCR", "ET")])  # fmt: skip


if __name__ == "__main__":
    unittest.main()
