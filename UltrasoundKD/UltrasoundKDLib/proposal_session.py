"""The proposal for one image: computed off the GUI thread, shown as an outline, then accepted or forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from leanseg.errors import InferenceCancelled, LeanSegError
from leanseg.slicer_bridge.frames import SequenceFrames, framesOf
from UltrasoundKDLib.frame_results import FrameResult, ModelKey, colorProblem, frameKey
from UltrasoundKDLib.shown_proposal import ShownProposal

if TYPE_CHECKING:
    from leanseg.processing.postprocess import PostprocessingConfig
    from leanseg.volume import Volume


class ProposalSession:
    """Holds the results of the proposed frames and shows the current one. Used from the GUI thread only.

    `onChanged()` is called when something to show has changed; `message` is the `MessageLine`.
    """

    def __init__(self, logic: Any, runner: Any, onChanged: Callable, message: Any) -> None:
        self.logic = logic
        self.frames: Any = None
        self.modelKey: ModelKey | None = None
        self.config: PostprocessingConfig | None = None
        self.livePreview = False
        self.applying = False
        self.progress = (0, 0)
        self._index = 0
        self._runner = runner
        self._onChanged = onChanged
        self._message = message
        self._results: dict[int, FrameResult] = {}
        self._keys: dict[int, tuple] = {}
        self._isPreview = False
        self._dismissed: int | None = None
        self._colorCheck: tuple[tuple, str] = ((), "")  # of the last voxels
        self._lastFrame: tuple[tuple, Any] = ((), None)
        self._imageProblem = ""
        self.shown: ShownProposal | None = None
        self._overlayOpacity: float | None = None
        self._imageObservers: list[int] = []
        self._hasLesion: tuple[tuple, bool] = ((), False)

    # The image

    def open(self, volumeNode: Any) -> None:
        """Work on another image.

        :raises LeanSegError: it cannot be used; then there is none.
        """
        self.close()
        self.frames = framesOf(volumeNode)
        self.shown = ShownProposal(self.frames, self.refresh)
        self.frames.observe(self.refresh)
        kind = slicer.vtkMRMLVolumeNode
        self._imageObservers = [
            volumeNode.AddObserver(event, lambda *_args: self.refresh())
            for event in (kind.ImageDataModifiedEvent, kind.TransformModifiedEvent, vtk.vtkCommand.ModifiedEvent)
        ]

    def close(self) -> None:
        """Stop, remove what is shown, and forget the image."""
        self.cancel()
        self.applying = False
        if self.frames is None:
            return
        self.frames.unobserve()
        for tag in self._imageObservers:
            self.frames.volumeNode.RemoveObserver(tag)
        self.shown.close()
        self._results, self._keys, self._dismissed = {}, {}, None
        self._colorCheck, self._imageProblem, self._hasLesion = ((), ""), "", ((), False)
        self._lastFrame, self.frames, self.shown = ((), None), None, None

    def configure(
        self, modelKey: ModelKey | None, config: PostprocessingConfig, livePreview: bool, overlayOpacity: float | None
    ) -> None:
        """Options of the panel; other options need no new inference, another model does.

        :param overlayOpacity: of the uncertainty over the image; None: it is not shown.
        """
        self.modelKey, self.config, self.livePreview = modelKey, config, livePreview
        self._overlayOpacity = overlayOpacity
        self.refresh()

    # Computing

    def apply(self, indices: Iterable[int]) -> None:
        """Propose these frames; results of frames that were never seen arrive later.

        :raises LeanSegError: a frame cannot be read.
        """
        self._submit({index: self.frames.volume(index) for index in indices}, latest=False)

    def cancel(self) -> None:
        self._runner.cancel()

    def refresh(self) -> None:
        """The current frame, its voxels or the options have changed: show its proposal, compute it, or hide."""
        if self.frames is None:
            return
        problem, self._imageProblem = self._imageProblem, ""
        try:
            index = self.frames.currentIndex()
            if index != self._index:
                self._message.clear()  # it was about another frame
                self._index = index
            self._refresh(index)
            if problem:  # mended
                self._message.clear()
        except LeanSegError as error:
            self.shown.hide()
            self._imageProblem = str(error)
            if self._imageProblem != problem:
                self._message.refuse(error)
        self._onChanged()

    def previewAgain(self) -> None:
        """Live preview was switched on: it begins with the current frame, even if that was decided upon already."""
        self._dismissed = None

    def _refresh(self, index: int) -> None:
        volume, key = self._frame(index)
        if self._colorCheck[0] != key[2:]:
            self._colorCheck = (key[2:], colorProblem(volume))
        if index in self._results and self._keys[index] != key:
            self._results = {}  # of other voxels, or of another model
        if index != self._dismissed:
            self._dismissed = None
        if index not in self._results and self._isPreviewing():
            self.shown.pixels = None
            if isinstance(self.frames, SequenceFrames):  # its frames lie in one place; of others, each shows its own
                self.shown.hide()
            result = self.logic.cache.get(key)
            if result is None:
                self._submit({index: volume}, latest=True)
            else:
                self._arrived({index: (key, result)}, True)
        elif index in self._results:
            self.shown.show(index, self._results[index], self.config, self._overlayOpacity)
        else:
            self.shown.hide()

    def _frame(self, index: int) -> tuple[Volume, tuple]:
        """Voxels and key; read once, however many events tell of one change."""
        stamp = (*self.frames.stamp(index), self.modelKey)
        if self._lastFrame[0] != stamp:
            volume = self.frames.volume(index)
            self._lastFrame = (stamp, (volume, frameKey(self.modelKey, volume) if self.modelKey else ()))
        return self._lastFrame[1]

    def _isPreviewing(self) -> bool:
        isPossible = self.livePreview and self.modelKey is not None and not self.frameProblem
        return isPossible and not self.applying and self._dismissed is None

    def _submit(self, volumes: dict[int, Volume], latest: bool) -> None:
        modelKey, logic, frames = self.modelKey, self.logic, self.frames

        def ifStillOpen(callback: Callable) -> Callable:
            return lambda *values: callback(*values) if self.frames is frames else None

        self._runner.submit(
            lambda progress: logic.predictFrames(modelKey, volumes, progress),
            onDone=ifStillOpen(lambda results: self._arrived(results, latest)),
            onFailed=ifStillOpen(self._failed),
            onCancelled=None if latest else ifStillOpen(self._cancelled),
            onProgress=None if latest else ifStillOpen(self._progressed),
            latest=latest,
        )
        if not latest:
            self.applying, self.progress = True, (0, len(volumes))
            self._onChanged()

    def _arrived(self, results: dict[int, tuple[tuple, FrameResult]], latest: bool) -> None:
        if latest and self.applying:
            return  # a preview that Apply has overtaken
        self.applying, self._isPreview = False, latest
        self._results = {index: result for index, (_key, result) in results.items()}
        self._keys = {index: key for index, (key, _result) in results.items()}
        self._dismissed = None
        self.refresh()

    def _failed(self, error: Exception) -> None:
        self.applying = False
        self._message.refuse(error)
        self._onChanged()

    def _cancelled(self) -> None:
        self.applying = False
        self._message.say(str(InferenceCancelled()))
        self._onChanged()

    def _progressed(self, done: int, total: int, what: str) -> None:
        self.progress = (done, total)
        self._onChanged()

    # Deciding

    @property
    def proposed(self) -> list[int]:
        """Indices of the frames of the proposal."""
        return sorted(self._results)

    def masks(self) -> dict[int, np.ndarray]:
        """(j, i) bool of every proposed frame, with the present options.

        :raises LeanSegError: a frame is not what it was when it was segmented.
        """
        for index, key in self._keys.items():
            if index in self._results and frameKey(key[:2], self.frames.volume(index)) != key:
                self.dismiss()
                raise LeanSegError(_("The image has changed since it was segmented. Press Apply again."))
        return {index: result.mask(self.config) for index, result in self._results.items()}

    def dismiss(self) -> None:
        """Remove the proposal; live preview goes on at the next frame."""
        self._dismissed = self._index
        self._results, self._keys = {}, {}
        self.shown.remove()
        self.refresh()

    @property
    def isAcceptable(self) -> bool:
        """Something is proposed, and it is not empty."""
        return bool(self._results) and not self.applying and self._isLesion()

    @property
    def _pixels(self) -> int | None:
        return self.shown.pixels if self.shown is not None else None

    def _isLesion(self) -> bool:
        """Whether any proposed frame has a lesion, with the present options."""
        if len(self._results) == 1 and self._pixels is not None:
            return self._pixels > 0
        now = (*self._keys.values(), self.config)
        if self._hasLesion[0] != now:
            self._hasLesion = (now, any(result.hasLesion(self.config) for result in self._results.values()))
        return self._hasLesion[1]

    @property
    def isWaiting(self) -> bool:
        """Whether work would be lost with the image: a run, or a proposal that somebody has asked for."""
        return self.applying or (self.isAcceptable and not self._isPreview)

    @property
    def proposedBy(self) -> ModelKey:
        """The model of the proposal."""
        return next(iter(self._keys.values()))[:2]

    # Saying

    @property
    def frameProblem(self) -> str:
        """Why nothing can be proposed for the current frame; empty where it can."""
        problem = self._colorCheck[1]
        if self._imageProblem:
            return self._imageProblem
        return _("{problem} The module Crop Volume crops.").format(problem=problem) if problem else ""

    def acceptText(self) -> str:
        """Of the button: it says what is accepted where that is not what is seen."""
        proposed = self.proposed
        if len(proposed) > 1:
            return _("Accept {count} frames").format(count=len(proposed))
        if proposed and self.shown.pixels is None:
            return _("Accept frame {number}").format(number=proposed[0] + 1)
        return _("Accept")

    def frameText(self) -> str:
        if self.frames is None:
            return ""
        return _("Frame {number} of {count}").format(number=self._index + 1, count=self.frames.count)

    def remark(self) -> str:
        """What a person should know about the proposal."""
        if self._results and not self.applying and len(self._results) > 1 and not self._isLesion():
            text = _("No lesion in any of {count} frames at a threshold of {threshold:.2f}.")
            return text.format(count=len(self._results), threshold=self.config.threshold)
        if self._pixels == 0:
            text = _("No lesion at a threshold of {threshold:.2f}. If you see one, draw it under Correct.")
            return text.format(threshold=self.config.threshold)
        if self._results and self._pixels is None and len(self._results) == 1:
            return _("The proposal is in frame {number}.").format(number=self.proposed[0] + 1)
        return ""
