"""What the model knows of one image as it is now: made off the GUI thread, and made anew where the image is another."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from TextGuidedSegLib.world_places import volumeInWorld, worldMatrix

_LOADING = "loading the model"


class ImageSession:
    """Holds the `TextSession`, and runs work on it in the worker. Used from the GUI thread only."""

    def __init__(self, logic: Any, runner: Any) -> None:
        self.frames: Any = None
        """Of the image; None: there is none"""
        self.session: Any = None
        """None: it is yet to be made"""
        self._logic = logic
        self._runner = runner
        self._modelKey: tuple[str, str] | None = None
        self._modality = ""
        self._key: tuple = ()
        self._lock = threading.Lock()  # a run that was left behind may still use the session

    def open(self, frames: Any) -> None:
        """Another image, or None."""
        if self.frames is not None:
            self.frames.unobserve()
        self.frames, self.session, self._key = frames, None, ()

    def configure(self, modelKey: tuple[str, str] | None, modality: str) -> None:
        self._modelKey, self._modality = modelKey, modality

    @property
    def canPrepare(self) -> bool:
        return self.frames is not None and self._modelKey is not None and self.session is None

    def forgetIfOther(self) -> bool:
        """Whether model, kind, place or voxels are others than those of the session, which goes then.

        :raises LeanSegError: the image cannot be used any more.
        """
        isOther = self.session is not None and self._keyNow() != self._key
        if isOther:
            self.session = None
        return isOther

    def hasSameVoxels(self) -> bool:
        """As when the last session was made.

        :raises LeanSegError: the image cannot be used any more.
        """
        return bool(self._key) and self._keyNow()[-1] == self._key[-1]

    def _keyNow(self) -> tuple:
        place = worldMatrix(self.frames.volumeNode).tobytes()
        return (self._modelKey, self._modality, place, self.frames.stamp(0))

    def run(
        self,
        work: Callable[[Any, Any], Any],
        onDone: Callable[[Any], None],
        onFailed: Callable[[Exception], None],
        onProgress: Callable[..., None],
    ) -> None:
        """`work(session, progress)` in the worker; it takes the place of what runs there. No call comes for an image
        that is left.

        :raises LeanSegError: the image cannot be used any more.
        """
        frames, session, logic, lock = self.frames, self.session, self._logic, self._lock
        modelKey, modality, key = self._modelKey, self._modality, self._keyNow()
        volume = volumeInWorld(frames.volumeNode) if session is None else None

        def inWorker(progress: Any) -> tuple[Any, Any]:
            with lock:
                current = session
                if current is None:
                    progress(0, 1, _LOADING)
                    current = logic.session(modelKey, volume, modality)
                return current, work(current, progress)

        def done(result: tuple[Any, Any]) -> None:
            self.session, self._key = result[0], key
            onDone(result[1])

        def ifStillOpen(callback: Callable) -> Callable:
            return lambda *values: callback(*values) if self.frames is frames else None

        self._runner.submit(
            inWorker,
            onDone=ifStillOpen(done),
            onFailed=ifStillOpen(onFailed),
            onProgress=ifStillOpen(onProgress),
            latest=True,
        )
