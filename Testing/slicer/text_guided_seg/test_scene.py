"""What happens in the scene beside the conversation: imports, conversations of another LeanSeg, transforms."""

import json
import tempfile
from pathlib import Path

import numpy as np
import slicer
from TextGuidedSegLib import conversation_store

from Testing.slicer import gestures
from Testing.slicer.text_guided_seg.panel_test import MIDDLE, RIGHT, PanelTest, addImage, block


class TestScene(PanelTest):
    def importAnother(self):
        """A scene with a text in it, into this one."""
        other = slicer.vtkMRMLScene()
        other.AddNode(slicer.vtkMRMLTextNode())
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "other.mrml")
            other.SetURL(path)
            other.Commit(path)
            slicer.mrmlScene.SetURL(path)
            slicer.mrmlScene.Import()
        gestures.settle(50)
        self.finish()

    def testAnImportLeavesTheProposalAndTheTypedPrompt(self):
        self.load()
        self.say("mass, right")
        self.type("a new prompt")
        self.importAnother()
        np.testing.assert_array_equal(self.mask(), block(RIGHT)[MIDDLE])
        self.assertTrue(self.outline().isVisible)
        self.assertEqual(self.ui.promptEdit.plainText, "a new prompt")
        self.assertEqual(len(self.session.calls), 1)

    def testAConversationThatCannotBeReadIsSaidAndKeptAndANewOneBegins(self):
        for text, reason in (("{", "no JSON"), (json.dumps({"format": 2, "steps": []}), "Update LeanSeg")):
            with self.subTest(reason=reason):
                slicer.mrmlScene.Clear(0)
                first, second = self.load(), addImage(name="Other")
                self.say("mass, right")
                self.ui.inputSelector.setCurrentNode(second)
                self.finish()
                unread = conversation_store._nodeOf(first)
                unread.SetParameter(conversation_store.TEXT, text)
                self.ui.inputSelector.setCurrentNode(first)
                self.finish()
                self.assertEqual(self.steps(), [])
                self.assertIn(reason, self.message)
                self.assertIs(conversation_store._nodeOf(first), unread)  # as long as nothing new is said
                self.say("mass, left")
                self.assertTrue(self.mask().any())
                self.assertEqual(unread.GetParameter(conversation_store.TEXT), text)
                self.assertIs(unread.GetNodeReference(conversation_store.UNREAD), first)
                self.ui.inputSelector.setCurrentNode(second)
                self.finish()
                self.ui.inputSelector.setCurrentNode(first)
                self.finish()
                self.assertEqual(len(self.steps()), 1)

    def testABendingTransformIsSaidAndNothingBreaks(self):
        node = self.load()
        self.say("mass, right")
        slicer.util.selectModule("Data")
        bending = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLBSplineTransformNode")
        node.SetAndObserveTransformNodeID(bending.GetID())
        slicer.util.selectModule("TextGuidedSeg")
        gestures.settle(100)
        self.assertIn("Harden it first", self.message)
        self.assertFalse(self.ui.applyButton.enabled)
        self.assertEqual(self.panel.dialog.frames.currentIndex(), MIDDLE)
        self.panel.steps._onActivated(self.ui.stepsList.item(0))
        self.assertIn("Harden it first", self.message)
        slicer.util.selectModule("Data")
        node.SetAndObserveTransformNodeID(None)
        slicer.util.selectModule("TextGuidedSeg")
        self.finish()
        self.assertTrue(self.ui.applyButton.enabled)
