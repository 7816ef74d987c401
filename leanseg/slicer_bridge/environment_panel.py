"""The environment panel: a line for everything that LeanSeg needs, and the buttons that bring what is missing."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from leanseg.errors import LeanSegError
from leanseg.slicer_bridge.environment import Requirement, canSegment, diagnostics, requirements
from leanseg.slicer_bridge.installation import DOWNLOAD_MB, installRuntime


class EnvironmentPanel:
    """Shows what the last `refresh` found. Put `widget` into a layout."""

    def __init__(self, engine: str, onChanged: Callable[[], None] | None = None) -> None:
        """`engine` runs the models of the module; `onChanged` is called after an installation, also a failed one."""
        self._engine = engine
        self._onChanged = onChanged
        self._requirements: list[Requirement] = []
        self.widget = qt.QWidget()
        layout = qt.QVBoxLayout(self.widget)
        layout.setContentsMargins(0, 0, 0, 0)
        self._summary = qt.QLabel()
        self._summary.objectName = "environmentSummaryLabel"
        self._summary.wordWrap = True
        layout.addWidget(self._summary)
        self._table = _table()
        layout.addWidget(self._table)
        self._installButton = _button(layout, "installRuntimeButton", _("Install OpenVINO..."), self._onInstall)
        self._folderButton = _button(
            layout, "installFromFolderButton", _("Install from folder..."), self._onInstallFromFolder
        )
        self._folderButton.toolTip = _("Without network: from a folder with the .whl file of OpenVINO")
        _button(layout, "copyDiagnosticsButton", _("Copy diagnostics"), self._onCopy)

    @property
    def isComplete(self) -> bool:
        """Whether models can run, as the last `refresh` found."""
        return self.isCompleteFor(self._engine)

    def isCompleteFor(self, engine: str) -> bool:
        """Whether models of an engine can run: that of a section may be another one than the module's."""
        return bool(self._requirements) and canSegment(self._requirements, engine)

    def refresh(self) -> None:
        """Look at what is there. Some 50 ms: the models are checked byte by byte."""
        self._requirements = requirements()
        self._table.clear()
        for one in self._requirements:
            item = qt.QTreeWidgetItem(self._table)
            item.setIcon(0, _icon(one.state))
            for column, text in enumerate((one.name, _stateName(one.state), one.version)):
                item.setText(column, text)
                item.setToolTip(column, one.purpose)
        for column in range(3):
            self._table.resizeColumnToContents(column)
        self._summary.text = self._summarize()
        isInstalled = self._requirements[0].state == "ok"
        self._installButton.enabled = self._folderButton.enabled = not isInstalled

    def install(self, wheelFolder: Path | None = None) -> None:
        """Install OpenVINO from the network, or from a folder, without asking; a failure is shown in one message."""
        dialog = _WaitingDialog()
        problem = ""
        try:
            installRuntime(wheelFolder, dialog.say)
        except LeanSegError as error:
            problem = str(error)
        finally:
            dialog.close()
        self.refresh()
        if problem:
            self._summary.text = problem
            slicer.util.errorDisplay(problem, detailedText="\n".join(dialog.lines))
        if self._onChanged is not None:
            self._onChanged()

    def _summarize(self) -> str:
        problems = [one for one in self._requirements if one.state != "ok"]
        if not problems:
            return str(_("Everything is there."))
        message = str(_("{name} is {state}: {purpose}."))
        first = problems[0]
        return message.format(name=first.name, state=_stateName(first.state), purpose=first.purpose.rstrip("."))

    def _onInstall(self, *_arguments: Any) -> None:
        question = _(
            "OpenVINO ({size} MB) will be downloaded from the Python package index and installed in Slicer's Python."
            " LeanSeg sends nothing.\n\nContinue?"
        ).format(size=DOWNLOAD_MB.get(platform.system(), max(DOWNLOAD_MB.values())))
        if slicer.util.confirmOkCancelDisplay(question, _("Install OpenVINO")):
            self.install()

    def _onInstallFromFolder(self, *_arguments: Any) -> None:
        folder = self._chooseFolder()
        if folder:
            self.install(Path(folder))

    def _chooseFolder(self) -> str:
        title = _("Folder with the .whl file of OpenVINO")
        return str(qt.QFileDialog.getExistingDirectory(self.widget, title))

    def _onCopy(self, *_arguments: Any) -> None:
        slicer.app.clipboard().setText(diagnostics())
        slicer.util.showStatusMessage(_("The diagnostics are in the clipboard."), 3000)


class _WaitingDialog:
    """Keeps the user from working with Slicer, or closing it, while its Python changes."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._dialog = qt.QDialog(slicer.util.mainWindow())
        self._dialog.windowTitle = _("Installing OpenVINO")
        self._dialog.modal = True
        self._dialog.setWindowFlags(self._dialog.windowFlags() & ~qt.Qt.WindowCloseButtonHint)
        self._noEscape = qt.QShortcut(qt.QKeySequence(qt.Qt.Key_Escape), self._dialog)
        layout = qt.QVBoxLayout(self._dialog)
        self._label = qt.QLabel(_("This can take some minutes."))
        self._label.wordWrap = True
        layout.addWidget(self._label)
        bar = qt.QProgressBar()
        bar.setRange(0, 0)
        layout.addWidget(bar)
        self._dialog.show()
        slicer.app.processEvents()

    def say(self, line: str) -> None:
        """A line of pip."""
        self.lines.append(line)
        self._label.text = line[:200]

    def close(self) -> None:
        self._dialog.close()
        self._dialog.deleteLater()


def _table() -> Any:
    table = qt.QTreeWidget()
    table.objectName = "environmentTable"
    table.setHeaderLabels([_("Needed"), _("State"), _("Version")])
    table.rootIsDecorated = False
    table.sizeAdjustPolicy = qt.QAbstractScrollArea.AdjustToContents
    return table


def _button(layout: Any, objectName: str, text: str, onClicked: Callable[..., None]) -> Any:
    button = qt.QPushButton(text)
    button.objectName = objectName
    button.connect("clicked(bool)", onClicked)
    layout.addWidget(button)
    return button


def _stateName(state: str) -> str:
    names: dict[str, str] = {"ok": _("ok"), "missing": _("missing"), "broken": _("broken")}
    return names[state]


def _icon(state: str) -> Any:
    kinds = {"ok": qt.QStyle.SP_DialogApplyButton, "missing": qt.QStyle.SP_MessageBoxWarning}
    return qt.QApplication.style().standardIcon(kinds.get(state, qt.QStyle.SP_MessageBoxCritical))
