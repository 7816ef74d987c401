"""Which model answers a text, and what is said about that: a description, or a sentence that tells one of several."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from slicer.i18n import tr as _


def understood(sessionNow: Callable[[], Any], text: str) -> Any:
    """`Parsed`; with a session (None before it is made), also how it goes with the image."""
    from leanseg.guided_session import GuidedSession
    from leanseg.prompts.parse import parse
    from leanseg.prompts.referring_read import unread_remark

    session = sessionNow()
    if session is None:
        return parse(text)
    parsed = session.understand(text)
    remark = "" if isinstance(session, GuidedSession) else unread_remark(text, session.frame)
    if not remark:
        return parsed
    return replace(parsed, warnings=(*parsed.warnings, _("{remark} None is installed.").format(remark=remark)))


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
