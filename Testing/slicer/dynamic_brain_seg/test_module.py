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

    return any(card.id == "med_danet_v2" for card in leanseg.list_models())


class TestModule(unittest.TestCase):
    def testImportingItImportsNothingHeavy(self):
        """Imported anew, where every heavy package is barred, also those that another test has loaded."""
        path = slicer.util.modulePath("DynamicBrainSeg")
        barred = dict.fromkeys([*HEAVY, *(f"leanseg.{name}" for name in ("weights.store", "processing"))])
        with mock.patch.dict(sys.modules, barred):
            for name in [*sys.modules]:
                if name.startswith(("DynamicBrainSeg", "leanseg")) and sys.modules[name] is not None:
                    del sys.modules[name]
            spec = importlib.util.spec_from_file_location("DynamicBrainSeg", path)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            self.assertTrue(hasattr(module, "DynamicBrainSegWidget"))
            with self.assertRaises(ImportError):
                import openvino  # noqa: F401

    def testItHasWhatSlicerLooksFor(self):
        source = sys.modules["DynamicBrainSeg"]
        for suffix in ("", "Widget", "Logic", "Test"):
            self.assertTrue(hasattr(source, "DynamicBrainSeg" + suffix))
        module = slicer.modules.dynamicbrainseg
        self.assertEqual(module.title, "Brain tumor segmentation")
        self.assertIn("research only", module.helpText)
        self.assertTrue(
            (Path(slicer.util.modulePath("DynamicBrainSeg")).parent / "Resources/Icons/DynamicBrainSeg.png").is_file()
        )

    def testItsSelfTestIsSkippedWithoutARuntime(self):
        result = unittest.TestResult()
        kind = "leanseg.slicer_bridge.environment_panel.EnvironmentPanel.isComplete"
        with mock.patch(kind, new_callable=mock.PropertyMock, return_value=False):
            self.selfTest().run(result)
        self.assertEqual([text for _test, text in result.failures + result.errors], [])
        [(_test, reason)] = result.skipped
        self.assertIn("OpenVINO is not installed", reason)

    def testItsSelfTestPasses(self):
        """With the real model, from the simulated brain to its volume."""
        if not hasModel():
            self.skipTest("the model med_danet_v2 is not here")
        result = unittest.TestResult()
        self.selfTest().run(result)
        self.assertEqual(result.testsRun, 1)
        self.assertEqual([text for _test, text in result.failures + result.errors], [])
        self.assertEqual(result.skipped, [])

    def testTheSampleBrainIsFoundAndMoreQualityCostsMore(self):
        if not hasModel():
            self.skipTest("the model med_danet_v2 is not here")
        import SampleData

        slicer.util.selectModule("DynamicBrainSeg")
        widget = slicer.util.getModuleWidget("DynamicBrainSeg")
        source = SampleData.SampleDataLogic().sourceForSampleName("BrainTumorPhantom")
        nodes = source.customDownloader(source)
        self.assertTrue(gestures.waitFor(lambda: list(widget.panel.sequences.nodes().values()) == nodes, 10))
        gestures.click(widget.ui.segmentButton)
        gmacs = []
        for quality in (0, 10, -10):
            widget.ui.qualitySlider.value = quality
            self.assertTrue(gestures.waitFor(lambda: self.bias(widget) == -quality, 60))  # noqa: B023 - called at once
            gmacs.append(widget.panel.session.result.totalGmacs)
        self.assertGreater(gmacs[1], 1.5 * gmacs[0])
        self.assertLess(gmacs[2], gmacs[0] / 1.3)

    def bias(self, widget):
        """Of the result that is shown."""
        result = widget.panel.session.result
        return None if result is None or widget.panel.session.isRunning else result.options.costBias

    def selfTest(self):
        return unittest.defaultTestLoader.loadTestsFromName(
            "DynamicBrainSegTest.runTest", sys.modules["DynamicBrainSeg"]
        )
