"""Stand-ins for Slicer's widgets that know the scene: module panel and node selector."""

import sys

import slicer
import vtk
from PySide6 import QtCore, QtWidgets
from slicer_host.observations import Observations
from slicer_host.pythonqt import standIn
from slicer_host.qt_properties import qtProperty, storedProperty
from slicer_host.record import stubsUsed

Signal = QtCore.Signal


class SceneAware:
    """Mix-in: `mrmlScene()`, `setMRMLScene(scene)`, and `sceneChanged()` to override, called when nodes come or go."""

    _scene = _sceneObservations = None

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene):
        if scene is self._scene:
            return
        self._sceneObservations = self._sceneObservations or Observations()
        self._sceneObservations.clear()
        self._scene = scene
        events = slicer.vtkMRMLScene
        watched = (events.NodeAddedEvent, events.NodeRemovedEvent, events.EndBatchProcessEvent, events.EndCloseEvent)
        for event in watched if scene is not None else ():
            self._sceneObservations.add(scene, event, self._onSceneEvent)
        self.mrmlSceneChanged.emit(scene)
        self.sceneChanged()

    def _onSceneEvent(self, scene, _event):
        if not scene.IsBatchProcessing():
            self.sceneChanged()

    def sceneChanged(self):
        """Nodes came or went."""


@standIn
class qMRMLWidget(SceneAware, QtWidgets.QWidget):
    """The widget that a module's panel is."""

    mrmlSceneChanged = Signal(object)


@standIn
class qMRMLNodeComboBox(SceneAware, QtWidgets.QWidget):
    """Selects a node; its menu adds, renames and deletes nodes as its properties allow."""

    mrmlSceneChanged = Signal(object)
    currentNodeChanged = Signal(object)
    currentNodeIDChanged = Signal(str)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._currentID, self._names = None, Observations()
        self._combo = QtWidgets.QComboBox(self)
        self._combo.setSizeAdjustPolicy(QtWidgets.QComboBox.AdjustToMinimumContentsLengthWithIcon)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._combo)
        self._combo.activated.connect(self._activated)
        self.sceneChanged()

    nodeTypes = storedProperty("QStringList", "nodeTypes", [], "sceneChanged")
    noneEnabled = storedProperty(bool, "noneEnabled", False, "sceneChanged")
    noneDisplay = storedProperty(str, "noneDisplay", "None", "sceneChanged")
    addEnabled = storedProperty(bool, "addEnabled", True, "sceneChanged")
    removeEnabled = storedProperty(bool, "removeEnabled", True, "sceneChanged")
    renameEnabled = storedProperty(bool, "renameEnabled", False, "sceneChanged")
    showHidden = storedProperty(bool, "showHidden", False, "sceneChanged")
    showChildNodeTypes = storedProperty(bool, "showChildNodeTypes", True, "sceneChanged")
    hideChildNodeTypes = storedProperty("QStringList", "hideChildNodeTypes", [], "sceneChanged")
    currentNodeID = qtProperty(
        str, lambda self: self._currentID or "", lambda self, nodeID: self.setCurrentNodeID(nodeID)
    )

    def nodes(self):
        """The nodes of the scene that may be selected, in the order of the scene."""
        if self._scene is None:
            return []
        kinds, excluded, showChildTypes = self.nodeTypes, self.hideChildNodeTypes, self.showChildNodeTypes
        nodes = [self._scene.GetNthNode(index) for index in range(self._scene.GetNumberOfNodes())]
        if showChildTypes:
            nodes = [node for node in nodes if any(node.IsA(each) for each in kinds)]
        else:
            nodes = [node for node in nodes if node.GetClassName() in kinds]
        showHidden = self.showHidden  # properties are slow to read
        nodes = [node for node in nodes if showHidden or not node.GetHideFromEditors()]
        return [node for node in nodes if node.GetClassName() not in excluded]

    def sceneChanged(self, *_value):
        nodes = self.nodes()
        self._names.clear()
        for node in nodes:
            self._names.add(node, vtk.vtkCommand.ModifiedEvent, self._showName)
        self._combo.clear()
        if self.noneEnabled:
            self._combo.addItem(self.noneDisplay, None)
        for node in nodes:
            self._combo.addItem(node.GetName(), node.GetID())
        self._addActions()
        self._select(self._currentID if self.nodeFromID(self._currentID) in nodes else self._defaultID(nodes))

    def _defaultID(self, nodes):
        return nodes[0].GetID() if nodes and not self.noneEnabled else None

    def _addActions(self):
        label = next((each.replace("vtkMRML", "").replace("Node", "") for each in self.nodeTypes), "")
        for enabled, action in (
            (self.addEnabled, "Create new"),
            (self.renameEnabled, "Rename current"),
            (self.removeEnabled, "Delete current"),
        ):
            if enabled and self.nodeTypes:
                self._combo.addItem(f"{action} {label}", "action " + action)

    def _showName(self, node, _event):
        index = self._combo.findData(node.GetID())
        if index >= 0 and self._combo.itemText(index) != node.GetName():
            self._combo.setItemText(index, node.GetName())

    def _select(self, nodeID):
        self._combo.setCurrentIndex(self._combo.findData(nodeID))
        if nodeID != self._currentID:
            self._currentID = nodeID
            self.currentNodeChanged.emit(self.currentNode())
            self.currentNodeIDChanged.emit(nodeID or "")

    def _activated(self, index):
        chosen = self._combo.itemData(index)
        if chosen == "action Create new":
            self.addNode()
        elif chosen == "action Delete current":
            self.removeCurrentNode()
        elif chosen == "action Rename current":
            self.renameCurrentNode()
        else:
            self._select(chosen)

    def nodeFromID(self, nodeID):
        return self._scene.GetNodeByID(nodeID) if self._scene is not None and nodeID else None

    def currentNode(self):
        return self.nodeFromID(self._currentID)

    def setCurrentNode(self, node):
        self.setCurrentNodeID(node.GetID() if node is not None else None)

    def setCurrentNodeID(self, nodeID):
        """Select a node by its ID; one that may not be selected changes nothing."""
        if nodeID != self._currentID and (not nodeID or self.nodeFromID(nodeID) in self.nodes()):
            self._select(nodeID or None)

    def addNode(self):
        """Add a node of the first type, and select it."""
        node = self._scene.AddNewNodeByClass(self.nodeTypes[0])
        if hasattr(node, "CreateDefaultDisplayNodes"):
            node.CreateDefaultDisplayNodes()
        self.setCurrentNode(node)
        return node

    def removeCurrentNode(self):
        if self.currentNode() is not None:
            self._scene.RemoveNode(self.currentNode())

    def renameCurrentNode(self):
        node = self.currentNode()
        name = QtWidgets.QInputDialog.getText(self, "Rename", "New name:", node.GetName()) if node is not None else ""
        if name:
            node.SetName(name)


def _unmodeled(name):
    if not name.startswith(("qMRML", "qSlicer")):
        raise AttributeError(f"module 'slicer' has no attribute {name!r}")
    stubsUsed.add(name)
    return standIn(
        type(name, (SceneAware, QtWidgets.QWidget), {"mrmlSceneChanged": Signal(object), "__module__": "slicer"})
    )


def install(*modules):
    """Publish the q* classes of these modules as slicer.q*; any other q* class is recorded in stubsUsed."""
    for module in (sys.modules[__name__], *modules):
        for name, value in vars(module).items():
            if isinstance(value, type) and "standsForCpp" in vars(value) and name.startswith("q"):
                setattr(slicer, name, value)
    slicer.__getattr__ = _unmodeled
