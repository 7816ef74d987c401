"""Prompts from masks, and masks from prompts: number, shape, size and places as they are measured.

Rules of number, size and place, and the circularities: inferred (the paper's prompts were written by radiologists).
Departure: `round` also needs a mass at most 1.4 times as long as wide; an ellipse of 2:1 still has circularity 0.84.
All of it is in the frame of the picture: left is column 0, upper is row 0.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from leanseg.prompts.structure import HORIZONTALS, NUMBERS, VERTICALS, Location, StructuredPrompt

Mask = NDArray[np.bool_]

MIN_PIXELS = 10
"""A component of fewer pixels is not counted as a mass."""
MOST_LOCATIONS = 3
"""Masses in more places than this are described without places: a list of them is not what a person says."""
_LARGE, _MEDIUM = 0.04, 0.01  # of the organ's area
_ROUND, _OVAL = 0.80, 0.60  # circularity
_ROUND_ELONGATION = 1.4
_SINGLED_OUT = 1.5  # a mass is "the largest one" if it is so many times as large as the next
_ROUGHLY = {  # from, to: fractions of the organ's extent; a place outside is clearly elsewhere
    **{"upper": (0, 0.5), "middle": (0.2, 0.8), "lower": (0.5, 1)},
    **{"left": (0, 0.5), "central": (0.2, 0.8), "right": (0.5, 1), "": (0, 1)},
}


class _Mass(NamedTuple):
    """One 8-connected component."""

    mask: Mask
    y: float
    """Centroid as a fraction of the organ's extent, 0 (upper edge) to 1; so is x."""
    x: float
    area: int

    @property
    def location(self) -> Location:
        return Location(VERTICALS[min(int(self.y * 3), 2)], HORIZONTALS[min(int(self.x * 3), 2)])

    def lies(self, location: Location, roughly: bool) -> bool:
        if not roughly:
            return location.vertical in ("", self.location.vertical) and (
                location.horizontal in ("", self.location.horizontal)
            )
        (top, bottom), (left, right) = _ROUGHLY[location.vertical], _ROUGHLY[location.horizontal]
        return top <= self.y <= bottom and left <= self.x <= right


def describe(mask: Mask, organ: Mask | None = None, modality: str = "") -> StructuredPrompt:
    """The prompt that is true of a (j, i) mask.

    Components of `MIN_PIXELS` and more count. Size is the area of all of them, as a fraction of the organ's (j, i)
    area: below 1 % small, up to 4 % medium; shape is that of the largest one; places are those of the centroids on a
    grid of 3 x 3 over the organ's bounding box. Without an organ the picture stands for it. The margin cannot be
    seen in a mask and is left open.
    """
    masses = [mass for mass in _masses(mask, organ) if mass.area >= MIN_PIXELS]
    if not masses:
        return StructuredPrompt(number="no", modality=modality)
    places = {mass.location for mass in masses}
    return StructuredPrompt(
        number=NUMBERS[min(len(masses), 4)],
        shape=_shape(max(masses, key=lambda mass: mass.area).mask),
        size=_size(sum(mass.area for mass in masses), mask, organ),
        locations=tuple(places) if len(places) <= MOST_LOCATIONS else (),
        modality=modality,
    )


def components_named(mask: Mask, prompt: StructuredPrompt, organ: Mask | None = None) -> Mask:
    """The components of a (j, i) mask that the prompt means; none of them if it says "no" or names other places.

    A place means the components in its cells of the 3 x 3 grid or, where there are none, those not clearly elsewhere
    (e.g. `left`: in the left half). No place means all. Where the prompt says `one` and several are left, shape and
    then size single one out, if they can: the only one of that shape; the largest or smallest by a factor of 1.5.
    """
    if prompt.number == "no":
        return np.zeros_like(mask)
    if not prompt.locations and prompt.number != "one":
        return mask.copy()
    masses = _masses(mask, organ)
    meant = _named([mass for mass in masses if mass.area >= MIN_PIXELS] or masses, prompt)
    named = np.zeros_like(mask)
    for mass in meant:
        named |= mass.mask
    return named


def fits(mask: Mask, prompt: StructuredPrompt, organ: Mask | None = None) -> bool:
    """Whether the prompt may be said of a (j, i) mask; False only where it is clearly wrong and can be a negative.

    Wrong is: "no" of a mask with a mass, or anything else of one without; a place where no mass is, not even roughly;
    more masses than are where it says; small for large and round for irregular, and the other way round.
    """
    masses = [mass for mass in _masses(mask, organ) if mass.area >= MIN_PIXELS]
    if prompt.number == "no" or not masses:
        return (prompt.number == "no") == (not masses)
    if any(not any(mass.lies(place, roughly=True) for mass in masses) for place in prompt.locations):
        return False
    named = _named(masses, prompt)
    if len(named) < min(NUMBERS.index(prompt.number or "one"), 4):
        return False
    size = _size(sum(mass.area for mass in named), mask, organ)
    shape = _shape(max(named, key=lambda mass: mass.area).mask)
    jagged = ("irregular", "spiculated")
    if {prompt.size, size} == {"small", "large"}:
        return False
    return not ((prompt.shape == "round" and shape in jagged) or (prompt.shape in jagged and shape == "round"))


def places_held(mask: Mask, prompt: StructuredPrompt, organ: Mask | None = None) -> tuple[Location, ...]:
    """Of the places of a prompt those in whose cells of the 3 x 3 grid a mass of a (j, i) mask lies."""
    masses = [mass for mass in _masses(mask, organ) if mass.area >= MIN_PIXELS]
    return tuple(place for place in prompt.locations if any(mass.lies(place, roughly=False) for mass in masses))


def _named(masses: list[_Mass], prompt: StructuredPrompt) -> list[_Mass]:
    if prompt.locations:
        kept: set[int] = set()
        for place in prompt.locations:
            exactly = [n for n, mass in enumerate(masses) if mass.lies(place, roughly=False)]
            kept.update(exactly or [n for n, mass in enumerate(masses) if mass.lies(place, roughly=True)])
        masses = [masses[n] for n in sorted(kept)]
    if prompt.number != "one" or len(masses) < 2:
        return masses
    of_shape = [mass for mass in masses if prompt.shape and _shape(mass.mask) == prompt.shape]
    if len(of_shape) == 1:
        return of_shape
    by_area = sorted(masses, key=lambda mass: mass.area)
    if prompt.size == "large" and by_area[-1].area >= _SINGLED_OUT * by_area[-2].area:
        return by_area[-1:]
    if prompt.size == "small" and by_area[1].area >= _SINGLED_OUT * by_area[0].area:
        return by_area[:1]
    return masses


def _masses(mask: Mask, organ: Mask | None) -> list[_Mass]:
    if not mask.any():
        return []
    import SimpleITK as sitk  # here, so that importing leanseg stays fast

    components = sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)), True))
    top, bottom, left, right = _extent(mask if organ is None else organ, whole=organ is None)
    masses = []
    for label in range(1, int(components.max()) + 1):
        j, i = np.nonzero(components == label)
        y, x = (j.mean() + 0.5 - top) / (bottom - top), (i.mean() + 0.5 - left) / (right - left)
        masses.append(_Mass(components == label, float(np.clip(y, 0, 1)), float(np.clip(x, 0, 1)), j.size))
    return masses


def _extent(organ: Mask, whole: bool) -> tuple[int, int, int, int]:
    """Edges of the bounding box: top, bottom, left, right."""
    if whole or not organ.any():
        return 0, organ.shape[0], 0, organ.shape[1]
    rows, columns = np.flatnonzero(organ.any(axis=1)), np.flatnonzero(organ.any(axis=0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _size(area: int, mask: Mask, organ: Mask | None) -> str:
    fraction = area / (mask.size if organ is None or not organ.any() else np.count_nonzero(organ))
    return "large" if fraction > _LARGE else "medium" if fraction >= _MEDIUM else "small"


def _shape(mask: Mask) -> str:
    area = np.count_nonzero(mask)
    circularity = 4 * math.pi * area / _perimeter(mask) ** 2
    if circularity >= _ROUND and _elongation(mask) <= _ROUND_ELONGATION:
        return "round"
    return "oval" if circularity >= _OVAL else "irregular"


def _perimeter(mask: Mask) -> float:
    """Cauchy-Crofton: pi times the mean width, from how often lines in four directions cross the edge. In pixels."""
    m = np.pad(mask, 1)
    straight = np.count_nonzero(m[1:] != m[:-1]) + np.count_nonzero(m[:, 1:] != m[:, :-1])
    diagonal = np.count_nonzero(m[1:, 1:] != m[:-1, :-1]) + np.count_nonzero(m[1:, :-1] != m[:-1, 1:])
    return math.pi / 8 * (straight + diagonal / math.sqrt(2))


def _elongation(mask: Mask) -> float:
    """Length by width of the ellipse with the same second moments; pixels are squares, not points."""
    j, i = np.nonzero(mask)
    moments = np.cov(np.stack([j, i]), bias=True) + np.eye(2) / 12
    short, long = np.linalg.eigvalsh(moments)
    return math.sqrt(long / short)
