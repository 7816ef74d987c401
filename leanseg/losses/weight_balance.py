"""Weight-balance loss of T2KD: counters background imbalance and small lesions.

Inferred: the paper's abstract says what the loss is for, not its formula (doi 10.7507/1001-5515.202311054).

    beta  = N_bg / (N_bg + N_fg) per image, clipped
    gamma = 1 + (1 - min(a / small_area, 1)), a = N_fg / (N_bg + N_fg)
    L_WB  = gamma * -mean[beta y log p + (1 - beta)(1 - y) log(1 - p)] + 1 - Dice

An image without a lesion has nothing to balance: beta = 0.5, gamma = 1 and no Dice term. (With beta clipped at 0.98,
its background would weigh 0.02, and normal images would teach next to nothing.)
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from leanseg.losses.overlap import soft_dice


@dataclass(frozen=True)
class WeightBalanceLoss:
    """Mean of L_WB over the batch.

    With `beta_range = (0.5, 0.5)` and `small_area = 0` it is 0.5 * BCE + Dice loss wherever there is a lesion.
    """

    beta_range: tuple[float, float] = (0.5, 0.98)
    """Clip of the foreground weight."""
    small_area: float = 0.05
    """Lesions below this fraction of the image weigh up to twice; 0 switches gamma off."""

    def __call__(
        self, logits: Float[Tensor, "batch 1 height width"], target: Float[Tensor, "batch 1 height width"]
    ) -> Float[Tensor, ""]:
        area = target.mean(dim=(1, 2, 3))
        has_lesion = (area > 0).to(area.dtype)
        beta = torch.where(area > 0, (1 - area).clamp(*self.beta_range), 0.5).view(-1, 1, 1, 1)
        gamma = 1 + has_lesion * (1 - (area / self.small_area).clamp(max=1)) if self.small_area else 1.0
        weight = beta * target + (1 - beta) * (1 - target)
        cross_entropy = F.binary_cross_entropy_with_logits(logits, target, weight=weight, reduction="none")
        dice_loss = has_lesion * (1 - soft_dice(logits, target))
        return (gamma * cross_entropy.mean(dim=(1, 2, 3)) + dice_loss).mean()
