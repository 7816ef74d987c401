"""Breast ultrasound segmentation: propose, look, accept or reject, correct, measure. Research only."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleTest
from UltrasoundKDLib import other_images, sample_data, shortcuts
from UltrasoundKDLib.logic import UltrasoundKDLogic

from leanseg.slicer_bridge.module_widget import SegmentationModuleWidget

#
# UltrasoundKD
#


class UltrasoundKD(ScriptedLoadableModule):
    """What Slicer shows about the module."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Breast ultrasound segmentation")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.dependencies = ["Segmentations", "Sequences", "SampleData"]
        self.parent.contributors = ["LeanSeg maintainers"]
        self.parent.helpText = _(
            "<p>Outlines breast lesions in ultrasound images, clips and sequences. Choose an image, press Apply, look"
            " at the outline and the uncertainty, then accept it as a segment (one Undo takes it back) or reject it."
            " Correct it with the Segment Editor below, and read its sizes from the table. No image leaves this"
            " computer.</p><p><b>For research only. Not for clinical use.</b></p><p>No image at hand? Sample Data has"
            " a simulated image and clip, under LeanSeg.</p><p>Keyboard shortcuts while the module is shown:</p>"
        )
        self.parent.helpText += shortcuts.helpTable(shortcuts.descriptions())
        self.parent.acknowledgementText = _(
            "The models are students of a joint distillation from two teachers. Please cite: H. Guo, Y. Ding, H. Dang,"
            " T. Liu, X. Song, G. Zhang, S. Yao, D. Hou, Z. Lyu: A joint distillation model for the tumor segmentation"
            " using breast ultrasound images. Journal of Biomedical Engineering, doi:10.7507/1001-5515.202311054."
        )
        slicer.app.connect("startupCompleted()", sample_data.registerSampleData)
        slicer.app.connect("startupCompleted()", other_images.showAllOfLoadedScenes)


#
# UltrasoundKDWidget
#


class UltrasoundKDWidget(SegmentationModuleWidget):
    """Puts the panel together; the base class has the life of the widget, scene events and the Segment Editor."""

    def makePanel(self) -> Any:
        from UltrasoundKDLib.panel import Panel

        self.logic = UltrasoundKDLogic()
        self._editedTarget: tuple[Any, str] | None = None
        return Panel(self.ui, self.logic, self.onTargetChanged)

    def makeSections(self) -> list[Any]:
        from UltrasoundKDLib.measurements_section import MeasurementsSection

        from leanseg.slicer_bridge.case_suggestions import CaseSuggestions
        from leanseg.slicer_bridge.precision_panel import PrecisionPanel
        from leanseg.slicer_bridge.precision_subject import ShownFrame

        panel = self.panel
        self.measurements = MeasurementsSection(self.ui, self.logic, panel)
        self.cases = CaseSuggestions("UltrasoundKD", panel, self.logic.models)
        self.precisions = PrecisionPanel("UltrasoundKD", panel, ShownFrame(lambda: panel.session.frames))
        return [self.measurements, self.cases, self.precisions]

    def makeShortcuts(self) -> Any:
        return shortcuts.shortcutsOf(self.ui)

    def _useScene(self) -> None:
        """Which segment is selected, and so measured, is said by the Segment Editor node."""
        super()._useScene()
        self.removeObservers(self.onSegmentSelected)
        editorNode = self.ui.segmentEditorWidget.mrmlSegmentEditorNode()
        self.addObserver(editorNode, vtk.vtkCommand.ModifiedEvent, self.onSegmentSelected)

    def onSegmentSelected(self, *_args: Any) -> None:
        self.measurements.update()

    def onTargetChanged(self) -> None:
        """The Segment Editor works on the target of the panel."""
        panel = self.panel
        target = (panel.target.segmentation, panel.target.segmentId)
        isAnother, self._editedTarget = target != self._editedTarget, target
        volume = panel.volume if panel.session.frames is not None else None
        # Of the same target, another segment may have been selected in the editor since.
        self.editSegmentation(target[0], volume, target[1] if isAnother else "")

    def onSegmentsChanged(self, *_args: Any) -> None:
        """Somebody, perhaps the Segment Editor, has changed the target."""
        super().onSegmentsChanged()
        editor, segmentId = self.ui.segmentEditorWidget, self.panel.target.segmentId
        if segmentId and not editor.currentSegmentID():
            editor.setCurrentSegmentID(segmentId)  # a redo brought it back
        self.measurements.update()


#
# UltrasoundKDTest
#


class UltrasoundKDTest(ScriptedLoadableModuleTest):
    """From the sample image to a measured segment, through the panel. Needs OpenVINO; Testing/slicer tests the rest."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear(0)

    def test_AnAcceptedLesionHasTheAreaOfTheTruth(self) -> None:
        from leanseg.phantom import SPACING_MM, ultrasound_phantom

        slicer.util.selectModule("UltrasoundKD")
        widget = slicer.util.getModuleWidget("UltrasoundKD")
        if not widget.panel.isShown:
            widget.enter()  # without a main window, nobody else does
        if not widget.panel.environment.isComplete:
            self.skipTest("OpenVINO is not installed; see Environment, at the end of the panel.")
        self.delayDisplay("Propose")
        widget.ui.inputSelector.setCurrentNode(sample_data.addPhantom(sample_data.STILL_IMAGE))
        widget.ui.applyButton.click()
        self._waitFor(lambda: widget.ui.acceptButton.enabled or not widget.panel.session.applying)
        self.assertTrue(widget.ui.acceptButton.enabled, widget.ui.messageLabel.text)
        self.delayDisplay("Accept and measure")
        widget.ui.acceptButton.click()
        self._waitFor(lambda: widget.ui.measurementsTable.rowCount > 0)
        area = sum(row.area for row in widget.measurements.table.rows)
        truth = ultrasound_phantom("malignant", seed=1).truth.sum() * SPACING_MM**2
        self.assertAlmostEqual(area, truth, delta=0.15 * truth)

    def _waitFor(self, condition: Callable[[], bool], seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while not condition() and time.monotonic() < end:
            slicer.app.processEvents()
            time.sleep(0.005)
