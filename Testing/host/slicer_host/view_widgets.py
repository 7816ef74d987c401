"""Stand-ins for Slicer's view widgets: a QWidget shows the picture of a real VTK view and passes mouse events to it."""

import slicer
import vtk
from PySide6 import QtCore, QtGui, QtWidgets
from slicer_host import views
from slicer_host.ctk_widgets import ctkSliderWidget
from slicer_host.pythonqt import standIn

_BUTTONS = {
    QtCore.Qt.LeftButton: "LeftButton",
    QtCore.Qt.RightButton: "RightButton",
    QtCore.Qt.MiddleButton: "MiddleButton",
}
_RENDER_DELAY_MS = 1000 // 60  # what happens in between is rendered once, as in Slicer


class _ViewWidget(QtWidgets.QWidget):
    """Renders when the view asks for it and at the next event loop, as ctkVTKAbstractView does."""

    def __init__(self, view, parent):
        super().__init__(parent)
        self._view, self._image = view, None
        self._timer = QtCore.QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self.forceRender)
        view.managers.AddObserver(vtk.vtkCommand.UpdateEvent, self.scheduleRender)
        self.setMouseTracking(True)
        self.setMinimumSize(80, 80)
        self.setFocusPolicy(QtCore.Qt.StrongFocus)

    def scheduleRender(self, *_event):
        if not self._timer.isActive():
            self._timer.start(_RENDER_DELAY_MS)

    def forceRender(self):
        if not self.isVisible():  # as in Slicer; what the layout hides costs nothing
            return
        pixels = self._view.pixels()
        height, width, _ = pixels.shape
        self._image = QtGui.QImage(pixels.tobytes(), width, height, 3 * width, QtGui.QImage.Format_RGB888)
        self.update()

    def renderWindow(self):
        return self._view.window

    def interactor(self):
        return self._view.interactor

    def interactorStyle(self):
        return self._view.style

    def displayableManagerByClassName(self, name):
        return self._view.managers.GetDisplayableManagerByClassName(name)

    def showEvent(self, event):
        self.scheduleRender()

    def resizeEvent(self, event):
        self._view.resize(event.size().width(), event.size().height())
        self.scheduleRender()

    def paintEvent(self, event):
        if self._image is not None:
            QtGui.QPainter(self).drawImage(self.rect, self._image)

    def _invoke(self, event, name):
        position, modifiers = event.position(), event.modifiers()
        control, shift = (bool(modifiers & each) for each in (QtCore.Qt.ControlModifier, QtCore.Qt.ShiftModifier))
        x, y = int(position.x()), self.height - 1 - int(position.y())
        self._view.interactor.SetEventInformation(x, y, int(control), int(shift), "\0", 0, None)
        self._view.interactor.InvokeEvent(name)

    def mousePressEvent(self, event):
        self._invoke(event, _BUTTONS.get(event.button(), "LeftButton") + "PressEvent")

    def mouseReleaseEvent(self, event):
        self._invoke(event, _BUTTONS.get(event.button(), "LeftButton") + "ReleaseEvent")

    def mouseMoveEvent(self, event):
        self._invoke(event, "MouseMoveEvent")

    def wheelEvent(self, event):
        self._invoke(event, "MouseWheelForwardEvent" if event.angleDelta().y() > 0 else "MouseWheelBackwardEvent")


@standIn
class qMRMLSliceView(_ViewWidget):
    """The picture of a slice."""

    def mrmlSliceNode(self):
        return self._view.node


@standIn
class qMRMLThreeDView(_ViewWidget):
    """The picture of the 3-D scene."""

    def mrmlViewNode(self):
        return self._view.node

    def resetFocalPoint(self):
        """Look at the middle of what is shown, from where the camera is; the box fits itself around it."""
        self._view.lookAtContents()
        self.scheduleRender()

    def resetCamera(self, resetRotation=True, resetTranslation=True, resetDistance=True):
        """Look from the front, at the middle, from so far that all is seen, box included."""
        manager = self.displayableManagerByClassName("vtkMRMLCameraDisplayableManager")
        manager.GetCameraNode().Reset(resetRotation, resetTranslation, resetDistance, self._view.renderer)
        self.scheduleRender()


@standIn
class qMRMLSliceWidget(QtWidgets.QWidget):
    """A slice view below its colored bar with the offset slider."""

    def __init__(self, scene, name, orientation, color, parent):
        super().__init__(parent)
        self.setObjectName("qMRMLSliceWidget" + name)
        self._view = views.SliceView(scene, name, orientation)
        self._viewWidget = qMRMLSliceView(self._view, self)
        self._slider = ctkSliderWidget()
        bar = QtWidgets.QWidget(self)
        bar.setStyleSheet(f"background-color: {color}")
        barLayout = QtWidgets.QHBoxLayout(bar)
        barLayout.setContentsMargins(4, 1, 4, 1)
        barLayout.addWidget(QtWidgets.QLabel(name[0]))
        barLayout.addWidget(self._slider)
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(bar)
        layout.addWidget(self._viewWidget, 1)
        self._slider.valueChanged.connect(self._view.logic.SetSliceOffset)
        self._view.logic.AddObserver(vtk.vtkCommand.ModifiedEvent, self._update)

    def _update(self, *_event):
        limits, resolution = [0.0, 0.0], vtk.reference(1.0)
        blocker = QtCore.QSignalBlocker(self._slider)
        if self._view.logic.GetSliceOffsetRangeResolution(limits, resolution):
            self._slider.singleStep = max(float(resolution), 1e-3)
            self._slider.setRange(*limits)
        self._slider.value = self._view.logic.GetSliceOffset()
        del blocker
        self._viewWidget.scheduleRender()

    def fitSliceToBackground(self):
        """Show all of the background volume, from its middle."""
        self._view.logic.FitSliceToBackground()

    def sliceView(self):
        return self._viewWidget

    def sliceLogic(self):
        return self._view.logic

    def mrmlSliceNode(self):
        return self._view.node

    def interactorStyle(self):
        return self._view.style


@standIn
class qMRMLThreeDWidget(QtWidgets.QWidget):
    """A 3-D view."""

    def __init__(self, scene, parent):
        super().__init__(parent)
        self._view = views.ThreeDView(scene, "1")
        self._viewWidget = qMRMLThreeDView(self._view, self)
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._viewWidget)

    def threeDView(self):
        return self._viewWidget

    def mrmlViewNode(self):
        return self._view.node


_SLICES = (("Red", "Axial", "#f34a33"), ("Yellow", "Sagittal", "#edd54c"), ("Green", "Coronal", "#6eb04b"))
_LAYOUTS = {  # layout -> {view: (row, column)}; of Slicer's many layouts those that our modules choose
    slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView: {
        "3D": (0, 0, 1, 3),
        "Red": (1, 0),
        "Yellow": (1, 1),
        "Green": (1, 2),
    },
    slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView: {"Red": (0, 0), "3D": (0, 1), "Green": (1, 0), "Yellow": (1, 1)},
    slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView: {"Red": (0, 0)},
    slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpYellowSliceView: {"Yellow": (0, 0)},
    slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpGreenSliceView: {"Green": (0, 0)},
}


@standIn
class qSlicerLayoutManager(QtCore.QObject):
    """Red, Yellow, Green and one 3-D view, in the layouts of _LAYOUTS."""

    def __init__(self, scene, viewport):
        super().__init__(viewport)
        self._viewport, self._scene = viewport, scene
        self._grid = QtWidgets.QGridLayout(viewport)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(2)
        self._widgets = {
            name: qMRMLSliceWidget(scene, name, orientation, color, viewport) for name, orientation, color in _SLICES
        }
        self._widgets["3D"] = qMRMLThreeDWidget(scene, viewport)
        self._layout = None
        self.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
        scene.mrmlScene.AddObserver(slicer.vtkMRMLScene.EndBatchProcessEvent, self._setUpAgain)

    def setLayout(self, layout):
        places = _LAYOUTS[layout]  # KeyError: add the layout that the module needs
        nodes = {name: self._viewNode(name) for name in self._widgets}
        for node in nodes.values():
            node.SetMappedInLayout(0)
        for name, widget in self._widgets.items():
            self._grid.removeWidget(widget)
            widget.setVisible(name in places)
            if name in places:
                self._grid.addWidget(widget, *places[name])
                nodes[name].SetMappedInLayout(1)
        self._layout = layout

    def _setUpAgain(self, *_event):
        """As in Slicer after a scene was closed or loaded. The nodes of the views change with it, and that is what
        the displayable managers wait for: they take no notice of what happens to a node during the batch."""
        self.setLayout(self._layout)

    def _viewNode(self, name):
        widget = self._widgets[name]
        return widget.mrmlViewNode() if name == "3D" else widget.mrmlSliceNode()

    layout = property(lambda self: self._layout, setLayout)
    threeDViewCount = property(lambda self: 1)
    tableViewCount = property(lambda self: 0)
    plotViewCount = property(lambda self: 0)

    def sliceViewNames(self):
        return [name for name, *_ in _SLICES]

    def sliceWidget(self, name):
        return self._widgets.get(name) if name != "3D" else None

    def threeDWidget(self, index):
        return self._widgets["3D"] if index == 0 else None

    def resetSliceViews(self):
        """Every slice view shows all of its background volume."""
        for name in self.sliceViewNames():
            self.sliceWidget(name).fitSliceToBackground()

    def resetThreeDViews(self):
        view = self.threeDWidget(0).threeDView()
        view.resetFocalPoint()
        view.resetCamera()

    def mrmlSliceLogics(self):
        return self._scene.applicationLogic.GetSliceLogics()

    def viewport(self):
        return self._viewport
