"""From the words of a prompt to places: which words belong to one place, and which cannot be true of one."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from leanseg.prompts.structure import Location
from leanseg.prompts.words import Word

KINDS = ("vertical", "horizontal", "center")
_VERTICALS, _HORIZONTALS = ("upper", "lower"), ("left", "right")


@dataclass
class _Run:
    """Words of one place, and how it hangs together with the one before."""

    words: list[Word]
    joint: str
    """`clash`, `comma`, `and`, or `apart` for what else stands between; "" for the first"""

    @property
    def place(self) -> Location:
        said = {word.value or "center" for word in self.words}
        vertical = next((word for word in _VERTICALS if word in said), "")
        horizontal = next((word for word in _HORIZONTALS if word in said), "")
        if "center" in said or {"middle", "central"} <= said:
            return Location(vertical or "middle", horizontal or "central")
        # "upper middle" and "central left" name what the other word leaves open
        if "middle" in said:
            return Location("middle", horizontal) if not vertical else Location(vertical, horizontal or "central")
        if "central" in said:
            return Location(vertical, "central") if not horizontal else Location(vertical or "middle", horizontal)
        return Location(vertical, horizontal)

    def takes(self, word: Word) -> bool:
        """Whether the place can be true with this word too."""
        said = {other.value for other in self.words} | {word.value}
        return len(said) <= 2 and not said.issuperset(_VERTICALS) and not said.issuperset(_HORIZONTALS)


def places_said(words: list[Word]) -> tuple[list[Location], list[str]]:
    """All places in their order, and wordings that cannot be true of one mass, e.g. `upper lower`.

    "left, upper" is one place, "left and upper" are two, and "upper and lower left" is upper left and lower left.
    """
    runs = _runs(words)
    impossible = []
    for before, run in itertools.pairwise(runs):
        whole = all(one.place.vertical and one.place.horizontal for one in (before, run))
        if run.joint == "clash" and not whole:
            impossible.append(" ".join(word.text for word in (*before.words, *run.words)))
    single = sum(word.kind == "mass" for word in words) < 2
    merged: list[_Run] = []
    for run in runs:
        if merged and run.joint in (("comma", "apart") if single else ("comma",)) and _complete(merged[-1], run):
            merged[-1] = _Run([*merged[-1].words, *run.words], merged[-1].joint)
        else:
            merged.append(run)
    places = [run.place for run in merged]
    for n in reversed(range(len(places) - 1)):
        if merged[n + 1].joint == "and" and places[n + 1].vertical and not places[n].horizontal:
            places[n] = Location(places[n].vertical, places[n + 1].horizontal)
    if any(word.kind == "both sides" for word in words):
        verticals = {place.vertical for place in places} or {""}
        places = [Location(vertical, side) for vertical in sorted(verticals) for side in _HORIZONTALS]
    return places, impossible


def _runs(words: list[Word]) -> list[_Run]:
    runs: list[_Run] = []
    last = 0
    for n, word in enumerate(words):
        if word.kind not in KINDS:
            continue
        joint = _joint(words[last + 1 : n + 1]) if runs else ""
        last = n
        if runs and joint == "" and runs[-1].takes(word):
            runs[-1].words.append(word)
        else:
            runs.append(_Run([word], joint or ("clash" if runs else "")))
    return runs


def _joint(words: list[Word]) -> str:
    """What stands between two words of places; the second of them is the last one here."""
    gaps = "".join(word.gap for word in words)
    meant = [word for word in words[:-1] if word.kind != "filler"]
    joined = any(word.kind == "join" for word in meant) or any(sign in gaps for sign in "/&+")
    if joined or any(sign in gaps for sign in ".;\n"):
        return "and" if joined and all(word.kind == "join" for word in meant) else "sentence"
    return "apart" if meant else "comma" if "," in gaps else ""


def _complete(one: _Run, other: _Run) -> bool:
    """Whether each names the direction that the other leaves open."""
    a, b = one.place, other.place
    return (
        bool(a.vertical) != bool(a.horizontal)
        and bool(a.vertical) == bool(b.horizontal)
        and (bool(a.horizontal) == bool(b.vertical))
    )
