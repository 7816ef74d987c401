"""The steps of a conversation, computed one after the other: what is computed again is what was found at first."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from leanseg.conversation import Accept, Conversation, Prompt, Reject
from TextGuidedSegLib.kept_results import KeptResults, Proposals


@dataclass(frozen=True)
class Turn:
    """What one step asks for."""

    position: int
    """Of the conversation, after the step"""
    slices: tuple[int, ...]
    text: str
    hints: Any
    """`Hints`: all that count at this step"""
    isPrompt: bool
    """It begins anew; anything else corrects what was found before"""


def turnsToNow(conversation: Conversation, kept: KeptResults, count: int) -> tuple[list[Turn], Proposals]:
    """What is to be computed for the present position of a conversation, and from which result that goes on.

    Only what came after the last decision and the last prompt matters, and of that what is not kept. No turns: nothing
    is proposed here. `count`: slices of the image.
    """
    steps = conversation.steps
    first = next((n for n in range(len(steps), 0, -1) if isinstance(steps[n - 1], Accept | Reject)), 0)
    first = next((n - 1 for n in range(len(steps), first, -1) if isinstance(steps[n - 1], Prompt)), first)
    start = next((n for n in range(len(steps) - 1, first - 1, -1) if kept.get(n) is not None), first)
    turns = [_turn(Conversation(steps[: n + 1]), count) for n in range(start, len(steps))]
    return turns, kept.get(start) or {}


def _turn(conversation: Conversation, count: int) -> Turn:
    """Of the last step of a conversation."""
    from leanseg.inference.hints import NO_HINTS

    step = conversation.steps[-1]
    isPrompt = isinstance(step, Prompt)
    slices = range(step.first_k, min(step.last_k + 1, count)) if isPrompt else NO_HINTS.with_hint(step).slices
    return Turn(conversation.position, tuple(slices), conversation.text, conversation.hints, isPrompt)


def compute(
    session: Any, turns: Iterable[Turn], before: Proposals, progress: Callable[..., bool]
) -> dict[int, Proposals]:
    """Proposals by the position of the conversation, each turn from the one before; in any thread.

    :param session: `TextSession`
    :raises LeanSegError: as `TextSession.propose`.
    """
    turns, found, proposals = list(turns), {}, before
    total, passed = sum(len(turn.slices) for turn in turns), 0
    for turn in turns:

        def ofAll(done: int, _total: int, what: str, passed: int = passed) -> bool:
            return progress(passed + done, total, what)

        proposals = {} if turn.isPrompt else proposals
        earlier = {k: proposals[k].mask for k in turn.slices if k in proposals}
        proposals = {**proposals, **session.propose(turn.slices, turn.text, turn.hints, earlier, ofAll)}
        found[turn.position] = proposals
        passed += len(turn.slices)
    return found
