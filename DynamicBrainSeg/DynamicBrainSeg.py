"""Brain tumor segmentation: the model decides for each slice how much to compute; look, overrule, measure."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import slicer
import vtk
from DynamicBrainSegLib import sample_data, shortcuts
from DynamicBrainSegLib.logic import BrainLogic
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

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


class DynamicBrainSegWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Life of the panel, scene events, the Segment Editor and the volumes."""

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)

    def setup(self) -> None:
        from DynamicBrainSegLib.comparison import ShownBrain
        from DynamicBrainSegLib.panel import Panel
        from DynamicBrainSegLib.volumes_section import VolumesSection

        from leanseg.slicer_bridge.precision_panel import PrecisionPanel

        ScriptedLoadableModuleWidget.setup(self)
        widget = slicer.util.loadUI(self.resourcePath("UI/DynamicBrainSeg.ui"))
        self.layout.addWidget(widget)
        self.ui = slicer.util.childWidgetVariables(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        self.logic = DynamicBrainSegLogic()
        self._observedOutput: Any = None
        self.panel = Panel(self.ui, self.logic, self.onOutput)
        self.volumes = VolumesSection(self.ui, self.panel.message)
        self.precisions = PrecisionPanel("DynamicBrainSeg", self.panel, ShownBrain(self.panel))
        self.shortcuts = shortcuts.shortcutsOf(self.ui)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneEndClose)
        self.addObserver(scene, scene.NodeAboutToBeRemovedEvent, self.onNodeAboutToBeRemoved)

    def cleanup(self) -> None:
        """Before the module is unloaded or reloaded."""
        self.exit()
        self.removeObservers()
        self.volumes.close()
        self.precisions.close()
        self.panel.close()

    def onReload(self) -> None:
        """Reload the parts too; Slicer itself reloads only this file."""
        import sys

        wasShown = self.panel.isShown
        for name in [name for name in sys.modules if name.partition(".")[0] == "DynamicBrainSegLib"]:
            del sys.modules[name]
        slicer.util.reloadScriptedModule(self.moduleName)
        if wasShown:  # nobody tells the new panel that it is shown already
            slicer.util.getModuleWidget(self.moduleName).enter()

    def enter(self) -> None:
        """The module is shown."""
        self._useScene()
        self.panel.enter()
        self.precisions.enter()
        self.ui.segmentEditorWidget.installKeyboardShortcuts()
        self.shortcuts.install()

    def exit(self) -> None:
        """Another module is shown."""
        self.shortcuts.remove()
        self.panel.exit()
        self.precisions.exit()
        self.volumes.stop()
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

    def onSceneStartClose(self, *_args: Any) -> None:
        self._observe(None)
        self.precisions.forget()
        wasRunning = self.panel.leaveScene()
        editor = self.ui.segmentEditorWidget
        editor.setActiveEffect(None)
        editor.removeViewObservations()
        editor.setSegmentationNode(None)
        self.volumes.setSegmentation(None, "")
        if wasRunning:
            self.panel.message.say(_("The scene was closed, so the run was cancelled."))

    def onSceneEndClose(self, *_args: Any) -> None:
        """Closed, or loaded."""
        if self.panel.isShown and not slicer.mrmlScene.IsClosing():
            self._useScene()
            self.panel.sequences.observe()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeAboutToBeRemoved(self, _scene: Any, _event: str, node: Any) -> None:
        if node not in self.panel.session.nodes.values() or slicer.mrmlScene.IsClosing():
            return
        if self.panel.leaveImage(node):
            text = _("{name} was removed, so the run was cancelled.")
            self.panel.message.say(text.format(name=node.GetName()), True)

    # The segmentation

    def onOutput(self) -> None:
        """The Segment Editor and the volumes are those of the chosen segmentation."""
        self.precisions.update()
        node, reference = self.panel.output.segmentation, self.panel.reference
        editor = self.ui.segmentEditorWidget
        editor.setSegmentationNode(node)
        editor.setSourceVolumeNode(reference if node is not None else None)
        if node is not self._observedOutput:
            self._observe(node)
        self.volumes.setSegmentation(node, "" if reference is None else reference.GetName())

    def _observe(self, node: Any) -> None:
        self.removeObservers(self.onSegmentsChanged)
        self._observedOutput = node
        if node is not None:
            kind = slicer.vtkSegmentation
            for event in (kind.SegmentAdded, kind.SegmentRemoved, kind.SegmentModified,
                          kind.SourceRepresentationModified, node.SegmentationChangedEvent):  # fmt: skip
                self.addObserver(node, event, self.onSegmentsChanged)

    def onSegmentsChanged(self, *_args: Any) -> None:
        """By writing, by undo, or by hand."""
        self.panel.contentChanged()
        self.volumes.schedule()


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
