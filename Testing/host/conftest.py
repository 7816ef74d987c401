"""Starts the host before a test module imports slicer or qt, and judges every test by what the host recorded."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import slicer_host

slicer_host.start()

from Testing.slicer import gestures  # noqa: E402 - imports qt and slicer, which the host brings


@pytest.fixture(autouse=True)
def judged():
    with slicer_host.judged(gestures.startOver):
        yield
