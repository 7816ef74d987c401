"""Errors a caller can act on. Each message is one line: what came, what is needed, what to do."""

import difflib
from collections.abc import Iterable


class LeanSegError(Exception):
    """Base of every error that LeanSeg raises on purpose; the command line prints it and exits 1."""


class IncompatibleInputError(LeanSegError):
    """The image cannot be used by this model."""


class UnreadableFileError(LeanSegError):
    """A file is missing, damaged or of a kind that LeanSeg does not read."""


class UnknownNameError(LeanSegError):
    """A model, recipe, data set or option does not exist."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(names) or 'none'}."
        super().__init__(f"There is no {kind} named {name!r}. {hint}")


class BundleError(LeanSegError):
    """A bundle is incomplete, damaged, or of a newer format."""


class MissingDependencyError(LeanSegError):
    """An optional package is needed for what was asked."""


class OutputError(LeanSegError):
    """A result cannot be written."""


class InferenceCancelled(LeanSegError):
    """The progress callback returned False."""

    def __init__(self) -> None:
        super().__init__("Cancelled; nothing was written.")
