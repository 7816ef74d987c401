"""What CGA U-Net adds to a segmentation loss: a supervised attention map, and class centers that keep apart.

Paper: CGA U-Net, Physics in Medicine and Biology 2022, arXiv 2203.15383. The code is under Apache-2.0;
nothing was taken from it, this file was written from the published formulas.

Departures from the released code (`as_released=True` undoes both)
  * D is the mean over the batch. There it is the sum, so that the loss depends on the size of the batch.
  * A class that an image lacks is left out of its D. There its center is 0, and it counts.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

_SMALL = 1e-12  # under the square root, whose slope at 0 is infinite


@dataclass(frozen=True)
class ClassGuidanceConfig:
    """[cga] of a recipe; the defaults are the paper's."""

    attention_weight: float = 20.0
    """Of the mean squared error of the attention logits; 0 leaves the branch as it was at the start."""
    distance_from: float = 20 / 550
    """Fraction of the epochs after which the inter-class distance joins; 1: never."""
    as_released: bool = False
    """D as in the released code: summed over the batch, absent classes with a center of 0."""

    def __post_init__(self) -> None:
        if self.attention_weight < 0 or not 0 <= self.distance_from <= 1:
            raise ValueError(
                "attention_weight is 0 or more, distance_from lies between 0 and 1; got "
                f"{self.attention_weight} and {self.distance_from}."
            )


def attention_target(
    classes: Int[Tensor, "batch k j i"], labels: int, stride: int
) -> Float[Tensor, "batch label K J I"]:
    """One-hot classes, of every `stride`-th voxel: nearest-neighbor down-sampling.

    Raises:
        ValueError: a class beyond the last label.
    """
    if int(classes.max()) >= labels:
        raise ValueError(f"the truth has class {int(classes.max())}, the network {labels} labels. Set out_channels.")
    coarse = classes[:, ::stride, ::stride, ::stride]
    return F.one_hot(coarse.long(), labels).movedim(-1, 1).float()


def attention_loss(
    attention: Float[Tensor, "batch label K J I"], target: Float[Tensor, "batch label K J I"]
) -> Float[Tensor, ""]:
    """Mean of (A - Y)^2."""
    return F.mse_loss(attention.float(), target)


@dataclass(frozen=True)
class InterClassLoss:
    """10 ln(1 + 100 / D), D = sqrt(sum over i and j of |mu_i - mu_j|^2)."""

    as_released: bool = False

    def __call__(
        self, centers: Float[Tensor, "batch label channel"], present: Bool[Tensor, "batch label"]
    ) -> Float[Tensor, ""]:
        centers = centers.float()
        pairs = (centers[:, :, None] - centers[:, None]).square().sum(dim=-1)
        if self.as_released:
            distance = (pairs.sum(dim=(1, 2)) + _SMALL).sqrt().sum()
            return 10 * torch.log1p(100 / distance)
        distances = ((pairs * (present[:, :, None] & present[:, None])).sum(dim=(1, 2)) + _SMALL).sqrt()
        some = present.sum(dim=1) > 1
        if not some.any():  # a single class has no distance
            return 0 * centers.sum()
        return 10 * torch.log1p(100 / distances[some].mean())
