"""The MRML scene with its logics as Slicer sets them up: all of it is Slicer's own code, none of it stands in."""

from pathlib import Path

import slicer
import vtk
from slicer_host.record import stubsUsed

# Module name -> class of its logic.
_LOGICS = {
    "Volumes": "vtkSlicerVolumesLogic",
    "Terminologies": "vtkSlicerTerminologiesModuleLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "Models": "vtkSlicerModelsLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Texts": "vtkSlicerTextsLogic",
    "Cameras": "vtkSlicerCamerasModuleLogic",
    "VolumeRendering": "vtkSlicerVolumeRenderingLogic",
    "Sequences": "vtkSlicerSequencesLogic",
    "Units": "vtkSlicerUnitsLogic",
    "Data": "vtkSlicerDataModuleLogic",
}
_RESOURCES = Path(__file__).parent / "resources"  # stands in for Slicer's share folder

# Nodes that Slicer's subject hierarchy plug-ins (Qt code) put into the hierarchy as they enter the scene.
_IN_HIERARCHY = (
    "vtkMRMLVolumeNode",
    "vtkMRMLSegmentationNode",
    "vtkMRMLModelNode",
    "vtkMRMLTransformNode",
    "vtkMRMLTableNode",
    "vtkMRMLTextNode",
    "vtkMRMLMarkupsNode",
    "vtkMRMLSequenceNode",
    "vtkMRMLSequenceBrowserNode",
)


class Scene:
    """One scene, published as slicer.mrmlScene; the application logic; the logics of Slicer's own modules by name."""

    def __init__(self, temporaryPath):
        self.mrmlScene = slicer.vtkMRMLScene()
        self.applicationLogic = slicer.vtkSlicerApplicationLogic()
        self.logics = {}
        self._singletons = []
        self._addSingletons(temporaryPath)
        self._setUpRemoteFiles(temporaryPath)
        slicer.mrmlScene = self.mrmlScene
        self._addLogic("Colors", self.applicationLogic.GetColorLogic())
        for name, className in _LOGICS.items():
            self._addLogic(name, getattr(slicer, className)())
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(self.mrmlScene, True)
        self.mrmlScene.AddObserver(slicer.vtkMRMLScene.NodeAddedEvent, self._addToHierarchy)
        self.mrmlScene.AddObserver(slicer.vtkMRMLScene.NodeAboutToBeRemovedEvent, self._removeFromHierarchy)

    def _addSingletons(self, temporaryPath):
        crosshair = slicer.vtkMRMLCrosshairNode()
        crosshair.SetCrosshairName("default")
        self.mrmlScene.AddNode(crosshair)
        logic = self.applicationLogic
        logic.SetTemporaryPath(temporaryPath)
        logic.SetHomeDirectory(temporaryPath)
        logic.SetShareDirectory("share")
        Path(temporaryPath, "share", "ColorFiles").mkdir(parents=True)  # Slicer's color files are not here
        logic.SetMRMLScene(self.mrmlScene)
        colors = slicer.vtkSlicerColorLogic()  # knows color legends, too
        colors.SetMRMLApplicationLogic(logic)
        logic.SetColorLogic(colors)
        colors.SetMRMLScene(self.mrmlScene)
        logic.SetSliceLogics(vtk.vtkCollection())
        logic.SetViewLogics(vtk.vtkCollection())
        for factory in (
            slicer.vtkMRMLThreeDViewDisplayableManagerFactory,
            slicer.vtkMRMLSliceViewDisplayableManagerFactory,
        ):
            factory.GetInstance().SetMRMLApplicationLogic(logic)

    def _setUpRemoteFiles(self, temporaryPath):
        """Scene bundles (.mrb) are read and written through the logics of remote files."""
        self._remote = slicer.vtkMRMLRemoteIOLogic()
        self._remote.SetMRMLScene(self.mrmlScene)
        self._remote.SetMRMLApplicationLogic(self.applicationLogic)
        self._remote.GetCacheManager().SetRemoteCacheDirectory(str(Path(temporaryPath, "cache")))
        self._dataManager = slicer.vtkDataIOManagerLogic()
        self._dataManager.SetMRMLScene(self.mrmlScene)
        self._dataManager.SetMRMLApplicationLogic(self.applicationLogic)
        self._dataManager.SetAndObserveDataIOManager(self._remote.GetDataIOManager())
        self._remote.AddDataIOToScene()

    def _addLogic(self, name, logic):
        if hasattr(logic, "SetModuleShareDirectory"):
            logic.SetModuleShareDirectory(str(_RESOURCES / name.lower()))
        logic.SetMRMLScene(self.mrmlScene)
        logic.SetMRMLApplicationLogic(self.applicationLogic)
        self.applicationLogic.SetModuleLogic(name, logic)
        self.logics[name] = logic

    def keepSingletons(self):
        """Watch from now on over the nodes that layout, views and selection live on; views make their cameras anew."""
        nodes = [self.mrmlScene.GetNthNode(index) for index in range(self.mrmlScene.GetNumberOfNodes())]
        self._singletons = [node for node in nodes if node.GetSingletonTag() and not node.IsA("vtkMRMLCameraNode")]
        self.mrmlScene.AddObserver(slicer.vtkMRMLScene.EndCloseEvent, self._checkSingletons)

    def _checkSingletons(self, scene, _event):
        """Clear(1) takes the views' nodes from a windowed Slicer. Here it fails the test, and the nodes come back."""
        gone = [node for node in self._singletons if node.GetScene() is None]
        for node in gone:
            scene.AddNode(node)
        if gone:
            stubsUsed.add("mrmlScene.Clear(1)")

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _addToHierarchy(self, scene, event, node):
        if (
            any(node.IsA(each) for each in _IN_HIERARCHY)
            and not node.GetHideFromEditors()
            and not scene.IsBatchProcessing()
        ):
            hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
            if not hierarchy.GetItemByDataNode(node):
                hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _removeFromHierarchy(self, scene, event, node):
        if any(node.IsA(each) for each in _IN_HIERARCHY) and not scene.IsClosing():
            hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
            item = hierarchy.GetItemByDataNode(node)
            if item:
                hierarchy.RemoveItem(item, False, False)
