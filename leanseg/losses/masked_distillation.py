"""The loss of CM-MaskSD: all branches learn the mask, and the masked ones also what the main branch makes of it.

Paper: Wang et al., CM-MaskSD, IEEE TMM 2024, arXiv 2305.11481. Written from published facts alone: that the outputs of
masked and unmasked branches are made consistent is the paper's; terms and weights are inferred.

Ours: the existence, and a lesson for the correlation of patches and sentence, for encoders that no pre-training has
aligned as it has those of a CLIP. Without it, words hardly decide which of two objects a small network outlines.

    L = S(z) + beta [S(z_v) + S(z_t)] + lambda [D(z_v || sg z) + D(z_t || sg z)],  S = cross-entropy + 1 - Dice
    D = mean over pixels of p log(p / q) + (1 - p) log((1 - p) / (1 - q)),  p = sigmoid(sg z), q = sigmoid(z_masked)
"""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from leanseg.losses.distillation import softened_output_loss
from leanseg.losses.overlap import DiceBCELoss
from leanseg.losses.places import places_loss

_COSINE_SCALE = 1 / 0.07


def self_distillation(
    masked: Float[Tensor, "batch 1 height width"], main: Float[Tensor, "batch 1 height width"], temperature: float = 1.0
) -> Float[Tensor, ""]:
    """D of the logits of a masked branch; no gradient reaches those of the main branch."""
    return softened_output_loss(masked.float(), main.detach().float(), main.new_ones(len(main)).float(), temperature)


@dataclass(frozen=True)
class MaskedDistillationLoss:
    """L, and the weighted lessons of existence (cross-entropy) and correlation (that of `losses/places.py`)."""

    masked_weight: float = 0.5
    """beta"""
    distillation_weight: float = 1.0
    """lambda"""
    temperature: float = 1.0
    existence_weight: float = 0.5
    correlation_weight: float = 0.0
    """0, the paper's, is for encoders that are aligned already; 0.5 for others."""

    def __post_init__(self) -> None:
        weights = (self.masked_weight, self.distillation_weight, self.existence_weight)
        if min(*weights, self.correlation_weight) < 0 or self.temperature <= 0:
            raise ValueError(f"weights must be 0 or more, and temperature positive; got {self}.")

    def __call__(
        self,
        logits: Float[Tensor, "batch 1 height width"],
        masked: Sequence[Tensor],
        target: Float[Tensor, "batch 1 height width"],
        existence: Float[Tensor, " batch"] | None = None,
        correlation: Float[Tensor, "batch row column"] | None = None,
    ) -> Float[Tensor, ""]:
        """`masked`: logits of the masked branches, or none. An empty target says that the object does not exist."""
        segmentation, main = DiceBCELoss(), logits.float()
        total = segmentation(main, target)
        for branch in masked:
            total = total + self.masked_weight * segmentation(branch.float(), target)
            total = total + self.distillation_weight * self_distillation(branch, main, self.temperature)
        if existence is not None:
            there = target.flatten(1).amax(dim=1)
            total = total + self.existence_weight * F.binary_cross_entropy_with_logits(existence.float(), there)
        if correlation is not None and self.correlation_weight:
            total = total + self.correlation_weight * places_loss([_COSINE_SCALE * correlation], target)
        return total
