"""What fails a test: errors in slots and observers, stand-ins that model nothing, modal dialogs nobody expected."""

import contextlib
import sys
import traceback

slotErrors: list[str] = []  # tracebacks
stubsUsed: set[str] = set()  # names of classes, properties and attributes
modalDialogs: list[tuple[str, str, str]] = []  # (class or static function, title, text)
_policies: list = []


class Recorded:
    """Mix-in for stand-ins: an attribute that they lack is recorded and refused."""

    def __getattr__(self, name):
        raise notModeled(type(self).__name__, name)


def notModeled(owner, name):
    """Record that an attribute was asked for that a stand-in lacks; returns the error to raise."""
    if not name.startswith("_"):
        stubsUsed.add(f"{owner}.{name}")
    return AttributeError(f"The test host does not model {owner}.{name}")


def clearRecords():
    """Forget all that was recorded."""
    slotErrors.clear()
    stubsUsed.clear()
    modalDialogs.clear()


def checkRecords():
    """Raise AssertionError where something was recorded, and forget it."""
    findings = [
        *(f"error in a slot:\n{each}" for each in slotErrors),
        *(f"not modeled by the host: {each}" for each in sorted(stubsUsed)),
        *(f"modal dialog nobody expected: {each}" for each in modalDialogs),
    ]
    clearRecords()
    if findings:
        raise AssertionError("\n".join(findings))


def slotFailed():
    """Report the exception being handled as an error in a slot, as PythonQt does: through the hook, and go on."""
    sys.excepthook(*sys.exc_info())


def recordUnraised():
    """Record from now on all errors that nobody can catch: those in slots and in VTK observers."""
    original = sys.excepthook

    def hook(kind, error, trace):
        slotErrors.append("".join(traceback.format_exception(kind, error, trace)))
        original(kind, error, trace)

    sys.excepthook = hook


@contextlib.contextmanager
def modalPolicy(answer):
    """Within the block, `answer(dialog, text)` deals with every modal dialog, and none is recorded.

    dialog is the dialog object, to be accepted or rejected; or the name of a static function ("QMessageBox.question",
    "QFileDialog.getSaveFileName"), whose result is then what `answer` returns. Without a policy, dialogs are rejected.
    """
    _policies.append(answer)
    try:
        yield
    finally:
        _policies.remove(answer)


def answerModal(dialog, kind, title, text):
    """(True, the policy's answer), or (False, None) where there is no policy; then the dialog is recorded."""
    if _policies:
        return True, _policies[-1](dialog, text)
    modalDialogs.append((kind, title, text))
    return False, None
