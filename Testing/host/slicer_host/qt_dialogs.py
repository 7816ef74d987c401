"""No test waits for a person: every modal dialog is recorded, and answered by the policy of the test or rejected."""

from PySide6 import QtCore, QtWidgets
from slicer_host.record import answerModal

# Static functions, and what they give when the person presses Cancel. PythonQt returns the value only, no tuple.
_STATIC = {
    QtWidgets.QMessageBox: dict.fromkeys(
        ("question", "information", "warning", "critical", "about"), QtWidgets.QMessageBox.StandardButton.Cancel
    ),
    QtWidgets.QFileDialog: {
        "getOpenFileName": "",
        "getSaveFileName": "",
        "getExistingDirectory": "",
        "getOpenFileNames": [],
    },
    QtWidgets.QInputDialog: {"getText": "", "getItem": "", "getMultiLineText": "", "getInt": 0, "getDouble": 0.0},
}
_CLASSES = (
    QtWidgets.QDialog,
    QtWidgets.QMessageBox,
    QtWidgets.QFileDialog,
    QtWidgets.QInputDialog,
    QtWidgets.QProgressDialog,
    QtWidgets.QMenu,
)


def guardDialogs():
    """Guard exec_() and the static functions of Qt's dialogs, for good."""
    for cls in _CLASSES:
        if "exec" in cls.__dict__:
            cls.exec_ = _guardedExec(cls.__dict__["exec"])
            cls.exec = cls.exec_
    for cls, results in _STATIC.items():
        for name, refusal in results.items():
            setattr(cls, name, staticmethod(_guardedStatic(f"{cls.__name__}.{name}", refusal)))


def _guardedExec(execute):
    def exec_(self, *position):
        text = self.text if isinstance(self, QtWidgets.QMessageBox) else ""

        def answer():
            answered, _ = answerModal(self, type(self).__name__, self.windowTitle, text)
            if not answered and self.isVisible():
                self.close() if isinstance(self, QtWidgets.QMenu) else self.reject()

        timer = QtCore.QTimer(self)
        timer.setSingleShot(True)
        timer.timeout.connect(answer)
        timer.start(0)
        return execute(self, *position)

    return exec_


def _guardedStatic(name, refusal):
    def static(parent=None, title="", text="", *_options):
        answered, value = answerModal(name, name, title, text)
        return value if answered else refusal

    return static
