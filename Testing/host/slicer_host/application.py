"""Stand-in for the application object `slicer.app` (qSlicerApplication), and the start of the whole host."""

import atexit
import importlib.metadata
import shutil
import sys
import tempfile
import time
from pathlib import Path

import slicer
from PySide6 import QtCore, QtWidgets
from slicer_host import ctk_widgets, modules, mrml_widgets, pythonqt, segment_editor, segment_table, view_widgets
from slicer_host.file_io import FileIO
from slicer_host.main_window import qSlicerMainWindow
from slicer_host.qt_properties import storedProperty
from slicer_host.record import notModeled, recordUnraised
from slicer_host.scene import Scene

_SCRIPTED = Path(__file__).parent / "scripted"


@pythonqt.standIn
class qSlicerApplication(QtWidgets.QApplication):
    """`slicer.app` in testing mode; any attribute that is not here is recorded in stubsUsed and refused."""

    startupCompleted = QtCore.Signal()

    temporaryPath = storedProperty(str, "temporaryPath")
    applicationName = "Slicer"
    majorVersion, minorVersion = 5, 12
    applicationVersion = importlib.metadata.version("slicer-core")

    def __init__(self, size):
        super().__init__(["Slicer"])
        self.setStyle("Fusion")
        self.temporaryPath = tempfile.mkdtemp(prefix="slicer_host_")
        atexit.register(shutil.rmtree, self.temporaryPath, ignore_errors=True)
        self._settings = self._ownSettings()
        slicer.app = self
        self._scene = Scene(self.temporaryPath)
        self._files = FileIO(self._scene)
        self._modules = modules.qSlicerModuleManager()
        coreModules = modules.publishCoreModules(self._scene.logics)
        self._mainWindow = qSlicerMainWindow(size)
        for module in coreModules:
            self._mainWindow.moduleSelector().addModule(module)
        self._layoutManager = view_widgets.qSlicerLayoutManager(self._scene, self._mainWindow.centralWidget())
        self._scene.keepSingletons()

    def _ownSettings(self):
        """Settings of this process only: nothing of the person's is read or changed."""
        for kind in (QtCore.QSettings.NativeFormat, QtCore.QSettings.IniFormat):
            QtCore.QSettings.setPath(kind, QtCore.QSettings.UserScope, self.temporaryPath)
        self.setOrganizationName("SlicerHost")
        return QtCore.QSettings()

    def __getattr__(self, name):
        raise notModeled("slicer.app", name)

    # what Slicer's own scripts and our modules ask the application for

    def mrmlScene(self):
        return self._scene.mrmlScene

    def applicationLogic(self):
        return self._scene.applicationLogic

    def coreIOManager(self):
        return self._files

    def moduleManager(self):
        return self._modules

    def layoutManager(self):
        return self._layoutManager

    def mainWindow(self):
        return self._mainWindow

    def settings(self):
        return self._settings

    def testingEnabled(self):
        return True

    def translate(self, context, text):
        return text

    def pauseRender(self):
        self.applicationLogic().PauseRender()

    def resumeRender(self):
        self.applicationLogic().ResumeRender()

    def processEvents(self, *arguments):
        QtCore.QCoreApplication.processEvents(*arguments)

    # what the tests' conftest asks for

    def loadModule(self, path):
        """Load a module's script as at the start of Slicer, and return it as `slicer.modules.<name>`."""
        module = modules.loadScript(path)
        self._mainWindow.moduleSelector().addModule(module)
        return module

    def settle(self, ms=100):
        """Process events for that long."""
        end = time.monotonic() + ms / 1000
        while time.monotonic() < end:
            self.processEvents()
            time.sleep(0.001)


def _printMessage(_kind, _context, message):
    """Qt's messages go to stderr, but for one: a main window without a display cannot tell anyone its minimum size."""
    if "propagateSizeHints" not in message:
        sys.stderr.write(message + "\n")


def start(size):
    """Install `ctk`, the slicer.q* classes and the scripted parts, and show the main window; returns slicer.app."""
    recordUnraised()
    QtCore.qInstallMessageHandler(_printMessage)
    ctk_widgets.install()
    mrml_widgets.install(segment_table, segment_editor, view_widgets, modules)
    slicer.__path__.append(str(_SCRIPTED / "slicer"))
    sys.path.append(str(_SCRIPTED))
    slicer.qSlicerScriptedLoadableModule = modules.ScriptedModule
    app = qSlicerApplication(size)
    app.mainWindow().show()
    app.settle(50)
    return app
