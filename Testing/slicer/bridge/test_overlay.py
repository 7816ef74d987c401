"""Uncertainty lies over the image where it belongs, and the views are given back."""

import tempfile
import unittest
from pathlib import Path

import numpy as np
import slicer

from leanseg.errors import IncompatibleInputError
from leanseg.slicer_bridge.nodes import geometryFromNode, sliceGeometry
from leanseg.slicer_bridge.overlay import UncertaintyOverlay
from leanseg.volume import VolumeGeometry
from Testing.slicer.bridge.views import pixelsOf, showVolume, sliceNode
from Testing.slicer.bridge.volumes import CASES, volumeNode


def composites():
    return slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")


class TestUncertaintyOverlay(unittest.TestCase):
    def setUp(self):
        slicer.mrmlScene.Clear(0)
        self.volume = volumeNode(np.full((4, 40, 50), 100, np.uint8), np.diag([0.5, 0.5, 2, 1]), name="clip")
        showVolume(self.volume)
        self.geometry = geometryFromNode(self.volume)
        # 0.000 to 0.999 in steps of 0.001, each 8 times
        self.array = (np.arange(8000) // 8 / 1000).astype(np.float32).reshape(4, 40, 50)
        self.overlay = UncertaintyOverlay(self.volume)

    def testTheNodeHoldsTheValues(self):
        self.overlay.show(self.array, self.geometry)
        node = self.overlay.node
        self.assertEqual(node.GetName(), "clip uncertainty")
        self.assertEqual(slicer.util.arrayFromVolume(node).dtype, np.float32)
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(node), self.array)

    def testEveryImageHasTheSameScale(self):
        """Also one of which all is certain: a color means the same in all images."""
        for array in (self.array, self.array / 5, np.zeros_like(self.array)):
            self.overlay.show(array, self.geometry)
            display = self.overlay.node.GetDisplayNode()
            self.assertFalse(display.GetAutoWindowLevel())
            self.assertEqual((display.GetWindowLevelMin(), display.GetWindowLevelMax()), (0, 1))
            self.assertTrue(display.GetApplyThreshold())
            # -0.1 log2 0.1 - 0.9 log2 0.9 = 0.3322 + 0.1368
            self.assertAlmostEqual(display.GetLowerThreshold(), 0.469, places=3)
            self.assertGreaterEqual(display.GetUpperThreshold(), 1)

    def testColorsAreThoseOfThePictures(self):
        """At 1: (252, 255, 164). At 0.75: (249, 142, 9). Below the border: none."""
        self.overlay.show(self.array, self.geometry)
        lookup = self.overlay.node.GetDisplayNode().GetColorNode().GetLookupTable()
        for position, color in ((1, (252, 255, 164)), (0.75, (249, 142, 9)), (0.4, (0, 0, 0))):
            red, green, blue, _alpha = lookup.GetTableValue(round(255 * position))
            np.testing.assert_allclose((255 * red, 255 * green, 255 * blue), color, atol=2)

    def testWhatIsCertainStaysClean(self):
        """Probability below 10 % everywhere: uncertainty 0.45 and less."""
        without = pixelsOf("Red")
        self.overlay.show(np.full_like(self.array, 0.45), self.geometry)
        slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(self.overlay.node).SetVisibility(False)
        np.testing.assert_array_equal(pixelsOf("Red"), without)

    def testAnotherKindOfUncertaintyMayHaveAnotherBorder(self):
        overlay = UncertaintyOverlay(self.volume, 0.1)
        overlay.show(self.array, self.geometry)
        display = overlay.node.GetDisplayNode()
        self.assertAlmostEqual(display.GetLowerThreshold(), 0.1, places=6)
        lookup = display.GetColorNode().GetLookupTable()
        self.assertEqual(lookup.GetTableValue(round(255 * 0.05))[:3], (0, 0, 0))
        self.assertGreater(sum(lookup.GetTableValue(round(255 * 0.2))[:3]), 0)

    def testTheLegendIsShownOnce(self):
        """In the first of the views that show the image."""
        slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
        other = volumeNode(np.zeros((4, 40, 50), np.uint8))
        red = slicer.mrmlScene.GetNodeByID("vtkMRMLSliceCompositeNodeRed")
        for background, isRed in ((self.volume, True), (other, False)):
            red.SetBackgroundVolumeID(background.GetID())
            self.overlay.hide()
            self.overlay.show(self.array, self.geometry)
            legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(self.overlay.node)
            [view] = legend.GetViewNodeIDs()
            self.assertEqual(view == "vtkMRMLSliceNodeRed", isRed)
            self.assertTrue(legend.GetVisibility())

    def testItIsInTheForegroundOfTheViewsOfItsImage(self):
        other = volumeNode(np.zeros((4, 40, 50), np.uint8))
        yellow = slicer.mrmlScene.GetNodeByID("vtkMRMLSliceCompositeNodeYellow")
        yellow.SetBackgroundVolumeID(other.GetID())
        self.overlay.setOpacity(0.4)
        self.overlay.show(self.array, self.geometry)
        for composite in composites():
            isOurs = composite.GetBackgroundVolumeID() == self.volume.GetID()
            self.assertEqual(composite.GetForegroundVolumeID() == self.overlay.node.GetID(), isOurs)
            if isOurs:
                self.assertAlmostEqual(composite.GetForegroundOpacity(), 0.4)
        self.overlay.setOpacity(0.9)
        red = slicer.mrmlScene.GetNodeByID("vtkMRMLSliceCompositeNodeRed")
        self.assertAlmostEqual(red.GetForegroundOpacity(), 0.9)

    def testHidingGivesTheViewsBack(self):
        other = volumeNode(np.zeros((4, 40, 50), np.uint8))
        slicer.util.setSliceViewerLayers(foreground=other, foregroundOpacity=0.25)
        for _time in range(2):
            self.overlay.show(self.array, self.geometry)
            self.overlay.show(self.array, self.geometry)
            self.assertTrue(self.overlay.isVisible)
            self.overlay.hide()
            self.assertFalse(self.overlay.isVisible)
            for composite in composites():
                self.assertEqual(composite.GetForegroundVolumeID(), other.GetID())
                self.assertAlmostEqual(composite.GetForegroundOpacity(), 0.25)

    def testAnOverlayThatLaysBelowAndHasGoneDoesNotComeBack(self):
        """One of values that are no uncertainty has a name of its own."""
        above = UncertaintyOverlay(self.volume, 0.1, "Attention")
        red = slicer.mrmlScene.GetNodeByID("vtkMRMLSliceCompositeNodeRed")
        self.overlay.show(self.array, self.geometry)
        above.show(self.array, self.geometry)
        self.assertEqual(above.node.GetName(), "clip attention")
        legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(above.node)
        self.assertEqual(legend.GetTitleText(), "Attention")
        above.hide()
        self.assertEqual(red.GetForegroundVolumeID(), self.overlay.node.GetID())
        above.show(self.array, self.geometry)
        self.overlay.remove()
        above.hide()
        self.assertIsNone(red.GetForegroundVolumeID())

    def testHidingLeavesAloneWhatThePersonChose(self):
        self.overlay.show(self.array, self.geometry)
        other = volumeNode(np.zeros((4, 40, 50), np.uint8))
        red = slicer.mrmlScene.GetNodeByID("vtkMRMLSliceCompositeNodeRed")
        red.SetForegroundVolumeID(other.GetID())
        self.overlay.setOpacity(0.9)
        self.overlay.hide()
        self.assertEqual(red.GetForegroundVolumeID(), other.GetID())
        self.assertNotAlmostEqual(red.GetForegroundOpacity(), 0.9)

    def testALegendComesAndGoesWithIt(self):
        self.overlay.show(self.array, self.geometry)
        legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(self.overlay.node)
        self.assertEqual(legend.GetTitleText(), "Uncertainty")
        self.assertTrue(legend.GetVisibility())
        self.overlay.show(self.array, self.geometry)
        self.overlay.hide()
        self.assertFalse(legend.GetVisibility())
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLColorLegendDisplayNode"), 1)

    def testNoSceneFileKeepsIt(self):
        self.overlay.show(self.array, self.geometry)
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "scene.mrb")
            self.assertTrue(slicer.util.saveScene(path))
            slicer.mrmlScene.Clear(0)
            slicer.util.loadScene(path)
        self.assertEqual([node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLVolumeNode")], ["clip"])
        self.assertEqual(slicer.util.getNodesByClass("vtkMRMLColorLegendDisplayNode"), [])
        for composite in composites():
            self.assertFalse(composite.GetForegroundVolumeID())

    def testRemovingLeavesNothing(self):
        before = slicer.mrmlScene.GetNumberOfNodes()
        self.overlay.show(self.array, self.geometry)
        self.overlay.remove()
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodes(), before)
        self.assertIsNone(self.overlay.node)
        self.overlay.remove()
        self.overlay.show(self.array, self.geometry)
        self.assertTrue(self.overlay.isVisible)

    def testItSurvivesThatItsNodeOrTheSceneIsGone(self):
        self.overlay.show(self.array, self.geometry)
        slicer.mrmlScene.RemoveNode(self.overlay.node)
        self.assertFalse(self.overlay.isVisible)
        self.overlay.setOpacity(0.3)
        self.overlay.show(self.array, self.geometry)
        self.assertTrue(self.overlay.isVisible)
        slicer.mrmlScene.Clear(0)
        self.assertFalse(self.overlay.isVisible)
        self.overlay.hide()
        self.overlay.remove()

    def testItLiesUnderTheTransformOfItsImage(self):
        for case in CASES:
            with self.subTest(case.name):
                volume = case.node()
                overlay = UncertaintyOverlay(volume)
                overlay.show(case.blob.astype(np.float32), geometryFromNode(volume))
                self.assertEqual(overlay.node.GetParentTransformNode(), volume.GetParentTransformNode())
                np.testing.assert_allclose(geometryFromNode(overlay.node).ijk_to_ras, case.matrix, atol=1e-9)

    def testAnotherGridIsRefused(self):
        with self.assertRaises(IncompatibleInputError):
            self.overlay.show(self.array, VolumeGeometry((4, 40, 51)))
        self.assertFalse(self.overlay.isVisible)

    def testAPersonSeesItInItsFrameOnly(self):
        one = np.zeros((1, 40, 50), np.float32)
        one[0, 10:30, 10:40] = 1
        red = sliceNode("Red")
        self.overlay.show(one, sliceGeometry(self.geometry, 2))
        legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(self.overlay.node)
        legend.SetVisibility(False)  # it is colored, too
        colored = {}
        for k in range(4):
            red.SetSliceOffset(2 * k)
            pixels = pixelsOf("Red").astype(int)
            colored[k] = int((np.ptp(pixels, axis=-1) > 40).sum())
        self.assertGreater(colored[2], 1000)
        self.assertEqual([colored[0], colored[1], colored[3]], [0, 0, 0])
