"""The picture that a view shows: its pixels are those of the volume, and each knows its place in the world."""

import unittest

import numpy as np
import slicer
import vtk

from leanseg.errors import IncompatibleInputError
from leanseg.segmentation import Segment
from leanseg.slicer_bridge.nodes import geometryFromNode
from leanseg.slicer_bridge.segments import addSegment, segmentationFor
from leanseg.slicer_bridge.view_picture import MOST_PIXELS, aroundSegment, pictureOf
from Testing.slicer import gestures
from Testing.slicer.bridge.views import showVolume, sliceNode
from Testing.slicer.bridge.volumes import CASES, underBendingTransform, volumeNode

LIKE_A_PATIENT = np.diag([-1.0, -1.0, 2.0, 1.0])
"""i to the patient's left, j to posterior: row 0 of an axial view is row 0 of the slice"""


def array(shape=(6, 60, 80)):
    return np.random.default_rng(0).integers(0, 200, shape).astype(np.uint8)


class TestViewPicture(unittest.TestCase):
    def setUp(self):
        slicer.mrmlScene.Clear(0)

    def show(self, values=None, matrix=LIKE_A_PATIENT, **options):
        node = volumeNode(array() if values is None else values, matrix, **options)
        showVolume(node)
        gestures.settle(20)
        if node.GetDisplayNode().IsA("vtkMRMLScalarVolumeDisplayNode") and values is None:
            self.window(node, 255, 127.5)
        return node

    def window(self, node, window, level):
        display = node.GetDisplayNode()
        display.SetAutoWindowLevel(False)
        display.SetWindowLevel(window, level)

    def refused(self, view="Red"):
        with self.assertRaises(IncompatibleInputError) as caught:
            pictureOf(sliceNode(view))
        self.assertNotIn("\n", str(caught.exception))
        return str(caught.exception)

    def testAlongTheSlicesThePixelsAreTheVoxels(self):
        self.show()
        for k in (0, 4):
            sliceNode().SetSliceOffset(2.0 * k)
            picture = pictureOf(sliceNode())
            np.testing.assert_array_equal(picture.volume.array, array()[np.newaxis, k : k + 1])
            self.assertEqual((picture.place, picture.viewName), (f"slice {k + 1}", "Red"))
            self.assertTrue(picture.isOfStack)

    def testAcrossTheSlicesThePixelsAreSquare(self):
        """A sagittal view: superior at the top, anterior at the left; 6 slices of 2 mm are 12 rows of 1 mm."""
        node = self.show()
        sliceNode("Yellow").JumpSliceByOffsetting(-30, -30, 5)  # i = 30
        picture = pictureOf(sliceNode("Yellow"))
        self.assertEqual(picture.volume.geometry.shape, (1, 12, 60))
        np.testing.assert_allclose(picture.volume.geometry.spacing_kji_mm, 1)
        matrix = np.linalg.inv(geometryFromNode(node).ijk_to_ras) @ picture.volume.geometry.ijk_to_ras
        for row, column in ((0, 0), (5, 17), (11, 59)):
            i, j, k = (matrix @ [column, row, 0, 1])[:3]
            self.assertAlmostEqual(i, 30)
            self.assertAlmostEqual(j, column)
            below, part = np.clip([np.floor(k), np.floor(k) + 1], 0, 5).astype(int), k - np.floor(k)
            expected = (1 - part) * array()[below[0], column, 30] + part * array()[below[1], column, 30]
            self.assertAlmostEqual(picture.volume.array[0, 0, row, column], expected, delta=1.01)
        self.assertRegex(picture.place, r"^-?30\.0 mm$")

    def testThePixelsKnowTheirPlaceInEveryGeometry(self):
        """In all views: where the blob is in the world, the picture is bright; and through parent transforms."""
        for case in CASES:
            node = case.node()
            showVolume(node)
            for name in ("Red", "Yellow", "Green"):
                with self.subTest(case=case.name, view=name):
                    sliceNode(name).JumpSliceByOffsetting(*case.world)
                    picture = pictureOf(sliceNode(name), isWhole=True)
                    geometry, local = picture.volume.geometry, picture.localGeometry
                    bright = np.argwhere(picture.volume.array[0, 0] > 127)
                    middle = geometry.ras_of(np.array([*bright.mean(axis=0)[::-1], 0]))
                    np.testing.assert_allclose(middle, case.world, atol=0.8)
                    np.testing.assert_allclose(
                        local.ras_of(np.array([*bright.mean(axis=0)[::-1], 0])), case.local, atol=0.8
                    )
            slicer.mrmlScene.Clear(0)

    def testAnObliqueViewShowsTheSameAsTheVoxelsThere(self):
        ramp = np.add.outer(np.zeros((6, 60)), np.arange(80)).astype(np.float32)
        node = self.show(ramp)
        self.window(node, 79, 39.5)
        turn = vtk.vtkTransform()
        turn.SetMatrix(sliceNode().GetSliceToRAS())
        turn.Translate(-40, 30, 6)
        turn.RotateZ(25)
        turn.RotateX(10)
        sliceNode().GetSliceToRAS().DeepCopy(turn.GetMatrix())
        sliceNode().UpdateMatrices()
        picture = pictureOf(sliceNode(), isWhole=True)
        toVoxels = np.linalg.inv(geometryFromNode(node).ijk_to_ras) @ picture.volume.geometry.ijk_to_ras
        checked = 0
        for row in range(0, picture.volume.geometry.shape[1], 5):
            for column in range(0, picture.volume.geometry.shape[2], 5):
                i, j, k = (toVoxels @ [column, row, 0, 1])[:3]
                value = picture.volume.array[0, 0, row, column]
                if 0 <= i <= 79 and 0 <= j <= 59 and 0 <= k <= 5:
                    self.assertAlmostEqual(value, 255 * i / 79, delta=1.5)
                    checked += 1
                elif min(i, j, k) < -1 or i > 80 or j > 60 or k > 6:
                    self.assertEqual(value, 0)
        self.assertGreater(checked, 20)

    def testWindowAndLevelAreThoseOfTheView(self):
        node = self.show()
        self.window(node, 100, 100)
        expected = np.rint(255 * np.clip((array()[2].astype(float) - 50) / 100, 0, 1))
        sliceNode().SetSliceOffset(4)
        np.testing.assert_array_equal(pictureOf(sliceNode()).volume.array[0, 0], expected)

    def testWhereNobodyHasSetThemTheyAreSlicersOwn(self):
        """Automatic, from the histogram; a window of no width is none, and then it is the range of the voxels."""
        values = array().astype(np.int16) - 500
        node = self.show(values)
        sliceNode().SetSliceOffset(4)
        display = node.GetDisplayNode()
        self.assertTrue(display.GetAutoWindowLevel())
        low = display.GetLevel() - display.GetWindow() / 2
        for width, begin in ((display.GetWindow(), low), (199, -500)):
            expected = np.rint(255 * np.clip((values[2] - begin) / width, 0, 1))
            np.testing.assert_array_equal(pictureOf(sliceNode()).volume.array[0, 0], expected)
            self.window(node, 0, 0)

    def testColorsStayAsTheyAre(self):
        values = np.random.default_rng(1).integers(0, 255, (1, 40, 50, 3)).astype(np.uint8)
        self.show(values)
        np.testing.assert_array_equal(pictureOf(sliceNode()).volume.array[:, 0], np.moveaxis(values[0], 2, 0))

    def testAZoomedViewShowsItsPart(self):
        self.show()
        sliceNode().SetSliceOffset(4)
        view = sliceNode()
        width, height, depth = view.GetFieldOfView()
        view.SetFieldOfView(width / 4, height / 4, depth)
        picture = pictureOf(view)
        rows, columns = picture.volume.geometry.shape[1:]
        self.assertLess(abs(columns - width / 4), 2)
        self.assertLess(abs(rows - height / 4), 2)
        i, j, _k = np.rint((np.linalg.inv(LIKE_A_PATIENT) @ picture.volume.geometry.ijk_to_ras)[:3, 3]).astype(int)
        np.testing.assert_array_equal(picture.volume.array[0, 0], array()[2, j : j + rows, i : i + columns])
        whole = pictureOf(view, isWhole=True)
        np.testing.assert_array_equal(whole.volume.array[0, 0], array()[2])

    def testAVeryFinePictureIsReadMoreCoarsely(self):
        self.show(np.arange(3000 * 40, dtype=np.float32).reshape(1, 40, 3000))
        self.assertLessEqual(max(pictureOf(sliceNode(), isWhole=True).volume.geometry.shape), MOST_PIXELS)

    def testWhatCannotBeReadIsSaidInOneLine(self):
        self.assertIn("The view Red shows no image", self.refused())
        node = self.show()
        sliceNode().SetSliceOffset(500)
        self.assertIn("Red shows nothing of ultrasound", self.refused())
        sliceNode().SetSliceOffset(4)
        self.window(node, 10, 5000)
        self.assertIn("one gray level everywhere", self.refused())
        underBendingTransform(node)
        self.assertIn("Harden it first", self.refused())
        values = array().astype(np.float32)
        values[:, 10, 10] = np.nan
        self.show(values)
        self.assertIn("NaN", self.refused())

    def testItIsOutdatedWhereTheVolumeHasChanged(self):
        node = self.show()
        picture = pictureOf(sliceNode())
        sliceNode().SetSliceOffset(sliceNode().GetSliceOffset() + 2)
        self.assertTrue(picture.isUpToDate)
        slicer.util.arrayFromVolume(node)[:] = 0
        slicer.util.arrayFromVolumeModified(node)
        self.assertFalse(picture.isUpToDate)
        for change in (lambda one: one.SetSpacing(3, 3, 3), slicer.mrmlScene.RemoveNode):
            other = self.show()
            picture = pictureOf(sliceNode())
            self.assertTrue(picture.isUpToDate)
            change(other)
            self.assertFalse(picture.isUpToDate)

    def testAViewGoesBackToIt(self):
        self.show()
        sliceNode().SetSliceOffset(8)
        picture = pictureOf(sliceNode())
        sliceNode().SetSliceOffset(2)
        picture.goTo()
        self.assertAlmostEqual(sliceNode().GetSliceOffset(), 8)
        self.show(array((3, 40, 40)))
        sliceNode().SetSliceOffset(2)
        picture.goTo()
        self.assertAlmostEqual(sliceNode().GetSliceOffset(), 2, msg="it shows another image")

    def testOneSliceWithoutRotationIsNoPatientAndASliceOfAStackMayBe(self):
        self.show(array((1, 40, 50)), np.eye(4))
        picture = pictureOf(sliceNode())
        self.assertFalse(picture.volume.geometry.is_calibrated)
        self.assertFalse(picture.isOfStack)
        self.show()
        self.assertTrue(pictureOf(sliceNode()).volume.geometry.is_calibrated)

    def testAroundASegmentThereIsAMargin(self):
        node = self.show(array((6, 200, 300)))
        self.window(node, 255, 127.5)
        segmentation = segmentationFor(node, "segments")
        segmentId = addSegment(segmentation, Segment("a", "Mass", 1, (1, 0, 0)))
        mask = np.zeros((6, 200, 300), np.uint8)
        mask[2, 40:80, 100:200] = 1  # 40 x 100
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, segmentId, node)
        sliceNode().SetSliceOffset(4)
        view = pictureOf(sliceNode(), isWhole=True)
        part = aroundSegment(view, segmentation, segmentId)
        np.testing.assert_array_equal(part.volume.array[0, 0], array((6, 200, 300))[2, 32:88, 80:220])
        self.assertTrue(part.volume.geometry.is_calibrated)
        np.testing.assert_allclose(part.localGeometry.ras_of(np.array([0, 0, 0])), (-80, -32, 4))
        sliceNode().SetSliceOffset(8)
        with self.assertRaisesRegex(IncompatibleInputError, "Mass is not in the slice that Red shows"):
            aroundSegment(pictureOf(sliceNode(), isWhole=True), segmentation, segmentId)
        segmentation.RemoveSegment(segmentId)
        with self.assertRaisesRegex(IncompatibleInputError, "no longer there"):
            aroundSegment(view, segmentation, segmentId)

    def testAroundASmallSegmentIsEnoughToLookAt(self):
        node = self.show()
        segmentation = segmentationFor(node, "segments")
        segmentId = addSegment(segmentation, Segment("a", "Mass", 1, (1, 0, 0)))
        mask = np.zeros((6, 60, 80), np.uint8)
        mask[2, 1:3, 40:42] = 1
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, segmentId, node)
        sliceNode().SetSliceOffset(4)
        part = aroundSegment(pictureOf(sliceNode(), isWhole=True), segmentation, segmentId)
        np.testing.assert_array_equal(part.volume.array[0, 0], array()[2, 0:18, 25:57])

    def testItIsACopy(self):
        """So that a worker may have it while the volume changes."""
        node = self.show()
        picture = pictureOf(sliceNode())
        before = picture.volume.array.copy()
        slicer.util.arrayFromVolume(node)[:] = 7
        np.testing.assert_array_equal(picture.volume.array, before)
