"""The section Environment of the panel: without OpenVINO nothing can be applied, and it says how to get it."""

from unittest import mock

import slicer

from leanseg.errors import MissingDependencyError
from leanseg.slicer_bridge import environment_panel
from leanseg.slicer_bridge.environment import Requirement, requirements
from Testing.slicer import gestures
from Testing.slicer.ultrasound_kd.panel_test import STILL_IMAGE, PanelTest


class TestWithoutOpenVino(PanelTest):
    def setUp(self):
        super().setUp()
        there = requirements()
        self.openvino = Requirement("openvino", "missing", "", "runs the models")
        self.others = [one for one in there if one.name not in ("openvino", "onnxruntime", "openvino-telemetry")]
        found = mock.patch.object(environment_panel, "requirements", self.found)
        found.start()
        self.addCleanup(found.stop)
        self.enterAgain()
        self.volume = self.loadSample(STILL_IMAGE)

    def tearDown(self):
        super().tearDown()
        mock.patch.stopall()
        self.enterAgain()

    def testNothingCanBeApplied(self):
        self.assertFalse(self.ui.applyButton.enabled)
        self.assertIn("See Environment", self.message)
        self.assertFalse(self.ui.environmentCollapsibleButton.collapsed)
        self.assertIn("openvino is missing", self.widgetOf("environmentSummaryLabel").text)

    def testAnInstallationThatFailsInTheMiddle(self):
        problem = MissingDependencyError("The disk is full: make room, and install again.")
        nodes, shown = self.nodes(), []

        def fail(_folder, log):
            log("Downloading openvino")
            self.openvino = Requirement("openvino", "broken", "2026.4.1", "half installed; install it again")
            raise problem

        with mock.patch.object(slicer.util, "errorDisplay", lambda text, **_details: shown.append(text)):
            self.install(fail)
        self.assertEqual(shown, [str(problem)])
        self.assertEqual(self.widgetOf("environmentSummaryLabel").text, str(problem))
        self.assertFalse(self.ui.applyButton.enabled)
        self.assertTrue(self.widgetOf("installRuntimeButton").enabled, "it can be tried again")
        self.assertEqual(self.nodes(), nodes)

    def testAfterAnInstallationItWorksAtOnce(self):
        def succeed(_folder, _log):
            self.openvino = Requirement("openvino", "ok", "2026.4.1", "runs the models")

        self.install(succeed)
        self.assertTrue(self.ui.environmentCollapsibleButton.collapsed)
        self.assertEqual(self.message, "")
        self.apply()
        self.assertTrue(self.ui.acceptButton.enabled)

    def found(self):
        return [self.openvino, *self.others]

    def install(self, installRuntime):
        """Press Install and answer yes."""
        yes = mock.patch.object(slicer.util, "confirmOkCancelDisplay", return_value=True)
        with yes, mock.patch.object(environment_panel, "installRuntime", installRuntime):
            self.press(self.widgetOf("installRuntimeButton"))
            gestures.settle(50)

    def widgetOf(self, name):
        return slicer.util.findChild(self.ui.environmentCollapsibleButton, name)

    def enterAgain(self):
        self.widget.exit()
        self.widget.enter()
        gestures.settle(20)
