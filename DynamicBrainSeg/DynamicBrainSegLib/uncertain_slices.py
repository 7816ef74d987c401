"""Which slices are worth computing fully: `recompute only where uncertain`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from DynamicBrainSegLib.result import SKIP

if TYPE_CHECKING:
    from DynamicBrainSegLib.result import BrainResult


def uncertainSlices(result: BrainResult, number: int) -> list[int]:
    """At most `number` slices of the model grid that were not computed fully, the most doubtful first.

    A segmented slice is as doubtful as the area in which the model is not certain; a skipped one as the tumor in the
    slices beside it that ends there. Slices of which nothing is doubtful are left out.
    """
    slices = result.decisions
    doubt = {}
    for one in slices:
        if one.decision == result.fullDecision:
            continue
        beside = [slices[k].tumorMm2 for k in (one.index - 1, one.index + 1) if 0 <= k < len(slices)]
        doubt[one.index] = max(beside, default=0.0) if one.decision == SKIP else one.uncertainMm2
    ranked = sorted((k for k in doubt if doubt[k] > 0), key=lambda k: (-doubt[k], k))
    return ranked[:number]
