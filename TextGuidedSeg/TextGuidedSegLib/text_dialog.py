"""The conversation about one image: steps are added here, computed off the GUI thread, and undone with all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from leanseg.conversation import Accept as Accepted
from leanseg.conversation import Conversation, Prompt, Reject
from leanseg.errors import InferenceCancelled, LeanSegError
from leanseg.slicer_bridge.frames import SequenceFrames, framesOf
from TextGuidedSegLib import conversation_store
from TextGuidedSegLib.image_session import ImageSession
from TextGuidedSegLib.kept_results import KeptResults, Proposals
from TextGuidedSegLib.replay import compute, turnsToNow


class TextDialog:
    """Used from the GUI thread only. `onChanged()`: something to show has changed.

    `proposals` are those of the present step; those of earlier steps are kept, so that undo shows them at once.
    """

    def __init__(self, logic: Any, runner: Any, message: Any, onChanged: Callable[[], None]) -> None:
        self.conversation = Conversation()
        self.proposals: Proposals = {}
        self.isRunning = False
        self.progress = (0, 0, "")
        self.seconds: float | None = None
        """For the last new prompt, a slice"""
        self._image = ImageSession(logic, runner)
        self._runner = runner
        self._message = message
        self._onChanged = onChanged
        self._kept = KeptResults()
        self._settled = 0  # position of the conversation to which Cancel goes back
        self._isToAsk = False  # what was proposed when the conversation was saved is to be computed again
        self._asked: tuple = ()  # places (k, j, i) of questions

    # The image

    @property
    def frames(self) -> Any:
        """Of the image; None: there is none."""
        return self._image.frames

    @property
    def session(self) -> Any:
        """`TextSession`, or None before it is made."""
        return self._image.session

    def open(self, volumeNode: Any) -> None:
        """Talk about another image; what was said about it before is there again, its proposals after `prepare`.

        :raises LeanSegError: it cannot be used; then there is none.
        """
        self.close()
        frames = framesOf(volumeNode)
        if isinstance(frames, SequenceFrames):
            text = _("{name} shows a sequence; one image or volume is needed. Copy the frame to a volume of its own, or"
                     " use the module Breast ultrasound segmentation.")  # fmt: skip
            raise LeanSegError(text.format(name=volumeNode.GetName()))
        try:
            self.conversation = conversation_store.load(volumeNode)
        except LeanSegError as error:  # the image is sound: a new conversation begins
            self._message.fail(error)
        self._settled = self.conversation.position
        self._isToAsk = bool(turnsToNow(self.conversation, self._kept, frames.count)[0])
        self._image.open(frames)

    def close(self) -> None:
        """Stop, and forget the image; what was said about it stays in the scene."""
        self._runner.cancel()
        self._image.open(None)
        self.isRunning = False
        self.conversation, self.proposals = Conversation(), {}
        self._kept.clear()
        self._settled, self._isToAsk, self._asked = 0, False, ()

    @property
    def isOutdated(self) -> bool:
        """Whether nothing was said here, but the scene has a conversation about the image: it came after the image."""
        conversation = self.conversation
        return not conversation.steps and not conversation.undone and conversation_store.has(self.frames.volumeNode)

    def configure(self, modelKey: tuple[str, str] | None, modality: str) -> None:
        """Another model or kind of image makes another session; it is made with the next step, or by `prepare`.

        :raises LeanSegError: the image cannot be used any more.
        """
        self._image.configure(modelKey, modality)
        self._forgetIfOther()

    def prepare(self) -> None:
        """Load the model and look at the image, so that directions and warnings are known before anything is asked; and
        propose again what was open when the conversation was saved."""
        if self._image.canPrepare and self._isToAsk:
            self._ask()
        elif self._image.canPrepare:
            self._start(lambda session, _progress: {}, lambda _nothing: None, isQuiet=True)

    def _forgetIfOther(self) -> None:
        """The session, where model, kind, place or voxels are others; what was found, where the voxels are."""
        if not self._image.forgetIfOther():
            return
        settled = self._kept.get(self._settled)  # a run may be under way, for a later position
        self._kept.clear()
        if not self._image.hasSameVoxels():
            self.proposals = {}
        elif settled is not None:
            self._kept.put(self.conversation, settled, self._settled)

    # Steps

    def apply(self, text: str, first: int, last: int) -> None:
        """Look for what a text says, in the slices from first to last."""
        self.conversation.add(Prompt(text, first, last))
        self.proposals = {}
        self._ask()

    def show(self, hint: Any) -> None:
        """A click, box or scribble; the slices in which it lies are computed anew.

        :raises LeanSegError: it lies outside of the image, has no area, or contradicts another one. Nothing is added.
        """
        from leanseg.inference.hints import check_hints

        check_hints(self.conversation.hints.with_hint(hint), self._shape())
        self.conversation.add(hint)
        self._ask()

    def accepted(self, segmentationNode: Any, segmentId: str) -> None:
        """The proposal is in a segment now."""
        self._decide(Accepted(segmentId, segmentationNode.GetID()))

    def reject(self) -> None:
        """The proposal and all that was shown for it are thrown away."""
        self._decide(Reject())

    def _decide(self, step: Any) -> None:
        self.cancel()
        self.conversation.add(step)
        self._settle({})

    def undo(self) -> Any:
        """The step that was taken back, or None; of a run, what it was for."""
        if self.isRunning:
            step = next(iter(self.conversation.steps[-1:]), None)
            self.cancel()
            return step
        step = self.conversation.undo()
        self._goBack()
        return step

    def redo(self) -> Any:
        """The step that was taken again, or None."""
        step = self.conversation.redo()
        self._goBack()
        return step

    def _goBack(self) -> None:
        """Show what was there at this position; what is not kept any more is computed again."""
        found = self._kept.get(self.conversation.position)
        if found is None:
            self.proposals = {}
            self._ask()
        else:
            self._settle(found)

    # Computing

    def _shape(self) -> tuple[int, int, int]:
        return (self.frames.count, *self.frames.geometry(0).shape[1:])

    def _ask(self) -> None:
        """Compute the steps up to here whose results are not kept; a run that is under way starts again with them."""
        self._isToAsk = False
        try:
            self._forgetIfOther()
        except LeanSegError as error:
            self._failed(error)
            return
        turns, before = turnsToNow(self.conversation, self._kept, self.frames.count)
        if turns:
            self._start(lambda session, progress: compute(session, turns, before, progress), self._arrived)
        else:
            self._settle({})

    def _start(self, work: Callable[[Any, Any], dict], onDone: Callable[[dict], None], isQuiet: bool = False) -> None:
        def done(found: dict) -> None:
            self.isRunning = False
            onDone(found)
            self._onChanged()

        self.isRunning, self.progress = not isQuiet, (0, 0, "")
        try:
            self._image.run(work, done, self._failed, self._progressed)
        except LeanSegError as error:
            self._failed(error)
        self._onChanged()

    def _arrived(self, found: dict[int, Proposals]) -> None:
        """By position. Of the last run only: the ones before were cancelled by it."""
        for position, proposals in found.items():
            self._kept.put(self.conversation, proposals, position)
        last = found[self.conversation.position]
        if last and isinstance(self.conversation.steps[-1], Prompt):
            self.seconds = sum(one.seconds for one in last.values()) / len(last)
        self._settle(last)

    def _settle(self, proposals: Proposals | None) -> None:
        """Be at this position for good; None: nobody knows what is proposed here, so the next step asks for it."""
        self.proposals = {} if proposals is None else proposals
        self._settled = self.conversation.position
        if proposals is not None:
            self._kept.put(self.conversation, proposals)
        if self.frames is not None:
            conversation_store.save(self.frames.volumeNode, self.conversation)
        self._onChanged()

    def _failed(self, error: Exception) -> None:
        self._message.refuse(error)
        self._takeBack()

    def cancel(self) -> None:
        """End a run; the steps that it was for are taken back."""
        if self.isRunning:
            self._runner.cancel()
            self._message.say(str(InferenceCancelled()))
            self._takeBack()

    def _takeBack(self) -> None:
        """To the position before the run, or to the one that undo has led to."""
        self.isRunning = False
        while self.conversation.position > self._settled and self.conversation.can_undo:
            self.conversation.undo()
        self._settle(self._kept.get(self.conversation.position))

    def _progressed(self, done: int, total: int, what: str) -> None:
        self.progress = (done, total, what)
        self._onChanged()

    # Asking back

    def ask(self, onQuestion: Callable[[Any], None]) -> None:
        """The most uncertain place that nobody was asked about: `onQuestion(Question or None)`, later, unless something
        else is proposed by then."""
        session, proposals, frames, asked = self.session, self.proposals, self.frames, self._asked
        clicks = tuple(click.kji for click in self.conversation.hints.clicks)

        def done(question: Any) -> None:
            if self.frames is frames and self.proposals is proposals:
                if question is not None:
                    self._asked = (*asked, question.kji)
                onQuestion(question)

        self._runner.submit(
            lambda _progress: session.next_question(proposals, (*clicks, *asked)),
            onDone=done,
            onFailed=self._message.fail,
            latest=True,
        )

    # Looking

    def masks(self) -> Proposals:
        """(j, i) bool of every slice that was asked about.

        :raises LeanSegError: the image is not what it was then.
        """
        if not self._image.hasSameVoxels():
            self.reject()
            raise LeanSegError(_("The image has changed since it was segmented. Press Apply again."))
        return {k: proposal.mask for k, proposal in self.proposals.items()}

    @property
    def hasTumor(self) -> bool:
        return any(proposal.mask.any() for proposal in self.proposals.values())

    def comparable(self) -> list[tuple[str, Proposals]]:
        """Text and result of the last two different prompts, the older first; else empty."""
        return self._kept.ofLastTexts(self.conversation)
