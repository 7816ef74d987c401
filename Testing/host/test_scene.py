"""Scene, observers, parameter nodes, subject hierarchy and sequences, as Slicer documents them."""

import numpy as np
import slicer
import vtk
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic
from slicer.util import VTKObservationMixin


class ExampleLogic(ScriptedLoadableModuleLogic):
    pass


class Observer(VTKObservationMixin):
    def __init__(self):
        super().__init__()
        self.seen = []

    def note(self, caller, event):
        self.seen.append(event)


def test_observers_are_added_once_and_removed():
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    observer = Observer()
    observer.addObserver(node, vtk.vtkCommand.ModifiedEvent, observer.note)
    assert observer.hasObserver(node, vtk.vtkCommand.ModifiedEvent, observer.note)
    node.Modified()
    observer.removeObservers()
    node.Modified()
    assert observer.seen == ["ModifiedEvent"]


def test_closing_the_scene_says_start_and_end():
    observer = Observer()
    for event in (slicer.vtkMRMLScene.StartCloseEvent, slicer.vtkMRMLScene.EndCloseEvent):
        observer.addObserver(slicer.mrmlScene, event, lambda caller, event, number=event: observer.seen.append(number))
    slicer.mrmlScene.Clear(0)
    observer.removeObservers()
    assert observer.seen == [slicer.vtkMRMLScene.StartCloseEvent, slicer.vtkMRMLScene.EndCloseEvent]


def test_removing_a_node_tells_which():
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    removed = []

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def note(scene, event, which):
        removed.append(which)

    tag = slicer.mrmlScene.AddObserver(slicer.vtkMRMLScene.NodeRemovedEvent, note)
    slicer.mrmlScene.RemoveNode(node)
    slicer.mrmlScene.RemoveObserver(tag)
    assert removed == [node]


def test_the_parameter_node_is_one_per_module():
    node = ExampleLogic().getParameterNode()
    assert ExampleLogic().getParameterNode() is node
    assert (node.GetSingletonTag(), node.GetAttribute("ModuleName")) == ("Example", "Example")


def test_the_parameter_node_survives_saving_and_loading(tmp_path):
    volume = slicer.util.addVolumeFromArray(np.zeros((1, 2, 2)), name="image")
    node = ExampleLogic().getParameterNode()
    node.SetParameter("threshold", "0.25")
    node.SetNodeReferenceID("input", volume.GetID())
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    node.SetParameter("threshold", "0.75")
    slicer.util.loadScene(str(tmp_path / "scene.mrb"), {"clear": True})
    loaded = ExampleLogic().getParameterNode()
    assert loaded.GetParameter("threshold") == "0.25"
    assert loaded.GetNodeReference("input") is slicer.util.getNode("image")


def test_closing_the_scene_empties_the_parameter_node_but_keeps_it():
    node = ExampleLogic().getParameterNode()
    node.SetParameter("threshold", "0.25")
    slicer.mrmlScene.Clear(0)
    again = ExampleLogic().getParameterNode()
    assert again.GetParameter("threshold") == ""
    assert again.GetAttribute("ModuleName") == "Example"


def test_nodes_enter_and_leave_the_subject_hierarchy():
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "image")
    hidden = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScalarVolumeNode")
    hidden.UnRegister(None)
    hidden.SetHideFromEditors(True)
    slicer.mrmlScene.AddNode(hidden)
    item = hierarchy.GetItemByDataNode(volume)
    assert hierarchy.GetItemName(item) == "image"
    assert hierarchy.GetItemParent(item) == hierarchy.GetSceneItemID()
    assert hierarchy.GetItemByDataNode(hidden) == 0
    slicer.mrmlScene.RemoveNode(volume)
    assert hierarchy.GetItemUID(item, "any") == ""
    assert item not in _items(hierarchy)


def _items(hierarchy):
    ids = vtk.vtkIdList()
    hierarchy.GetItemChildren(hierarchy.GetSceneItemID(), ids, True)
    return [ids.GetId(index) for index in range(ids.GetNumberOfIds())]


def test_a_sequence_browser_shows_its_selected_item_in_the_proxy():
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "clip")
    for index in range(3):
        frame = slicer.vtkMRMLScalarVolumeNode()
        slicer.util.updateVolumeFromArray(frame, np.full((1, 2, 2), index, np.int16))
        sequence.SetDataNodeAtValue(frame, str(index))
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "browser")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    browser.SetSelectedItemNumber(2)
    assert slicer.util.arrayFromVolume(browser.GetProxyNode(sequence)).max() == 2


def test_the_terminology_of_a_lesion_is_found():
    entry = slicer.vtkSlicerTerminologyEntry()
    text = (
        "Segmentation category and type - 3D Slicer General Anatomy list"
        "~SCT^49755003^Morphologically Altered Structure~SCT^4147007^Mass~^^"
        "~Anatomic codes - DICOM master list~SCT^76752008^Breast~^^"
    )
    assert slicer.modules.terminologies.logic().DeserializeTerminologyEntry(text, entry)
    assert entry.GetTypeObject().GetCodeMeaning() == "Mass"
