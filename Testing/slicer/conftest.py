"""Starts the host before a test module imports slicer or qt, and judges every test by what the host recorded."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "host"))

import slicer_host

APP = slicer_host.start()

from Testing.slicer import gestures  # noqa: E402 - imports qt and slicer, which the host brings

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("UltrasoundKD", "DynamicBrainSeg", "TextGuidedSeg")


@pytest.fixture(scope="session")
def loadedModules():
    """The extension's modules that exist, loaded as at the start of Slicer; the bridge is tested without them."""
    for name in MODULES:
        script = ROOT / name / f"{name}.py"
        if script.is_file():
            APP.loadModule(script)
    APP.startupCompleted.emit()


@pytest.fixture(autouse=True)
def judged(request):
    if "bridge" not in request.path.parts:
        request.getfixturevalue("loadedModules")
    with slicer_host.judged(gestures.startOver):
        yield
