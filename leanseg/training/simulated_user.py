"""A simulated person who corrects a mask: the next click goes where the error is largest and the network unsure.

As in interactive segmentation since Sofiiuk et al., arXiv 2102.06583, whose click lies in the middle of the largest
error; here (inferred) "middle" and "largest" are one map, the error smoothed on three scales, without components.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor
from torch.nn import functional as F

MIN_ERROR = 0.0005
"""Fraction of the picture: whoever sees a smaller error does not click."""
_SIDE, _WINDOWS = 48, (3, 7, 15)
"""The error is smoothed on a picture of this side, with windows of these sides."""
_CARELESSNESS = 0.3
"""How much the best place may be missed, as a part of its value."""


@dataclass(frozen=True)
class NextClicks:
    """Of each image of a batch."""

    places: Tensor
    """(batch, 2): j, i"""
    is_positive: Tensor
    """(batch,): on tumor that was missed; else on what is no tumor"""
    is_made: Tensor
    """(batch,): False where nothing is to be corrected"""


def next_clicks(
    mask: Bool[Tensor, "batch 1 height width"],
    target: Bool[Tensor, "batch 1 height width"],
    vacuity: Float[Tensor, "batch 1 height width"],
    generator: Generator | None = None,
) -> NextClicks:
    """Where a person would click on each image; with a generator not quite at the best place.

    Args:
        mask: what is shown to the person.
        target: what the person wants.
        vacuity: 0 to 1; an error counts up to three times as much where the network is unsure.
    """
    wrong = mask != target
    missed, surplus = ((wrong & which).float() for which in (target, ~target))
    value = torch.maximum(_depth(missed), _depth(surplus)) * (0.5 + vacuity.float().clamp(0, 1))
    if generator is not None:
        value = value * (1 - _CARELESSNESS * torch.rand(value.shape, generator=generator))
    best = value.flatten(1).argmax(dim=1)
    width = wrong.shape[-1]
    places = torch.stack([best // width, best % width], dim=1)
    is_positive = missed.flatten(1).gather(1, best[:, None])[:, 0] > 0
    is_made = wrong.flatten(1).float().mean(dim=1) >= MIN_ERROR
    return NextClicks(places, is_positive, is_made)


def _depth(error: Tensor) -> Tensor:
    """Above 0 inside the error, largest in the middle of its largest part."""
    factor = max(round(max(error.shape[2:]) / _SIDE), 1)
    small = F.avg_pool2d(error, factor, ceil_mode=True)
    total = torch.zeros_like(small)
    for window in _WINDOWS:
        smooth = small
        for _ in range(2):  # a tent: no plateau inside what is as large as the window
            smooth = F.avg_pool2d(smooth, window, stride=1, padding=window // 2)
        total = total + smooth
    return F.interpolate(total, size=error.shape[2:], mode="bilinear", align_corners=False) * error
