"""The known word that a misspelled one is: one slip of the fingers away, and never of another meaning.

In medicine a prefix turns a word round (hypodense, hyperdense; typical, atypical), so that likeness alone says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

_PREFIXES = (
    "a ab ad af an ana ante anti ap bi de di dis dys e ec ef em en endo epi eu ex exo extra hemi hyper hypo il im in "
    "infra inter intra ir iso macro mal meta micro mono multi non para per peri poly post pre pro quadri re retro semi "
    "sub super supra trans tri ultra un uni"
)
"""That deny, count, or say where, when or how much."""
_LONGEST_FIRST = sorted(_PREFIXES.split(), key=len, reverse=True)


def meant_by(word: str, known: Iterable[str]) -> str | None:
    """The first known word that differs from `word` by one letter (more, less or another one) or by two neighbors that
    changed places, and begins with the same prefix, if any; None where there is none."""
    prefix = _prefix(word)
    return next((other for other in known if _is_one_slip(word, other) and _prefix(other) == prefix), None)


def _prefix(word: str) -> str:
    return next((prefix for prefix in _LONGEST_FIRST if word.startswith(prefix)), "")


def _is_one_slip(one: str, other: str) -> bool:
    same = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    a, b = one[same:], other[same:]
    changed, more, less = a[1:] == b[1:], a[1:] == b, a == b[1:]
    turned = a[:2] == b[1::-1] and a[2:] == b[2:]
    return a != b and (changed or more or less or turned)
