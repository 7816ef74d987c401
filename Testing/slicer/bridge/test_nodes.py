"""Volume nodes become Volumes, and what cannot is refused with words."""

import unittest

import numpy as np
import slicer
import vtk

from leanseg.errors import IncompatibleInputError
from leanseg.processing.preprocess import PreprocessingConfig, preprocess
from leanseg.slicer_bridge import nodes
from leanseg.volume import VolumeGeometry
from Testing.slicer.bridge.volumes import BLOB_IJK, CASES, underBendingTransform, volumeNode


class TestVolumeFromNode(unittest.TestCase):
    def setUp(self):
        slicer.mrmlScene.Clear(0)

    def testVoxelsLieWhereTheNodePutsThem(self):
        for case in CASES:
            with self.subTest(case.name):
                node = case.node()
                volume = nodes.volumeFromNode(node)
                k, j, i = np.argwhere(volume.array[0] == 100).mean(axis=0)
                np.testing.assert_allclose((i, j), BLOB_IJK[:2])
                local = volume.geometry.ras_of(np.array([i, j, k]))
                np.testing.assert_allclose(local, case.local, atol=1e-5)
                world = nodes.localToWorld(node) @ [*local, 1]
                np.testing.assert_allclose(world[:3], case.world, atol=1e-5)

    def testOneSliceHasItsOwnGeometry(self):
        case = CASES[3]
        volume = nodes.volumeFromNode(case.node(), 4)
        self.assertEqual(volume.array.shape, (1, 1, 24, 20))
        np.testing.assert_allclose(volume.geometry.ras_of(np.array([6, 11, 0])), case.local, atol=1e-5)
        self.assertEqual(int((volume.array == 100).sum()), 15)

    def testASliceThatDoesNotExistIsRefused(self):
        node = CASES[0].node()
        for k in (-1, 8):
            with self.assertRaisesRegex(IncompatibleInputError, "slices 0 to 7"):
                nodes.volumeFromNode(node, k)

    def testVoxelsAreCopied(self):
        node = volumeNode(np.zeros((1, 4, 5), np.uint8))
        volume = nodes.volumeFromNode(node)
        slicer.util.arrayFromVolume(node)[:] = 7
        self.assertEqual(volume.array.max(), 0)

    def testColorBecomesChannelsAndOpacityIsDropped(self):
        array = np.arange(2 * 3 * 4 * 4, dtype=np.uint8).reshape(2, 3, 4, 4)
        for channels in (3, 4):
            volume = nodes.volumeFromNode(volumeNode(array[..., :channels]))
            self.assertEqual(volume.array.shape, (3, 2, 3, 4))
            for channel in range(3):
                np.testing.assert_array_equal(volume.array[channel], array[..., channel])

    def testColorOfOneSlice(self):
        array = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)
        volume = nodes.volumeFromNode(volumeNode(array), 1)
        np.testing.assert_array_equal(volume.array[:, 0], np.moveaxis(array[1], 2, 0))

    def testNumberTypesPass(self):
        for kind in (np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64):
            volume = nodes.volumeFromNode(volumeNode(np.full((1, 2, 3), 3, kind)))
            self.assertEqual(volume.array.dtype, kind)
            self.assertEqual(volume.array.max(), 3)

    def testSixtyFourBitIntegersPass(self):
        image = vtk.vtkImageData()
        image.SetDimensions(5, 4, 1)
        image.AllocateScalars(vtk.VTK_LONG_LONG, 1)
        image.GetPointData().GetScalars().Fill(2**40)
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "wide")
        node.SetAndObserveImageData(image)
        volume = nodes.volumeFromNode(node)
        self.assertEqual(volume.array.dtype, np.int64)
        self.assertEqual(volume.array.max(), 2**40)

    def testAModelSeesTheSameInAGrayImageAndInItsColorCopy(self):
        gray = np.random.default_rng(3).integers(0, 255, (1, 20, 30)).astype(np.uint8)
        color = np.repeat(gray[..., np.newaxis], 4, axis=3)
        color[..., 3] = 255
        config = PreprocessingConfig(size_ji=(32, 32))
        seen = [preprocess(nodes.volumeFromNode(volumeNode(array)), config) for array in (gray, color)]
        np.testing.assert_allclose(seen[0].volume.array, seen[1].volume.array, atol=1e-3)
        self.assertGreater(np.ptp(seen[0].volume.array), 0.9)

    def testSpacingOfOneMillimeterIsNotTakenForCalibrated(self):
        node = volumeNode(np.zeros((1, 4, 5), np.uint8))
        self.assertFalse(nodes.geometryFromNode(node).is_calibrated)
        node.SetSpacing(1, 1, 1.5)
        self.assertTrue(nodes.geometryFromNode(node).is_calibrated)
        self.assertFalse(nodes.volumeFromNode(volumeNode(np.zeros((2, 4, 5), np.uint8)), 1).geometry.is_calibrated)


class TestCheckVolume(unittest.TestCase):
    def setUp(self):
        slicer.mrmlScene.Clear(0)

    def assertRefused(self, node, words):
        with self.assertRaisesRegex(IncompatibleInputError, words) as caught:
            nodes.checkVolume(node)
        self.assertNotIn("\n", str(caught.exception))

    def testNoVolume(self):
        self.assertRefused(None, "No volume is chosen")

    def testRemovedNode(self):
        node = volumeNode(np.zeros((1, 4, 5), np.uint8))
        slicer.mrmlScene.RemoveNode(node)
        self.assertRefused(node, "no longer in the scene")

    def testAnotherKindOfNode(self):
        self.assertRefused(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode", "liver"), "liver is a Model")

    def testLabelmap(self):
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
        slicer.util.updateVolumeFromArray(node, np.zeros((1, 4, 5), np.uint8))
        self.assertRefused(node, "labels is a labelmap")

    def testEmptyVolume(self):
        self.assertRefused(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "nothing"), "no voxels")
        node = volumeNode(np.zeros((1, 4, 5), np.uint8))
        node.GetImageData().Initialize()
        self.assertRefused(node, "no voxels")

    def testFourDimensions(self):
        for channels in (2, 5):
            self.assertRefused(volumeNode(np.zeros((1, 4, 5, channels), np.uint8)), f"{channels} values in each voxel")

    def testNonLinearTransform(self):
        node = volumeNode(np.zeros((1, 4, 5), np.uint8))
        underBendingTransform(node)
        self.assertRefused(node, "non-linear transform bending. Harden it")

    def testShearedAxes(self):
        node = volumeNode(np.zeros((2, 4, 5), np.uint8), [[1, 0, 0, 0], [0, 1, 0.3, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
        self.assertRefused(node, "sheared")

    def testAColorImageInATurnedRoomPasses(self):
        nodes.checkVolume(volumeNode(np.zeros((1, 4, 5, 3), np.uint8), parent=np.diag([-1, -1, 1, 1])))


class TestSetVolumeArray(unittest.TestCase):
    def setUp(self):
        slicer.mrmlScene.Clear(0)

    def testVoxelsAndGeometryComeBack(self):
        for case in CASES:
            with self.subTest(case.name):
                array = np.where(case.blob, 0.75, 0).astype(np.float32)
                node = nodes.scalarVolumeNode("uncertainty", array, VolumeGeometry(case.shape, case.matrix))
                np.testing.assert_array_equal(slicer.util.arrayFromVolume(node), array)
                self.assertEqual(slicer.util.arrayFromVolume(node).dtype, np.float32)
                back = nodes.geometryFromNode(node)
                np.testing.assert_allclose(back.ijk_to_ras, case.matrix, atol=1e-9)

    def testTypesThatVtkLacksAreConverted(self):
        geometry = VolumeGeometry((1, 2, 3))
        for given, stored in ((bool, np.uint8), (np.int64, np.int32), (np.float16, np.float32)):
            node = nodes.scalarVolumeNode("x", np.ones((1, 2, 3), given), geometry)
            self.assertEqual(slicer.util.arrayFromVolume(node).dtype, stored)
            self.assertEqual(slicer.util.arrayFromVolume(node).sum(), 6)

    def testAnArrayOfAnotherShapeIsRefusedAndLeavesNoNode(self):
        with self.assertRaisesRegex(IncompatibleInputError, r"\(1, 2, 2\).*\(1, 2, 3\)"):
            nodes.scalarVolumeNode("x", np.ones((1, 2, 2), np.float32), VolumeGeometry((1, 2, 3)))
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode"), 0)
