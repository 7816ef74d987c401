"""What a dynamic network can do with a slice, which of it is done, and what that costs. Numbers only, no graphs.

Decision 0 skips a slice: it is background, and nothing runs for it. Decision k > 0 is `DynamicConfig.branches[k - 1]`:
a member of Med-DANet's bank, or a crop or the whole slice in Med-DANet V2 (arXiv 2206.06575, 2310.18656).

What is this project's own, after training: the decision network's outputs l are log-probabilities up to a constant, and
the choice for slice n is the k with the largest

    mean of l_k over the slices within `neighbor_mm` of n - [k = 0] * skip_bias - cost_bias * c_k

    c_k = MACs of decision k / MACs of the dearest; c_0 = 0

A tumor goes on in the next slice, so neighbors know more together than each alone (docs/adr/0006-deciding-together.md).
A cost bias of 1 makes the dearest decision e times less probable against skip; whatever the outputs are, a larger one
never makes a decision dearer. With all three at 0 the largest output decides, as published. With `follow` the
segmentation corrects the decisions (`inference/slice_search.py`). All that was computed is counted, so a crop that was
chosen for its price and cuts tumor costs more in the end than the whole slice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leanseg.errors import LeanSegError

SKIP = 0
FULL_BITS = 32


@dataclass(frozen=True)
class BranchConfig:
    """One way to segment a slice."""

    name: str
    """What a person reads: `crop_64`, `whole`, `width_16`."""
    part: str
    """The graph of the bundle; several sizes may share one."""
    size_ji: tuple[int, int]
    """Height and width that it sees; smaller than the model grid: a crop."""
    stage_macs: tuple[int, ...]
    """MACs for one slice of each encoder stage whose bits are chosen; empty if none are."""
    other_macs: int
    """MACs of all the rest."""

    @property
    def macs(self) -> int:
        return sum(self.stage_macs) + self.other_macs


@dataclass(frozen=True)
class DynamicConfig:
    """The card's `engine_config` of a model that decides for each slice."""

    branches: tuple[BranchConfig, ...]
    """Crops before whole slices, the smallest first."""
    regions: tuple[str, ...]
    """What the probabilities are of: nested regions, largest first."""
    decision_macs: int
    """Of the decision network, for one slice; 0: there is none, and every slice goes through the only branch."""
    position_macs: int
    """Of the crop position network, for one slice; 0 where nothing is cropped."""
    outside: tuple[float, ...]
    """Probability of each region in a cropped slice, outside the crop."""
    neighbor_mm: float = 0.0
    """Slices as near as this decide together; 0: each for itself."""
    skip_bias: float = 0.0
    """Above 0: skip only what is more certainly empty."""
    probe_mm: float = 0.0
    """Look at one slice in so many mm first, and at others only near tumor that was found, or where the decision
    network is certain; 0: at all that are not skipped. Needs `follow`."""
    follow: bool = False
    """Follow a tumor that leaves what was computed: after a crop whose edge cuts tumor comes a larger branch, a skipped
    slice beside tumor is segmented after all."""
    window_step: int = 0
    """Above 0, as published: windows as large as the last branch every so many pixels, each with its own decision; 0: a
    slice decides as a whole."""

    def __post_init__(self) -> None:
        if not self.branches or len({branch.name for branch in self.branches}) < len(self.branches):
            raise ValueError("there must be a branch, and branches must differ in name.")
        if not self.decision_macs and len(self.branches) > 1:
            raise ValueError("without a decision network there is one branch.")
        if not self.regions or len(self.outside) != len(self.regions):
            raise ValueError(f"a probability outside is needed for each of {self.regions}; got {self.outside}.")
        areas = [branch.size_ji[0] * branch.size_ji[1] for branch in self.branches]
        if areas != sorted(areas):
            raise ValueError("branches must ascend in size.")
        if not self.neighbor_mm >= 0 or not math.isfinite(self.skip_bias):
            got = f"{self.neighbor_mm} and {self.skip_bias}"
            raise ValueError(f"neighbor_mm must be 0 or more and skip_bias finite; got {got}.")
        if not self.probe_mm >= 0 or (self.probe_mm and not self.follow):
            raise ValueError(f"probe_mm must be 0 or more, and 0 unless follow is true; got {self.probe_mm}.")
        side = min(self.branches[-1].size_ji)
        if not 0 <= self.window_step <= side:
            raise ValueError(f"window_step must be between 0 and {side}, the side of a window; got {self.window_step}.")

    @property
    def names(self) -> tuple[str, ...]:
        """Of the decisions, by number."""
        return ("skip", *(branch.name for branch in self.branches))

    def is_crop(self, decision: int, size_ji: tuple[int, int]) -> bool:
        """Whether a decision sees less than all of a slice of this size."""
        return decision != SKIP and self.branches[decision - 1].size_ji != size_ji

    def macs_of(self, decision: int, size_ji: tuple[int, int]) -> int:
        """MACs of a decision for one slice, with the crop position network, without the decision network."""
        if decision == SKIP:
            return 0
        return self.branches[decision - 1].macs + (self.position_macs if self.is_crop(decision, size_ji) else 0)


def with_neighbors(logits: NDArray[np.float32], reach: int) -> NDArray[np.float64]:
    """(slice, decision) -> the means over `reach` slices to either side, of those that there are."""
    sums = np.vstack([np.zeros_like(logits[:1]), logits]).astype(np.float64).cumsum(axis=0)
    slices = np.arange(len(logits))
    first, end = np.maximum(slices - reach, 0), np.minimum(slices + reach + 1, len(logits))
    return np.asarray((sums[end] - sums[first]) / (end - first)[:, np.newaxis])


def score(
    logits: NDArray[np.float32],
    config: DynamicConfig,
    size_ji: tuple[int, int],
    spacing_mm: float,
    cost_bias: float = 0.0,
) -> NDArray[np.float64]:
    """(slice, decision) outputs of the decision network -> what is compared, as above; `spacing_mm` is of the slices.

    Raises:
        LeanSegError: a bias that is not finite.
    """
    if not np.isfinite(cost_bias):
        raise LeanSegError(f"The cost bias is a finite number, 0 as trained; got {cost_bias}.")
    macs = np.array([config.macs_of(decision, size_ji) for decision in range(len(config.names))], dtype=np.float64)
    result = with_neighbors(logits, int(config.neighbor_mm / spacing_mm + 1e-6)) - cost_bias * macs / macs.max()
    result[:, SKIP] -= config.skip_bias
    return np.asarray(result)


def choose(
    scores: NDArray[np.float64], config: DynamicConfig, overrides: Mapping[int, int] | None = None
) -> NDArray[np.int64]:
    """(slice, decision) -> the decision for each slice. `overrides`: slice -> decision, whatever the network says.

    Raises:
        LeanSegError: an override of a slice or decision that does not exist.
    """
    decisions = np.asarray(scores.argmax(axis=1))
    for k, decision in (overrides or {}).items():
        if not 0 <= k < len(decisions):
            raise LeanSegError(f"There is no slice {k} to override; the model sees 0 to {len(decisions) - 1}.")
        if not 0 <= decision < len(config.names):
            known = ", ".join(f"{n} {name}" for n, name in enumerate(config.names))
            raise LeanSegError(f"There is no decision {decision}. Choose one of: {known}.")
        decisions[k] = decision
    return decisions


@dataclass(frozen=True)
class SliceDecision:
    """What was done with one slice."""

    decision: int
    corner_ji: tuple[int, int] = (0, 0)
    """First row and column of what was segmented."""
    bits: tuple[int, ...] = ()
    """That the network asks for in each encoder stage; empty where it chooses none."""
    first: SliceDecision | None = None
    """A crop that turned out too small, and was computed too."""
    is_aimed: bool = False
    """The window lies where tumor was found beside it; the crop position network did not run."""

    def macs(self, config: DynamicConfig, size_ji: tuple[int, int]) -> tuple[int, float]:
        """Plain, and bit-weighted: the MACs of each stage times its bits / 32, as Med-DANet V2 counts."""
        plain = config.macs_of(self.decision, size_ji) + config.decision_macs
        if self.is_aimed and config.is_crop(self.decision, size_ji):
            plain -= config.position_macs
        saved = 0.0
        if self.bits:
            stages = config.branches[self.decision - 1].stage_macs
            saved = sum(macs * (1 - bits / FULL_BITS) for macs, bits in zip(stages, self.bits, strict=True))
        if self.first is None:
            return plain, plain - saved
        before, weighted = self.first.macs(config, size_ji)
        return plain + before - config.decision_macs, plain - saved + weighted - config.decision_macs


def account(slices: list[SliceDecision], config: DynamicConfig, size_ji: tuple[int, int]) -> dict[str, Any]:
    """Everything counted, as plain values: what a report and a decision view show.

    `decisions` (name -> number of slices), `skipped`, `gmacs` and `bit_weighted_gmacs` of all slices with the small
    networks, `deciding_gmacs` of those alone, `slice_decisions` (`first`: name of a crop that was too small).
    """
    costs = [one.macs(config, size_ji) for one in slices]
    counts = np.bincount([one.decision for one in slices], minlength=len(config.names))
    tried = [one for both in slices for one in (both, both.first) if one is not None]
    cropped = sum(config.is_crop(one.decision, size_ji) and not one.is_aimed for one in tried)
    return {
        "slices": len(slices),
        "decisions": dict(zip(config.names, counts.tolist(), strict=True)),
        "skipped": int(counts[SKIP]),
        "gmacs": sum(plain for plain, _ in costs) / 1e9,
        "bit_weighted_gmacs": sum(weighted for _, weighted in costs) / 1e9,
        "deciding_gmacs": (len(slices) * config.decision_macs + cropped * config.position_macs) / 1e9,
        "slice_decisions": [
            {
                "decision": config.names[one.decision],
                "corner_ji": list(one.corner_ji),
                "bits": list(one.bits),
                "gmacs": plain / 1e9,
                "first": "" if one.first is None else config.names[one.first.decision],
            }
            for one, (plain, _) in zip(slices, costs, strict=True)
        ],
    }
