"""How well glands are found, one by one: F1, object Dice and object Hausdorff of the GlaS challenge.

Paper: Sirinukunwattana et al., Gland segmentation in colon histology images: The GlaS challenge contest, Medical Image
Analysis 2017, arXiv 1603.00275. Written from the published definitions.

    TP: a segmented object that covers at least half of the truth that it overlaps most; FP: any other
    FN: a true object that no TP belongs to                                         F1 = 2 TP / (2 TP + FP + FN)
    object Dice       1/2 [ sum over S_i of w_i D(G_i, S_i)  +  sum over G~_j of w~_j D(G~_j, S~_j) ]
    object Hausdorff  the same with the Hausdorff distance H in the place of D

G_i is the true object that S_i overlaps most, S~_j the segmented one that G~_j overlaps most; w_i and w~_j are areas as
parts of the area of all S and of all G~. Where nothing overlaps D is 0, and H is that to the nearest object.

Departures and inferences
  * An object is an 8-connected component. Our masks of GlaS are binary, so glands that touch are one.
  * Areas are parts of those of all images that are measured together (inferred).
  * Of an image without any object on the other side, H is the diagonal of the image, which nothing exceeds. Where
    neither side has an object in any image, F1 and object Dice are 1 and object Hausdorff is 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]
_EIGHT_NEIGHBORS = np.ones((3, 3), dtype=int)


@dataclass(frozen=True)
class GlandMetrics:
    """Of one image, or of several together."""

    f1: float
    object_dice: float
    object_hausdorff_px: float

    def to_json(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True)
class _Found:
    """An object of one side against those of the other."""

    area: int
    dice: float
    hausdorff: float
    match: int
    """The object of the other side that it overlaps most, from 1; 0: none."""
    cover: float
    """Part of that object that it covers."""


def gland_metrics(pairs: Iterable[tuple[ArrayLike, ArrayLike]]) -> GlandMetrics:
    """Metrics of (predicted, truth) masks, one pair an image, each (height, width).

    Raises:
        ValueError: the masks of an image are not two-dimensional or differ in shape, or there is no image.
    """
    predicted: list[_Found] = []
    true: list[_Found] = []
    hits = misses = images = 0
    for a, b in pairs:
        segmented, truth = objects(a), objects(b)
        if segmented.shape != truth.shape:
            raise ValueError(f"Two masks of one (height, width) are needed; got {segmented.shape} and {truth.shape}.")
        ours, theirs = _compare(segmented, truth), _compare(truth, segmented)
        matched = [one.match for one in ours if one.cover >= 0.5]
        hits += len(matched)
        misses += len(theirs) - len(set(matched))
        predicted += ours
        true += theirs
        images += 1
    if not images:
        raise ValueError("There is no image to measure. Give at least one pair of masks.")
    judged = hits + len(predicted) + misses  # 2 TP + FP + FN
    return GlandMetrics(
        2 * hits / judged if judged else 1.0,
        _both_ways(predicted, true, "dice", neither=1.0),
        _both_ways(predicted, true, "hausdorff", neither=0.0),
    )


def objects(mask: ArrayLike) -> NDArray[np.int32]:
    """A mask (height, width) -> its components, numbered from 1; 0 is background.

    Raises:
        ValueError: it is not two-dimensional.
    """
    array = np.asarray(mask).astype(bool)
    if array.ndim != 2:
        raise ValueError(f"A mask is (height, width); got {array.shape}.")
    return np.asarray(ndimage.label(array, _EIGHT_NEIGHBORS)[0], dtype=np.int32)


def _compare(ours: NDArray[np.int32], theirs: NDArray[np.int32]) -> list[_Found]:
    """Each object of one side against those of the other."""
    number = int(theirs.max(initial=0))
    areas = np.bincount(theirs.ravel(), minlength=number + 1)
    found = []
    for label, box in enumerate(ndimage.find_objects(ours), start=1):
        mask = ours[box] == label
        area = int(mask.sum())
        shared = np.bincount(theirs[box][mask], minlength=number + 1)
        shared[0] = 0
        match = int(shared.argmax())
        if shared[match]:
            both, whole = int(shared[match]), int(areas[match])
            distance = _hausdorff(ours == label, theirs == match)
            found.append(_Found(area, 2 * both / (area + whole), distance, match, both / whole))
        else:
            others = (_hausdorff(ours == label, theirs == n) for n in range(1, number + 1))
            found.append(_Found(area, 0.0, min(others, default=math.hypot(*ours.shape)), 0, 0.0))
    return found


def _hausdorff(a: Mask, b: Mask) -> float:
    """The largest distance of a pixel of one object from the other, in pixels; neither is empty."""
    rows, columns = (np.flatnonzero((a | b).any(axis=axis)) for axis in (1, 0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    a, b = a[box], b[box]
    to_b, to_a = (ndimage.distance_transform_edt(~mask) for mask in (b, a))
    return float(max(to_b[a].max(), to_a[b].max()))


def _both_ways(predicted: Sequence[_Found], true: Sequence[_Found], what: str, neither: float) -> float:
    """Mean of both directions, each weighed by area; a side without objects takes the value of the other."""
    means = []
    for side in (predicted, true):
        area = sum(one.area for one in side)
        if area:
            means.append(sum(one.area * getattr(one, what) for one in side) / area)
    return math.fsum(means) / len(means) if means else neither
