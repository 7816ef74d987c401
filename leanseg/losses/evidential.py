"""Evidence instead of probabilities: what a network knows, and how much it does not.

Paper: Zhong et al., TextBCS, arXiv 2603.11206; the loss of evidence is that of Sensoy et al., arXiv 1806.01768. Written
from published facts alone.

For each pixel the network gives evidence e_c >= 0 for each of C classes, and alpha_c = e_c + 1 are the parameters of a
Dirichlet distribution of the class probabilities. With W = sum alpha_c:

    probability  p_c = alpha_c / W      belief  b_c = e_c / W      vacuity  u = C / W      sum b_c + u = 1

Departures and inferences
  * The published weights 1e-3 and 5e-7 are those of sums over the pixels (inferred). `reduction="mean"`, the default,
    has weights that do not depend on the size of the image.
  * Dice has 1 pixel in numerator and denominator, so that an empty target is well defined.

Everything is computed in float32, also under autocast: digamma and lgamma of half precision are of no use.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

REDUCTIONS = ("mean", "sum")


class Dirichlet(NamedTuple):
    """Each (batch, class, height, width) but for the last, float32."""

    alpha: Tensor
    """Parameters, 1 or more."""
    probability: Tensor
    """Expected probability of each class."""
    belief: Tensor
    """Evidence for each class as a part of W."""
    vacuity: Tensor
    """(batch, 1, height, width), in (0, 1]: 1 where nothing is known."""


def evidence(logits: Float[Tensor, "batch label height width"]) -> Float[Tensor, "batch label height width"]:
    """softplus(logits), float32, 0 or more."""
    return F.softplus(logits.float())


def dirichlet(logits: Float[Tensor, "batch label height width"]) -> Dirichlet:
    """The distribution that logits of the classes stand for."""
    e = evidence(logits)
    alpha = e + 1
    strength = alpha.sum(dim=1, keepdim=True)
    return Dirichlet(alpha, alpha / strength, e / strength, logits.shape[1] / strength)


def integrated_cross_entropy(
    alpha: Float[Tensor, "batch label height width"], one_hot: Float[Tensor, "batch label height width"]
) -> Float[Tensor, "batch height width"]:
    """L_ice = sum_c y_c (digamma(W) - digamma(alpha_c)): cross-entropy, expected under the distribution."""
    strength = alpha.sum(dim=1, keepdim=True)
    return (one_hot * (torch.digamma(strength) - torch.digamma(alpha))).sum(dim=1)


def divergence_from_ignorance(
    alpha: Float[Tensor, "batch label height width"], one_hot: Float[Tensor, "batch label height width"]
) -> Float[Tensor, "batch height width"]:
    """L_KL = KL(Dir(a) || Dir(1)) with a = y + (1 - y) alpha: what there is of evidence for wrong classes."""
    a = one_hot + (1 - one_hot) * alpha
    total = a.sum(dim=1, keepdim=True)
    norm = torch.lgamma(total)[:, 0] - math.lgamma(alpha.shape[1]) - torch.lgamma(a).sum(dim=1)
    return norm + ((a - 1) * (torch.digamma(a) - torch.digamma(total))).sum(dim=1)


def dice_loss(
    probability: Float[Tensor, "batch 1 height width"], target: Float[Tensor, "batch 1 height width"]
) -> Float[Tensor, " batch"]:
    """1 - (2 sum(p y) + 1) / (sum p + sum y + 1) of each image, p the expected probability of tumor."""
    axes = (1, 2, 3)
    overlap, total = (probability * target).sum(dim=axes), probability.sum(dim=axes) + target.sum(dim=axes)
    return 1 - (2 * overlap + 1) / (total + 1)


@dataclass(frozen=True)
class EvidentialLoss:
    """L = Dice + ice_weight * L_ice + kl_weight * min(1, epoch / ramp_epochs) * L_KL, mean over the batch.

    Args:
        reduction: over the pixels of an image. "sum" with the weights 1e-3 and 5e-7 is the paper's.
    """

    ice_weight: float = 1.0
    kl_weight: float = 0.025
    ramp_epochs: int = 100
    reduction: str = "mean"

    def __post_init__(self) -> None:
        if self.reduction not in REDUCTIONS:
            raise ValueError(f"reduction must be one of {', '.join(REDUCTIONS)}; got {self.reduction!r}.")

    def kl_weight_at(self, epoch: int | float) -> float:
        """lambda_2, in epochs counted from 0: it grows while the network learns what is right."""
        return self.kl_weight * (min(1.0, epoch / self.ramp_epochs) if self.ramp_epochs > 0 else 1.0)

    def __call__(
        self,
        logits: Float[Tensor, "batch 2 height width"],
        target: Float[Tensor, "batch 1 height width"],
        epoch: int | float,
    ) -> Float[Tensor, ""]:
        """`target` is 1 where there is tumor, else 0."""
        return self.of_images(logits, target, epoch).mean()

    def of_images(
        self,
        logits: Float[Tensor, "batch 2 height width"],
        target: Float[Tensor, "batch 1 height width"],
        epoch: int | float,
    ) -> Float[Tensor, " batch"]:
        """The loss of each image, for callers that weigh images."""
        target = target.float()
        alpha, probability, _, _ = dirichlet(logits)
        one_hot = torch.cat([1 - target, target], dim=1)
        pixels = self.ice_weight * integrated_cross_entropy(alpha, one_hot)
        pixels = pixels + self.kl_weight_at(epoch) * divergence_from_ignorance(alpha, one_hot)
        flat = pixels.flatten(1)
        reduced = flat.mean(dim=1) if self.reduction == "mean" else flat.sum(dim=1)
        return dice_loss(probability[:, 1:], target) + reduced
