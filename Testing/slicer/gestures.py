"""Gestures of a person, for tests that run in the host and in a real Slicer alike: mouse, wheel, keys, patience.

Widgets get Qt events. Slice and 3-D views get the events of their VTK interactor, as `slicer.util.clickAndDrag` does.
Points in a view are (x, y) pixels from its LOWER left corner, points in another widget are pixels from its UPPER left.
"""

import time

import qt
import slicer
import vtk


def startOver():
    """The application as it is after the start, as far as tests change it: Data module, empty scene, four views."""
    slicer.util.selectModule("Data")
    slicer.mrmlScene.Clear(0)
    manager = slicer.app.layoutManager()
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    for name, orientation in (("Red", "Axial"), ("Yellow", "Sagittal"), ("Green", "Coronal")):
        manager.sliceWidget(name).mrmlSliceNode().SetOrientation(orientation)


def settle(ms=100):
    """Process events for `ms` milliseconds: timers fire, views render."""
    end = time.monotonic() + ms / 1000
    while time.monotonic() < end:
        slicer.app.processEvents()
        time.sleep(0.001)  # lets worker threads run


def waitFor(condition, seconds=10):
    """Process events until `condition()` is true; False if it is not after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        slicer.app.processEvents()
        time.sleep(0.001)
    return True


def click(widget, point=None, control=False, shift=False):
    """Press and release the left button at `point` (default: the middle)."""
    drag(widget, [_middle(widget) if point is None else point], control, shift)


def drag(widget, points, control=False, shift=False):
    """Press the left button at the first point, move through the others, release at the last."""
    if _view(widget) is None:
        _dragWidget(widget, points, control, shift)
    else:
        _dragView(_view(widget), points, control, shift)
    slicer.app.processEvents()


def moveTo(view, point):
    """Move the mouse over a slice or 3-D view with no button down."""
    interactor = _view(view).interactor()
    _point(interactor, point)
    interactor.MouseMoveEvent()
    slicer.app.processEvents()


def wheel(sliceWidget, steps):
    """Turn the wheel over a slice view: positive steps forward (away from the person), negative backward."""
    interactor = _view(sliceWidget).interactor()
    _point(interactor, _middle(sliceWidget))
    for _ in range(abs(steps)):
        if steps > 0:
            interactor.MouseWheelForwardEvent()
        else:
            interactor.MouseWheelBackwardEvent()
        slicer.app.processEvents()


def key(widget, code, control=False, shift=False):
    """Press and release a key: it goes to a shortcut of the widget, its parents or its window, else to the widget."""
    shortcut = _shortcutFor(widget, code, control, shift)
    if shortcut is not None:
        pressed = qt.QShortcutEvent(shortcut.key, shortcut.id(), False)
        qt.QCoreApplication.sendEvent(shortcut, pressed)
    else:
        for kind in (qt.QEvent.KeyPress, qt.QEvent.KeyRelease):
            event = qt.QKeyEvent(kind, code, _modifiers(control, shift))
            qt.QCoreApplication.sendEvent(widget, event)
    slicer.app.processEvents()


def pointInView(sliceWidget, ras):
    """Where a world position (mm, RAS) lies in a slice view: (x, y) pixels, for click() and drag()."""
    toView = vtk.vtkMatrix4x4()
    vtk.vtkMatrix4x4.Invert(sliceWidget.mrmlSliceNode().GetXYToRAS(), toView)
    x, y, _z, _one = toView.MultiplyPoint([*ras, 1.0])
    return round(x), round(y)


def screenshot(widget, path):
    """Save what the widget shows, its views freshly rendered, as PNG; AssertionError where that fails."""
    import ctk

    slicer.util.forceRenderAllViews()
    settle(50)
    if not ctk.ctkWidgetsUtils.grabWidget(widget).save(str(path)):
        raise AssertionError(f"No screenshot could be written to {path}.")


def _view(widget):
    kind = widget.className()
    if kind == "qMRMLSliceWidget":
        return widget.sliceView()
    if kind == "qMRMLThreeDWidget":
        return widget.threeDView()
    return widget if kind in ("qMRMLSliceView", "qMRMLThreeDView") else None


def _middle(widget):
    target = _view(widget) or widget
    return target.width // 2, target.height // 2


def _modifiers(control, shift):
    modifiers = qt.Qt.NoModifier
    for held, modifier in ((control, qt.Qt.ControlModifier), (shift, qt.Qt.ShiftModifier)):
        if held:
            modifiers = modifiers | modifier
    return modifiers


def _point(interactor, point, control=False, shift=False):
    """Where the mouse is, and which keys are held: those of an earlier gesture are let go."""
    interactor.SetEventInformation(int(point[0]), int(point[1]), int(control), int(shift), "\0", 0, None)


def _dragView(view, points, control, shift):
    interactor = view.interactor()

    def at(point):
        _point(interactor, point, control, shift)

    at(points[0])
    interactor.MouseMoveEvent()
    interactor.LeftButtonPressEvent()
    for point in points[1:]:
        at(point)
        interactor.MouseMoveEvent()
    interactor.LeftButtonReleaseEvent()


def _dragWidget(widget, points, control, shift):
    press, move, release = qt.QEvent.MouseButtonPress, qt.QEvent.MouseMove, qt.QEvent.MouseButtonRelease
    none, left = qt.Qt.NoButton, qt.Qt.LeftButton
    steps = [
        (press, points[0], left, left),
        *((move, point, none, left) for point in points[1:]),
        (release, points[-1], left, none),
    ]
    for kind, point, button, buttons in steps:
        local = qt.QPointF(*point)
        onScreen = qt.QPointF(widget.mapToGlobal(qt.QPoint(*point)))
        event = qt.QMouseEvent(kind, local, onScreen, button, buttons, _modifiers(control, shift))
        qt.QCoreApplication.sendEvent(widget, event)


def _shortcutFor(widget, code, control, shift):
    """Qt offers scripts no way to inject a native key, so its shortcut map is searched here: from the widget up."""
    wanted = ("Ctrl+" if control else "") + ("Shift+" if shift else "") + qt.QKeySequence(int(code)).toString()
    owner = widget
    while owner is not None:
        for child in owner.children():
            if child.className() == "QShortcut" and child.enabled and child.key.toString() == wanted:
                return child
        owner = owner.parent()
    return None
