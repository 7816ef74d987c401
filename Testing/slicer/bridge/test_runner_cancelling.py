"""The runner: cancelling, superseding, closing."""

import threading
import time
import unittest
from unittest import mock

from Testing.slicer.bridge.runner_case import DEADLINE_S, RunnerTest
from Testing.slicer.gestures import settle


class Cancelling(RunnerTest):
    def test_the_progress_callback_returns_false_after_a_cancel(self):
        entered, stopped = threading.Event(), threading.Event()

        def work(progress):
            entered.set()
            end = time.monotonic() + DEADLINE_S
            while progress(0, 1, "waiting") is not False and time.monotonic() < end:
                time.sleep(0.001)
            stopped.set()

        self.submit(work, "a")
        self.waitForEvent(entered)
        self.runner.cancel()
        self.waitForEvent(stopped)
        self.waitUntilIdle()
        self.assertEqual([("a", "cancelled")], [told for told in self.told if told[1] != "progress"])

    def test_the_user_waits_less_than_half_a_second_for_a_cancel_of_deaf_work(self):
        seconds = []
        for _ in range(3):  # the best counts: the machine may be busy
            gate = self.gate()
            self.submit(gate, "a")
            self.waitForEvent(gate.entered)
            start = time.monotonic()
            self.runner.cancel()
            self.waitUntilIdle()
            seconds.append(time.monotonic() - start)
        self.assertEqual([("a", "cancelled")] * 3, self.told)
        self.assertLess(min(seconds), 0.5)

    def test_the_result_of_cancelled_work_is_thrown_away_when_it_comes(self):
        gate = self.gate()
        self.submit(gate, "a")
        self.waitForEvent(gate.entered)
        self.runner.cancel()
        self.waitUntilIdle()
        gate.opened.set()
        self.waitForEvent(gate.left)
        settle(100)
        self.assertEqual([("a", "cancelled")], self.told)

    def test_a_new_job_does_not_wait_for_deaf_work(self):
        gate = self.gate()
        self.submit(gate, "a")
        self.waitForEvent(gate.entered)
        self.runner.cancel()
        self.submit(lambda progress: "fresh", "b")
        self.waitUntilIdle()
        self.assertFalse(gate.left.is_set())
        self.assertEqual([("a", "cancelled"), ("b", "done", "fresh")], self.told)
        gate.opened.set()
        self.waitForEvent(gate.left)
        self.submit(lambda progress: "later", "c")  # on the thread that took over
        self.waitUntilIdle()
        self.assertEqual(("c", "done", "later"), self.told[-1])

    def test_deaf_work_that_ends_while_its_successor_runs_does_not_disturb_it(self):
        deaf, successor = self.gate(), self.gate("successor")
        self.submit(deaf, "a")
        self.waitForEvent(deaf.entered)
        self.runner.cancel()
        self.submit(successor, "b")
        self.waitForEvent(successor.entered)
        deaf.opened.set()
        self.waitForEvent(deaf.left)
        settle(100)
        self.assertTrue(self.runner.busy)
        successor.opened.set()
        self.waitUntilIdle()
        self.assertEqual([("a", "cancelled"), ("b", "done", "successor")], self.told)

    def test_work_that_notices_a_cancel_keeps_its_thread(self):
        threads, entered = [], threading.Event()

        def work(progress):
            threads.append(threading.get_ident())
            entered.set()
            while progress(0, 1, "") is not False:
                time.sleep(0.001)

        with mock.patch("leanseg.slicer_bridge.runner._GRACE_S", DEADLINE_S):
            self.submit(work)
            self.waitForEvent(entered)
            self.runner.cancel()
            self.submit(lambda progress: threads.append(threading.get_ident()))
            self.waitUntilIdle()
        self.assertEqual(1, len(set(threads)))

    def test_waiting_jobs_are_cancelled_too_and_never_start(self):
        gate, started = self.gate(), []
        self.submit(gate, "a")
        self.submit(lambda progress: started.append("b"), "b")
        self.waitForEvent(gate.entered)
        self.runner.cancel()
        gate.opened.set()
        self.waitUntilIdle()
        self.assertEqual([("a", "cancelled"), ("b", "cancelled")], self.told)
        self.assertEqual([], started)

    def test_a_result_that_is_computed_but_not_told_is_not_told_after_a_cancel(self):
        self.submit(lambda progress: "result", "a")
        self.assertTrue(self.runner._news.wait(DEADLINE_S))  # no events are processed here, so nothing is told
        self.runner.cancel()
        self.waitUntilIdle()
        self.assertEqual([("a", "cancelled")], self.told)

    def test_a_callback_that_cancels_stops_what_follows(self):
        gate = self.gate()
        self.submit(gate, "a", onDone=lambda _: self.runner.cancel())
        self.submit(lambda progress: "b", "b")
        self.submit(lambda progress: "c", "c")
        gate.opened.set()
        self.waitUntilIdle()
        self.assertEqual([("b", "cancelled"), ("c", "cancelled")], self.told)

    def test_cancel_without_work_tells_nothing(self):
        self.runner.cancel()
        settle(50)
        self.assertEqual([], self.told)
        self.assertFalse(self.runner.busy)


class Latest(RunnerTest):
    def test_a_burst_runs_the_first_and_the_last_only(self):
        gate, ran = self.gate(), []
        self.submit(gate, 0, latest=True)
        self.waitForEvent(gate.entered)
        for frame in range(1, 20):
            self.submit(lambda progress, frame=frame: ran.append(frame) or frame, frame, latest=True)
        gate.opened.set()
        self.waitUntilIdle()
        self.assertEqual([19], ran)
        self.assertEqual([(frame, "cancelled") for frame in range(19)] + [(19, "done", 19)], self.told)

    def test_at_most_one_runs_at_a_time_however_long_it_takes_to_notice(self):
        gate, started = self.gate(), threading.Event()
        with mock.patch("leanseg.slicer_bridge.runner._GRACE_S", 0.0):
            self.submit(gate, "a", latest=True)
            self.waitForEvent(gate.entered)
            self.submit(lambda progress: started.set(), "b", latest=True)
            settle(100)
            self.assertFalse(started.is_set())
            gate.opened.set()
            self.waitForEvent(started)
        self.waitUntilIdle()

    def test_ordinary_jobs_are_not_dropped_by_a_preview(self):
        gate = self.gate()
        self.submit(gate, "apply")
        self.submit(lambda progress: "old", "old", latest=True)
        self.submit(lambda progress: "new", "new", latest=True)
        gate.opened.set()
        self.waitUntilIdle()
        self.assertEqual([("old", "cancelled"), ("apply", "done", "passed"), ("new", "done", "new")], self.told)

    def test_cancel_frees_the_thread_from_a_deaf_preview(self):
        gate = self.gate()
        self.submit(gate, "a", latest=True)
        self.waitForEvent(gate.entered)
        self.submit(lambda progress: None, "b", latest=True)
        self.runner.cancel()
        self.submit(lambda progress: "applied", "c")
        self.waitUntilIdle()
        self.assertFalse(gate.left.is_set())
        self.assertEqual(("c", "done", "applied"), self.told[-1])


class Closing(RunnerTest):
    def test_closing_while_deaf_work_runs_is_quick_and_tells_nothing(self):
        gate = self.gate()
        self.submit(gate, "a")
        self.submit(lambda progress: None, "b")
        self.waitForEvent(gate.entered)
        start = time.monotonic()
        self.runner.close()
        self.assertLess(time.monotonic() - start, 10)  # 0.5 s on a quiet machine; the work would stand for 30
        gate.opened.set()
        self.waitForEvent(gate.left)
        settle(50)
        self.assertEqual([], self.told)
        self.assertFalse(self.runner.busy)

    def test_closing_ends_the_thread(self):
        self.submit(lambda progress: threading.current_thread(), "a")
        self.waitUntilIdle()
        thread = self.told[0][2]
        self.assertTrue(thread.is_alive())
        self.runner.close()
        self.assertFalse(thread.is_alive())

    def test_a_thread_that_was_left_behind_ends_after_its_work(self):
        gate = self.gate()
        threads = []
        self.submit(lambda progress: threads.append(threading.current_thread()) or gate(progress))
        self.waitForEvent(gate.entered)
        self.runner.cancel()
        self.submit(lambda progress: None, "b")
        self.waitUntilIdle()
        gate.opened.set()
        threads[0].join(DEADLINE_S)
        self.assertFalse(threads[0].is_alive())

    def test_closing_in_a_callback_drops_the_rest(self):
        gate = self.gate()
        self.submit(gate, onDone=lambda _: self.runner.close())
        self.submit(lambda progress: "b", "b")
        gate.opened.set()
        self.waitUntilIdle()
        settle(50)
        self.assertEqual([], self.told)

    def test_a_closed_runner_can_be_closed_again_and_refuses_work(self):
        self.runner.close()
        self.runner.close()
        with self.assertRaisesRegex(RuntimeError, "closed"):
            self.submit(lambda progress: None)


if __name__ == "__main__":
    unittest.main()
