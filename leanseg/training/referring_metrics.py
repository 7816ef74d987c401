"""How well what sentences refer to is outlined: the object that is meant, no other one, nothing where there is none."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from leanseg.training.data.referring_pairs import ReferringPair

FIGURES = ("miou", "wrong_iou", "p50", "found", "absent_empty")


def intersection_over_union(
    one: Bool[Tensor, "pair height width"], other: Bool[Tensor, "pair height width"]
) -> Float[Tensor, " pair"]:
    """0 where both are empty."""
    return (one & other).sum(dim=(1, 2)) / (one | other).sum(dim=(1, 2)).clamp(min=1)


def referring_figures(answers: Bool[Tensor, "pair height width"], pairs: Sequence[ReferringPair]) -> dict[str, float]:
    """`miou`: mean IoU with the object, where there is one; `p50`: of these, with more than 0.5; `found`: not empty;
    `wrong_iou`: mean IoU with all other objects, where there are some; `absent_empty`: of the sentences about nothing,
    those whose answer is empty. NaN where no pair is of the kind."""
    truth = torch.stack([torch.from_numpy(pair.mask) for pair in pairs])
    others = torch.stack([torch.from_numpy(pair.others) for pair in pairs])
    there, contested, said = truth.flatten(1).any(1), others.flatten(1).any(1), answers.flatten(1).any(1)
    right, wrong = intersection_over_union(answers, truth), intersection_over_union(answers, others)
    return {
        "miou": _mean(right[there]),
        "wrong_iou": _mean(wrong[there & contested]),
        "p50": _mean(right[there] > 0.5),
        "found": _mean(said[there]),
        "absent_empty": _mean(~said[~there]),
    }


def by_kind(answers: Bool[Tensor, "pair height width"], pairs: Sequence[ReferringPair]) -> dict[str, dict[str, float]]:
    """The figures of each kind of expression, with the number of its pairs."""
    result = {}
    for kind in sorted({pair.kind for pair in pairs}):
        chosen = [n for n, pair in enumerate(pairs) if pair.kind == kind]
        result[kind] = referring_figures(answers[chosen], [pairs[n] for n in chosen]) | {"n": float(len(chosen))}
    return result


def _mean(values: Tensor) -> float:
    return float(values.float().mean()) if len(values) else math.nan
