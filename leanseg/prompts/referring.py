"""Sentences that refer to one object of several: by size, brightness, place, order, or its relation to another one.

What CM-MaskSD (arXiv 2305.11481) is trained with here, in place of the captions of photographs: a picture with a label
for each object says by itself what is true of it, so that there are as many sentences as wanted. The grammar is ours.

A sentence is drawn as an `Expression` and put into words afterwards (`referring_words`); what it refers to is found
from the expression alone, so no parser stands between a sentence and its truth. Where two persons could disagree (two
objects of nearly one size, one in the middle asked for by its side) it is UNCLEAR, and such a sentence is never drawn.
All of it is in the frame of the picture: left is column 0, upper is row 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from leanseg.errors import IncompatibleInputError, UnknownNameError

QUALITIES = ("largest", "smallest", "brightest", "darkest", "leftmost", "rightmost", "uppermost", "lowermost")
SIDES = ("left", "right", "upper", "lower")
RELATIONS = ("left of", "right of", "above", "below", "next to")
MOST_RANK = 4
KINDS = ("only", "size", "brightness", "place", "order", "side", "relation")
NO_OBJECT = 0
"""The sentence is clear, and there is nothing that it could mean."""
UNCLEAR = -1
MIN_PIXELS = 10
"""An object of fewer pixels is not counted."""

_LARGER = 1.25  # so many times as large is larger
_BRIGHTER = 0.04  # of the range of the picture
_APART = 0.04  # of the picture's longer side
_NEARER = 1.2  # so many times as far is farther
_MIRRORED = {
    **{"leftmost": "rightmost", "uppermost": "lowermost", "left": "right", "upper": "lower"},
    **{"left of": "right of", "above": "below"},
}
_ACROSS = ("leftmost", "rightmost", "left", "right", "left of", "right of")


class SceneObject(NamedTuple):
    """What a sentence can say about one object."""

    label: int
    area: float
    """Pixels"""
    y: float
    """Of the centroid, from the upper edge, in parts of the picture's longer side; so is x."""
    x: float
    brightness: float
    """Mean gray value, 0 at the darkest and 1 at the brightest pixel of the picture"""


class Scene(NamedTuple):
    """The objects of a picture."""

    objects: tuple[SceneObject, ...]
    height: float
    """In parts of the longer side; so is the width."""
    width: float


@dataclass(frozen=True)
class Pick:
    """One object by its rank: `Pick("largest", 2)` is the second largest; `Pick()` is the only one there is.

    Raises UnknownNameError for another quality, ValueError for a rank that does not fit.
    """

    quality: str = ""
    """One of QUALITIES, or "" """
    rank: int = 1

    def __post_init__(self) -> None:
        if self.quality and self.quality not in QUALITIES:
            raise UnknownNameError("quality in referring sentences", self.quality, QUALITIES)
        if not 1 <= self.rank <= (MOST_RANK if self.quality else 1):
            raise ValueError(f"a rank lies from 1 to {MOST_RANK}, and is 1 without a quality; got {self.rank}.")


@dataclass(frozen=True)
class Expression:
    """`pick` among the objects that lie on a side, or in a relation to another object; or among all.

    Raises UnknownNameError for a word not of the grammar, ValueError for more than it can say at once.
    """

    pick: Pick = Pick()
    side: str = ""
    """One of SIDES, or "": in this half of the picture"""
    relation: str = ""
    """One of RELATIONS, or "" """
    anchor: Pick | None = None
    """What the relation is to"""

    def __post_init__(self) -> None:
        if self.side and self.side not in SIDES:
            raise UnknownNameError("side in referring sentences", self.side, SIDES)
        if self.relation and self.relation not in RELATIONS:
            raise UnknownNameError("relation in referring sentences", self.relation, RELATIONS)
        if bool(self.relation) != (self.anchor is not None) or (self.side and self.relation):
            raise ValueError("a relation needs its anchor, and goes without a side.")
        if (self.side or self.relation) and self.pick.rank > 1:
            raise ValueError("a rank above 1 goes without side and relation.")
        if self.relation == "next to" and self.pick.quality:
            raise ValueError("what is next to something is one object already; say no quality.")

    @property
    def kind(self) -> str:
        """One of KINDS."""
        if self.relation or self.side:
            return "relation" if self.relation else "side"
        if self.pick.rank > 1:
            return "order"
        kinds = {"": "only", "largest": "size", "smallest": "size", "brightest": "brightness", "darkest": "brightness"}
        return kinds.get(self.pick.quality, "place")


def read_scene(labels: NDArray[np.integer], image: NDArray[np.generic]) -> Scene:
    """Objects of a (j, i) label image, 0 being background, with the brightness of the gray image of the same grid.

    Raises:
        IncompatibleInputError: grids that differ, or negative labels.
    """
    if labels.ndim != 2 or labels.shape != image.shape or (labels.size and labels.min() < 0):
        raise IncompatibleInputError(
            f"A label image of shape {labels.shape} came with a picture of shape {image.shape}. Give two images (j, i) "
            f"of one grid, with labels of 0 and more."
        )
    gray = image.astype(np.float64)
    gray = (gray - gray.min()) / max(float(np.ptp(gray)), 1e-9)
    flat, longer = labels.ravel().astype(np.int64), max(labels.shape)
    j, i = (axis.ravel() + 0.5 for axis in np.indices(labels.shape))
    area = np.bincount(flat)
    sums = [np.bincount(flat, weights) for weights in (j, i, gray.ravel())]
    objects = tuple(
        SceneObject(
            int(n),
            float(area[n]),
            float(sums[0][n] / area[n] / longer),
            float(sums[1][n] / area[n] / longer),
            float(sums[2][n] / area[n]),
        )
        for n in range(1, len(area))
        if area[n] >= MIN_PIXELS
    )
    return Scene(objects, labels.shape[0] / longer, labels.shape[1] / longer)


# ── what a sentence refers to ───────────────────────────────────────────────────────────────────────────────────────


def referent(expression: Expression, scene: Scene) -> int:
    """The label of the object; NO_OBJECT if there is none, UNCLEAR if persons could disagree."""
    candidates: Sequence[SceneObject] | None = scene.objects
    if expression.side:
        candidates = _on_side(expression.side, scene)
    elif expression.anchor is not None:
        anchor = _picked(expression.anchor, scene.objects)
        if anchor in (NO_OBJECT, UNCLEAR):
            return anchor
        candidates = _related(expression.relation, next(one for one in scene.objects if one.label == anchor), scene)
    return UNCLEAR if candidates is None else _picked(expression.pick, candidates)


def _picked(pick: Pick, candidates: Sequence[SceneObject]) -> int:
    if not pick.quality:
        labels = [one.label for one in candidates] or [NO_OBJECT]
        return labels[0] if len(labels) == 1 else UNCLEAR
    if len(candidates) < pick.rank:
        return NO_OBJECT
    ranked = sorted(candidates, key=_STRENGTHS[pick.quality], reverse=True)
    chosen = ranked[pick.rank - 1]
    neighbors = ranked[max(pick.rank - 2, 0) : pick.rank - 1] + ranked[pick.rank : pick.rank + 1]
    return chosen.label if all(_differ(chosen, one, pick.quality) for one in neighbors) else UNCLEAR


_STRENGTHS: dict[str, Callable[[SceneObject], float]] = {
    **{"largest": lambda one: one.area, "smallest": lambda one: -one.area},
    **{"brightest": lambda one: one.brightness, "darkest": lambda one: -one.brightness},
    **{"leftmost": lambda one: -one.x, "rightmost": lambda one: one.x},
    **{"uppermost": lambda one: -one.y, "lowermost": lambda one: one.y},
}
"""The object of rank 1 has most of it."""


def _differ(one: SceneObject, other: SceneObject, quality: str) -> bool:
    if quality in ("largest", "smallest"):
        return max(one.area, other.area) >= _LARGER * min(one.area, other.area)
    margin = _BRIGHTER if quality in ("brightest", "darkest") else _APART
    return abs(_STRENGTHS[quality](one) - _STRENGTHS[quality](other)) >= margin


def _on_side(side: str, scene: Scene) -> list[SceneObject] | None:
    """Objects in this half; None if one lies in the middle."""
    across = side in ("left", "right")
    beyond = [(one.x - scene.width / 2) if across else (one.y - scene.height / 2) for one in scene.objects]
    if any(abs(distance) < _APART for distance in beyond):
        return None
    wanted = 1 if side in ("right", "lower") else -1
    return [one for one, distance in zip(scene.objects, beyond, strict=True) if wanted * distance > 0]


def _related(relation: str, anchor: SceneObject, scene: Scene) -> list[SceneObject] | None:
    """Objects in a relation to another one; None if it is unclear of any.

    An object is left of another if it lies there more than above or below it; and so on.
    """
    others = [one for one in scene.objects if one.label != anchor.label]
    if relation == "next to":
        distances = sorted(((one.x - anchor.x) ** 2 + (one.y - anchor.y) ** 2, one) for one in others)
        if len(distances) > 1 and distances[1][0] < _NEARER**2 * distances[0][0]:
            return None
        return [one for _, one in distances[:1]]
    found = []
    for one in others:
        x, y = one.x - anchor.x, one.y - anchor.y
        along, aside = {"left of": (-x, y), "right of": (x, y), "above": (-y, x), "below": (y, x)}[relation]
        if along >= _APART and along >= abs(aside):
            found.append(one)
        elif along > -_APART:
            return None
    return found


# ── drawing ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _all() -> tuple[Expression, ...]:
    best = [Pick(quality) for quality in QUALITIES]
    ranked = [Pick(quality, rank) for quality in QUALITIES for rank in range(2, MOST_RANK + 1)]
    some = [Pick(), *best]
    related = [
        Expression(pick, relation=relation, anchor=anchor)
        for relation in RELATIONS
        for pick in (some if relation != "next to" else some[:1])
        for anchor in best
    ]
    return (
        *(Expression(pick) for pick in (*some, *ranked)),
        *(Expression(pick, side=side) for side in SIDES for pick in some),
        *related,
    )


EXPRESSIONS = _all()
"""Everything that can be said."""
_BY_KIND = {kind: [one for one in EXPRESSIONS if one.kind == kind] for kind in KINDS}


class Reference(NamedTuple):
    """An expression, and the label of its object or NO_OBJECT."""

    expression: Expression
    label: int


def draw_reference(
    scene: Scene, rng: np.random.Generator, absent: bool = False, kinds: Sequence[str] = KINDS
) -> Reference | None:
    """A clear expression with its object, or with none if `absent`; each kind is as likely as any other that fits.

    None where nothing of the sort can be said. What is absent is of some kind that a person could have meant here: the
    fourth of three, one on the empty side, one left of the leftmost.
    """
    for kind in rng.permutation(len(kinds)):
        expressions = _BY_KIND[kinds[kind]]
        for n in rng.permutation(len(expressions)):
            label = referent(expressions[n], scene)
            if label != UNCLEAR and (label == NO_OBJECT) == absent:
                return Reference(expressions[n], label)
    return None


def mirrored_expression(expression: Expression, horizontally: bool = False, vertically: bool = False) -> Expression:
    """What refers to the same object in the picture flipped left-right, upside down, or both."""

    def word(said: str) -> str:
        flips = horizontally if said in _ACROSS else vertically
        pairs = _MIRRORED | {value: key for key, value in _MIRRORED.items()}
        return pairs.get(said, said) if flips else said

    def pick(said: Pick) -> Pick:
        return replace(said, quality=word(said.quality))

    anchor = None if expression.anchor is None else pick(expression.anchor)
    return Expression(pick(expression.pick), word(expression.side), word(expression.relation), anchor)
