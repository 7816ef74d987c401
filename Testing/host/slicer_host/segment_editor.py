"""Stand-in for qMRMLSegmentEditorWidget: a panel as Slicer's on the real vtkSlicerSegmentEditorLogic with its undo."""

import slicer
import vtk
from PySide6 import QtCore, QtGui, QtWidgets
from slicer_host import segment_editor_masking
from slicer_host.mrml_widgets import SceneAware, qMRMLNodeComboBox
from slicer_host.observations import Observations
from slicer_host.pythonqt import standIn
from slicer_host.qt_properties import qtProperty, storedProperty
from slicer_host.segment_effects import EFFECTS
from slicer_host.segment_table import qMRMLSegmentationShow3DButton, qMRMLSegmentsTableView

Signal = QtCore.Signal


@standIn
class qMRMLSegmentEditorWidget(SceneAware, QtWidgets.QWidget):
    """Edits the segmentation of a vtkMRMLSegmentEditorNode. As in Slicer, its logic is out of a script's reach."""

    mrmlSceneChanged = Signal(object)
    segmentationNodeChanged = Signal(object)
    sourceVolumeNodeChanged = Signal(object)
    currentSegmentIDChanged = Signal(str)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._node, self._updating, self._shortcuts, self._active = None, False, [], None
        self._nodeObservations, self._logicObservations = Observations(), Observations()
        self._logic = slicer.vtkSlicerSegmentEditorLogic()
        self._logicObservations.add(self._logic, self._logic.SegmentationHistoryChangedEvent, self._updateHistory)
        self._effects = {name: effect(self._logic) for name, effect in EFFECTS.items()}
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._addSelectors(layout)
        self._addSegmentList(layout)
        self._addEffects(layout)
        self._masking = segment_editor_masking.MaskingBox(self)
        self._masking.hide()  # until an effect is active
        layout.addWidget(self._masking)
        self._undo = self._button("Undo", "UndoButton", self.undo)
        self._redo = self._button("Redo", "RedoButton", self.redo)
        layout.addLayout(_row(self._undo, self._redo))
        self._updateFromNode()

    def _button(self, text, name, slot):
        button = QtWidgets.QPushButton(text, self)
        button.setObjectName(name)
        button.clicked.connect(lambda *_: slot())
        return button

    def _addSelectors(self, layout):
        self._segmentationBox, self._volumeBox = qMRMLNodeComboBox(self), qMRMLNodeComboBox(self)
        form = QtWidgets.QFormLayout()
        for box, name, nodeType, label in (
            (self._segmentationBox, "SegmentationNodeComboBox", "vtkMRMLSegmentationNode", "Segmentation:"),
            (self._volumeBox, "SourceVolumeNodeComboBox", "vtkMRMLScalarVolumeNode", "Source volume:"),
        ):
            box.setObjectName(name)
            box.nodeTypes = [nodeType]
            box.noneEnabled = True
            form.addRow(label, box)
        self._volumeBox.addEnabled = False
        self._form = form
        layout.addLayout(form)
        self._segmentationBox.currentNodeChanged.connect(self.setSegmentationNode)
        self._volumeBox.currentNodeChanged.connect(self.setSourceVolumeNode)

    def _addSegmentList(self, layout):
        self._add = self._button("Add", "AddSegmentButton", self._addSegment)
        self._remove = self._button("Remove", "RemoveSegmentButton", lambda: self._logic.RemoveSelectedSegment())
        self._show3D = qMRMLSegmentationShow3DButton(self)
        self._show3D.setObjectName("Show3DButton")
        layout.addLayout(_row(self._add, self._remove, self._show3D))
        self._table = qMRMLSegmentsTableView(self)
        self._table.setObjectName("SegmentsTableView")
        self._table.setMinimumHeight(90)
        self._table.selectionChanged.connect(
            lambda *_: self.setCurrentSegmentID(next(iter(self._table.selectedSegmentIDs()), ""))
        )
        layout.addWidget(self._table)

    def _addEffects(self, layout):
        self._effectButtons = {}
        for name in ("", *self._effects):
            button = QtWidgets.QToolButton(self)
            button.setText(name or "None")
            button.setObjectName(name or "NULL")
            button.setCheckable(True)
            button.setSizePolicy(QtWidgets.QSizePolicy.Expanding, QtWidgets.QSizePolicy.Preferred)
            button.clicked.connect(lambda _checked=False, name=name: self.setActiveEffectByName(name))
            self._effectButtons[name] = button
        self._effectsBox = QtWidgets.QGroupBox("Effects", self)
        self._effectsBox.setLayout(_row(*self._effectButtons.values()))
        layout.addWidget(self._effectsBox)

    def sceneChanged(self):
        if self._logic.GetMRMLScene() is not self._scene:
            self._logic.SetMRMLScene(self._scene)
            self._segmentationBox.setMRMLScene(self._scene)
            self._volumeBox.setMRMLScene(self._scene)
            # After the boxes, which know the nodes of a loaded scene only then.
            for event in (slicer.vtkMRMLScene.EndBatchProcessEvent, slicer.vtkMRMLScene.EndCloseEvent):
                self._sceneObservations.add(self._scene, event, self._updateFromNode)
        if self._node is not None and self._node.GetScene() is None:  # the scene was closed
            self.setMRMLSegmentEditorNode(None)

    # nodes

    def mrmlSegmentEditorNode(self):
        return self._node

    def setMRMLSegmentEditorNode(self, node):
        if node is self._node:
            return
        self._nodeObservations.clear()
        self.setActiveEffectByName("")
        self._node = node
        self._logic.SetSegmentEditorNode(node)
        self._masking.setNode(node)
        if node is not None:
            self._nodeObservations.add(node, vtk.vtkCommand.ModifiedEvent, self._updateFromNode)
        self._updateFromNode()

    def segmentationNode(self):
        return self._node.GetSegmentationNode() if self._node is not None else None

    def setSegmentationNode(self, node):
        if self._updating or self._node is None or node is self.segmentationNode():
            return
        self._logic.SetSegmentationNode(node)
        if node is not None and node.GetDisplayNode() is None:
            node.CreateDefaultDisplayNodes()
        self._node.SetSelectedSegmentID(
            next(iter(node.GetSegmentation().GetSegmentIDs()), "") if node is not None else ""
        )
        self._updateFromNode()
        self.segmentationNodeChanged.emit(node)

    def sourceVolumeNode(self):
        return self._node.GetSourceVolumeNode() if self._node is not None else None

    def setSourceVolumeNode(self, node):
        if self._updating or self._node is None or node is self.sourceVolumeNode():
            return
        self._logic.SetSourceVolumeNode(node)
        self._updateFromNode()
        self.sourceVolumeNodeChanged.emit(node)

    def currentSegmentID(self):
        return (self._node.GetSelectedSegmentID() or "") if self._node is not None else ""

    def setCurrentSegmentID(self, segmentID):
        if self._node is not None and segmentID != self.currentSegmentID():
            self._node.SetSelectedSegmentID(segmentID)
            self.currentSegmentIDChanged.emit(segmentID)

    def _addSegment(self):
        self.setCurrentSegmentID(self._logic.AddEmptySegment())

    def _updateFromNode(self, *_event):
        """Show what the node says; a scene that is being closed or loaded is shown at its end."""
        if self._updating or (self._scene is not None and (self._scene.IsClosing() or self._scene.IsBatchProcessing())):
            return
        self._updating = True
        segmentation = self.segmentationNode()
        self._segmentationBox.setCurrentNode(segmentation)
        self._volumeBox.setCurrentNode(self.sourceVolumeNode())
        self._table.setSegmentationNode(segmentation)
        self._table.setSelectedSegmentIDs([self.currentSegmentID()])
        self._show3D.setSegmentationNode(segmentation)
        self._add.setEnabled(segmentation is not None)
        self._remove.setEnabled(bool(self.currentSegmentID()))
        self._effectsBox.setEnabled(bool(self.currentSegmentID()) and self.sourceVolumeNode() is not None)
        self._masking.updateFromNode()
        self._updateHistory()
        self._updating = False

    # undo

    def saveStateForUndo(self):
        self._logic.SaveStateForUndo()

    def undo(self):
        self._logic.Undo()

    def redo(self):
        self._logic.Redo()

    def _updateHistory(self, *_event):
        self._undo.setEnabled(self._logic.CanUndo())
        self._redo.setEnabled(self._logic.CanRedo())

    # effects

    def setActiveEffect(self, effect):
        self.setActiveEffectByName(effect.name if effect is not None else "")

    def setActiveEffectByName(self, name):
        if self._active is not None:
            self._active.deactivate()
        self._active = self._effects.get(name)
        if self._active is not None:
            manager = slicer.app.layoutManager()
            self._active.activate([manager.sliceWidget(each) for each in manager.sliceViewNames()])
        if self._node is not None:
            self._node.SetActiveEffectName(name)
        for each, button in self._effectButtons.items():
            button.setChecked(each == name)
        self._masking.setVisible(self._active is not None)

    def setupViewObservations(self):
        """The effects observe the views while they are active; nothing else is to be set up."""

    def removeViewObservations(self):
        self.setActiveEffectByName("")

    # keyboard

    def installKeyboardShortcuts(self, parent=None):
        """Undo, redo and leaving the effect from the keyboard; without this call the keys do nothing, as in Slicer."""
        self.uninstallKeyboardShortcuts()
        actions = {"Ctrl+Z": self.undo, "Ctrl+Y": self.redo, "Escape": lambda: self.setActiveEffectByName("")}
        for keys, action in actions.items():
            shortcut = QtGui.QShortcut(QtGui.QKeySequence(keys), parent or slicer.util.mainWindow())
            shortcut.activated.connect(action)
            self._shortcuts.append(shortcut)

    def uninstallKeyboardShortcuts(self):
        for shortcut in self._shortcuts:
            shortcut.setEnabled(False)
            shortcut.setParent(None)
            shortcut.deleteLater()
        self._shortcuts = []

    # what can be hidden

    def _setSelectorVisible(self, box, visible):
        box.setVisible(visible)
        self._form.labelForField(box).setVisible(visible)

    segmentationNodeSelectorVisible = qtProperty(
        bool,
        lambda self: not self._segmentationBox.isHidden(),
        lambda self, on: self._setSelectorVisible(self._segmentationBox, on),
    )
    sourceVolumeNodeSelectorVisible = qtProperty(
        bool,
        lambda self: not self._volumeBox.isHidden(),
        lambda self, on: self._setSelectorVisible(self._volumeBox, on),
    )
    autoShowSourceVolumeNode = storedProperty(bool, "autoShowSourceVolumeNode", True)
    switchToSegmentationsButtonVisible = storedProperty(bool, "switchToSegmentationsButtonVisible", True)


def _row(*widgets):
    row = QtWidgets.QHBoxLayout()
    for widget in widgets:
        row.addWidget(widget)
    return row
