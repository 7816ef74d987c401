"""The module as Slicer sees it: quick to import, complete in its description, with a self-test that passes."""

import importlib.util
import sys
import unittest
from unittest import mock

import slicer

HEAVY = ("openvino", "onnxruntime", "SimpleITK", "scipy", "torch", "pydicom", "leanseg.api", "leanseg.inference")


class TestModule(unittest.TestCase):
    def testImportingItImportsNothingHeavy(self):
        """Imported anew, where every heavy package is barred, also those that another test has loaded."""
        path = slicer.util.modulePath("UltrasoundKD")
        barred = dict.fromkeys([*HEAVY, *(f"leanseg.{name}" for name in ("phantom", "weights.store", "processing"))])
        with mock.patch.dict(sys.modules, barred):
            for name in [*sys.modules]:
                if name.startswith(("UltrasoundKD", "leanseg")) and sys.modules[name] is not None:
                    del sys.modules[name]
            spec = importlib.util.spec_from_file_location("UltrasoundKD", path)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            self.assertTrue(hasattr(module, "UltrasoundKDWidget"))
            with self.assertRaises(ImportError):
                import openvino  # noqa: F401

    def testItHasWhatSlicerLooksFor(self):
        source = sys.modules["UltrasoundKD"]
        for suffix in ("", "Widget", "Logic", "Test"):
            self.assertTrue(hasattr(source, "UltrasoundKD" + suffix))
        module = slicer.modules.ultrasoundkd
        self.assertEqual(module.title, "Breast ultrasound segmentation")
        self.assertIn("research only", module.helpText)

    def testItsSelfTestIsSkippedWithoutARuntime(self):
        test = unittest.defaultTestLoader.loadTestsFromName("UltrasoundKDTest.runTest", sys.modules["UltrasoundKD"])
        result = unittest.TestResult()
        kind = "leanseg.slicer_bridge.environment_panel.EnvironmentPanel.isComplete"
        with mock.patch(kind, new_callable=mock.PropertyMock, return_value=False):
            test.run(result)
        self.assertEqual([text for _test, text in result.failures + result.errors], [])
        [(_test, reason)] = result.skipped
        self.assertIn("OpenVINO is not installed", reason)

    def testItsSelfTestPasses(self):
        tests = unittest.defaultTestLoader.loadTestsFromName("UltrasoundKDTest.runTest", sys.modules["UltrasoundKD"])
        result = unittest.TestResult()
        tests.run(result)
        self.assertEqual(result.testsRun, 1)
        self.assertEqual([text for _test, text in result.failures + result.errors], [])
        self.assertEqual(result.skipped, [])
