"""Stand-ins for Slicer's module machinery: loader of scripted modules, manager, selector, and the module panel."""

import importlib.util
import sys
import types
from pathlib import Path

import slicer
from PySide6 import QtCore, QtWidgets
from slicer_host.mrml_widgets import SceneAware
from slicer_host.pythonqt import standIn
from slicer_host.record import Recorded

Signal = QtCore.Signal


@standIn
class qSlicerAbstractModuleWidget(SceneAware, QtWidgets.QWidget):
    """The panel of a module, told when it is shown and when another one takes its place."""

    mrmlSceneChanged = Signal(object)

    def enter(self):
        """Nothing to do for a module whose panel is empty."""

    def exit(self):
        """Nothing to do for a module whose panel is empty."""


@standIn
class qSlicerScriptedLoadableModuleWidget(qSlicerAbstractModuleWidget):
    """The panel of a scripted module: parent of what its Widget class makes, and tells that class of enter and exit."""

    _instance = _name = None

    def setModuleName(self, name):
        """Make the Widget class of the script that is loaded by now, and publish it as slicer.modules.<name>Widget."""
        self._name = name
        self._instance = getattr(sys.modules[name], name + "Widget")(self)
        setattr(slicer.modules, name + "Widget", self._instance)

    def setup(self):
        self._instance.setup()
        self.layout().addStretch(1)

    def reload(self):
        """Second half of slicer.util.reloadScriptedModule, which has read the script anew; enter() is not called."""
        self.setModuleName(self._name)
        self.setup()

    def self(self):
        return self._instance

    def enter(self):
        self._instance.enter()

    def exit(self):
        self._instance.exit()


class CoreModule(Recorded):
    """Stands in for a module that Slicer brings (qSlicerCoreModule): its real logic, and an empty panel."""

    hidden = False

    def __init__(self, name, logic):
        self.name = self.title = name
        self._logic, self._panel = logic, None

    def logic(self):
        return self._logic

    def widgetRepresentation(self):
        self._panel = self._panel or qSlicerAbstractModuleWidget()
        return self._panel


class ScriptedModule(Recorded):
    """What a module's Python class gets as `parent` (qSlicerScriptedLoadableModule)."""

    def __init__(self, name, path):
        self.name = self.title = name
        self.path = str(path)
        self.hidden = False
        self._panel = self._logic = None

    def logic(self):
        """The generic C++ logic; a script makes its own Logic class."""
        if self._logic is None:
            self._logic = slicer.vtkSlicerScriptedLoadableModuleLogic()
            self._logic.SetMRMLScene(slicer.mrmlScene)
        return self._logic

    def createNewWidgetRepresentation(self):
        panel = qSlicerScriptedLoadableModuleWidget()
        QtWidgets.QVBoxLayout(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        panel.setModuleName(self.name)
        panel.setup()
        return panel

    def widgetRepresentation(self):
        if self._panel is None:
            self._panel = self.createNewWidgetRepresentation()
        return self._panel


def loadScript(path):
    """Import the script of a module as Slicer does at start-up, and publish it; an ImportError and the like pass."""
    path = Path(path).resolve()
    name = path.stem
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    source = importlib.util.module_from_spec(spec)
    sys.modules[name] = source
    spec.loader.exec_module(source)
    module = ScriptedModule(name, path)
    setattr(slicer.modules, name + "Instance", getattr(source, name)(module))
    publishModule(module)
    return module


def publishModule(module):
    """Make a module known as slicer.modules.<lower-case name>."""
    setattr(slicer.modules, module.name.lower(), module)
    setattr(slicer.moduleNames, module.name, module.name)


def publishCoreModules(logics):
    """Make slicer.modules and slicer.moduleNames, with Slicer's own modules; returns these. logics: by module name."""
    for name in ("modules", "moduleNames"):
        setattr(slicer, name, types.ModuleType("slicer." + name))
        sys.modules["slicer." + name] = getattr(slicer, name)
    core = [CoreModule(name, logic) for name, logic in logics.items()]
    for module in core:
        publishModule(module)
    return core


@standIn
class qSlicerModuleManager(QtCore.QObject):
    """`slicer.app.moduleManager()`; the host unloads no module."""

    moduleAboutToBeUnloaded = Signal(str)

    def module(self, name):
        return getattr(slicer.modules, name.lower(), None)


@standIn
class qSlicerModuleSelector(QtWidgets.QComboBox):
    """Chooses the module whose panel is shown."""

    moduleSelected = Signal(str)
    _selected = ""

    def __init__(self):
        super().__init__()
        self.activated.connect(lambda index: self.selectModule(self.itemData(index)))

    def addModule(self, module):
        if not module.hidden:
            self.addItem(module.title, module.name)

    def selectModule(self, name):
        """Leave the module shown, enter the named one; an unknown or hidden one changes nothing."""
        if name != self._selected and self.findData(name) >= 0:
            self._selected = name
            self.setCurrentIndex(self.findData(name))
            self.moduleSelected.emit(name)

    selectedModule = property(lambda self: self._selected)


@standIn
class qSlicerModulePanel(QtWidgets.QScrollArea):
    """Shows one module's panel at a time, with enter() and exit()."""

    def __init__(self):
        super().__init__()
        self.setObjectName("ModulePanel")
        self.setWidgetResizable(True)
        self.setMinimumWidth(430)
        self._shown = None

    def setModule(self, name):
        if self._shown is not None:
            self._shown.exit()
            self.takeWidget()
        self._shown = getattr(slicer.modules, name.lower()).widgetRepresentation()
        self.setWidget(self._shown)
        self._shown.show()
        self._shown.enter()
