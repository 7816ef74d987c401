"""The widget class of a module with a panel and a Segment Editor below it: its life, scenes, and reloading."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from typing import Any

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

from leanseg.slicer_bridge.overwrite_chooser import OverwriteChooser


class SegmentationModuleWidget(ScriptedLoadableModuleWidget, VTKObservationMixin, ABC):
    """Base of `<Module>Widget`. The Designer file has `segmentEditorWidget` and `overwriteSelector`.

    A module overrides `makePanel`, whose result is a `ModulePanel` that has enter, exit, close, leaveScene, leaveImage,
    sceneLoaded and segmentsChanged; `makeSections`; and `makeShortcuts`.
    """

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)

    @abstractmethod
    def makePanel(self) -> Any:
        """The panel on `self.ui`; called once, in `setup`."""

    def makeSections(self) -> list[Any]:
        """What is below the panel, each with enter, exit, update, leaveScene and close; called once, in `setup`."""
        return []

    @abstractmethod
    def makeShortcuts(self) -> Any:
        """`Shortcuts` on `self.ui`; called once, in `setup`."""

    def setup(self) -> None:
        ScriptedLoadableModuleWidget.setup(self)
        widget = slicer.util.loadUI(self.resourcePath(f"UI/{self.moduleName}.ui"))
        self.layout.addWidget(widget)
        self.ui = slicer.util.childWidgetVariables(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        self.panel = self.makePanel()
        self.sections = self.makeSections()
        self.overwriteChooser = OverwriteChooser(self.ui.overwriteSelector)
        self.shortcuts = self.makeShortcuts()
        self._observedSegmentation: Any = None
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
        for section in self.sections:
            section.close()
        self.panel.close()

    def onReload(self) -> None:
        """Reload the module's own package too; Slicer itself reloads only its main file."""
        wasShown, library = self.panel.isShown, f"{self.moduleName}Lib"
        for name in [name for name in sys.modules if name.partition(".")[0] == library]:
            del sys.modules[name]
        slicer.util.reloadScriptedModule(self.moduleName)
        if wasShown:  # nobody tells the new panel that it is shown already
            slicer.util.getModuleWidget(self.moduleName).enter()

    def enter(self) -> None:
        """The module is shown."""
        self._useScene()
        self.panel.enter()
        for section in self.sections:
            section.enter()
        self.ui.segmentEditorWidget.installKeyboardShortcuts()
        self.shortcuts.install()

    def exit(self) -> None:
        """Another module is shown."""
        self.shortcuts.remove()
        self.panel.exit()
        for section in self.sections:
            section.exit()
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

    def onSceneStartClose(self, *_args: Any) -> None:
        self.overwriteChooser.setNode(None)
        self.observeSegmentation(None)
        for section in self.sections:
            section.leaveScene()
        wasRunning = self.panel.leaveScene()
        editor = self.ui.segmentEditorWidget
        editor.setActiveEffect(None)
        editor.removeViewObservations()
        editor.setSegmentationNode(None)
        if wasRunning:
            self.panel.message.say(_("The scene was closed, so the run was cancelled. Choose an image."))

    def onSceneEndClose(self, *_args: Any) -> None:
        """Closed, or loaded."""
        if self.panel.isShown and not slicer.mrmlScene.IsClosing():
            self._useScene()
            self.panel.sceneLoaded()

    @vtk.calldata_type(vtk.VTK_OBJECT)  # type: ignore[untyped-decorator]
    def onNodeAboutToBeRemoved(self, _scene: Any, _event: str, node: Any) -> None:
        if not self.panel.worksOn(node) or slicer.mrmlScene.IsClosing():
            return
        if self.panel.leaveImage(node):
            text = _("{name} was removed, so the run was cancelled.")
            if self.panel.volume is None:
                text = _("{name} was removed, so the run was cancelled. Choose another image.")
            self.panel.message.say(text.format(name=node.GetName()), True)

    # The segmentation

    def editSegmentation(self, node: Any, volumeNode: Any, segmentId: str = "") -> None:
        """The Segment Editor works on it, and `panel.segmentsChanged()` is called when anybody changes it; the sections
        look at what the panel has now."""
        editor = self.ui.segmentEditorWidget
        editor.setSegmentationNode(node)
        editor.setSourceVolumeNode(volumeNode if node is not None else None)
        if segmentId:
            editor.setCurrentSegmentID(segmentId)
        if node is not self._observedSegmentation:
            self.observeSegmentation(node)
        for section in self.sections:
            section.update()

    def observeSegmentation(self, node: Any) -> None:
        """`panel.segmentsChanged()` is called when the segments of this node change; None: of no node."""
        self.removeObservers(self.onSegmentsChanged)
        self._observedSegmentation = node
        if node is not None:  # not its vtkSegmentation: a sequence puts another one in for each frame
            kind = slicer.vtkSegmentation
            for event in (kind.SegmentAdded, kind.SegmentRemoved, kind.SegmentModified,
                          kind.SourceRepresentationModified, node.SegmentationChangedEvent):  # fmt: skip
                self.addObserver(node, event, self.onSegmentsChanged)

    def onSegmentsChanged(self, *_args: Any) -> None:
        """By writing, by undo, or by hand."""
        self.panel.segmentsChanged()
