"""The module `qt`: PySide6 made to behave as PythonQt does for Slicer's scripts.

Order matters: the environment variable below is read when PySide6 is imported first.
"""

import os

os.environ["PYSIDE6_OPTION_PYTHON_ENUM"] = "6"  # 2: enums are ints, 4: Qt.Checked without the enum's name

import sys
import types
import warnings
from typing import ClassVar

import shiboken6
from PySide6 import QtCore, QtGui, QtWidgets
from slicer_host import qt_connections, qt_properties
from slicer_host.qt_dialogs import guardDialogs
from slicer_host.record import notModeled, slotFailed
from slicer_host.ui_loader import UiLoader


def install():
    """Make `import qt` work, once and for all."""
    qt = types.ModuleType("qt", "Qt as PythonQt shows it, on PySide6")
    classes = set()
    for module in qt_properties.QT_MODULES:
        for name in dir(module):  # PySide6 makes its classes when they are asked for
            value = getattr(module, name)
            if not name.startswith("_"):
                setattr(qt, name, value)
                if isinstance(value, type) and issubclass(value, QtCore.QObject):
                    classes.add(value)
    _changeClasses(sorted(classes, key=lambda cls: len(cls.__mro__)))
    _addObjectMethods()
    guardDialogs()
    _addStaticFunctions()
    qt.QUiLoader = UiLoader
    sys.modules["qt"] = qt


def _changeClasses(classes):
    for cls in classes:
        qt_properties.addProperties(cls)
    for cls in classes:  # each class has a slot of its own for these two
        if "__setattr__" in cls.__dict__:
            cls.__setattr__ = qt_properties.setAttribute
    for cls in classes:
        if "__getattribute__" in cls.__dict__:
            qt_connections.redirectLookup(cls)


def _addObjectMethods():
    base = QtCore.QObject
    base.connect = qt_connections.OnClassAndInstance(qt_connections.connect)
    base.disconnect = qt_connections.OnClassAndInstance(qt_connections.disconnect)
    base.__getattr__ = _getMissing
    base.className = _className
    base.findChild, base.findChildren = _findChild, _findChildren
    base.delete = lambda self: shiboken6.delete(self)


def _getMissing(self, name):
    """What PythonQt looks up last: the object name, dynamic properties, children by name."""
    if name == "name":
        return self.objectName
    if not name.startswith("_"):
        if name in qt_properties.dynamicProperties(self):
            return QtCore.QObject.property(self, name)
        for child in QtCore.QObject.children(self):
            if child.objectName == name:
                return child
    if qt_properties.isStandIn(self):
        raise notModeled(type(self).__name__, name)
    raise AttributeError(f"{type(self).__name__} has no attribute named '{name}'")


def _className(self):
    return next(cls.__name__ for cls in type(self).__mro__ if qt_properties.isCppClass(cls))


def _findChildren(self, kind=QtCore.QObject, name=""):
    """All descendants of a class, which is given as such or by its name."""
    found = []
    for child in QtCore.QObject.children(self):
        isKind = (
            kind in [cls.__name__ for cls in type(child).__mro__] if isinstance(kind, str) else isinstance(child, kind)
        )
        if isKind and (not name or child.objectName == name):
            found.append(child)
        found += _findChildren(child, kind, name)
    return found


def _findChild(self, kind=QtCore.QObject, name=""):
    return next(iter(_findChildren(self, kind, name)), None)


def _addStaticFunctions():
    for cls in (QtCore.QEventLoop, QtWidgets.QApplication):
        cls.exec_ = cls.__dict__["exec"]
    currentData = QtWidgets.QComboBox.__dict__["currentData"]
    if not isinstance(currentData, qt_properties.QtPropertyAttribute):
        QtWidgets.QComboBox.currentData = property(lambda self: currentData(self))
    QtCore.QTimer.singleShot = _SingleShot()
    for cls, name in ((QtGui.QShortcut, "id"), (QtGui.QMouseEvent, "pos")):
        setattr(cls, name, _withoutWarning(getattr(cls, name)))


def _withoutWarning(method):
    """Of what Qt 6 deprecates and Qt 5, Slicer's, needs."""

    def call(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return method(self)

    return call


class _SingleShot:
    """`qt.QTimer.singleShot(ms, callable)`; in PythonQt it hides the property of that name on timers, too."""

    _waiting: ClassVar[set] = set()

    def __get__(self, instance, owner=None):
        return self.start

    def __set__(self, instance, value):
        raise AttributeError("Slot 'singleShot' can not be overwritten on QTimer object")

    def start(self, msec, function):
        timer = QtCore.QTimer()
        timer.setSingleShot(True)
        self._waiting.add(timer)

        def run():
            self._waiting.discard(timer)
            try:
                function()
            except Exception:
                slotFailed()

        timer.timeout.connect(run)
        timer.start(int(msec))


def standIn(cls):
    """Class decorator: a class that stands for a C++ one, known to Designer files, with setters for its properties."""
    cls.standsForCpp = True
    for name, value in list(cls.__dict__.items()):
        setter = "set" + name[0].upper() + name[1:]
        if isinstance(value, QtCore.Property) and not hasattr(cls, setter):
            setattr(cls, setter, lambda self, value, name=name: setattr(self, name, value))
    UiLoader.standIns[cls.__name__] = cls
    return cls


install()
