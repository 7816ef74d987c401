"""The runner: what is delivered when, failures, and the GUI meanwhile."""

import logging
import threading
import time
import unittest
from unittest import mock

import qt
import slicer

from leanseg.errors import IncompatibleInputError, InferenceCancelled
from leanseg.slicer_bridge.runner import Runner
from Testing.slicer.bridge.runner_case import DEADLINE_S, RunnerTest
from Testing.slicer.gestures import waitFor


class WhatIsDelivered(RunnerTest):
    def test_work_runs_off_the_gui_thread_and_is_told_on_it(self):
        def work(progress):
            progress(1, 2, "half")
            return threading.get_ident()

        threads = []
        with mock.patch.object(self, "told", threads):
            self.runner.submit(
                work,
                onDone=lambda ident: threads.extend([ident, threading.get_ident()]),
                onFailed=self.fail,
                onProgress=lambda *_: threads.append(threading.get_ident()),
            )
            self.waitUntilIdle()
        gui = threading.get_ident()
        self.assertEqual([gui, gui], [threads[0], threads[2]])
        self.assertNotEqual(gui, threads[1])

    def test_nothing_is_told_inside_submit(self):
        finished = threading.Event()
        self.submit(lambda progress: finished.set())
        self.assertTrue(finished.wait(DEADLINE_S))
        self.submit(lambda progress: None)
        self.assertEqual([], self.told)
        self.waitUntilIdle()

    def test_jobs_run_in_order_on_one_thread(self):
        threads = []
        for name in "abc":
            self.submit(lambda progress, name=name: threads.append(threading.get_ident()) or name, name)
        self.waitUntilIdle()
        self.assertEqual([("a", "done", "a"), ("b", "done", "b"), ("c", "done", "c")], self.told)
        self.assertEqual(1, len(set(threads)))

    def test_progress_comes_in_order_and_before_the_result(self):
        def work(progress):
            return [progress(done, 50, "frames") for done in range(1, 51)]

        self.submit(work, "a")
        self.waitUntilIdle()
        steps = [told[2] for told in self.told[:-1]]
        self.assertEqual(sorted(set(steps)), steps)
        self.assertEqual(("a", "progress", 50, 50, "frames"), self.told[-2])
        self.assertEqual(("a", "done", [True] * 50), self.told[-1])

    def test_progress_is_told_while_the_work_goes_on(self):
        gate = self.gate()

        def work(progress):
            progress(1, 2, "first")
            return gate(progress)

        self.submit(work, "a")
        self.assertTrue(waitFor(lambda: self.told, DEADLINE_S))
        self.assertEqual([("a", "progress", 1, 2, "first")], self.told)
        gate.opened.set()
        self.waitUntilIdle()
        self.assertEqual(("a", "done", "passed"), self.told[-1])

    def test_busy_is_false_in_the_last_callback_only(self):
        seen = []
        self.submit(lambda progress: None, onDone=lambda _: seen.append(self.runner.busy))
        self.submit(lambda progress: None, onDone=lambda _: seen.append(self.runner.busy))
        self.assertTrue(self.runner.busy)
        self.waitUntilIdle()
        self.assertEqual([True, False], seen)

    def test_a_callback_can_submit(self):
        self.submit(lambda progress: 1, onDone=lambda one: self.submit(lambda progress: one + 1, "b"))
        self.waitUntilIdle()
        self.assertEqual([("b", "done", 2)], self.told)

    def test_results_come_while_a_callback_runs_an_event_loop(self):
        def dialog(_result):
            self.submit(lambda progress: "inner", "b")
            self.told.append(waitFor(lambda: ("b", "done", "inner") in self.told, DEADLINE_S))

        self.submit(lambda progress: None, onDone=dialog)
        self.waitUntilIdle()
        self.assertEqual([("b", "done", "inner"), True], self.told)


class Failures(RunnerTest):
    def test_an_error_of_leanseg_is_delivered_as_it_is_and_not_logged(self):
        error = IncompatibleInputError("Two channels came; one is needed.")
        with mock.patch.object(logging.getLogger(), "handle") as logged:
            self.submit(self._raising(error), "a")
            self.waitUntilIdle()
        self.assertEqual([("a", "failed", error)], self.told)
        logged.assert_not_called()

    def test_another_error_is_logged_once_with_its_traceback_and_delivered(self):
        error = ZeroDivisionError("by zero")
        with self.assertLogs(level="ERROR") as logs:
            self.submit(self._raising(error), "a")
            self.waitUntilIdle()
        self.assertEqual([("a", "failed", error)], self.told)
        self.assertEqual(1, len(logs.records))
        self.assertIn("in _raise", logs.output[0])
        self.assertIn("ZeroDivisionError: by zero", logs.output[0])

    def test_the_next_job_runs_after_a_failure_even_one_that_would_end_a_thread(self):
        with self.assertLogs(level="ERROR"):
            self.submit(self._raising(SystemExit(3)), "a")
            self.submit(lambda progress: "fine", "b")
            self.waitUntilIdle()
        self.assertEqual(["failed", "done"], [told[1] for told in self.told])

    def test_work_that_cancels_itself_is_cancelled_not_failed(self):
        self.submit(self._raising(InferenceCancelled()), "a")
        self.waitUntilIdle()
        self.assertEqual([("a", "cancelled")], self.told)

    def test_a_callback_that_raises_does_not_break_the_runner(self):
        def clumsy(_result):
            raise ValueError("clumsy callback")

        # Called directly: an exception in a slot is Slicer's to report, and there the test could not see it.
        self.submit(lambda progress: 1, onDone=clumsy)
        self.submit(lambda progress: 2, "b")
        raised = []

        def poll():
            try:
                self.runner._poll()
            except ValueError as error:
                raised.append(str(error))

        self.runner._timer.disconnect("timeout()", self.runner._poll)
        self.runner._timer.connect("timeout()", poll)
        self.waitUntilIdle()
        self.runner._timer.connect("timeout()", self.runner._poll)  # which close() takes away
        self.assertEqual(["clumsy callback"], raised)
        self.assertEqual([("b", "done", 2)], self.told)

    @staticmethod
    def _raising(error):
        def _raise(progress):
            raise error

        return _raise


class Idle(RunnerTest):
    def test_the_timer_stands_still_when_there_is_nothing_to_do(self):
        self.assertFalse(self.runner._timer.active)
        self.submit(lambda progress: None)
        self.assertTrue(self.runner._timer.active)
        self.waitUntilIdle()
        self.assertTrue(waitFor(lambda: not self.runner._timer.active, DEADLINE_S))

    def test_the_timer_stands_still_though_a_thread_was_left_behind(self):
        gate = self.gate()
        self.submit(gate)
        self.waitForEvent(gate.entered)
        self.runner.cancel()
        self.assertTrue(waitFor(lambda: not self.runner._timer.active, DEADLINE_S))
        self.assertFalse(gate.left.is_set())

    def test_the_gui_goes_on_while_work_runs(self):
        gate, ticks = self.gate(), []
        ticker = qt.QTimer()
        ticker.interval = 5
        ticker.connect("timeout()", lambda: ticks.append(time.monotonic()))
        self.addCleanup(ticker.stop)
        self.submit(gate)
        self.waitForEvent(gate.entered)
        ticker.start()
        self.assertTrue(waitFor(lambda: len(ticks) >= 20, DEADLINE_S))
        self.assertTrue(self.runner.busy)
        gate.opened.set()
        self.waitUntilIdle()

    def test_the_gui_goes_on_while_a_model_is_loaded(self):
        from leanseg.api import load_engine

        load_engine("t2kd_busi")  # the import of the runtime, which happens once, is not what is meant
        ticks, loaded = [], []
        ticker = qt.QTimer()
        ticker.interval = 1
        ticker.connect("timeout()", lambda: ticks.append(loaded == []))
        self.addCleanup(ticker.stop)

        def work(progress):
            load_engine("t2kd_busi")
            loaded.append(True)

        ticker.start()
        self.submit(work)
        self.waitUntilIdle()
        self.assertGreater(sum(ticks), 10)  # one or two, if the runtime kept Python's global lock

    def test_a_runner_has_a_parent_if_it_is_given_one(self):
        widget = qt.QWidget()
        runner = Runner(widget)
        self.assertEqual(widget, runner._timer.parent())
        runner.close()
        slicer.app.processEvents()


if __name__ == "__main__":
    unittest.main()
