"""Which volume is which sequence: from names, DICOM and files; never of two patients."""

import unittest
from unittest import mock

import numpy as np
import slicer
from DynamicBrainSegLib.sequence_guess import guessSequences, sequenceOfNode

from Testing.slicer.bridge.volumes import volumeNode


def volume(name, spacing=1.0):
    return volumeNode(np.zeros((3, 4, 5), np.int16), np.diag([spacing, spacing, spacing, 1]), name=name)


class Database:
    """As Slicer's DICOM database answers."""

    def __init__(self, values):
        self._values = values

    def instanceValue(self, instance, tag):
        return self._values.get((instance, tag), "")


def fromDicom(node, instance):
    node.SetAttribute("DICOM.instanceUIDs", f"{instance} another")
    return node


class TestGuess(unittest.TestCase):
    def named(self, *names):
        return {sequence: node.GetName() for sequence, node in guessSequences([volume(name) for name in names]).items()}

    def testNamesOfDataSetsAndScanners(self):
        for names in (
            ("Brats18_1_flair", "Brats18_1_t1ce", "Brats18_1_t1", "Brats18_1_t2"),
            ("BraTS-GLI-1-t2f", "BraTS-GLI-1-t1c", "BraTS-GLI-1-t1n", "BraTS-GLI-1-t2w"),
            ("5: AX T2 FLAIR", "9: AX T1 POST GD", "3: AX T1", "4: AX T2"),
        ):
            expected = dict(zip(("flair", "t1ce", "t1", "t2"), names, strict=True))
            self.assertEqual(self.named(*names), expected)
            self.assertEqual(self.named(*reversed(names)), expected)

    def testWhatNobodyKnowsIsLeftOut(self):
        self.assertEqual(self.named("localizer", "case_flair", "DWI b1000"), {"flair": "case_flair"})
        self.assertEqual(guessSequences([]), {})

    def testHiddenNodesAndLabelmapsAreLeftOut(self):
        hidden = volume("t1 uncertainty")
        hidden.SetHideFromEditors(True)
        label = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "flair")
        slicer.util.updateVolumeFromArray(label, np.ones((4, 5, 6), np.uint8))
        empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "t2")
        self.assertEqual(guessSequences([hidden, label, empty]), {})

    def testTwoCasesAreNotMixed(self):
        self.assertEqual(
            self.named("Anna_flair", "Bert_flair", "Bert_t1ce", "Bert_t2"),
            {"flair": "Bert_flair", "t1ce": "Bert_t1ce", "t2": "Bert_t2"},
        )

    def testPatientsOfTheSubjectHierarchyAreNotMixed(self):
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
        found = {}
        for patient, sequences in (("A", ("flair", "t2")), ("B", ("flair", "t1", "t1ce"))):
            item = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), patient)
            for sequence in sequences:
                node = volume(sequence)
                own = hierarchy.GetItemByDataNode(node) or hierarchy.CreateItem(item, node)
                hierarchy.SetItemParent(own, item)
                found[patient, sequence] = node
        guess = guessSequences(list(found.values()))
        self.assertEqual(guess, {sequence: found["B", sequence] for sequence in ("flair", "t1", "t1ce")})

    def testOfTwoTheOneOnTheSameVoxelsWins(self):
        fine, coarse, flair = volume("T2 fine", 0.5), volume("T2 axial", 1.0), volume("FLAIR axial", 1.0)
        self.assertEqual(guessSequences([fine, coarse, flair]), {"t2": coarse, "flair": flair})


class TestDicom(unittest.TestCase):
    def testTheSeriesDescriptionIsAsked(self):
        database = Database({("1.2", "0008,103e"): "Ax FLAIR 3mm"})
        with mock.patch.object(slicer, "dicomDatabase", database, create=True):
            self.assertEqual(sequenceOfNode(fromDicom(volume("Unnamed Series"), "1.2")), "flair")
            self.assertIsNone(sequenceOfNode(fromDicom(volume("Unnamed Series"), "1.3")))

    def testAContrastAgentMakesT1ToT1ce(self):
        agents = {"1.2": "GADOVIST", "1.3": "", "1.4": "NONE"}
        database = Database({(instance, "0018,0010"): agent for instance, agent in agents.items()})
        with mock.patch.object(slicer, "dicomDatabase", database, create=True):
            for instance, expected in (("1.2", "t1ce"), ("1.3", "t1"), ("1.4", "t1")):
                self.assertEqual(sequenceOfNode(fromDicom(volume("AX T1"), instance)), expected)
            self.assertEqual(sequenceOfNode(fromDicom(volume("AX T1 PRE"), "1.2")), "t1")
            self.assertEqual(sequenceOfNode(fromDicom(volume("AX T2"), "1.2")), "t2")

    def testTheFileNameIsAskedLast(self):
        storage = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
        storage.SetFileName("/t1/case_flair.nii.gz")
        node = volume("volume")
        node.SetAndObserveStorageNodeID(storage.GetID())
        self.assertEqual(sequenceOfNode(node), "flair")
        node.SetName("t2")
        self.assertEqual(sequenceOfNode(node), "t2")


if __name__ == "__main__":
    unittest.main()
