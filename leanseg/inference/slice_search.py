"""Which slices are segmented next, and how, by what has been found so far: numbers only, no graphs.

This project's own; Med-DANet and Med-DANet V2 decide for all slices at once, and their word is final. Here the decision
network says where to begin, and with `DynamicConfig.follow` the segmentation, which knows better where a tumor is,
says how to go on (docs/adr/0010-found-by-looking.md):

    look     with `probe_mm`, slices of which the decision network is not certain are looked at one in so many first;
             the others wait
    follow   where tumor was found, slices that wait within `REACH_MM` of it, and skipped slices within `FOLLOW`, are
             segmented too, in the smallest window around what was found next to them
    enlarge  a crop whose edge cuts tumor is segmented again in a larger window

until nothing more is found. Slices that still wait are skipped. Everything that was computed is counted.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from leanseg.inference.decisions import SKIP, DynamicConfig, choose

FOLLOW = 2
"""Slices to either side of tumor."""
REACH_MM = 10.0
FOUND = 20
"""Pixels of tumor in a slice, less are a speck that nothing is done for."""
MARGIN = 4
"""Pixels around what was found next to a slice, at cost bias 0; halved by each 1 of cost bias."""
CUT = 20
"""Pixels of tumor on the edges of a crop; docs/adr/0006-deciding-together.md has what other numbers cost and bring."""
Slices = NDArray[np.intp]


class SliceSearch:
    """One case: `first`, then `following` until it returns no slice."""

    def __init__(
        self,
        scores: NDArray[np.float64],
        config: DynamicConfig,
        size_ji: tuple[int, int],
        spacing_mm: float,
        cost_bias: float = 0.0,
        overrides: Mapping[int, int] | None = None,
    ) -> None:
        """`scores`: (slice, decision), of `decisions.score`; `spacing_mm` is of the slices.

        Raises:
            LeanSegError: an override of a slice or decision that does not exist.
        """
        self.decisions = choose(scores, config, overrides)
        """(slice,), as far as decided."""
        self.corners: dict[int, tuple[int, int]] = {}
        """First row and column of windows that are chosen by what was found; of others the network says where."""
        self.followed = 0
        """Slices that were segmented, or again, because tumor left what had been."""
        self._scores, self._config, self._size_ji = scores, config, size_ji
        self._fixed = np.zeros(len(scores), bool)
        self._fixed[list(overrides or {})] = True
        self._probe = max(int(config.probe_mm / spacing_mm + 1e-6), 1)
        self._reach = int(REACH_MM / spacing_mm + 1e-6)
        self._margin = MARGIN * 2.0 ** min(-cost_bias, 30.0)
        self._has_crops = any(config.is_crop(n, size_ji) for n in range(len(config.names)))
        chosen = self.decisions != SKIP
        self._waiting = chosen & ~spread_out(chosen, self._probe) & ~self._fixed

    def first(self) -> Slices:
        """The slices to begin with."""
        return np.flatnonzero((self.decisions != SKIP) & ~self._waiting)

    def following(self, tumor: NDArray[np.bool_], cut: set[int]) -> Slices:
        """The slices to segment next; none: the search is over.

        Args:
            tumor: (slice, j, i), what has been found.
            cut: slices of the last round in which a crop cuts tumor.
        """
        found = np.count_nonzero(tumor, axis=(1, 2)) >= FOUND
        cut_slices = np.array(sorted(k for k in cut if not self._fixed[k]), np.intp)
        skipped = np.flatnonzero(near(found, FOLLOW) & (self.decisions == SKIP) & ~self._fixed)
        if not self._config.follow:
            cut_slices = skipped = skipped[:0]
        reached = np.flatnonzero(self._waiting & near(found, self._reach))
        for k in (*cut_slices, *skipped, *reached):
            self._aim(int(k), tumor, found)
        self.followed += len(cut_slices) + len(skipped)
        chosen = np.concatenate([cut_slices, skipped, reached])
        if not chosen.size:
            chosen = np.flatnonzero(self._waiting & is_certain(self._scores, self._config))
        self._waiting[chosen] = False
        return chosen

    def _aim(self, k: int, tumor: NDArray[np.bool_], found: NDArray[np.bool_]) -> None:
        """Decide for a slice: larger than before if it is not new, and where its neighbors have tumor."""
        again = self.decisions[k] != SKIP and not self._waiting[k]
        if not self._has_crops:
            self.decisions[k] = self._scores[k, 1:].argmax() + 1
            return
        least = int(self.decisions[k]) + 1 if again else 1
        distance = np.where(found, np.abs(np.arange(len(found)) - k), len(found))
        beside = tumor[distance <= max(self._probe, distance.min())].any(axis=0)
        self.decisions[k], self.corners[k] = window_around(beside, self._config, self._size_ji, self._margin, least)


def spread_out(chosen: NDArray[np.bool_], step: int) -> NDArray[np.bool_]:
    """(slice,) -> every `step`-th slice of each run of chosen ones, its middle among them."""
    result = np.zeros_like(chosen)
    ends = np.flatnonzero(np.diff(np.concatenate([[0], chosen.astype(np.int8), [0]])))
    for first, end in ends.reshape(-1, 2):
        result[first + (end - first - 1) // 2 % step : end : step] = True
    return result


def is_certain(scores: NDArray[np.float64], config: DynamicConfig) -> NDArray[np.bool_]:
    """(slice,): further from being skipped than the margin against skipping is wide, without that margin."""
    return np.asarray(scores[:, SKIP] + 2 * config.skip_bias < scores[:, 1:].max(axis=1))


def near(has_tumor: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """(slice,) -> which slices are at most `reach` away from one with tumor."""
    return np.asarray(np.convolve(has_tumor, np.ones(2 * reach + 1))[reach : reach + len(has_tumor)] > 0.5)


def window_around(
    tumor: NDArray[np.bool_], config: DynamicConfig, size_ji: tuple[int, int], margin: float, least: int = 1
) -> tuple[int, tuple[int, int]]:
    """The smallest branch, from `least` on, that sees this tumor (j, i) with a margin, and where its window begins."""
    extents = []
    for axis, size in enumerate(size_ji):
        line = np.flatnonzero(tumor.any(axis=1 - axis))
        extents.append((max(int(line[0] - margin), 0), min(int(line[-1] + 1 + margin), size)))
    for decision in range(least, len(config.branches)):
        window = config.branches[decision - 1].size_ji
        if all(end - first <= side for (first, end), side in zip(extents, window, strict=True)):
            return decision, _corner(extents, window, size_ji)
    return len(config.branches), _corner(extents, config.branches[-1].size_ji, size_ji)


def _corner(extents: list[tuple[int, int]], window: tuple[int, int], size_ji: tuple[int, int]) -> tuple[int, int]:
    """Centered, as far as the slice allows."""
    row, column = (
        min(max((first + end - side) // 2, 0), size - side)
        for (first, end), side, size in zip(extents, window, size_ji, strict=True)
    )
    return row, column


def is_cut(tumor: NDArray[np.bool_], corner_ji: tuple[int, int], size_ji: tuple[int, int]) -> bool:
    """Whether tumor (j, i) in a window that begins at `corner_ji` lies on `CUT` pixels of its edges or more; where the
    window ends with the slice there is no edge."""
    edges = (
        (corner_ji[0] > 0, tumor[0]),
        (corner_ji[0] + tumor.shape[0] < size_ji[0], tumor[-1]),
        (corner_ji[1] > 0, tumor[:, 0]),
        (corner_ji[1] + tumor.shape[1] < size_ji[1], tumor[:, -1]),
    )
    return sum(int(np.count_nonzero(edge)) for inside, edge in edges if inside) >= CUT
