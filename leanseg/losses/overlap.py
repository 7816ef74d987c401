"""Overlap losses for one logit per pixel."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def soft_dice(
    logits: Float[Tensor, "batch channel height width"],
    target: Float[Tensor, "batch channel height width"],
    smooth: float = 1.0,
) -> Float[Tensor, " batch"]:
    """2 sum(p y) / sum(p + y) of each image; `smooth` pixels make an empty target well defined.

    MONAI's DiceLoss is the same up to the reduction; per-image values are needed to weigh images.
    """
    probabilities = torch.sigmoid(logits)
    overlap = (probabilities * target).sum(dim=(1, 2, 3))
    total = (probabilities + target).sum(dim=(1, 2, 3))
    return (2 * overlap + smooth) / (total + smooth)


@dataclass(frozen=True)
class DiceBCELoss:
    """Binary cross-entropy + 1 - Dice, mean over the batch: the plain baseline."""

    bce_weight: float = 1.0

    def __call__(
        self, logits: Float[Tensor, "batch 1 height width"], target: Float[Tensor, "batch 1 height width"]
    ) -> Float[Tensor, ""]:
        bce = F.binary_cross_entropy_with_logits(logits, target)
        return self.bce_weight * bce + (1 - soft_dice(logits, target)).mean()
