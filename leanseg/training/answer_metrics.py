"""How good answers are: accuracy, of open and closed questions and of both, and BLEU-1."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from leanseg.training.data.questions import normalized


def accuracy(predicted: Sequence[str], truth: Sequence[str]) -> float:
    """The fraction of answers that are the right one, both `normalized`; NaN of none."""
    right = [normalized(p) == normalized(t) for p, t in zip(predicted, truth, strict=True)]
    return sum(right) / len(right) if right else math.nan


def bleu_1(predicted: Sequence[str], truth: Sequence[str]) -> float:
    """The mean over the questions of the clipped precision of words times the brevity penalty (Papineni et al. 2002).

    As in the VQA-Med challenges: by question, after `normalized`; NaN of none.
    """
    scores = [_bleu_1(normalized(p).split(), normalized(t).split()) for p, t in zip(predicted, truth, strict=True)]
    return sum(scores) / len(scores) if scores else math.nan


def _bleu_1(said: list[str], right: list[str]) -> float:
    if not said or not right:
        return float(said == right)
    shared = sum((Counter(said) & Counter(right)).values())
    brevity = min(1.0, math.exp(1 - len(right) / len(said)))
    return brevity * shared / len(said)


def answer_figures(predicted: Sequence[str], truth: Sequence[str], is_closed: Sequence[bool]) -> dict[str, float]:
    """`open`, `closed`, `overall` accuracy and `bleu_1`; a figure of no question is left out."""
    rows = list(zip(predicted, truth, is_closed, strict=True))
    parts = {
        "open": [(p, t) for p, t, closed in rows if not closed],
        "closed": [(p, t) for p, t, closed in rows if closed],
        "overall": [(p, t) for p, t, _ in rows],
    }
    figures = {name: accuracy([p for p, _ in one], [t for _, t in one]) for name, one in parts.items() if one}
    return figures | ({"bleu_1": bleu_1(predicted, truth)} if rows else {})
