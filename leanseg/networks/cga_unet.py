"""CGA U-Net: a small attention branch says which class a voxel of the bottleneck is, and it receives its class' center.

Paper: CGA U-Net, Physics in Medicine and Biology 2022, arXiv 2203.15383. The code is under
Apache-2.0; nothing was taken from it, this file was written from published facts: the table of layers, the parameter
count and the MACs.

Departures from the released code
  * The network gives logits; what training needs besides comes from `guided`.
  * Dropout is off in evaluation, and any grid in multiples of 8 is taken, as in TransBTS.
  * A learnable scalar that it defines and does not use is left out: 4,768,616 of its 4,768,617 parameters.
Inferred
  * Class centers are computed in float32 under autocast: bfloat16 would round the sum over a region.
  * Dropout of whole channels after the first convolution, as in TransBTS, whose encoder this is.

Symbols: A attention logits (batch, label, K, J, I), an eighth of the grid; R regions, one-hot argmax of A; F features
of the bottleneck; mu class centers.
"""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from leanseg.networks.blocks.volume_unet import (
    STRIDE,
    EncoderBlock,
    VolumeUNet,
    check_width,
    conv3,
    decoder_stages,
    stage_widths,
)


@dataclass(frozen=True)
class CGAUNetConfig:
    """Constructor values of `CGAUNet`; the defaults are the paper's."""

    in_channels: int = 4
    """FLAIR, T1ce, T1, T2; 1 for CT."""
    out_channels: int = 4
    """Background, necrosis, edema, enhancing tumor."""
    width: int = 16
    """Channels of the finest level, a multiple of 8; each coarser one has twice as many."""
    attention_width: int = 16
    """Channels inside the attention branch."""
    channel_dropout: float = 0.2
    """Of whole channels, after the first convolution, in training."""

    def __post_init__(self) -> None:
        check_width(self.width)
        if min(self.in_channels, self.attention_width) < 1 or self.out_channels < 2:
            raise ValueError(f"channels must be positive, and labels at least 2; got {self}.")
        if not 0 <= self.channel_dropout < 1:
            raise ValueError(f"dropout lies from 0 to below 1; got {self.channel_dropout}.")

    @property
    def stride(self) -> int:
        return STRIDE

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Guided(NamedTuple):
    """What training sees."""

    logits: Float[Tensor, "batch label k j i"]
    attention: Float[Tensor, "batch label K J I"]
    """A"""
    centers: Float[Tensor, "batch label channel"]
    """mu, 0 for a class without a voxel"""
    present: Bool[Tensor, "batch label"]


def regions_of(attention: Float[Tensor, "batch label K J I"]) -> Float[Tensor, "batch label K J I"]:
    """R: 1 at the label whose logit is largest. It has no gradient."""
    labels = torch.arange(attention.shape[1], device=attention.device).view(1, -1, 1, 1, 1)
    return (attention.argmax(dim=1, keepdim=True) == labels).float()


def _float32(x: Tensor) -> torch.autocast:
    """Products inside are not rounded: sums over a region of any size."""
    return torch.autocast("cuda" if x.is_cuda else "cpu", enabled=False)


def class_centers(
    features: Float[Tensor, "batch channel K J I"], regions: Float[Tensor, "batch label K J I"]
) -> Float[Tensor, "batch label channel"]:
    """mu_c = sum of F over R_c / (|R_c| + 1e-5)."""
    flat = regions.flatten(2)
    with _float32(features):
        return flat @ features.float().flatten(2).transpose(1, 2) / (flat.sum(dim=2, keepdim=True) + 1e-5)


def add_centers(
    features: Float[Tensor, "batch channel K J I"],
    regions: Float[Tensor, "batch label K J I"],
    centers: Float[Tensor, "batch label channel"],
) -> Float[Tensor, "batch channel K J I"]:
    """F' = F + sum over c of mu_c R_c: each voxel receives the center of its own class."""
    with _float32(features):
        return features + (centers.transpose(1, 2) @ regions.flatten(2)).view_as(features)


class CGAUNet(VolumeUNet):
    """Residual U-Net with attention branch."""

    def __init__(self, config: CGAUNetConfig) -> None:
        widths = stage_widths(config.width)
        super().__init__(config.in_channels, widths, config.channel_dropout)
        self.config = config
        self.attention = nn.Sequential(
            conv3(config.in_channels, config.attention_width, stride=2),
            conv3(config.attention_width, config.attention_width, stride=2),
            conv3(config.attention_width, config.out_channels, stride=2),
        )
        self.decoder = decoder_stages(widths, EncoderBlock)
        self.head = nn.Conv3d(widths[0], config.out_channels, kernel_size=1)

    def forward(self, image: Float[Tensor, "batch channel k j i"]) -> Float[Tensor, "batch label k j i"]:
        """Logits on the grid of the image.

        Raises:
            ValueError: another number of channels, or depth, height or width is not a multiple of 8.
        """
        return self.guided(image).logits

    def guided(self, image: Float[Tensor, "batch channel k j i"]) -> Guided:
        """Logits, and what they were guided by; raises as `forward`."""
        skips, features = self.descend(image)
        attention = self.attention(image)
        regions = regions_of(attention)
        centers = class_centers(features, regions)
        logits = self.ascend(add_centers(features, regions, centers), reversed(skips))
        return Guided(logits, attention, centers, regions.flatten(2).any(dim=2))
