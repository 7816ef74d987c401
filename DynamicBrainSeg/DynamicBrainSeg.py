"""Brain tumor segmentation: the model decides for each slice how much to compute; look, overrule, measure."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import slicer
from DynamicBrainSegLib import sample_data, shortcuts
from DynamicBrainSegLib.logic import BrainLogic
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleTest

from leanseg.slicer_bridge.module_widget import SegmentationModuleWidget

#
# DynamicBrainSeg
#


class DynamicBrainSeg(ScriptedLoadableModule):
    """What Slicer shows about the module."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Brain tumor segmentation")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.dependencies = ["Segmentations", "SampleData"]
        self.parent.contributors = ["LeanSeg maintainers"]
        self.parent.helpText = _(
            "<p>Outlines gliomas in brain MRI: FLAIR, T1 with contrast agent, T1 and T2, or some of them. For each"
            " slice the model decides whether to skip it, to compute a part of it or all of it; the strip under"
            " Decisions shows that. Click a bar to see its slice, and overrule the model where you know better. One"
            " Undo takes back what was written. No image leaves this computer.</p><p><b>For research only. Not for"
            " clinical use.</b></p><p>No images at hand? Sample Data has a simulated brain, under LeanSeg.</p>"
            "<p>Keyboard shortcuts while the module is shown:</p>"
        )
        self.parent.helpText += shortcuts.helpTable(shortcuts.descriptions())
        self.parent.acknowledgementText = _(
            "Written from the papers. Please cite: W. Wang et al.: Med-DANet: Dynamic architecture network for"
            " efficient medical volumetric segmentation, ECCV 2022, arXiv:2206.06575; H. Shen et al.: Med-DANet V2: A"
            " flexible dynamic architecture for efficient medical volumetric segmentation, WACV 2024, arXiv:2310.18656."
        )
        slicer.app.connect("startupCompleted()", sample_data.registerSampleData)


#
# DynamicBrainSegWidget
#


class DynamicBrainSegWidget(SegmentationModuleWidget):
    """Puts the panel together; the base class has the life of the widget, scene events and the Segment Editor."""

    def makePanel(self) -> Any:
        from DynamicBrainSegLib.panel import Panel

        self.logic = DynamicBrainSegLogic()
        return Panel(self.ui, self.logic, self.onOutput)

    def makeSections(self) -> list[Any]:
        from DynamicBrainSegLib.comparison import ShownBrain
        from DynamicBrainSegLib.volumes_section import VolumesSection

        from leanseg.slicer_bridge.precision_panel import PrecisionPanel

        self.volumes = VolumesSection(self.ui, self.panel)
        self.precisions = PrecisionPanel("DynamicBrainSeg", self.panel, ShownBrain(self.panel))
        return [self.volumes, self.precisions]

    def makeShortcuts(self) -> Any:
        return shortcuts.shortcutsOf(self.ui)

    def onOutput(self) -> None:
        """The Segment Editor works on the segmentation of the panel."""
        self.editSegmentation(self.panel.output.segmentation, self.panel.volume)

    def onSegmentsChanged(self, *_args: Any) -> None:
        """By writing, by undo, or by hand."""
        super().onSegmentsChanged()
        self.volumes.update()


#
# DynamicBrainSegLogic
#


class DynamicBrainSegLogic(BrainLogic):
    """Under the name that Slicer looks for."""


#
# DynamicBrainSegTest
#


class DynamicBrainSegTest(ScriptedLoadableModuleTest):
    """From the sample brain to measured segments, through the panel. Needs OpenVINO; Testing/slicer tests the rest."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear(0)

    def test_TheWholeTumorHasTheVolumeOfTheTruth(self) -> None:
        from leanseg.brain_phantom import brain_phantom

        slicer.util.selectModule("DynamicBrainSeg")
        widget = slicer.util.getModuleWidget("DynamicBrainSeg")
        if not widget.panel.isShown:
            widget.enter()  # without a main window, nobody else does
        if not widget.panel.environment.isComplete:
            self.skipTest("OpenVINO is not installed; see Environment, at the end of the panel.")
        self.delayDisplay("Segment")
        widget.panel.sequences.select(sample_data.addPhantom((5.0, 1.0, 1.0)))
        widget.panel.onChanged()
        widget.ui.segmentButton.click()
        self._waitFor(lambda: not widget.panel.session.isRunning)
        self.assertIsNotNone(widget.panel.session.result, widget.ui.messageLabel.text)
        truth = float(brain_phantom((5.0, 1.0, 1.0)).truth["WT"].sum()) * 5 / 1000
        widget.volumes.measure()
        self.assertAlmostEqual(widget.volumes.rows[0].ml, truth, delta=0.25 * truth)

    def _waitFor(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not condition() and time.monotonic() < end:
            slicer.app.processEvents()
            time.sleep(0.005)
