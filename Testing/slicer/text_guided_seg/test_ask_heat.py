"""Where the network looked lies over the view where it belongs, and goes when it does not belong there any more."""

import numpy as np
import slicer

from leanseg.slicer_bridge.nodes import geometryFromNode
from leanseg.slicer_bridge.view_picture import pictureOf
from Testing.slicer import gestures
from Testing.slicer.bridge.views import pixelsOf
from Testing.slicer.text_guided_seg.ask_test import IS_IT, WHERE, AskTest
from Testing.slicer.text_guided_seg.panel_test import IJK_TO_RAS, MIDDLE, SHAPE, addImage, ras
from Testing.slicer.text_guided_seg.test_ask import half


class TestAskHeat(AskTest):
    @property
    def node(self):
        return self.answers.heat.node

    def values(self):
        """(j, i) of the colors, and their voxels -> world."""
        matrix = geometryFromNode(self.node).ijk_to_ras
        return slicer.util.arrayFromVolume(self.node)[0], matrix

    def testItIsOffUntilItIsWantedAndLiesWhereItLooked(self):
        """Bright in the right half of the picture: the patient's left."""
        self.load(half(True))
        before = pixelsOf("Red")
        self.ask()
        self.assertFalse(self.form.heatCheckBox.checked)
        self.assertIsNone(self.node)
        np.testing.assert_array_equal(pixelsOf("Red"), before)
        self.check(self.form.heatCheckBox)
        heat, matrix = self.values()
        self.assertEqual(heat.shape, SHAPE[1:])
        np.testing.assert_allclose(matrix[:3, 3], ras(MIDDLE, 0, 0), atol=1e-4)
        j, i = np.unravel_index(heat.argmax(), heat.shape)
        self.assertLess((matrix @ [i, j, 0, 1])[0], 0, "R is positive")
        self.assertAlmostEqual(float(heat.max()), 1, places=5)
        changed = np.abs(pixelsOf("Red").astype(int) - before).max(axis=2) > 20
        self.assertGreater(changed[:, changed.shape[1] // 2 :].sum(), 1000)
        self.assertFalse(self.node.GetSaveWithScene())
        legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(self.node)
        self.assertEqual(legend.GetTitleText(), "Attention")
        self.check(self.form.heatCheckBox)
        np.testing.assert_array_equal(pixelsOf("Red"), before)

    def testTheStageAndTheOpacity(self):
        self.load(half(True))
        self.check(self.form.heatCheckBox)
        self.ask()
        answer = self.answers.entry.answer
        for number in range(self.form.stageSelector.count):
            self.pick(self.form.stageSelector, self.form.stageSelector.itemText(number))
            self.finishAsking()
            np.testing.assert_allclose(self.values()[0], answer.heat_map(number), atol=1e-6)
        composite = slicer.mrmlScene.GetNodeByID("vtkMRMLSliceCompositeNodeRed")
        self.assertAlmostEqual(composite.GetForegroundOpacity(), 0.5)
        self.form.opacitySlider.value = 0.8
        self.assertAlmostEqual(composite.GetForegroundOpacity(), 0.8)

    def testItIsInItsSliceOnly(self):
        self.load(half(True))
        self.check(self.form.heatCheckBox)
        self.ask()
        heated = pixelsOf("Red")
        self.panel.dialog.frames.select(MIDDLE + 2)
        gestures.settle(50)
        elsewhere = pixelsOf("Red")
        self.check(self.form.heatCheckBox)
        clean = pixelsOf("Red")
        self.assertSameImage(elsewhere, clean)
        self.assertFalse(np.array_equal(heated, elsewhere))

    def assertSameImage(self, one, other):
        """The same, but for the lower right corner, where the legend is."""
        rows, columns = (int(size * 0.6) for size in one.shape[:2])
        np.testing.assert_array_equal(one[:rows], other[:rows])
        np.testing.assert_array_equal(one[:, :columns], other[:, :columns])

    def testUnderATransformItLiesOnTheImage(self):
        node = self.load(half(True))
        transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        matrix = np.eye(4)
        matrix[:3, 3] = 10, -5, 6
        transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
        node.SetAndObserveTransformNodeID(transform.GetID())
        self.red.mrmlSliceNode().JumpSliceByOffsetting(*(ras(MIDDLE, 0, 0) + matrix[:3, 3]))
        gestures.settle(50)
        self.check(self.form.heatCheckBox)
        self.ask()
        self.assertEqual(self.rows()[0][4], f"Red, slice {MIDDLE + 1}")
        self.assertEqual(self.node.GetTransformNodeID(), transform.GetID())
        picture = pictureOf(self.red.mrmlSliceNode())
        np.testing.assert_allclose(self.values()[1], picture.localGeometry.ijk_to_ras, atol=1e-4)

    def testItGoesWithAnotherQuestionImageOrScene(self):
        node = self.load(half(True))
        self.check(self.form.heatCheckBox)
        self.ask(WHERE)
        first = self.node
        self.ask(IS_IT)
        self.assertIsNone(first.GetScene())
        self.assertIsNotNone(self.node)
        other = addImage(half(False), name="Other")
        self.ui.inputSelector.setCurrentNode(other)
        self.finish()
        self.assertIsNone(self.node)
        self.assertEqual(self.answer, "")
        self.ui.inputSelector.setCurrentNode(node)
        self.finish()
        self.ask()
        slicer.mrmlScene.Clear(0)
        self.assertIsNone(self.node)
        self.assertEqual(self.rows(), [])
        self.assertEqual(slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"), [])

    def testItGoesWhereTheVoxelsHaveChangedOrTheImageIsRemoved(self):
        for change in ("voxels", "grid", "removed"):
            with self.subTest(change=change):
                node = self.load(half(True))
                self.form.heatCheckBox.checked = True
                self.ask()
                self.assertIsNotNone(self.node)
                if change == "voxels":
                    slicer.util.arrayFromVolume(node)[:] = 5
                    slicer.util.arrayFromVolumeModified(node)
                elif change == "grid":
                    node.SetOrigin(1, 2, 3)
                else:
                    slicer.mrmlScene.RemoveNode(node)
                gestures.settle(50)
                self.assertIsNone(self.node)
                slicer.mrmlScene.Clear(0)

    def testItComesAndGoesWithTheModuleAndTheForegroundIsGivenBack(self):
        self.load(half(True))
        other = addImage(half(False), name="Other")
        slicer.util.setSliceViewerLayers(foreground=other, foregroundOpacity=0.25)
        composite = slicer.mrmlScene.GetNodeByID("vtkMRMLSliceCompositeNodeRed")
        self.check(self.form.heatCheckBox)
        self.ask()
        self.assertEqual(composite.GetForegroundVolumeID(), self.node.GetID())
        slicer.util.selectModule("Data")
        self.assertIsNone(self.node)
        self.assertEqual(composite.GetForegroundVolumeID(), other.GetID())
        slicer.util.selectModule("TextGuidedSeg")
        self.finishAsking()
        self.assertIsNotNone(self.node)

    def testTheUncertaintyOfAResultUnderItIsThereAgain(self):
        """And where that was removed meanwhile, nothing is."""
        self.load()
        self.say("mass, right")
        composite = slicer.mrmlScene.GetNodeByID("vtkMRMLSliceCompositeNodeRed")
        uncertainty = composite.GetForegroundVolumeID()
        self.check(self.form.heatCheckBox)
        self.ask()
        self.assertEqual(composite.GetForegroundVolumeID(), self.node.GetID())
        self.check(self.form.heatCheckBox)
        self.assertEqual(composite.GetForegroundVolumeID(), uncertainty)
        self.check(self.form.heatCheckBox)
        self.ui.uncertaintyCheckBox.checked = False
        gestures.settle(30)
        self.check(self.form.heatCheckBox)
        self.assertIsNone(composite.GetForegroundVolumeID())

    def testOfASegmentItCoversItsSurroundings(self):
        self.load(half(True))
        self.say("mass, right")
        self.press(self.ui.acceptButton)
        self.pick(self.form.segmentSelector, "Around Tumor")
        self.check(self.form.heatCheckBox)
        self.ask()
        heat, matrix = self.values()
        self.assertLess(heat.size, SHAPE[1] * SHAPE[2])
        corner = np.linalg.inv(IJK_TO_RAS) @ matrix[:, 3]
        np.testing.assert_allclose(corner[:3], np.rint(corner[:3]), atol=1e-4)
        self.assertAlmostEqual(corner[2], MIDDLE, places=4)
