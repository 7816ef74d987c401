"""Models: which there are, how large and fast they are, and what is said when one, or what runs it, is missing."""

import json
import os
import shutil
import tempfile
from pathlib import Path
from unittest import mock

from leanseg.errors import MissingDependencyError
from leanseg.weights.store import SHIPPED_MODELS
from Testing.slicer import gestures
from Testing.slicer.ultrasound_kd.panel_test import STILL_IMAGE, PanelTest


class TestModels(PanelTest):
    def setUp(self):
        super().setUp()
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)

    def testSizeAndSpeedAreSaidOfThisComputer(self):
        self.loadSample(STILL_IMAGE)
        self.assertEqual([self.ui.precisionSelector.itemText(n) for n in range(2)], ["INT8", "fp32"])
        self.assertIn(f"{megabytes('int8')} MB", self.ui.modelInfoLabel.text)
        self.pick(self.ui.precisionSelector, "fp32")
        self.assertIn(f"{megabytes('fp32')} MB", self.ui.modelInfoLabel.text)
        self.apply()
        self.assertRegex(self.ui.modelInfoLabel.text, rf"^{megabytes('fp32')} MB, \d+ ms a frame$")

    def testAModelThatIsDamagedBeforeTheModuleIsEntered(self):
        graph = self.copyModel("t2kd_busi")
        graph.write_bytes(graph.read_bytes()[:-1])
        with mock.patch.dict(os.environ, LEANSEG_MODELS=str(self.folder)):
            self.enterAgain()
            self.loadSample(STILL_IMAGE)
            self.assertFalse(self.ui.applyButton.enabled)
            self.assertIn("See Environment", self.message)
            self.assertFalse(self.ui.environmentCollapsibleButton.collapsed)

    def testAModelThatIsDamagedWhileTheModuleIsShown(self):
        graph = self.copyModel("t2kd_busi")
        with mock.patch.dict(os.environ, LEANSEG_MODELS=str(self.folder)):
            self.enterAgain()
            self.loadSample(STILL_IMAGE)
            nodes = self.nodes()
            graph.write_bytes(graph.read_bytes()[:-1])
            self.widget.logic._loaded.clear()
            self.widget.logic.cache.clear()
            with self.assertLogs(level="ERROR") as logged:
                self.apply()
        self.assertEqual(len(logged.records), 1)
        self.assertIn("is damaged", self.message)
        self.assertEqual(self.nodes(), nodes)

    def testNoModel(self):
        with mock.patch("leanseg.weights.store.SHIPPED_MODELS", self.folder):
            self.enterAgain()
            self.loadSample(STILL_IMAGE)
            self.assertFalse(self.ui.applyButton.enabled)
            self.assertIn("No model for ultrasound was found", self.ui.applyButton.toolTip)
            self.assertFalse(self.ui.environmentCollapsibleButton.collapsed)
        self.enterAgain()
        self.assertTrue(self.ui.applyButton.enabled)
        self.assertTrue(self.ui.environmentCollapsibleButton.collapsed)

    def testARuntimeThatIsGoneWhenItIsNeeded(self):
        self.loadSample(STILL_IMAGE)
        nodes = self.nodes()
        problem = MissingDependencyError("OpenVINO is not installed. Install it.")
        with mock.patch("leanseg.load_engine", side_effect=problem), self.assertLogs(level="ERROR") as logged:
            self.widget.logic._loaded.clear()
            self.widget.logic.cache.clear()
            self.apply()
        self.assertEqual(len(logged.records), 1)
        self.assertIn("OpenVINO is not installed", self.message)
        self.assertEqual(self.nodes(), nodes)
        self.apply()
        self.assertTrue(self.ui.acceptButton.enabled, "it works as soon as OpenVINO is there")

    def testAnErrorThatNobodyForesaw(self):
        self.loadSample(STILL_IMAGE)
        nodes = self.nodes()
        with (
            mock.patch.object(self.widget.logic, "predictFrame", side_effect=ZeroDivisionError("by zero")),
            self.assertLogs(level="ERROR") as logged,
        ):
            self.widget.logic.cache.clear()
            self.apply()
        self.assertEqual(len(logged.records), 1)
        self.assertIn("Unexpected error (ZeroDivisionError: by zero)", self.message)
        self.assertEqual(self.nodes(), nodes)

    def testAModelOfTheUserBringsItsOwnOptions(self):
        self.copyModel("mine", threshold=0.6, largest_component=True)
        with mock.patch.dict(os.environ, LEANSEG_MODELS=str(self.folder)):
            self.enterAgain()
            self.ui.modelSelector.setCurrentIndex(self.ui.modelSelector.findData("mine"))
            self.assertEqual(self.ui.thresholdSlider.value, 0.6)
            self.assertTrue(self.ui.largestComponentCheckBox.checked)
            self.ui.modelSelector.setCurrentIndex(self.ui.modelSelector.findData("t2kd_busi"))
            self.assertEqual(self.ui.thresholdSlider.value, shippedCard()["postprocessing"]["threshold"])
            self.assertFalse(self.ui.largestComponentCheckBox.checked)
        self.enterAgain()

    def testASceneOfAModelThatIsNotHereSaysWhichIsUsed(self):
        """With its own threshold: that of the other one means nothing for it."""
        self.loadSample(STILL_IMAGE)
        for key, value in (("model", "gone"), ("threshold", 0.93), ("largestComponent", 1)):
            self.widget.panel.parameters.set(key, value)
        with self.assertLogs(level="ERROR") as logged:
            self.widget.panel.message.say("another", True)
            self.enterAgain()
        self.assertEqual(len(logged.records), 2)
        self.assertIn("The model gone of this scene is not here; t2kd_busi is used", self.message)
        self.assertEqual(self.ui.thresholdSlider.value, shippedCard()["postprocessing"]["threshold"])
        self.assertFalse(self.ui.largestComponentCheckBox.checked)
        self.ui.thresholdSlider.value = 0.6
        self.assertEqual(self.message, "")
        self.enterAgain()
        self.assertEqual((self.message, self.ui.thresholdSlider.value), ("", 0.6))

    def tearDown(self):
        self.enterAgain()
        super().tearDown()

    def enterAgain(self):
        self.widget.exit()
        self.widget.enter()
        gestures.settle(20)

    def copyModel(self, name, **options):
        """A bundle in the folder; it hides the shipped one where it has its name. Returns its INT8 graph."""
        folder = self.folder / name
        shutil.copytree(SHIPPED_MODELS / "t2kd_busi", folder)
        card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
        card["id"] = name
        card["postprocessing"].update(options)
        (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
        return folder / card["graphs"]["int8"]["file"]


def shippedCard():
    return json.loads((SHIPPED_MODELS / "t2kd_busi" / "card.json").read_text(encoding="utf-8"))


def megabytes(precision):
    """Size of the graph's file, as the panel says it."""
    return f"{(SHIPPED_MODELS / 't2kd_busi' / shippedCard()['graphs'][precision]['file']).stat().st_size / 1e6:.1f}"
