"""Parts of the dialog by themselves: what is kept for undo, which slices a prompt is for, how steps read."""

import dataclasses
import unittest
from unittest import mock

import numpy as np
import slicer
from TextGuidedSegLib.kept_results import REMEMBERED, KeptResults
from TextGuidedSegLib.shown_result import stack
from TextGuidedSegLib.steps_view import describe, shortened, sliceOf
from TextGuidedSegLib.world_places import volumeInWorld, voxelsAt, worldPoints

from leanseg.conversation import Accept, Conversation, Prompt, Reject
from Testing.slicer.text_guided_seg.panel_test import (
    IJK_TO_RAS,
    MIDDLE,
    RIGHT,
    PanelTest,
    addImage,
    block,
    image,
    ras,
)


@dataclasses.dataclass(eq=False)
class Found:
    """Of one slice: 9 bytes a pixel."""

    name: object
    pixels: int

    def __post_init__(self):
        self.mask = np.zeros(self.pixels, bool)
        self.probability = self.uncertainty = np.zeros(self.pixels, np.float32)

    def __eq__(self, other):
        return self.name == other.name


def found(name, pixels=1):
    """A result of one slice."""
    return {0: Found(name, pixels)}


class TestKeptResults(unittest.TestCase):
    def conversation(self, *texts):
        return Conversation([Prompt(text) for text in texts])

    def testWhatIsFurthestAwayIsForgotten(self):
        kept, conversation = KeptResults(), Conversation()
        for number in range(REMEMBERED + 5):
            conversation.add(Prompt(str(number)))
            kept.put(conversation, found(number))
        self.assertIsNone(kept.get(5))
        self.assertEqual(kept.get(6), found(5))
        self.assertEqual(kept.get(REMEMBERED + 5), found(REMEMBERED + 4))

    def testNoMoreThanTheLimitIsKept(self):
        """Each result has 9 MB; what a step has left as it was counts once."""
        kept, conversation, same = KeptResults(), Conversation(), found("same", 1_000_000)
        # Of the class at hand: a test that reloads the module makes another one of the same name.
        with mock.patch.dict(KeptResults.put.__globals__, MAX_BYTES=30_000_000):
            for number in range(5):
                conversation.add(Prompt(str(number)))
                kept.put(conversation, found(number, 1_000_000))
            self.assertEqual([n for n in range(6) if kept.get(n)], [3, 4, 5])
            for number in range(5, 9):
                conversation.add(Prompt(str(number)))
                kept.put(conversation, same)
            self.assertEqual([n for n in range(10) if kept.get(n)], [4, 5, 6, 7, 8, 9])

    def testWhatNoRedoLeadsToIsForgotten(self):
        kept, conversation = KeptResults(), self.conversation("a", "b", "c")
        kept.put(conversation, found("c"))
        conversation.undo()
        conversation.undo()
        conversation.add(Prompt("d"))  # position 2
        kept.put(conversation, found("d"))
        self.assertIsNone(kept.get(3))
        self.assertEqual(kept.get(2), found("d"))

    def testAnEarlierResultIsPutWhereItBelongs(self):
        kept, conversation = KeptResults(), self.conversation("a", "b")
        kept.put(conversation, found("a"), 1)
        self.assertEqual(kept.get(1), found("a"))
        self.assertIsNone(kept.get(2))

    def testTheLastTwoDifferentTextsAreCompared(self):
        kept, conversation = KeptResults(), Conversation()
        for text in ("a", "b", "b"):
            conversation.add(Prompt(text))
            kept.put(conversation, found(text))
        conversation.add(Reject())
        kept.put(conversation, {})
        self.assertEqual(kept.ofLastTexts(conversation), [("a", found("a")), ("b", found("b"))])


class TestSteps(unittest.TestCase):
    def testEveryKindOfStepReadsWell(self):
        from leanseg.inference.hints import Box, Click, Scribble

        def text(step):
            return describe(step, lambda accepted: f"<{accepted.segment_id}>")

        self.assertEqual(text(Prompt("mass", 2, 6)), '"mass" in slices 3-7')
        self.assertEqual(text(Prompt("", 2, 2)), '"any tumor" in slice 3')
        self.assertEqual(text(Accept("x")), "Accepted into <x>")
        self.assertEqual(text(Click((4.4, 1, 1))), "Tumor at a point of slice 5")
        self.assertEqual(text(Click((4.6, 1, 1), False)), "Not tumor, slice 6")
        self.assertEqual(text(Box(3, 0, 0, 5, 5)), "Box in slice 4")
        self.assertEqual(text(Scribble(((0, 1, 1), (0, 2, 2)), False)), "Stroke outside of it, slice 1")
        self.assertEqual(sliceOf(Prompt("mass", 2, 6)), 4)
        self.assertIsNone(sliceOf(Reject()))

    def testALongTextIsCut(self):
        self.assertEqual(shortened("a\n b"), "a b")
        self.assertEqual(len(shortened("x" * 200)), 60)


class TestPlaces(unittest.TestCase):
    def testVoxelsAndWorld(self):
        [point] = worldPoints([(MIDDLE, 20, 10)], IJK_TO_RAS)
        np.testing.assert_allclose(point, (30, 10, 0))  # 40 - 10, 30 - 20, -8 + 2 * 4
        np.testing.assert_allclose(voxelsAt(point[np.newaxis], IJK_TO_RAS), [(MIDDLE, 20, 10)])

    def testSlicesThatWereNotAskedAboutAreEmptyInTheStack(self):
        one = np.ones((2, 2), bool)
        np.testing.assert_array_equal(stack({3: one, 5: one})[:, 0, 0], [True, False, True])


class TestPatientOrPicture(PanelTest):
    """Left and right are the patient's where an image lies in one; a voxel of 1 mm is no reason to doubt that."""

    ONE_MM = np.diag([-1.0, -1.0, 1.0, 1.0])

    def isInPatient(self, node):
        return volumeInWorld(node).geometry.is_calibrated

    def testTheRightOfThePatientIsMeantInAnImageWithVoxelsOfOneMillimeter(self):
        self.load(matrix=self.ONE_MM)
        self.say("mass, right")
        np.testing.assert_array_equal(self.mask(), block(RIGHT)[MIDDLE])
        self.assertIn("right", self.ui.frameLabel.text.lower())

    def testAPictureLiesInNoPatient(self):
        from leanseg.slicer_bridge.nodes import pictureFile

        node = addImage(matrix=self.ONE_MM)
        storage = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
        node.SetAndObserveStorageNodeID(storage.GetID())
        for name, isPicture in (("brain.nii.gz", False), ("slice.PNG", True), ("slice.tif", True)):
            storage.SetFileName("/somewhere/" + name)
            self.assertEqual(pictureFile(node), name if isPicture else "")
            self.assertEqual(self.isInPatient(node), not isPicture)
        node.SetSpacing(0.5, 0.5, 3)  # somebody knew it
        self.assertTrue(self.isInPatient(node))

    def testOneSliceLiesInAPatientWhereItIsTurned(self):
        self.assertFalse(self.isInPatient(addImage(image()[:1], matrix=self.ONE_MM)))
        sagittal = np.array([[0, 0, 1.0, 0], [-1.0, 0, 0, 0], [0, -1.0, 0, 0], [0, 0, 0, 1]])
        self.assertTrue(self.isInPatient(addImage(image()[:1], matrix=sagittal)))


class TestTurnedImage(PanelTest):
    """Under a transform that turns the patient around, left is another side of the picture."""

    def testTheSessionSeesTheImageWhereItIsInTheWorld(self):
        import vtk

        transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        matrix = vtk.vtkMatrix4x4()
        matrix.SetElement(0, 0, -1)
        matrix.SetElement(1, 1, -1)  # half a turn about the axis of the patient
        transform.SetMatrixTransformToParent(matrix)
        node = addImage()
        node.SetAndObserveTransformNodeID(transform.GetID())
        slicer.util.setSliceViewerLayers(background=node, fit=True)
        self.ui.inputSelector.setCurrentNode(node)
        self.finish()
        geometry = self.session.volume.geometry
        np.testing.assert_allclose(geometry.ras_of(np.array([10, 20, MIDDLE])), (-30, -10, 0))
        self.say("mass")
        self.pressAndFinish(self.ui.acceptButton)
        found = self.segments()["Tumor"]
        self.assertTrue(found[self.panel.dialog.conversation.steps[0].first_k].any())

    def testAnAcceptedResultIsAtItsPlaceInTheWorld(self):
        self.load()
        self.say("mass, right")
        self.pressAndFinish(self.ui.acceptButton)
        [k, j, i] = np.argwhere(self.segments()["Tumor"]).mean(axis=0)
        np.testing.assert_allclose(ras(k, j, i), ras(MIDDLE, 27, 17))
        self.assertEqual(block().shape, image().shape)
