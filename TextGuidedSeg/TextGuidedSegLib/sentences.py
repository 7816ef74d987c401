"""What is understood of a text, and where it is looked for: a description, or a sentence that tells one of several."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def understood(sessionNow: Callable[[], Any], text: str) -> Any:
    """`Parsed`; with a session (None before it is made), also how it goes with the image."""
    from leanseg.prompts.parse import parse

    session = sessionNow()
    return parse(text) if session is None else session.understand(text)


def slicesFor(session: Any, logic: Any, text: str, current: int, chosen: tuple[int, int]) -> tuple[int, int]:
    """First and last slice to look in: those that were chosen; for a sentence about one of several the shown one.

    Before there is a session, `logic` says whether there is a model for such sentences."""
    from leanseg.guided_session import GuidedSession
    from leanseg.prompts.referring_read import read_reference

    if session is None:
        reading = read_reference(text)  # in words of the picture: how it lies is not known yet
        isReference = reading.is_relational and reading.expression is not None and logic.referringModel() is not None
    else:
        isReference = isinstance(session, GuidedSession) and session.refers(text)
    return (current, current) if isReference else chosen
