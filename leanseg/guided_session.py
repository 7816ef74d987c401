"""Two models that are guided by words, as one: a sentence that tells one object from others goes to the one that reads
such sentences, whatever else is said or shown to the one that reads descriptions and hints.

Has the interface of `TextSession`. A mask that a sentence gave is corrected by clicks as any other: the model of
descriptions sees it as the earlier mask, and hears nothing, for it would take the sentence for a description.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from leanseg.errors import LeanSegError
from leanseg.inference.hints import NO_HINTS, Hints
from leanseg.inference.questions import Question
from leanseg.prompts.directions import PictureFrame
from leanseg.prompts.parse import Parsed
from leanseg.prompts.referring_read import Reading, read_reference
from leanseg.prompts.referring_words import sentence
from leanseg.prompts.structure import NOTHING_SAID
from leanseg.referring_session import ReferringSession
from leanseg.request import Progress, no_progress, step
from leanseg.text_session import Mask, SliceProposal, TextSession

_TELLS_APART = {
    "size": "size",
    "brightness": "brightness",
    "place": "place",
    "order": "order",
    "side": "rank on one side",
    "relation": "its relation to another",
}
"""What a kind of expression tells one object from others by."""


@dataclass(frozen=True)
class ParsedReference(Parsed):
    """A sentence that refers to one object; as a description it says nothing."""

    answered_by: str = ""
    """Which model answers, and why, one line"""


def _is_described(reading: Reading) -> bool:
    """Whether the model of descriptions answers."""
    return not reading.is_relational or (reading.expression is None and reading.is_attribute_too)


class GuidedSession:
    """Of one volume. `open_referring` makes the session of the other model when it is first needed."""

    def __init__(self, text: TextSession, referring_id: str, open_referring: Callable[[], ReferringSession]) -> None:
        self.text = text
        """For descriptions and hints"""
        self._referring_id = referring_id
        self._open_referring = open_referring

    @cached_property
    def _referring(self) -> ReferringSession:
        return self._open_referring()

    @property
    def frame(self) -> PictureFrame:
        """Of the pictures, as `TextSession.frame`."""
        return self.text.frame

    @property
    def warnings(self) -> tuple[str, ...]:
        """Of the image, as `TextSession.warnings`."""
        return self.text.warnings

    def understand(self, text: str) -> Parsed:
        """A description as `TextSession.understand`; a `ParsedReference`; or why a sentence that tells objects apart is
        refused. What cannot be read as such a sentence but is a description too is taken for one, with a warning."""
        reading = read_reference(text, self.frame)
        if _is_described(reading):
            parsed = self.text.understand(text)
            warning = f"{reading.problem} It is taken for a description."
            return replace(parsed, warnings=(warning, *parsed.warnings)) if reading.is_relational else parsed
        if reading.expression is None:
            return Parsed(NOTHING_SAID, refusal=reading.problem)
        by, heard = _TELLS_APART[reading.expression.kind], sentence(reading.expression, reading.noun)
        line = f"{self._referring_id} answers, for this tells one of several by {by}. In the picture: {heard}"
        return ParsedReference(NOTHING_SAID, warnings=reading.remarks, answered_by=line)

    def refers(self, text: str) -> bool:
        """Whether a text is a sentence that the model of such sentences answers."""
        return isinstance(self.understand(text), ParsedReference)

    def propose(
        self,
        ks: Iterable[int],
        text: str = "",
        hints: Hints = NO_HINTS,
        earlier: Mapping[int, Mask] | None = None,
        progress: Progress = no_progress,
    ) -> dict[int, SliceProposal]:
        """As `TextSession.propose`. A person who points at a tumor where nothing was proposed overrules a sentence."""
        reading = read_reference(text, self.frame)
        if _is_described(reading):
            return self.text.propose(ks, text, hints, earlier, progress)
        if reading.expression is None:
            raise LeanSegError(reading.problem)
        chosen = sorted(set(ks))
        found: dict[int, SliceProposal] = {}
        for done, k in enumerate(chosen):
            step(progress, done, len(chosen), f"slice {k + 1}")
            shown, before = hints.in_slice(k), (earlier or {}).get(k)
            if not shown:
                found[k] = self._referring.refer(text, k)
                continue
            if before is None and not shown.shows_a_tumor:
                before = self._referring.refer(text, k).mask
            found |= self.text.propose([k], "", hints, {} if before is None else {k: before})
        step(progress, len(chosen), len(chosen), "done")
        return found

    def next_question(
        self, proposals: Mapping[int, SliceProposal], asked: Iterable[tuple[float, float, float]]
    ) -> Question | None:
        """As `TextSession.next_question`."""
        return self.text.next_question(proposals, asked)
