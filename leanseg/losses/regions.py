"""Losses for brain tumors: four exclusive classes from the network, three nested regions as truth.

Classes: 0 background, 1 necrosis (NCR), 2 edema (ED), 3 enhancing tumor (ET). Regions, in this order: whole tumor
WT = {1, 2, 3}, tumor core TC = {1, 3}, ET = {3}. A target is (batch, 3, height, width), 0 or 1, each region inside the
one before.

`SoftmaxDiceLoss` is that of TransBTS (arXiv 2103.04430) and both Med-DANets (arXiv 2206.06575, 2310.18656), from its
published formula. `RegionLoss` is ours: Dice of what is reported, the regions, and cross-entropy of the classes.

Every loss takes logits, or by `of_probabilities` what comes after the softmax, for mixtures of several outputs.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

REGION_NAMES = ("WT", "TC", "ET")
_PROBABILITY_FLOOR = 1e-3  # so that a skipped slice with tumor costs 6.9 nats a pixel, not infinitely many


def regions_of_classes(
    probabilities: Float[Tensor, "batch 4 height width"],
) -> Float[Tensor, "batch 3 height width"]:
    """Probabilities (or one-hot labels) of WT, TC and ET from those of the classes."""
    _, necrosis, edema, enhancing = probabilities.unbind(1)
    return torch.stack([necrosis + edema + enhancing, necrosis + enhancing, enhancing], dim=1)


def classes_of_regions(target: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 4 height width"]:
    """One-hot classes from nested masks of WT, TC and ET."""
    whole, core, enhancing = target.unbind(1)
    return torch.stack([1 - whole, core - enhancing, whole - core, enhancing], dim=1)


def overlap_of_batch(
    probabilities: Float[Tensor, "batch channel height width"], target: Float[Tensor, "batch channel height width"]
) -> tuple[Float[Tensor, " channel"], Float[Tensor, " channel"]]:
    """sum(p y) and sum(p) + sum(y) of each channel over all images and pixels."""
    axes = (0, 2, 3)
    return (probabilities * target).sum(dim=axes), probabilities.sum(dim=axes) + target.sum(dim=axes)


@dataclass(frozen=True)
class SoftmaxDiceLoss:
    """L_1 + L_2 + L_3 with L_c = 1 - 2 sum(p_c y_c) / (sum p_c + sum y_c + 1e-5); the background is left out.

    The sums run over the whole batch. A class that the batch lacks costs 1 and has no gradient.
    """

    def __call__(
        self, logits: Float[Tensor, "batch 4 height width"], target: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, ""]:
        return self.of_probabilities(logits.softmax(dim=1), target)

    def of_probabilities(
        self, probabilities: Float[Tensor, "batch 4 height width"], target: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, ""]:
        overlap, total = overlap_of_batch(probabilities[:, 1:], classes_of_regions(target)[:, 1:])
        return (1 - 2 * overlap / (total + 1e-5)).sum()


@dataclass(frozen=True)
class RegionLoss:
    """1 - Dice, mean over the three regions, + cross-entropy of the four classes, mean over the pixels."""

    cross_entropy_weight: float = 1.0
    smooth: float = 1.0
    """Pixels added to both sides of the Dice: a region that the batch lacks still has a gradient."""
    per_image: bool = False
    """Dice of each image, then the mean; otherwise of the batch as one volume, which suits slices without tumor."""

    def __call__(
        self, logits: Float[Tensor, "batch 4 height width"], target: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, ""]:
        cross_entropy = -(logits.log_softmax(dim=1) * classes_of_regions(target)).sum(dim=1).mean()
        return self._dice_loss(logits.softmax(dim=1), target) + self.cross_entropy_weight * cross_entropy

    def of_probabilities(
        self, probabilities: Float[Tensor, "batch 4 height width"], target: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, ""]:
        """As for logits, but -log(p) is at most 6.9."""
        of_truth = (probabilities * classes_of_regions(target)).sum(dim=1)
        cross_entropy = -((of_truth + _PROBABILITY_FLOOR) / (1 + _PROBABILITY_FLOOR)).log().mean()
        return self._dice_loss(probabilities, target) + self.cross_entropy_weight * cross_entropy

    def _dice_loss(
        self, probabilities: Float[Tensor, "batch 4 height width"], target: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, ""]:
        regions = regions_of_classes(probabilities)
        if self.per_image:
            overlap, total = (regions * target).sum(dim=(2, 3)), (regions + target).sum(dim=(2, 3))
        else:
            overlap, total = overlap_of_batch(regions, target)
        return (1 - (2 * overlap + self.smooth) / (total + self.smooth)).mean()
