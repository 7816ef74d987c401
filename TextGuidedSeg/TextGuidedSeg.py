"""Text-guided tumor segmentation: say what you look for, see where it is unsure, click there. Research only."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleTest
from TextGuidedSegLib import sample_data, shortcuts
from TextGuidedSegLib.logic import TextLogic

from leanseg.slicer_bridge.module_widget import SegmentationModuleWidget

#
# TextGuidedSeg
#


class TextGuidedSeg(ScriptedLoadableModule):
    """What Slicer shows about the module."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Text-guided tumor segmentation")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.dependencies = ["Segmentations", "SampleData"]
        self.parent.contributors = ["LeanSeg maintainers"]
        self.parent.helpText = _(
            "<p>Outlines the tumor that you describe, in breast ultrasound and in MRI of breast and brain. Type what"
            " you look for, or choose it beside the text; press Ctrl+Enter; look at the outline and at the uncertainty."
            " Where it is wrong, click what belongs to the tumor and what does not, or let Next question take you to"
            " the place where a click helps most. Every step can be undone. Accept makes a segment, and one Undo"
            " takes it back. A sentence that tells one of several, e.g. <i>the second lesion from the left</i>, goes to"
            " a model for such sentences, where there is one. A model that answers questions can be asked about any"
            " view. No image leaves this computer.</p><p><b>For research only. Not for clinical use.</b></p>"
            "<p>No image at hand? Sample Data has simulated ones, under LeanSeg.</p><p>Keyboard shortcuts while the"
            " module is shown:</p>"
        )
        self.parent.helpText += shortcuts.helpTable(shortcuts.descriptions())
        self.parent.acknowledgementText = _(
            "The network follows TextBCS, written from the paper: text at every stage, and uncertainty from evidence."
            " Please cite arXiv:2603.11206; for sentences that tell one of several, CM-MaskSD, arXiv:2305.11481."
        )
        slicer.app.connect("startupCompleted()", sample_data.registerSampleData)


#
# TextGuidedSegWidget
#


class TextGuidedSegWidget(SegmentationModuleWidget):
    """Puts the panel together; the base class has the life of the widget, scene events and the Segment Editor."""

    def makePanel(self) -> Any:
        from TextGuidedSegLib.panel import Panel

        self.logic = TextGuidedSegLogic()
        return Panel(self.ui, self.logic, self.onTarget)

    def makeSections(self) -> list[Any]:
        from TextGuidedSegLib.ask_panel import AskPanel

        from leanseg.slicer_bridge.case_suggestions import CaseSuggestions
        from leanseg.slicer_bridge.precision_panel import PrecisionPanel
        from leanseg.slicer_bridge.precision_subject import ShownFrame

        panel = self.panel
        note = _("Ranked by models that need no text: those that are guided by it are not asked.")
        self.cases = CaseSuggestions("TextGuidedSeg", panel, self.logic.rankingModels, note)
        frame = ShownFrame(lambda: panel.dialog.frames, lambda: {"prompt": panel.editor.text})
        self.precisions = PrecisionPanel("TextGuidedSeg", panel, frame)
        self.asking = AskPanel(panel, self.logic)
        return [self.cases, self.precisions, self.asking]

    def makeShortcuts(self) -> Any:
        return shortcuts.shortcutsOf(self.ui, self.asking.form)

    def onSegmentsChanged(self, *_args: Any) -> None:
        """By writing, by undo, or by hand."""
        super().onSegmentsChanged()
        self.asking.update()

    def onTarget(self, segmentId: str) -> None:
        """The Segment Editor works on the segmentation of the panel."""
        panel = self.panel
        volume = panel.volume if panel.dialog.frames is not None else None
        self.editSegmentation(panel.decision.segmentation, volume, segmentId)


#
# TextGuidedSegLogic
#


class TextGuidedSegLogic(TextLogic):
    """Under the name that Slicer looks for."""


#
# TextGuidedSegTest
#


class TextGuidedSegTest(ScriptedLoadableModuleTest):
    """From a prompt to a segment, through the panel. Needs OpenVINO; Testing/slicer tests the rest."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear(0)

    def test_TheNamedOneOfTwoTumorsIsAccepted(self) -> None:
        slicer.util.selectModule("TextGuidedSeg")
        widget = slicer.util.getModuleWidget("TextGuidedSeg")
        if not widget.panel.isShown:
            widget.enter()  # without a main window, nobody else does
        if not widget.panel.environment.isComplete:
            self.skipTest("OpenVINO or the model is not installed; see Environment, at the end of the panel.")
        self.delayDisplay("Ask")
        sample = sample_data.addPhantom()
        widget.ui.inputSelector.setCurrentNode(sample.node)
        self._waitFor(lambda: not widget.panel.dialog.isRunning)
        widget.panel.dialog.frames.select(sample.slice)
        widget.panel.editor.setText(sample_data.PROMPT)
        widget.ui.applyButton.click()
        self._waitFor(lambda: not widget.panel.dialog.isRunning)
        self.assertTrue(widget.ui.acceptButton.enabled, widget.ui.messageLabel.text)
        mask = widget.panel.dialog.proposals[sample.slice].mask
        self.delayDisplay("Accept")
        widget.ui.acceptButton.click()
        self.assertGreater(mask[sample.named].sum(), mask[sample.other].sum())
        self.assertEqual(len(widget.panel.dialog.conversation.accepted), 1)

    def _waitFor(self, condition: Callable[[], bool], seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while not condition() and time.monotonic() < end:
            slicer.app.processEvents()
            time.sleep(0.005)
