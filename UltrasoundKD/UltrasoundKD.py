"""Breast ultrasound segmentation: propose, look, accept or reject, correct, measure. Research only."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin
from UltrasoundKDLib import other_images, sample_data, shortcuts
from UltrasoundKDLib.logic import UltrasoundKDLogic
from UltrasoundKDLib.options import TARGET

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


class UltrasoundKDWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Life of the panel, scene events, the Segment Editor and the measurements."""

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)

    def setup(self) -> None:
        from UltrasoundKDLib.measurements_section import MeasurementsSection
        from UltrasoundKDLib.panel import Panel

        from leanseg.slicer_bridge.case_suggestions import CaseSuggestions
        from leanseg.slicer_bridge.overwrite_chooser import OverwriteChooser
        from leanseg.slicer_bridge.precision_panel import PrecisionPanel
        from leanseg.slicer_bridge.precision_subject import ShownFrame

        ScriptedLoadableModuleWidget.setup(self)
        widget = slicer.util.loadUI(self.resourcePath("UI/UltrasoundKD.ui"))
        self.layout.addWidget(widget)
        self.ui = slicer.util.childWidgetVariables(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        self.logic = UltrasoundKDLogic()
        self.panel = Panel(self.ui, self.logic, self.onTargetChanged)
        self.measurements = MeasurementsSection(self.ui, self.logic, self.panel)
        self.cases = CaseSuggestions("UltrasoundKD", self.panel, self.logic.models)
        frame = ShownFrame(lambda: self.panel.session.frames)
        self.precisions = PrecisionPanel("UltrasoundKD", self.panel, frame)
        self.overwriteChooser = OverwriteChooser(self.ui.overwriteSelector)
        self.shortcuts = shortcuts.shortcutsOf(self.ui)
        self._editedTarget: tuple[Any, str] | None = None
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneEndClose)
        self.addObserver(scene, scene.NodeAboutToBeRemovedEvent, self.onNodeAboutToBeRemoved)

    def cleanup(self) -> None:
        """Before the module is unloaded or reloaded."""
        self.exit()
        self.removeObservers()
        self.overwriteChooser.setNode(None)
        self.measurements.close()
        self.cases.close()
        self.precisions.close()
        self.panel.close()

    def onReload(self) -> None:
        """Reload the parts too; Slicer itself reloads only this file."""
        import sys

        wasShown = self.panel.isShown
        for name in [name for name in sys.modules if name.partition(".")[0] == "UltrasoundKDLib"]:
            del sys.modules[name]
        slicer.util.reloadScriptedModule(self.moduleName)
        if wasShown:  # nobody tells the new panel that it is shown already
            slicer.util.getModuleWidget(self.moduleName).enter()

    def enter(self) -> None:
        """The module is shown."""
        self._useScene()
        self.panel.enter()
        self.cases.enter()
        self.precisions.enter()
        self.ui.segmentEditorWidget.installKeyboardShortcuts()
        self.shortcuts.install()

    def exit(self) -> None:
        """Another module is shown."""
        self.shortcuts.remove()
        self.panel.exit()
        self.cases.exit()
        self.precisions.exit()
        self.measurements.stop()
        editor = self.ui.segmentEditorWidget
        editor.setActiveEffect(None)
        editor.uninstallKeyboardShortcuts()
        editor.removeViewObservations()

    # Scene

    def _useScene(self) -> None:
        """The Segment Editor node of this scene; it is made where there is none."""
        editorNode = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLSegmentEditorNode")
        if editorNode is None:
            editorNode = slicer.mrmlScene.CreateNodeByClass("vtkMRMLSegmentEditorNode")
            editorNode.UnRegister(None)
            editorNode.SetSingletonTag(self.moduleName)
            editorNode = slicer.mrmlScene.AddNode(editorNode)
        self.ui.segmentEditorWidget.setMRMLSegmentEditorNode(editorNode)
        self.ui.segmentEditorWidget.setupViewObservations()
        self.overwriteChooser.setNode(editorNode)
        self.removeObservers(self.onSegmentSelected)
        self.addObserver(editorNode, vtk.vtkCommand.ModifiedEvent, self.onSegmentSelected)

    def onSceneStartClose(self, *_args: Any) -> None:
        self.overwriteChooser.setNode(None)
        self.removeObservers(self.onSegmentSelected)
        self.removeObservers(self.onSegmentsChanged)
        self.cases.leaveScene()
        self.precisions.forget()
        wasApplying = self.panel.leaveScene()
        editor = self.ui.segmentEditorWidget
        editor.setActiveEffect(None)
        editor.removeViewObservations()
        editor.setSegmentationNode(None)
        self._editedTarget = None
        self.measurements.clear()
        self.logic.accepted.clear()
        if wasApplying:
            self.panel.message.say(_("The scene was closed, so the run was cancelled. Choose an image."))

    def onSceneEndClose(self, *_args: Any) -> None:
        """Closed, or loaded."""
        if self.panel.isShown and not slicer.mrmlScene.IsClosing():
            self._useScene()
            self.panel.sceneLoaded()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeAboutToBeRemoved(self, _scene: Any, _event: str, node: Any) -> None:
        if node is not self.panel.volume or slicer.mrmlScene.IsClosing():
            return
        wasApplying = self.panel.leaveImage()
        self.measurements.clear()
        self.ui.inputSelector.setCurrentNode(None)
        self.panel.parameters.setNode(TARGET, None)  # not done yet while another module is shown
        if wasApplying:
            text = _("{name} was removed, so the run was cancelled. Choose another image.")
            self.panel.message.say(text.format(name=node.GetName()), True)

    def onTargetChanged(self) -> None:
        """The Segment Editor works on the target of the panel."""
        self.cases.update()
        self.precisions.update()
        editor, panel = self.ui.segmentEditorWidget, self.panel
        segmentationNode, segmentId = target = panel.target.segmentation, panel.target.segmentId
        editor.setSegmentationNode(segmentationNode)
        editor.setSourceVolumeNode(panel.volume if panel.session.frames is not None else None)
        self.measurements.schedule()
        if target == self._editedTarget:
            return  # another segment may have been selected there since
        self._editedTarget = target
        if segmentId:
            editor.setCurrentSegmentID(segmentId)
        self.removeObservers(self.onSegmentsChanged)
        if segmentationNode is not None:  # not its vtkSegmentation: a sequence puts another one in for each frame
            kind = slicer.vtkSegmentation
            for event in (kind.SegmentAdded, kind.SegmentRemoved, kind.SegmentModified,
                          kind.SourceRepresentationModified, segmentationNode.SegmentationChangedEvent):  # fmt: skip
                self.addObserver(segmentationNode, event, self.onSegmentsChanged)

    def onSegmentsChanged(self, *_args: Any) -> None:
        """Somebody, perhaps the Segment Editor, has changed the target."""
        self.panel.updateTarget()
        if self.panel.target.segmentId and not self.ui.segmentEditorWidget.currentSegmentID():
            self.ui.segmentEditorWidget.setCurrentSegmentID(self.panel.target.segmentId)  # a redo brought it back
        self.measurements.schedule()

    def onSegmentSelected(self, *_args: Any) -> None:
        self.measurements.schedule()


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
