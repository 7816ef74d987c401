"""What the widgets of sections have in common: a column with a form, progress, and a line that says what happened."""

from __future__ import annotations

from typing import Any

import qt


class SectionForm:
    """Base of the form of a section, which adds its rows to `form` and its other widgets to `layout`."""

    def __init__(self, collapsibleButton: Any) -> None:
        self.widget = qt.QWidget()
        collapsibleButton.layout().addWidget(self.widget)
        self.layout = qt.QVBoxLayout(self.widget)
        self.layout.setContentsMargins(0, 0, 0, 0)
        self.form = qt.QFormLayout()
        self.layout.addLayout(self.form)

    def addProgressAndMessage(self, section: str) -> None:
        """`section`: what the names of its objects begin with."""
        self.progressBar = qt.QProgressBar()
        self.progressBar.objectName = f"{section}ProgressBar"
        self.layout.addWidget(self.progressBar)
        line = qt.QHBoxLayout()
        self.layout.addLayout(line)
        self.messageIconLabel = qt.QLabel()
        self.messageLabel = wrapped("")
        self.messageLabel.objectName = f"{section}MessageLabel"
        self.messageLabel.setTextInteractionFlags(qt.Qt.TextSelectableByMouse)
        line.addWidget(self.messageIconLabel)
        line.addWidget(self.messageLabel, 1)

    def setRunning(self, isRunning: bool) -> None:
        self.progressBar.setVisible(isRunning)
        if not isRunning:
            self.showProgress(0, 0, "")

    def showProgress(self, done: int, total: int, what: str) -> None:
        self.progressBar.setRange(0, total)
        self.progressBar.setValue(done)
        self.progressBar.setFormat(what)


def named(widget: Any, name: str, toolTip: str) -> Any:
    """A screen reader says the tool tip, too."""
    widget.objectName = name
    widget.toolTip = widget.accessibleDescription = toolTip
    return widget


def formRow(form: Any, text: str, widget: Any, button: Any) -> tuple[Any, Any, Any]:
    """A labeled line of the form: label, widget, and a button at its end."""
    label = qt.QLabel(text)
    label.setBuddy(widget)
    line = qt.QHBoxLayout()
    line.addWidget(widget, 1)
    line.addWidget(button)
    line.setAlignment(button, qt.Qt.AlignTop)
    form.addRow(label, line)
    return label, widget, button


def wrapped(text: str) -> Any:
    label = qt.QLabel(text)
    label.wordWrap = True
    return label
