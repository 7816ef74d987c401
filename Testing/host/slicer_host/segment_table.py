"""Stand-ins for the segment list (qMRMLSegmentsTableView) and the Show 3D button (qMRMLSegmentationShow3DButton)."""

from PySide6 import QtCore, QtGui, QtWidgets
from slicer_host.ctk_widgets import ctkMenuButton
from slicer_host.mrml_widgets import SceneAware
from slicer_host.observations import Observations
from slicer_host.pythonqt import standIn

Signal = QtCore.Signal
_VISIBILITY, _COLOR, _NAME = range(3)  # columns


@standIn
class qMRMLSegmentsTableView(SceneAware, QtWidgets.QWidget):
    """Visibility, color and name of each segment; a click on the eye hides the segment, a name can be edited."""

    mrmlSceneChanged = Signal(object)
    selectionChanged = Signal(object, object)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._node, self._observations, self._filling = None, Observations(), False
        self._table = QtWidgets.QTableWidget(0, 3, self)
        self._table.setObjectName("SegmentsTable")
        self._table.setHorizontalHeaderLabels(["", "", "Name"])
        self._table.setSelectionBehavior(QtWidgets.QAbstractItemView.SelectRows)
        self._table.horizontalHeader().setStretchLastSection(True)
        self._table.verticalHeader().hide()
        for column in (_VISIBILITY, _COLOR):
            self._table.setColumnWidth(column, 24)
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._table)
        self._table.itemSelectionChanged.connect(self._selected)
        self._table.itemChanged.connect(self._renamed)
        self._table.cellClicked.connect(self._clicked)

    def segmentationNode(self):
        return self._node

    def setSegmentationNode(self, node):
        if node is self._node:
            return
        self._observations.clear()
        self._node = node
        if node is not None:
            # The node passes the events of its segmentation on after it has given a new segment its display properties.
            segmentation = node.GetSegmentation()
            events = (
                segmentation.SegmentAdded,
                segmentation.SegmentRemoved,
                segmentation.SegmentModified,
                segmentation.SegmentsOrderModified,
                node.DisplayModifiedEvent,
            )
            for event in events:
                self._observations.add(node, event, self._fill)
        self._fill()

    def _fill(self, *_event):
        selected = self.selectedSegmentIDs()
        self._filling = True
        ids = list(self._node.GetSegmentation().GetSegmentIDs()) if self._node is not None else []
        self._table.setRowCount(len(ids))
        for row, segmentID in enumerate(ids):
            self._fillRow(row, segmentID)
        self._filling = False
        self.setSelectedSegmentIDs(selected)

    def _fillRow(self, row, segmentID):
        segment = self._node.GetSegmentation().GetSegment(segmentID)
        display = self._node.GetDisplayNode()
        shown = display is None or display.GetSegmentVisibility(segmentID)
        visibility, color, name = (
            QtWidgets.QTableWidgetItem(text) for text in ("●" if shown else "○", "", segment.GetName())
        )
        color.setBackground(QtGui.QColor.fromRgbF(*segment.GetColor()))
        name.setData(QtCore.Qt.UserRole, segmentID)
        for column, item in enumerate((visibility, color, name)):
            self._table.setItem(row, column, item)

    def _segmentID(self, row):
        return self._table.item(row, _NAME).data(QtCore.Qt.UserRole)

    def _selected(self):
        if not self._filling:
            self.selectionChanged.emit(None, None)

    def _renamed(self, item):
        if not self._filling and item.column() == _NAME:
            self._node.GetSegmentation().GetSegment(self._segmentID(item.row())).SetName(item.text())

    def _clicked(self, row, column):
        display = self._node.GetDisplayNode()
        if column == _VISIBILITY and display is not None:
            segmentID = self._segmentID(row)
            display.SetSegmentVisibility(segmentID, not display.GetSegmentVisibility(segmentID))

    def selectedSegmentIDs(self):
        return [self._segmentID(index.row()) for index in self._table.selectionModel().selectedRows()]

    def setSelectedSegmentIDs(self, segmentIDs):
        """Select these rows; as in Slicer, `selectionChanged` is for what a person does."""
        self._filling = True
        self._table.clearSelection()
        for row in range(self._table.rowCount):
            if self._segmentID(row) in segmentIDs:
                self._table.selectRow(row)
        self._filling = False


@standIn
class qMRMLSegmentationShow3DButton(ctkMenuButton):
    """Makes the closed surfaces of the segments, and removes them."""

    def __init__(self, parent=None):
        super().__init__(parent)
        self._node = None
        self.setText("Show 3D")
        self.setCheckable(True)
        self.toggled.connect(self._show)

    def segmentationNode(self):
        return self._node

    def setSegmentationNode(self, node):
        self._node = node
        self.setEnabled(node is not None)

    def _show(self, shown):
        if self._node is not None and shown:
            self._node.CreateClosedSurfaceRepresentation()
        elif self._node is not None:
            self._node.RemoveClosedSurfaceRepresentation()
