"""The module as Slicer sees it: quick to import, complete in its description, with a self-test that passes."""

import importlib.util
import sys
import unittest
from pathlib import Path
from unittest import mock

import slicer

from Testing.slicer import gestures

HEAVY = ("openvino", "onnxruntime", "SimpleITK", "scipy", "torch", "pydicom", "leanseg.api", "leanseg.inference")


def hasModel():
    import leanseg

    return any(card.id == "text_bcs" for card in leanseg.list_models())


class TestModule(unittest.TestCase):
    def testImportingItImportsNothingHeavy(self):
        """Imported anew, where every heavy package is barred, also those that another test has loaded."""
        path = slicer.util.modulePath("TextGuidedSeg")
        barred = dict.fromkeys([*HEAVY, *(f"leanseg.{name}" for name in ("weights.store", "processing", "prompts"))])
        with mock.patch.dict(sys.modules, barred):
            for name in [*sys.modules]:
                if name.startswith(("TextGuidedSeg", "leanseg")) and sys.modules[name] is not None:
                    del sys.modules[name]
            spec = importlib.util.spec_from_file_location("TextGuidedSeg", path)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            self.assertTrue(hasattr(module, "TextGuidedSegWidget"))
            with self.assertRaises(ImportError):
                import openvino  # noqa: F401

    def testItHasWhatSlicerLooksFor(self):
        source = sys.modules["TextGuidedSeg"]
        for suffix in ("", "Widget", "Logic", "Test"):
            self.assertTrue(hasattr(source, "TextGuidedSeg" + suffix))
        module = slicer.modules.textguidedseg
        self.assertEqual(module.title, "Text-guided tumor segmentation")
        self.assertIn("research only", module.helpText)
        self.assertIn("Ctrl+Return", module.helpText)
        icons = Path(slicer.util.modulePath("TextGuidedSeg")).parent / "Resources/Icons"
        for name in ("TextGuidedSeg", "BreastMRIPhantom"):
            self.assertTrue((icons / f"{name}.png").is_file())

    def testTheSampleHasATumorOnEitherSide(self):
        import SampleData
        from TextGuidedSegLib import sample_data

        source = SampleData.SampleDataLogic().sourceForSampleName("BreastMRIPhantom")
        [node] = source.customDownloader(source)
        self.assertEqual(slicer.util.arrayFromVolume(node).shape, (9, 192, 192))
        sample = sample_data.addPhantom()
        self.assertGreater(sample.named.sum(), 100)
        self.assertGreater(sample.other.sum(), 100)
        self.assertFalse(sample.named[:, 96:].any())  # the patient's right is on the left of the picture

    def testItsSelfTestIsSkippedWithoutARuntime(self):
        result = unittest.TestResult()
        kind = "leanseg.slicer_bridge.environment_panel.EnvironmentPanel.isComplete"
        with mock.patch(kind, new_callable=mock.PropertyMock, return_value=False):
            self.selfTest().run(result)
        self.assertEqual([text for _test, text in result.failures + result.errors], [])
        [(_test, reason)] = result.skipped
        self.assertIn("OpenVINO or the model is not installed", reason)

    def testItsSelfTestPasses(self):
        """With the real model: of two tumors, the one that the prompt names."""
        if not hasModel():
            self.skipTest("the model text_bcs is not here")
        result = unittest.TestResult()
        self.selfTest().run(result)
        self.assertEqual(result.testsRun, 1)
        self.assertEqual([text for _test, text in result.failures + result.errors], [])
        self.assertEqual(result.skipped, [])

    def selfTest(self):
        return unittest.defaultTestLoader.loadTestsFromName("TextGuidedSegTest.runTest", sys.modules["TextGuidedSeg"])


class TestWithTheModel(unittest.TestCase):
    """The story of the issue with the model that ships."""

    def testASentenceTwoQuestionsAcceptUndoRedo(self):
        if not hasModel():
            self.skipTest("the model text_bcs is not here")
        from TextGuidedSegLib import sample_data

        slicer.util.selectModule("TextGuidedSeg")
        widget = slicer.util.getModuleWidget("TextGuidedSeg")
        ui, dialog = widget.ui, widget.panel.dialog
        sample = sample_data.addPhantom()
        ui.inputSelector.setCurrentNode(sample.node)
        self.finish(widget)
        dialog.frames.select(sample.slice)
        ui.promptEdit.setPlainText("irregular mass, right")
        gestures.click(ui.applyButton)
        self.finish(widget)
        self.assertGreater(dialog.proposals[sample.slice].mask.sum(), 0)
        for _time in range(2):
            gestures.click(ui.questionButton)
            self.finish(widget)
            asked = widget.panel.questions.asked
            if asked is None:
                break
            j, i = (round(x) for x in asked.kji[1:])
            gestures.click(ui.yesButton if sample.named[j, i] else ui.noButton)
            self.finish(widget)
        mask = dialog.proposals[sample.slice].mask
        self.assertGreater(mask[sample.named].sum(), 5 * mask[sample.other].sum())
        gestures.click(ui.acceptButton)
        gestures.settle(100)
        node = ui.targetSelector.currentNode()
        self.assertEqual(node.GetSegmentation().GetNumberOfSegments(), 1)
        ui.segmentEditorWidget.undo()
        self.assertEqual(node.GetSegmentation().GetNumberOfSegments(), 0)
        ui.segmentEditorWidget.redo()
        self.assertEqual(node.GetSegmentation().GetNumberOfSegments(), 1)

    def finish(self, widget):
        gestures.settle(50)
        panel = widget.panel
        self.assertTrue(gestures.waitFor(lambda: not panel.runner.busy and not panel.dialog.isRunning, 60))
        gestures.settle(50)
