"""A runner with real threads. Events say when something happened; deadlines are far above what is ever needed."""

import threading
import unittest

from leanseg.slicer_bridge.runner import Runner
from Testing.slicer.gestures import waitFor

DEADLINE_S = 30


class Gate:
    """Work that stands still, deaf to its progress, until the test lets it pass."""

    def __init__(self, result="passed"):
        self.entered, self.opened, self.left = threading.Event(), threading.Event(), threading.Event()
        self.result = result

    def __call__(self, progress):
        self.entered.set()
        self.opened.wait(DEADLINE_S)
        self.left.set()
        return self.result


class RunnerTest(unittest.TestCase):
    def setUp(self):
        self.runner = Runner()
        self.addCleanup(self.runner.close)
        self.told = []  # what the callbacks said, in order
        self.gates = []
        self.addCleanup(lambda: [gate.opened.set() for gate in self.gates])

    def gate(self, result="passed"):
        self.gates.append(Gate(result))
        return self.gates[-1]

    def submit(self, work, name="", latest=False, onDone=None):
        return self.runner.submit(
            work,
            onDone=onDone or (lambda result: self.told.append((name, "done", result))),
            onFailed=lambda error: self.told.append((name, "failed", error)),
            onCancelled=lambda: self.told.append((name, "cancelled")),
            onProgress=lambda *progress: self.told.append((name, "progress", *progress)),
            latest=latest,
        )

    def waitUntilIdle(self):
        self.assertTrue(waitFor(lambda: not self.runner.busy, DEADLINE_S), "the runner did not become idle")

    def waitForEvent(self, event):
        self.assertTrue(waitFor(event.is_set, DEADLINE_S), "the work did not get there")
