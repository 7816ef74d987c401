"""A conversation about one image: what was said, shown and accepted, step by step; every step can be undone.

Pure data. The dialog shows it, the command line does without, and it is saved with the scene as JSON. It holds no image
and no mask: whoever shows it keeps the proposals by `position`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from leanseg.errors import LeanSegError
from leanseg.inference.hints import NO_HINTS, Box, Click, Hints, Scribble
from leanseg.schema import parse

FORMAT = 1
MAX_STEPS = 10_000
"""More are not read from a file."""


@dataclass(frozen=True)
class Prompt:
    """What to look for, as it was typed, and where."""

    text: str
    first_k: int = 0
    last_k: int = 0
    """Slices from the first to the last, both included: a slice, a slab or the whole volume."""

    def __post_init__(self) -> None:
        if not 0 <= self.first_k <= self.last_k:
            raise ValueError(f"slices run from 0 upwards; got {self.first_k} to {self.last_k}.")


@dataclass(frozen=True)
class Accept:
    """The proposal became part of a segment."""

    segment_id: str
    segmentation_id: str = ""
    """Of the node that has the segment, in the scene of that time; empty: it was not kept"""


@dataclass(frozen=True)
class Reject:
    """The proposal was thrown away, with all that was shown for it."""


Step = Prompt | Click | Box | Scribble | Accept | Reject
_KINDS: dict[str, type[Step]] = {
    "prompt": Prompt,
    "click": Click,
    "box": Box,
    "scribble": Scribble,
    "accept": Accept,
    "reject": Reject,
}


class Conversation:
    """Steps, and how many of them count: the rest is undone and can be redone until something else is added."""

    def __init__(self, steps: Sequence[Step] = (), position: int | None = None) -> None:
        """`position`: how many steps count; None: all.

        Raises:
            LeanSegError: a position that is not from 0 to the number of steps.
        """
        self._steps = list(steps)
        self._position = len(self._steps) if position is None else position
        if not 0 <= self._position <= len(self._steps):
            raise LeanSegError(
                f"The conversation has {len(self._steps)} steps, of which {position} cannot count. Restore its file."
            )

    @property
    def steps(self) -> tuple[Step, ...]:
        """Those that count, oldest first."""
        return tuple(self._steps[: self._position])

    @property
    def undone(self) -> tuple[Step, ...]:
        """Those that `redo` brings back, the next one first."""
        return tuple(self._steps[self._position :])

    @property
    def position(self) -> int:
        """How many steps count."""
        return self._position

    def add(self, step: Step) -> None:
        """One more step; what was undone before it cannot be redone any more."""
        self._steps = [*self.steps, step]
        self._position = len(self._steps)

    @property
    def can_undo(self) -> bool:
        return self._position > 0

    @property
    def can_redo(self) -> bool:
        return self._position < len(self._steps)

    def undo(self) -> Step | None:
        """Take the last step back; returns it, or None where there is none."""
        if not self.can_undo:
            return None
        self._position -= 1
        return self._steps[self._position]

    def redo(self) -> Step | None:
        """Take the next undone step again; returns it, or None where there is none."""
        if not self.can_redo:
            return None
        self._position += 1
        return self._steps[self._position - 1]

    @property
    def prompt(self) -> Prompt | None:
        """The last one that counts."""
        return next((step for step in reversed(self.steps) if isinstance(step, Prompt)), None)

    @property
    def text(self) -> str:
        """Of the last prompt that counts; nothing where there is none."""
        return "" if self.prompt is None else self.prompt.text

    @property
    def hints(self) -> Hints:
        """All that was shown since the last proposal was accepted or rejected. A new prompt keeps what was shown."""
        hints = NO_HINTS
        for step in self.steps:
            if isinstance(step, (Accept, Reject)):
                hints = NO_HINTS
            elif not isinstance(step, Prompt):
                hints = hints.with_hint(step)
        return hints

    @property
    def accepted(self) -> tuple[str, ...]:
        """Ids of the segments that got a proposal, in the order of the steps."""
        return tuple(step.segment_id for step in self.steps if isinstance(step, Accept))

    @property
    def history(self) -> tuple[str, ...]:
        """Every text that was tried, undone ones too, each once, the newest first."""
        texts = [step.text for step in reversed(self._steps) if isinstance(step, Prompt)]
        return tuple(dict.fromkeys(text for text in texts if text.strip()))

    def recall(self, number: int) -> str:
        """The text `number` of `history`, 0 the newest.

        Raises:
            LeanSegError: there is no such text.
        """
        if not 0 <= number < len(self.history):
            raise LeanSegError(f"There is no prompt {number}; {len(self.history)} were tried. Choose one of those.")
        return self.history[number]

    def to_json(self) -> str:
        """Everything, undone steps too; `from_json` reads it."""
        steps = [{"kind": _kind_of(step), **dataclasses.asdict(step)} for step in self._steps]
        return json.dumps({"format": FORMAT, "position": self._position, "steps": steps}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Conversation:
        """Raises:
        LeanSegError: no JSON, a newer format, or steps that this LeanSeg does not know.
        """
        try:
            values = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise LeanSegError(f"The conversation is no JSON ({error}). Restore its file.") from error
        if not isinstance(values, dict) or not isinstance(values.get("steps"), list):
            raise LeanSegError("The conversation has no list of steps. Choose a file that LeanSeg wrote.")
        version = values.get("format")
        if type(version) is not int or not 1 <= version <= FORMAT:
            raise LeanSegError(f"The conversation has format {version!r}; {FORMAT} is read here. Update LeanSeg.")
        if len(values["steps"]) > MAX_STEPS:
            raise LeanSegError(f"The conversation has {len(values['steps'])} steps; at most {MAX_STEPS} are read.")
        steps = [_step(value, f"step {number}") for number, value in enumerate(values["steps"], start=1)]
        return cls(steps, parse(int, values.get("position", len(steps)), "the conversation's position"))


def _kind_of(step: Step) -> str:
    return next(name for name, kind in _KINDS.items() if isinstance(step, kind))


def _step(value: Any, where: str) -> Step:
    kind = value.get("kind") if isinstance(value, dict) else None
    if kind not in _KINDS:
        known = ", ".join(_KINDS)
        raise LeanSegError(f"{where} of the conversation is of kind {kind!r}; known: {known}. Update LeanSeg.")
    step: Step = parse(_KINDS[kind], {key: item for key, item in value.items() if key != "kind"}, where)
    return step
