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
from leanseg.slicer_bridge.overlay import UncertaintyOverlay
from leanseg.slicer_bridge.proposal import Proposal
from UltrasoundKDLib.frame_results import FrameResult, ModelKey, colorProblem, frameKey

if TYPE_CHECKING:
    from leanseg.processing.postprocess import PostprocessingConfig

OUTLINE_COLOR = (0.1, 0.9, 1.0)  # cyan: neither in a gray image nor among the colors of the uncertainty


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
        self._proposal: Any = None
        self._overlay: Any = None
        self._overlayOpacity: float | None = None
        self._voxelObservers: list[int] = []
        self._shownPixels: int | None = None

    # The image

    def open(self, volumeNode: Any) -> None:
        """Work on another image.

        :raises LeanSegError: it cannot be used; then there is none.
        """
        self.close()
        self.frames = framesOf(volumeNode)
        self._proposal = Proposal(volumeNode)
        self._overlay = UncertaintyOverlay(volumeNode)
        self.frames.observe(self.refresh)
        self._voxelObservers = [
            volumeNode.AddObserver(event, lambda *_args: self.refresh())
            for event in (slicer.vtkMRMLVolumeNode.ImageDataModifiedEvent, vtk.vtkCommand.ModifiedEvent)
        ]

    def close(self) -> None:
        """Stop, remove what is shown, and forget the image."""
        self.cancel()
        self.applying = False
        if self.frames is None:
            return
        self.frames.unobserve()
        for tag in self._voxelObservers:
            self.frames.volumeNode.RemoveObserver(tag)
        self._forget()
        self.frames = None

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
        volumes = {index: self.frames.volume(index) for index in indices}
        keys = {index: frameKey(self.modelKey, volume) for index, volume in volumes.items()}
        self._submit(volumes, keys, latest=False)

    def cancel(self) -> None:
        self._runner.cancel()

    def refresh(self) -> None:
        """The current frame, its voxels or the options have changed: show its proposal, compute it, or hide."""
        if self.frames is None:
            return
        try:
            index = self.frames.currentIndex()
            if index != self._index:
                self._message.clear()  # it was about another frame
                self._index = index
            self._refresh(index)
        except LeanSegError as error:
            self._hide()
            self._message.refuse(error)
        self._onChanged()

    def previewAgain(self) -> None:
        """Live preview was switched on: it begins with the current frame, even if that was decided upon already."""
        self._dismissed = None

    def _refresh(self, index: int) -> None:
        volume = self.frames.volume(index)
        key = frameKey(self.modelKey, volume) if self.modelKey else ()
        if self._colorCheck[0] != key[2:]:
            self._colorCheck = (key[2:], colorProblem(volume))
        if index in self._results and self._keys[index] != key:
            self._results = {}  # of other voxels, or of another model
        if index != self._dismissed:
            self._dismissed = None
        if index not in self._results and self._isPreviewing():
            self._shownPixels = None
            if isinstance(self.frames, SequenceFrames):  # its frames lie in one place; of others, each shows its own
                self._hide()
            self._submit({index: volume}, {index: key}, latest=True)
        else:
            self._show(index)

    def _isPreviewing(self) -> bool:
        isPossible = self.livePreview and self.modelKey is not None and not self.frameProblem
        return isPossible and not self.applying and self._dismissed is None

    def _submit(self, volumes: dict[int, Any], keys: dict[int, tuple], latest: bool) -> None:
        modelKey, logic = self.modelKey, self.logic
        known = {index: result for index, key in keys.items() if (result := logic.cache.get(key)) is not None}
        unseen = {index: volume for index, volume in volumes.items() if index not in known}
        if not unseen:
            self._arrived(known, keys, latest)
            return
        frames = self.frames

        def ifStillOpen(callback: Callable) -> Callable:
            return lambda *values: callback(*values) if self.frames is frames else None

        self._runner.submit(
            lambda progress: logic.predictFrames(modelKey, unseen, progress),
            onDone=ifStillOpen(lambda results: self._arrived(known | results, keys, latest)),
            onFailed=ifStillOpen(self._failed),
            onCancelled=None if latest else ifStillOpen(self._cancelled),
            onProgress=None if latest else ifStillOpen(self._progressed),
            latest=latest,
        )
        if not latest:
            self.applying, self.progress = True, (0, len(unseen))
            self._onChanged()

    def _arrived(self, results: dict[int, FrameResult], keys: dict[int, tuple], latest: bool) -> None:
        for index, result in results.items():
            self.logic.cache.put(keys[index], result)
        if latest and self.applying:
            return  # a preview that Apply has overtaken
        self.applying, self._isPreview = False, latest
        self._results, self._keys, self._dismissed = results, keys, None
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
        self._proposal.remove()
        self._overlay.remove()
        self.refresh()

    @property
    def isAcceptable(self) -> bool:
        return bool(self._results) and not self.applying and (len(self._results) > 1 or self._shownPixels != 0)

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
        return _("{problem} The module Crop Volume crops.").format(problem=problem) if problem else ""

    def acceptText(self) -> str:
        """Of the button: it says what is accepted where that is not what is seen."""
        proposed = self.proposed
        if len(proposed) > 1:
            return _("Accept {count} frames").format(count=len(proposed))
        if proposed and self._shownPixels is None:
            return _("Accept frame {number}").format(number=proposed[0] + 1)
        return _("Accept")

    def frameText(self) -> str:
        if self.frames is None:
            return ""
        return _("Frame {number} of {count}").format(number=self._index + 1, count=self.frames.count)

    def remark(self) -> str:
        """What a person should know about the proposal."""
        if self._shownPixels == 0:
            text = _("No lesion at a threshold of {threshold:.2f}. If you see one, draw it under Correct.")
            return text.format(threshold=self.config.threshold)
        if self._results and self._shownPixels is None and len(self._results) == 1:
            return _("The proposal is in frame {number}.").format(number=self.proposed[0] + 1)
        return ""

    # Showing

    def _show(self, index: int) -> None:
        result = self._results.get(index)
        if result is None:
            self._hide()
            return
        mask = result.mask(self.config)
        self._shownPixels = int(mask.sum())
        self._proposal.show(mask, index, self.frames, OUTLINE_COLOR)
        if self._overlayOpacity is None:
            self._overlay.remove()
            return
        geometry = self.frames.geometry(index)
        self._overlay.show(result.uncertainty()[np.newaxis], geometry, transformFrom=self.frames.volumeNode)
        self._overlay.setOpacity(self._overlayOpacity)

    def _hide(self) -> None:
        self._shownPixels = None
        self._proposal.hide()
        self._overlay.hide()

    def _forget(self) -> None:
        self._results, self._keys, self._dismissed, self._shownPixels = {}, {}, None, None
        self._colorCheck = ((), "")
        self._proposal.remove()
        self._overlay.remove()
