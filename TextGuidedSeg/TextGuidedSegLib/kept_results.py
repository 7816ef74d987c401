"""What was found after each step of a conversation, as long as undo and redo may well ask for it."""

from __future__ import annotations

from typing import Any

from leanseg.conversation import Conversation

REMEMBERED = 12  # positions of the conversation; those that are further away are computed again
MAX_BYTES = 400_000_000  # of all that is kept, but the last is kept in any case; a brain of 155 slices has 80 MB

Proposals = dict[int, Any]
"""Slice -> `SliceProposal`; never changed in place"""


class KeptResults:
    """Proposals by the position of the conversation that they belong to."""

    def __init__(self) -> None:
        self._kept: dict[int, Proposals] = {}

    def clear(self) -> None:
        """They are of another image or model."""
        self._kept = {}

    def put(self, conversation: Conversation, proposals: Proposals, position: int | None = None) -> None:
        """What is there now, or was at a position; forgets what no undo or redo leads to, and what is furthest away."""
        now = conversation.position
        reachable = now + len(conversation.undone)
        position = now if position is None else position
        self._kept = {n: kept for n, kept in self._kept.items() if n <= reachable} | {position: proposals}
        nearest = sorted(self._kept, key=lambda n: abs(n - now))
        while len(nearest) > REMEMBERED or (len(nearest) > 1 and self._bytes() > MAX_BYTES):
            del self._kept[nearest.pop()]

    def _bytes(self) -> int:
        """Slices that a step has left as they were count once."""
        slices = {id(one): one for kept in self._kept.values() for one in kept.values()}
        return sum(one.mask.nbytes + one.probability.nbytes + one.uncertainty.nbytes for one in slices.values())

    def get(self, position: int) -> Proposals | None:
        return self._kept.get(position)

    def ofLastTexts(self, conversation: Conversation) -> list[tuple[str, Proposals]]:
        """(text, proposals) of the last result of the last two different texts, the older first; else empty."""
        found: dict[str, Proposals] = {}
        for position in range(conversation.position, 0, -1):
            text = Conversation(conversation.steps[:position]).text
            kept = self._kept.get(position)
            if kept and text not in found:
                found[text] = kept
            if len(found) == 2:
                return list(reversed(found.items()))
        return []
