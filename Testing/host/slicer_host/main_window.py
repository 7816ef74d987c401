"""Stand-in for qSlicerMainWindow: modules bar above, module panel at left, views at right, status bar."""

from PySide6 import QtCore, QtWidgets
from slicer_host.modules import qSlicerModulePanel, qSlicerModuleSelector
from slicer_host.pythonqt import standIn


@standIn
class qSlicerMainWindow(QtWidgets.QMainWindow):
    """Holds the views, the module selector and the module panel."""

    def __init__(self, size):
        super().__init__()
        self.setObjectName("qSlicerMainWindow")
        self.setWindowTitle("3D Slicer (test host)")
        self._selector = qSlicerModuleSelector()
        self._panel = qSlicerModulePanel()
        self._selector.moduleSelected.connect(self._panel.setModule)
        bar = QtWidgets.QToolBar("Modules", self)
        bar.setMovable(False)
        bar.addWidget(QtWidgets.QLabel(" Modules: "))
        bar.addWidget(self._selector)
        self._selector.setMinimumWidth(260)
        self.addToolBar(bar)
        dock = QtWidgets.QDockWidget("3D Slicer", self)
        dock.setObjectName("PanelDockWidget")
        dock.setWidget(self._panel)
        self.addDockWidget(QtCore.Qt.LeftDockWidgetArea, dock)
        self.setCentralWidget(QtWidgets.QWidget())  # the layout manager fills it
        self.statusBar()
        self.resize(*size)

    def moduleSelector(self):
        return self._selector
