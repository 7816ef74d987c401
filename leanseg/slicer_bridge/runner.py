"""Work beside the GUI: one worker thread, results on the GUI thread (docs/adr/0004-a-worker-thread.md).

Everything but the two channels of `_Worker` belongs to the GUI thread, so there is no lock of our own. Slicer's event
loop may hold Python's global lock while it sleeps; so the poll waits on an event, which lets the worker have it.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from queue import SimpleQueue
from typing import Any, Generic, Literal, TypeVar

import qt

from leanseg.errors import InferenceCancelled, LeanSegError
from leanseg.request import Progress

T = TypeVar("T")

_POLL_MS = 2
_WAIT_S = 0.01
"""At most, in every poll: the worker has the global lock for most of the time, and the GUI lags by 10 ms."""
_GRACE_S = 0.25
"""What cancelled work gets to end by itself, as it does where it looks at its progress, before it is left behind."""
_JOIN_S = 0.5


class Job(Generic[T]):
    """One piece of work. It ends once: done, failed or cancelled."""

    def __init__(
        self,
        work: Callable[[Progress], T],
        onDone: Callable[[T], None],
        onFailed: Callable[[Exception], None],
        onCancelled: Callable[[], None] | None,
        onProgress: Callable[[int, int, str], None] | None,
        latest: bool,
    ) -> None:
        self.work = work
        self.latest = latest
        self.cancelled = threading.Event()  # the worker reads it
        self._onProgress = onProgress
        self._onEnd: dict[str, Callable[..., None] | None]
        self._onEnd = {"done": onDone, "failed": onFailed, "cancelled": onCancelled}
        self._progress: tuple[int, int, str] | None = None
        self._end: tuple[str, tuple[Any, ...]] | None = None

    @property
    def isOver(self) -> bool:
        """Whether it has ended; its callback may still be on the way."""
        return self._end is not None

    def proceed(self, progress: tuple[int, int, str]) -> None:
        if not self.isOver:
            self._progress = progress

    def end(self, how: Literal["done", "failed"], value: Any) -> None:
        self._end = (how, (value,))

    def cancel(self) -> None:
        """End it; this overrules an end that was not told yet."""
        self.cancelled.set()
        self._progress = None
        self._end = ("cancelled", ())

    def tellProgress(self) -> None:
        """Tell the newest progress, once."""
        progress, self._progress = self._progress, None
        if progress is not None and self._onProgress is not None:
            self._onProgress(*progress)

    def tellEnd(self) -> None:
        if self._end is None:
            return
        how, values = self._end
        if how == "failed" and not isinstance(values[0], LeanSegError):
            logging.error("LeanSeg met an error that it did not expect.", exc_info=values[0])
        callback = self._onEnd[how]
        if callback is not None:
            callback(*values)


class Runner:
    """Runs work, one piece after the other, on a thread of its own. Use it on the GUI thread only.

    A callback that raises is reported as any exception in a slot; the callbacks of other jobs still come.
    """

    def __init__(self, parent: Any = None) -> None:
        self._inbox: deque[_Message] = deque()
        self._news = threading.Event()
        self._worker = _Worker(self._inbox, self._news)
        self._running: Job[Any] | None = None  # on the worker, though for the user it may be over
        self._patience = math.inf  # until when (monotonic, s) a running job that is over may keep the worker
        self._waiting: deque[Job[Any]] = deque()
        self._ended: deque[Job[Any]] = deque()  # not told yet
        self._isClosed = False
        # A single shot, started anew, fires also while a callback has an event loop of its own (a dialog).
        self._timer = qt.QTimer() if parent is None else qt.QTimer(parent)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_POLL_MS)
        self._timer.connect("timeout()", self._poll)

    @property
    def busy(self) -> bool:
        """Whether a job is to run, runs, or has ended untold. In the last callback it is already False."""
        return bool(self._untold())

    def submit(
        self,
        work: Callable[[Progress], T],
        *,
        onDone: Callable[[T], None],
        onFailed: Callable[[Exception], None],
        onCancelled: Callable[[], None] | None = None,
        onProgress: Callable[[int, int, str], None] | None = None,
        latest: bool = False,
    ) -> Job[T]:
        """Run `work(progress)` on the worker thread, after what was submitted before.

        Exactly one of onDone, onFailed and onCancelled is called, later and on the GUI thread, unless the runner is
        closed first. onProgress is called with the newest progress, perhaps not with every one.

        `work` must not touch MRML, VTK rendering or Qt, and must neither print nor log (Slicer shows both in widgets).
        What should outlive a cancellation, such as a model that it has loaded, it stores itself.

        latest: for a live preview. Cancels other `latest` jobs, and waits until the one that runs has noticed: at most
        one runs and one waits.

        :raises RuntimeError: the runner is closed.
        """
        if self._isClosed:
            raise RuntimeError("This runner is closed; make a new one.")
        if latest:
            self._cancel(job for job in self._untold() if job.latest)
        job = Job(work, onDone, onFailed, onCancelled, onProgress, latest)
        self._waiting.append(job)
        self._receive()
        self._startNext()
        self._schedule()
        return job

    def cancel(self) -> None:
        """End every job now: what they compute still, or have computed but not told, is thrown away.

        Work that does not look at its progress goes on for itself; a new thread takes over from it.
        """
        self._patience = time.monotonic() + _GRACE_S
        self._cancel(self._untold())
        self._schedule()

    def close(self) -> None:
        """Cancel, call nothing any more, and end the thread, waiting 0.5 s at most."""
        if self._isClosed:
            return
        self._isClosed = True
        self._cancel(self._untold())
        self._ended.clear()
        self._timer.stop()
        self._timer.disconnect("timeout()", self._poll)
        self._worker.stop()
        self._worker.join(_JOIN_S)

    def _untold(self) -> list[Job[Any]]:
        running = [] if self._running is None or self._running.isOver else [self._running]
        return [*self._ended, *running, *self._waiting]

    def _cancel(self, jobs: Iterable[Job[Any]]) -> None:
        for job in jobs:
            job.cancel()
            if job in self._waiting:
                self._waiting.remove(job)
            if job not in self._ended:
                self._ended.append(job)

    def _poll(self) -> None:
        if self._running is not None:
            self._news.wait(_WAIT_S)
            self._news.clear()
        self._receive()
        self._startNext()
        self._schedule()  # before the callbacks: one may raise, or have an event loop of its own
        self._tell()

    def _receive(self) -> None:
        while self._inbox:
            worker, job, kind, value = self._inbox.popleft()
            if worker is not self._worker:
                continue  # it was left behind
            if kind == "progress":
                job.proceed(value)
                continue
            self._running = None
            if job.isOver:
                continue  # cancelled meanwhile
            if isinstance(value, InferenceCancelled):
                job.cancel()
            else:
                job.end(kind, value)
            self._ended.append(job)

    def _startNext(self) -> None:
        if not self._waiting:
            return
        if self._running is not None and self._running.isOver and time.monotonic() > self._patience:
            self._worker.stop()
            self._worker = _Worker(self._inbox, self._news)
            self._running = None
        if self._running is None:
            self._running = self._waiting.popleft()
            self._patience = math.inf
            self._worker.give(self._running)

    def _schedule(self) -> None:
        """Poll again if there is something to wait for; a cancelled job is waited for until the patience ends."""
        isEnding = self._running is not None and time.monotonic() <= self._patience
        if (self.busy or isEnding) and not self._isClosed:
            self._timer.start()

    def _tell(self) -> None:
        if self._running is not None:
            self._running.tellProgress()
        while self._ended:
            job = self._ended[0]
            job.tellProgress()
            if self._ended and self._ended[0] is job:  # the callback may have cancelled, closed, or polled
                self._ended.popleft()
                job.tellEnd()


class _Worker:
    """A thread that runs the jobs it is given until it is told to stop. It does not keep Slicer from exiting."""

    def __init__(self, inbox: deque[_Message], news: threading.Event) -> None:
        self._inbox, self._news = inbox, news
        self._jobs: SimpleQueue[Job[Any] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="LeanSeg worker", daemon=True)
        self._thread.start()

    def give(self, job: Job[Any]) -> None:
        self._jobs.put(job)

    def stop(self) -> None:
        """End the thread after the job that it has."""
        self._jobs.put(None)

    def join(self, seconds: float) -> None:
        self._thread.join(seconds)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._do(job)
            del job  # with its arrays, which nobody needs while the thread waits

    def _do(self, job: Job[Any]) -> None:
        def progress(done: int, total: int, what: str) -> bool:
            if job.cancelled.is_set():
                return False
            self._inbox.append((self, job, "progress", (done, total, what)))
            return True

        kind: Literal["done", "failed"] = "done"
        try:
            value: Any = job.work(progress)
        except BaseException as error:  # also SystemExit: a thread that dies unheard would leave the user waiting
            kind, value = "failed", error
        self._inbox.append((self, job, kind, None if job.cancelled.is_set() else value))
        self._news.set()


_Message = tuple[_Worker, Job[Any], Literal["progress", "done", "failed"], Any]
