"""What a model makes of sentences in use: read by the grammar, heard in one wording, decided by `chosen_object`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from leanseg.errors import LeanSegError
from leanseg.inference.chosen_object import decide
from leanseg.inference.referring import Referred, ReferringConfig, ReferringEngine
from leanseg.prompts.referring import Expression
from leanseg.prompts.referring_read import read_reference
from leanseg.prompts.referring_words import sentence
from leanseg.training.data.referring_pairs import ReferringPair
from leanseg.training.referring_metrics import referring_figures

EMPTY_WHEN_ABSENT = 0.9
"""Of the sentences that nothing is meant by, at least so many get no mask."""
THRESHOLDS = tuple(n / 20 for n in range(2, 15))


class Replied(NamedTuple):
    """A pair, what its sentence says, and what the network said to it."""

    pair: ReferringPair
    expression: Expression
    found: Referred


def replies_of(engine: ReferringEngine, pairs: Sequence[ReferringPair]) -> list[Replied]:
    """Of pairs on the grid of the network.

    Raises:
        LeanSegError: a sentence that the grammar cannot read.
    """
    replies = []
    for pair in pairs:
        reading = read_reference(pair.text)
        if reading.expression is None:
            raise LeanSegError(f"{pair.text!r} cannot be read: {reading.problem}")
        told = sentence(reading.expression, reading.noun)
        replies.append(Replied(pair, reading.expression, engine.refer(pair.image[np.newaxis], told)))
    return replies


def answers_in_use(replies: Sequence[Replied], config: ReferringConfig) -> Bool[Tensor, "pair height width"]:
    """Masks, on the grid of the network."""
    masks = []
    for pair, expression, found in replies:
        decision = decide(found, expression, pair.image, config)
        masks.append(torch.from_numpy((decision.probability >= config.threshold) & (not decision.reason)))
    return torch.stack(masks)


def with_thresholds(config: ReferringConfig, replies: Sequence[Replied]) -> ReferringConfig:
    """The threshold with the largest mean IoU; then the smallest existence with which EMPTY_WHEN_ABSENT of the
    sentences about nothing have no mask."""
    config = dataclasses.replace(config, existence_threshold=0.0)
    configs = [dataclasses.replace(config, threshold=threshold) for threshold in THRESHOLDS]
    pairs = [reply.pair for reply in replies]
    answers = [answers_in_use(replies, one) for one in configs]
    best = int(np.nanargmax([referring_figures(some, pairs)["miou"] for some in answers]))
    existence = torch.tensor([reply.found.existence for reply in replies])
    there = torch.tensor([bool(pair.mask.any()) for pair in pairs])
    outlined = answers[best].flatten(1).any(dim=1)
    return dataclasses.replace(configs[best], existence_threshold=best_existence_threshold(existence * outlined, there))


def best_existence_threshold(existence: Tensor, there: Tensor) -> float:
    """The smallest at which EMPTY_WHEN_ABSENT of the sentences about nothing are told so; 0.5 without any."""
    if there.all():
        return 0.5
    ranked = existence[~there].sort().values
    needed = float(ranked[math.ceil(EMPTY_WHEN_ABSENT * len(ranked)) - 1]) + 1e-6
    return min(float(np.ceil(needed * 100) / 100), 1.0)
