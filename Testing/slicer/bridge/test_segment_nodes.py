"""New segmentations and segments are what DICOM SEG export and a reader of the scene need."""

import tempfile
import unittest
from pathlib import Path

import numpy as np
import slicer

from leanseg.segmentation import Segment
from leanseg.slicer_bridge.frames import framesOf
from leanseg.slicer_bridge.segments import SegmentWriter, addSegment, imageOf, segmentationFor
from Testing.slicer.bridge.segmentations import LESION, MASS, box, editorNode, voxels
from Testing.slicer.bridge.volumes import CASES, volumeNode


def hierarchy():
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)


def placeInStudy(volume):
    """As after a DICOM import: patient, study, volume. Slicer's own plug-ins have made the volume's item already."""
    sh = hierarchy()
    patient = sh.CreateSubjectItem(sh.GetSceneItemID(), "Phantom")
    study = sh.CreateStudyItem(patient, "Breast ultrasound")
    item = sh.GetItemByDataNode(volume) or sh.CreateItem(study, volume)
    sh.SetItemParent(item, study)
    return study


class TestSegmentationFor(unittest.TestCase):
    def setUp(self):
        slicer.mrmlScene.Clear(0)

    def testItRefersToItsVolumeAndHasItsGrid(self):
        for case in CASES:
            with self.subTest(case.name):
                volume = case.node()
                segmentation = segmentationFor(volume, "result")
                role = segmentation.GetReferenceImageGeometryReferenceRole()
                self.assertEqual(segmentation.GetNodeReferenceID(role), volume.GetID())
                self.assertIs(imageOf(segmentation), volume)
                self.assertEqual(segmentation.GetParentTransformNode(), volume.GetParentTransformNode())
                self.assertIsNotNone(segmentation.GetDisplayNode())
                grid = slicer.vtkOrientedImageData()
                text = slicer.vtkSlicerSegmentEditorLogic.GetReferenceImageGeometryStringFromSegmentation(
                    segmentation.GetSegmentation()
                )
                slicer.vtkSegmentationConverter.DeserializeImageGeometry(text, grid, False)
                k, j, i = case.shape
                self.assertEqual(grid.GetExtent(), (0, i - 1, 0, j - 1, 0, k - 1))
                np.testing.assert_allclose(grid.GetOrigin(), case.matrix[:3, 3])

    def testOneWithoutAVolumeHasNone(self):
        self.assertIsNone(imageOf(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")))

    def testItLiesInTheStudyOfItsVolume(self):
        volume = CASES[0].node()
        study = placeInStudy(volume)
        segmentation = segmentationFor(volume, "result")
        sh = hierarchy()
        self.assertEqual(sh.GetItemParent(sh.GetItemByDataNode(segmentation)), study)
        lesion = addSegment(segmentation, LESION)
        editor = editorNode()
        editor.SetAndObserveSourceVolumeNode(volume)
        SegmentWriter(editor).write(segmentation, lesion, framesOf(volume), dict(enumerate(CASES[0].blob)))
        self.assertEqual(sh.GetItemParent(sh.GetItemByDataNode(segmentation)), study)

    def testItIsSavedAndLoadedWithAllThatItSays(self):
        volume = CASES[3].node()
        segmentation = segmentationFor(volume, "result")
        lesion = addSegment(segmentation, LESION)
        SegmentWriter(editorNode()).write(segmentation, lesion, framesOf(volume), dict(enumerate(CASES[3].blob)))
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "result.seg.nrrd")
            self.assertTrue(slicer.util.saveNode(segmentation, path))
            loaded = slicer.util.loadSegmentation(path)
        segment = loaded.GetSegmentation().GetSegment(lesion)
        self.assertEqual(segment.GetName(), "Lesion")
        self.assertEqual(segment.GetTerminology(), MASS)
        np.testing.assert_allclose(segment.GetColor(), (0.8, 0.2, 0.1), atol=0.003)
        np.testing.assert_array_equal(voxels(loaded, lesion, volume), CASES[3].blob)


class TestAddSegment(unittest.TestCase):
    def setUp(self):
        slicer.mrmlScene.Clear(0)
        self.segmentation = segmentationFor(volumeNode(np.zeros((2, 8, 8), np.uint8)), "result")

    def segment(self, segmentId):
        return self.segmentation.GetSegmentation().GetSegment(segmentId)

    def testItIsDescribedAsTheModelSays(self):
        segmentId = addSegment(self.segmentation, LESION)
        self.assertEqual(segmentId, "lesion")
        segment = self.segment(segmentId)
        self.assertEqual(segment.GetName(), "Lesion")
        self.assertEqual(segment.GetColor(), (0.8, 0.2, 0.1))
        self.assertEqual(segment.GetTerminology(), MASS)

    def testTheTerminologyIsReadByTheModuleTerminologies(self):
        entry = slicer.vtkSlicerTerminologyEntry()
        text = self.segment(addSegment(self.segmentation, LESION)).GetTerminology()
        self.assertTrue(slicer.modules.terminologies.logic().DeserializeTerminologyEntry(text, entry))
        self.assertEqual(entry.GetTypeObject().GetCodeMeaning(), "Mass")
        self.assertEqual(entry.GetTypeObject().GetCodeValue(), "4147007")
        self.assertEqual(entry.GetCategoryObject().GetCodeMeaning(), "Morphologically Altered Structure")
        self.assertEqual(entry.GetRegionObject().GetCodeMeaning(), "Breast")

    def testNamesAndIdsStayUnique(self):
        ids = [addSegment(self.segmentation, LESION) for _ in range(3)] + [
            addSegment(self.segmentation, LESION, "Cyst")
        ]
        self.assertEqual(len(set(ids)), 4)
        names = [self.segment(segmentId).GetName() for segmentId in ids]
        self.assertEqual(names, ["Lesion", "Lesion 2", "Lesion 3", "Cyst"])

    def testWithoutTerminologySlicersDefaultStays(self):
        default = self.segment(self.segmentation.GetSegmentation().AddEmptySegment("plain")).GetTerminology()
        segmentId = addSegment(self.segmentation, Segment("x", "X", 1, (1, 0, 0)))
        self.assertEqual(self.segment(segmentId).GetTerminology(), default)

    def testItIsEmptyAndReadyToPaint(self):
        segmentId = addSegment(self.segmentation, LESION)
        reference = imageOf(self.segmentation)
        self.assertEqual(voxels(self.segmentation, segmentId, reference).sum(), 0)
        mask = box((8, 8), (2, 4), (2, 4))
        SegmentWriter(editorNode()).write(self.segmentation, segmentId, framesOf(reference), {1: mask})
        self.assertEqual(voxels(self.segmentation, segmentId, reference).sum(), 4)
