"""Where a click would teach most: the most uncertain place that nobody was asked about. Inferred; TextBCS asks nothing.

A place is worth asking about where the answer is open (4 p (1 - p), 1 at p = 0.5) and where little speaks for either
side (the vacuity u): w = 4 p (1 - p) (1 + u) / 2, averaged over a square, since a single pixel is noise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from leanseg.inference.hints import Point

REACH = 0.06
"""Of the longer side of a slice: nearer to an earlier click or question than this nothing is asked."""
_SMOOTHED = 0.02  # of the longer side: half of the square
_LEAST = 0.15  # of w, which is at most 1; below it a click changes nothing
Float32 = NDArray[np.float32]


class Proposed(Protocol):
    """What has to be known of one slice."""

    @property
    def probability(self) -> Float32: ...

    @property
    def uncertainty(self) -> Float32: ...


@dataclass(frozen=True)
class Question:
    """Is this tumor?"""

    kji: Point
    """Voxel of the volume"""
    probability: float
    """Of tumor, there"""
    why: str
    """One line for a person, who counts slices from 1; it does not ask"""


def next_question(
    proposals: Mapping[int, Proposed], asked: Iterable[Point], spacing_kji_mm: tuple[float, float, float]
) -> Question | None:
    """The place with the largest w that is not near an earlier one; None where a click would change nothing.

    The same proposals and earlier places give the same question; of equal places the first along k, j, i.

    Args:
        proposals: slice -> probability and uncertainty (j, i).
        asked: places of earlier clicks and questions; distances to them count in mm, through the slices too.
    """
    places = np.reshape(np.array(list(asked), np.float64), (-1, 3))
    best, found = _LEAST, None
    for k in sorted(proposals):
        worth = _worth(proposals[k])
        worth[_near(worth.shape, k, places, spacing_kji_mm)] = 0
        j, i = (int(n) for n in np.unravel_index(worth.argmax(), worth.shape))
        if worth[j, i] > best:
            best, found = float(worth[j, i]), (k, j, i)
    if found is None:
        return None
    k, j, i = found
    p = float(proposals[k].probability[j, i])
    return Question((float(k), float(j), float(i)), p, f"Slice {k + 1}: tumor with {p:.0%} here.")


def _worth(proposal: Proposed) -> NDArray[np.float64]:
    p = proposal.probability.astype(np.float64)
    worth = 2 * p * (1 - p) * (1 + proposal.uncertainty)
    half = round(_SMOOTHED * max(worth.shape))
    return _averaged(_averaged(worth, half, 0), half, 1)


def _averaged(values: NDArray[np.float64], half: int, axis: int) -> NDArray[np.float64]:
    """Means over up to `half` neighbors to either side, of those that there are."""
    n = values.shape[axis]
    sums = np.insert(values.cumsum(axis=axis), 0, 0, axis=axis)
    first, end = np.maximum(np.arange(n) - half, 0), np.minimum(np.arange(n) + half + 1, n)
    counts = np.expand_dims(end - first, 1 - axis)
    return np.asarray((sums.take(end, axis) - sums.take(first, axis)) / counts)


def _near(
    shape_ji: tuple[int, ...], k: int, places: NDArray[np.float64], spacing_kji_mm: tuple[float, float, float]
) -> NDArray[np.bool_]:
    """(j, i): nearer than REACH to a place."""
    _, dj, di = spacing_kji_mm
    reach = REACH * max(shape_ji[0] * dj, shape_ji[1] * di)
    near = np.zeros(shape_ji, np.bool_)
    rows, columns = np.arange(shape_ji[0])[:, np.newaxis], np.arange(shape_ji[1])
    for place in places:
        away = ((k - place[0]) * spacing_kji_mm[0]) ** 2
        if away < reach**2:
            near |= away + ((rows - place[1]) * dj) ** 2 + ((columns - place[2]) * di) ** 2 < reach**2
    return near
