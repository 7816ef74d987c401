"""What is refused before anything is computed, in one line that says what to do; and what is read of the rest."""

import unittest

import numpy as np
import slicer
from DynamicBrainSegLib.inputs import checkNodes, readNodes, worldGeometry

from leanseg.errors import IncompatibleInputError, UnknownNameError
from Testing.slicer.bridge.volumes import underBendingTransform, volumeNode
from Testing.slicer.dynamic_brain_seg.brain_phantom import AXIAL, node, nodes, voxels


class TestRefusals(unittest.TestCase):
    def assertRefused(self, words, chosen, kind=IncompatibleInputError):
        with self.assertRaisesRegex(kind, words) as caught:
            checkNodes(chosen)
        self.assertNotIn("\n", str(caught.exception))

    def testNothingChosen(self):
        self.assertRefused("No volume is chosen. Choose at least one of FLAIR", {})
        self.assertRefused("No volume is chosen", {"flair": None})

    def testTheSameNodeTwice(self):
        one = node("t1")
        self.assertRefused("case_t1 is chosen as T1ce and as T1", {"t1ce": one, "t1": one, "t2": node("t2")})

    def testAnUnknownSequence(self):
        self.assertRefused("no sequence named 'dwi'", {"dwi": node("t2")}, UnknownNameError)

    def testALabelmap(self):
        label = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "mask")
        slicer.util.updateVolumeFromArray(label, np.ones((4, 5, 6), np.uint8))
        self.assertRefused("mask is a labelmap", {"flair": node("flair"), "t2": label})

    def testARemovedNode(self):
        chosen = nodes("flair", "t2")
        slicer.mrmlScene.RemoveNode(chosen["t2"])
        self.assertRefused("case_t2 is no longer in the scene", chosen)

    def testColor(self):
        picture = volumeNode(np.zeros((3, 8, 8, 3), np.uint8), name="photo")
        self.assertRefused("photo, chosen as T1, is in color", {"t1": picture})

    def testSeveralSequencesInOneFile(self):
        """Four of them are no color with opacity; nor is one that has a frame more or less."""
        for channels in (2, 4, 5):
            together = volumeNode(np.zeros((3, 8, 8, channels), np.float32), name="BRATS_001")
            words = (
                rf"BRATS_001, chosen as FLAIR, holds several sequences in one file \({channels} values .*Extract each"
            )
            self.assertRefused(words, {"flair": together})

    def testAPictureWithoutVoxelSize(self):
        picture = volumeNode(np.arange(64, dtype=np.uint8).reshape(1, 8, 8), name="screenshot")
        storage = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
        storage.SetFileName("/somewhere/screenshot.png")
        picture.SetAndObserveStorageNodeID(storage.GetID())
        self.assertRefused("screenshot, chosen as T2, comes from a picture", {"t2": picture})
        picture.SetSpacing(0.5, 0.5, 1)  # somebody knew it
        checkNodes({"t2": picture})

    def testABendingTransform(self):
        chosen = nodes("flair")
        underBendingTransform(chosen["flair"])
        self.assertRefused("non-linear transform", chosen)

    def testAReferenceThatIsNotChosen(self):
        with self.assertRaisesRegex(UnknownNameError, "chosen sequence named 't1'"):
            readNodes(nodes("flair"), "t1")

    def testAShearedReference(self):
        chosen = nodes("flair", "t2")
        shear = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        shear.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.eye(4) + np.eye(4, k=1) * [0, 0.2, 0, 0]))
        chosen["flair"].SetAndObserveTransformNodeID(shear.GetID())
        with self.assertRaisesRegex(IncompatibleInputError, "case_flair shears its axes"):
            readNodes(chosen, "flair")
        self.assertEqual(readNodes(chosen, "t2").reference, "t2")  # it can be resampled


class TestReading(unittest.TestCase):
    def testVoxelsAreCopiedAndLieInTheWorld(self):
        turned = np.array([[0, -1.0, 0, 30], [1, 0, 0, -40], [0, 0, 1, 12], [0, 0, 0, 1]])
        chosen = {"flair": node("flair"), "t2": node("t2", parent=turned)}
        images = readNodes(chosen, "flair")
        slicer.util.arrayFromVolume(chosen["flair"])[:] = 0
        np.testing.assert_array_equal(images.volumes["flair"].array[0], voxels("flair"))
        for name in chosen:
            np.testing.assert_allclose(images.volumes[name].geometry.ijk_to_ras, AXIAL, atol=1e-9)
        np.testing.assert_allclose(worldGeometry(chosen["t2"]).ijk_to_ras, AXIAL, atol=1e-9)
        self.assertIs(images.referenceNode, chosen["flair"])

    def testVoxelsOfOneMillimeterAreMeant(self):
        """Slicer assumes 1 mm where a file states none; but that is what BraTS has."""
        images = readNodes({"flair": node("flair", (12, 16, 16), np.eye(4))}, "flair")
        self.assertTrue(images.volumes["flair"].geometry.is_calibrated)
        self.assertEqual(images.volumes["flair"].geometry.spacing_kji_mm, (1, 1, 1))


if __name__ == "__main__":
    unittest.main()
