"""What a person shows instead of says: clicks, boxes, scribbles, an earlier mask; and how a network sees them.

A network sees four channels: places that belong to the tumor, places that do not, a box around it, an earlier mask. All
zero means that nothing was shown. A place is drawn as a bump, exp(-d^2 / 2 r^2) of the distance d to the nearest point,
so that a click says most where it was made and nothing far away. Training draws its simulated clicks with the same
function. That encoding is this project's choice; TextBCS (arXiv 2603.11206) has no clicks.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from leanseg.errors import LeanSegError

CHANNELS = 4
Point = tuple[float, float, float]
"""k, j, i in voxels; a whole number is the center of a voxel."""
Points = NDArray[np.float64]


@dataclass(frozen=True)
class Click:
    """A place that belongs to the tumor, or does not."""

    kji: Point
    positive: bool = True


@dataclass(frozen=True)
class Box:
    """The tumor of one slice lies inside; corners in either order, in voxels, both included."""

    k: int
    j0: float
    i0: float
    j1: float
    i1: float


@dataclass(frozen=True)
class Scribble:
    """A stroke through places that belong to the tumor, or do not; straight between its points."""

    points_kji: tuple[Point, ...]
    positive: bool = True


Hint = Click | Box | Scribble


@dataclass(frozen=True)
class Hints:
    """All that was shown in one volume, in voxels of that volume."""

    clicks: tuple[Click, ...] = ()
    boxes: tuple[Box, ...] = ()
    scribbles: tuple[Scribble, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.clicks or self.boxes or self.scribbles)

    def with_hint(self, hint: Hint) -> Hints:
        """These and one more."""
        if isinstance(hint, Click):
            return Hints((*self.clicks, hint), self.boxes, self.scribbles)
        if isinstance(hint, Box):
            return Hints(self.clicks, (*self.boxes, hint), self.scribbles)
        return Hints(self.clicks, self.boxes, (*self.scribbles, hint))

    @property
    def slices(self) -> tuple[int, ...]:
        """Those in which something was shown, in ascending order."""
        places = [int(k) for sign in (True, False) for k in np.unique(_nearest_slices(self.points_kji(sign)))]
        return tuple(sorted({*places, *(box.k for box in self.boxes)}))

    def points_kji(self, positive: bool) -> Points:
        """(n, 3): clicks of one sign, and places at most a voxel apart along scribbles of that sign."""
        clicks = [click.kji for click in self.clicks if click.positive == positive]
        strokes = [_along(one.points_kji) for one in self.scribbles if one.positive == positive]
        return np.concatenate([np.reshape(np.array(clicks, np.float64), (-1, 3)), *strokes])

    def in_slice(self, k: int) -> SliceHints:
        """What was shown in slice k; a place between two slices counts for the nearer."""
        both = (self.points_kji(True), self.points_kji(False))
        positive, negative = (points[_nearest_slices(points) == k, 1:] for points in both)
        boxes = [(box.j0, box.i0, box.j1, box.i1) for box in self.boxes if box.k == k]
        return SliceHints(positive, negative, np.reshape(np.array(boxes, np.float64), (-1, 4)))


NO_HINTS = Hints()


@dataclass(frozen=True, eq=False)
class SliceHints:
    """What was shown in one slice, in its pixels."""

    positive: Points
    """(n, 2): j, i"""
    negative: Points
    """(n, 2): j, i"""
    boxes: Points
    """(n, 4): j0, i0, j1, i1"""

    def __bool__(self) -> bool:
        return bool(len(self.positive) or len(self.negative) or len(self.boxes))

    @property
    def shows_a_tumor(self) -> bool:
        """Whether a person pointed at one: then there is one, whatever a network says."""
        return bool(len(self.positive) or len(self.boxes))


def hint_channels(
    positive: ArrayLike,
    negative: ArrayLike,
    box: ArrayLike | None,
    earlier: NDArray[np.generic] | None,
    size_ji: tuple[int, int],
    radius_px: float,
) -> NDArray[np.float32]:
    """What a network sees of hints in one slice: (4, j, i), values from 0 to 1.

    Args:
        positive: (n, 2) j, i in pixels of the slice; n may be 0. So is `negative`.
        box: (4,) or (n, 4) j0, i0, j1, i1 in pixels, or None; several are united. At least one pixel is filled.
        earlier: (j, i) mask; None: there is none.
        size_ji: height and width of the slice.
        radius_px: standard deviation of a bump.
    """
    channels = np.zeros((CHANNELS, *size_ji), np.float32)
    for channel, points in zip(channels, (positive, negative), strict=False):
        channel[:] = _bumps(np.reshape(np.asarray(points, np.float64), (-1, 2)), size_ji, radius_px)
    for j0, i0, j1, i1 in np.reshape(np.asarray(() if box is None else box, np.float64), (-1, 4)):
        rows, columns = _pixels(j0, j1, size_ji[0]), _pixels(i0, i1, size_ji[1])
        channels[2, rows, columns] = 1
    if earlier is not None:
        channels[3] = earlier != 0
    return channels


def thinned(points: Points, apart: float) -> Points:
    """(n, axes) without those that lie nearer than `apart` to the last one that was kept: a stroke has very many."""
    kept: list[NDArray[np.float64]] = []
    for point in points:
        if not kept or np.linalg.norm(point - kept[-1]) >= apart:
            kept.append(point)
    return np.reshape(np.array(kept, np.float64), (-1, points.shape[1]))


def _bumps(points: Points, size_ji: tuple[int, int], radius_px: float) -> NDArray[np.float32]:
    """(j, i)"""
    if not len(points):
        return np.zeros(size_ji, np.float32)
    dj, di = (np.arange(n, dtype=np.float32) - points[:, [axis]] for axis, n in enumerate(size_ji))
    nearest = np.full(size_ji, np.inf, np.float32)
    for row, column in zip(dj.astype(np.float32) ** 2, di.astype(np.float32) ** 2, strict=True):
        np.minimum(nearest, row[:, np.newaxis] + column, out=nearest)
    return np.asarray(np.exp(-nearest / (2 * radius_px**2)), dtype=np.float32)


def _pixels(a: float, b: float, length: int) -> slice:
    """From the pixel that holds the smaller coordinate to the one that holds the larger, inside the slice."""
    first, last = (int(np.clip(np.floor(x + 0.5), 0, length - 1)) for x in sorted((a, b)))
    return slice(first, last + 1)


def _along(points: tuple[Point, ...]) -> Points:
    """(n, 3): places on the stroke, neighbors at most a voxel apart along every axis."""
    parts = [np.reshape(np.array(points[:1], np.float64), (-1, 3))]
    for start, end in pairwise(np.array(points, np.float64)):
        steps = max(1, int(np.ceil(np.abs(end - start).max())))
        parts.append(start + (end - start) * (np.arange(1, steps + 1)[:, np.newaxis] / steps))
    return np.concatenate(parts)


def _nearest_slices(points: Points) -> NDArray[np.int64]:
    return np.floor(points[:, 0] + 0.5).astype(np.int64)


def check_hints(hints: Hints, shape_kji: tuple[int, int, int]) -> None:
    """Whether hints can be meant for a volume of this shape.

    Raises:
        LeanSegError: a place or box outside the image or not finite, a box of no area, a stroke without points, or one
            voxel that is said to belong to the tumor and not to belong to it.
    """
    for click in hints.clicks:
        _check_inside(click.kji, shape_kji, "The click")
    for scribble in hints.scribbles:
        if not scribble.points_kji:
            raise LeanSegError("The scribble has no points. Draw a line.")
        for point in scribble.points_kji:
            _check_inside(point, shape_kji, "The scribble")
    for box in hints.boxes:
        for corner in ((box.k, box.j0, box.i0), (box.k, box.j1, box.i1)):
            _check_inside(corner, shape_kji, "The box")
        if box.j0 == box.j1 or box.i0 == box.i1:
            raise LeanSegError("The box has no area. Draw it from one corner to the opposite one.")
    inside, outside = ({tuple(p) for p in np.floor(hints.points_kji(sign) + 0.5).tolist()} for sign in (True, False))
    if inside & outside:
        place = _in_words(min(inside & outside))
        raise LeanSegError(
            f"{place} is marked as tumor and as no tumor. Take back one of the two, or mark another place."
        )


def _check_inside(point: tuple[float, float, float], shape_kji: tuple[int, int, int], what: str) -> None:
    """The outer faces of the voxels are the edge; the last one belongs to no voxel."""
    if not all(-0.5 <= x < n - 0.5 for x, n in zip(point, shape_kji, strict=True)):  # not so for NaN either
        last = ", ".join(str(n - 1) for n in shape_kji)
        raise LeanSegError(
            f"{what} at {_in_words(point)} lies outside the image, which ends at ({last}). Choose a place inside."
        )


def _in_words(point: tuple[float, ...]) -> str:
    return f"(k, j, i) = ({', '.join(f'{x:g}' for x in point)})"
