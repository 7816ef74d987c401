"""A host for tests of Slicer modules: the real MRML libraries, stand-ins for Slicer's application and Qt widgets."""

import contextlib
import os

# No display is needed, and none is touched; QT_QPA_PLATFORM=xcb shows the windows instead.
if os.environ.setdefault("QT_QPA_PLATFORM", "offscreen") == "offscreen":
    os.environ.pop("DISPLAY", None)

from slicer_host.record import checkRecords, clearRecords, modalDialogs, modalPolicy, slotErrors, stubsUsed

__all__ = ["checkRecords", "clearRecords", "judged", "modalDialogs", "modalPolicy", "slotErrors", "start", "stubsUsed"]

_app = None


def start(size=(1400, 900)):
    """Start the application once per process, main window shown (size in pixels), and return it (slicer.app)."""
    global _app
    if _app is None:
        from slicer_host import application

        _app = application.start(size)
    return _app


@contextlib.contextmanager
def judged(startOver):
    """A test runs in here, and is judged by what happens until the application is again as it is after the start.

    startOver: `Testing.slicer.gestures.startOver`, which leaves the module, closes the scene and resets the views.

    :raises AssertionError: an error in a slot or observer, a stand-in that models nothing, an unexpected modal dialog.
    """
    clearRecords()
    yield
    start().settle(10)
    startOver()
    start().settle(10)
    checkRecords()
