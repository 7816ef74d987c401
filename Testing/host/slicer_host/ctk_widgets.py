"""The module `ctk`: stand-ins for the CTK widgets of our modules, with the signals and properties that these use.

Any other ctk class is recorded in stubsUsed, which fails the test that asked for it.
"""

import sys
import types

from PySide6 import QtCore, QtGui, QtWidgets
from slicer_host.pythonqt import standIn
from slicer_host.qt_properties import qtProperty, storedProperty
from slicer_host.record import stubsUsed

Signal = QtCore.Signal
_WANTED = "visibilityToParent"  # property of a widget in a collapsible button: the module's last word


def parentOf(arguments):
    """The parent among the positional arguments of a widget's constructor, or None."""
    return next((each for each in arguments if isinstance(each, QtWidgets.QWidget)), None)


@standIn
class ctkCollapsibleButton(QtWidgets.QAbstractButton):
    """A header that hides and shows what is below it."""

    contentsCollapsed = Signal(bool)

    def __init__(self, *arguments):
        super().__init__(parentOf(arguments))
        self._ownDoing = False
        self.setCheckable(True)
        self.setChecked(True)
        self.setText(next((each for each in arguments if isinstance(each, str)), ""))
        self.setContentsMargins(0, self._headerHeight(), 0, 0)
        self.setSizePolicy(QtWidgets.QSizePolicy.Preferred, QtWidgets.QSizePolicy.Preferred)
        self.toggled.connect(self._showContents)

    collapsed = qtProperty(bool, lambda self: not self.checked, lambda self, value: self.setChecked(not value))

    def _headerHeight(self):
        return QtGui.QFontMetrics(self.font).height() + 12

    def _showContents(self, shown):
        self._showChildren()
        self.updateGeometry()
        self.contentsCollapsed.emit(not shown)

    def _showChildren(self):
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget):
                self._showChild(child)

    def _showChild(self, child):
        """Show or hide a child as the button is open or collapsed; one that the module hid stays hidden."""
        if not self.testAttribute(QtCore.Qt.WA_WState_Created):
            return  # a child that is hidden now would be shown again with its parent
        hiddenByModule = child.property(_WANTED) is False
        self._ownDoing = True
        child.setVisible(self.checked and not hiddenByModule)
        self._ownDoing = False
        # Qt tells of the module's next show or hide only if this one does not count as explicit.
        if not hiddenByModule:
            child.setAttribute(QtCore.Qt.WA_WState_ExplicitShowHide, False)

    def setVisible(self, shown):
        wasCreated = self.testAttribute(QtCore.Qt.WA_WState_Created)
        self._ownDoing = True
        super().setVisible(shown)
        self._ownDoing = False
        if not wasCreated:
            self._showChildren()

    def childEvent(self, event):
        if event.type() == QtCore.QEvent.ChildAdded:
            event.child().installEventFilter(self)
        super().childEvent(event)

    def eventFilter(self, child, event):
        """Note what the module shows and hides; while the button is collapsed, nothing of it is seen."""
        if not self._ownDoing and event.type() in (QtCore.QEvent.ShowToParent, QtCore.QEvent.HideToParent):
            child.setProperty(_WANTED, event.type() == QtCore.QEvent.ShowToParent)
            self._showChild(child)
        return False

    def sizeHint(self):
        contents = self.layout().sizeHint() if self.layout() is not None and self.checked else QtCore.QSize(0, 0)
        return QtCore.QSize(max(200, contents.width()), contents.height() + self._headerHeight())

    def minimumSizeHint(self):
        contents = self.layout().minimumSize() if self.layout() is not None and self.checked else QtCore.QSize(0, 0)
        return QtCore.QSize(max(60, contents.width()), self.sizeHint().height())

    def paintEvent(self, event):
        option = QtWidgets.QStyleOptionButton()
        option.initFrom(self)
        option.rect = QtCore.QRect(0, 0, self.width, self._headerHeight() - 4)
        option.text = ("▶ " if self.collapsed else "▼ ") + self.text
        option.state |= QtWidgets.QStyle.State_Raised
        QtWidgets.QStylePainter(self).drawControl(QtWidgets.QStyle.CE_PushButton, option)

    def hitButton(self, position):
        return position.y() < self._headerHeight()


@standIn
class ctkSliderWidget(QtWidgets.QWidget):
    """A slider and a spin box for one float."""

    valueChanged = Signal(float)

    _STEPS = 10000  # positions of the slider

    def __init__(self, parent=None):
        super().__init__(parent)
        self._slider = QtWidgets.QSlider(QtCore.Qt.Horizontal, self)
        self._slider.setRange(0, self._STEPS)
        self._spinBox = QtWidgets.QDoubleSpinBox(self)
        self._spinBox.setKeyboardTracking(False)
        self._minimum, self._maximum, self._value = 0.0, 99.0, 0.0
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._slider, 1)
        layout.addWidget(self._spinBox)
        self._spinBox.valueChanged.connect(self._setValue)
        self._slider.valueChanged.connect(self._setFromSlider)

    def _setFromSlider(self, position):
        step = self._spinBox.singleStep
        offset = (self._maximum - self._minimum) * position / self._STEPS
        self._setValue(self._minimum + round(offset / step) * step)

    def _setValue(self, value):
        value = round(min(max(float(value), self._minimum), self._maximum), self._spinBox.decimals)
        changed = value != self._value
        self._value = value
        self._show()
        if changed:
            self.valueChanged.emit(value)

    def _show(self):
        blockers = [QtCore.QSignalBlocker(each) for each in (self._slider, self._spinBox)]
        span = (self._maximum - self._minimum) or 1.0
        self._slider.setValue(round((self._value - self._minimum) / span * self._STEPS))
        self._spinBox.setRange(self._minimum, self._maximum)
        self._spinBox.setValue(self._value)
        del blockers

    def setRange(self, minimum, maximum):
        self._minimum, self._maximum = float(minimum), float(maximum)
        self._setValue(self._value)

    value = qtProperty(float, lambda self: self._value, _setValue)
    minimum = qtProperty(
        float, lambda self: self._minimum, lambda self, value: self.setRange(value, max(value, self._maximum))
    )
    maximum = qtProperty(
        float, lambda self: self._maximum, lambda self, value: self.setRange(min(value, self._minimum), value)
    )
    singleStep = qtProperty(
        float, lambda self: self._spinBox.singleStep, lambda self, value: self._spinBox.setSingleStep(value)
    )
    pageStep = storedProperty(float, "pageStep", 10.0)
    decimals = qtProperty(
        int, lambda self: self._spinBox.decimals, lambda self, value: self._spinBox.setDecimals(value)
    )


@standIn
class ctkMenuButton(QtWidgets.QPushButton):
    """A button with a menu at its side."""


class ctkWidgetsUtils:
    """`grabWidget(widget)`: a QImage of what the widget shows."""

    @staticmethod
    def grabWidget(widget):
        return widget.grab().toImage()


def _unmodeled(name):
    if not name.startswith("ctk"):
        raise AttributeError(f"module 'ctk' has no attribute {name!r}")
    stubsUsed.add(name)
    return standIn(type(name, (QtWidgets.QWidget,), {"__module__": "ctk"}))


def install():
    """Make `import ctk` work, and with it the classes above."""
    module = types.ModuleType("ctk", "CTK stand-ins of the test host")
    vars(module).update({name: value for name, value in globals().items() if name.startswith("ctk")})
    module.__getattr__ = _unmodeled
    sys.modules["ctk"] = module
