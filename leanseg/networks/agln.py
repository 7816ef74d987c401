"""AGLN: a decoder that spreads what each scale means over the finer ones and sharpens it there; for any encoder.

Paper: Zha et al., Attention guided global enhancement and local refinement network for semantic segmentation, IEEE
TIP 2022, arXiv 2204.04363. The authors' code builds on PyTorch-Encoding; nothing was taken from it, this file was
written from published facts: the order of the layers, their widths, parameters and MACs of the head (15.98 M and
124.7 GMACs for 60 classes at 480 x 480, which this one has).

Departures and inferences
  * The encoder is exchangeable: `AGLNDecoder` takes the four maps of any. Without `encoder_widths` it is the paper's
    ResNet-101, from MONAI and with random weights; with them it is a small one of ours, for one channel and a CPU.
  * Maps are resized to the size of the finer one, not by a factor, so that height and width need not be multiples of
    32. They must be at least 32.
  * Inferred: where several descriptors meet at a stage, those of the coarsest come first.
  * Inferred: the rows of the channel attention (equation of the LRM) are computed in float32 under autocast. Its
    energies are sums over all positions, which bfloat16 rounds by more than their differences.

Symbols: A decoder map, B encoder map (lateral), D descriptors (batch, width, N), M what is distributed, E channel
energies, G what is refined, L = height x width positions; SAB, SDM, LRM and CFB are the paper's blocks.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from monai.networks.nets.resnet import ResNetFeatures
from torch import Tensor, nn

from leanseg.networks.blocks.maps import conv_bn_relu, resized

STRIDE = 32
"""Of the deepest stage; no side of the image may be shorter."""
STAGES = 4
RESNET_WIDTHS = (256, 512, 1024, 2048)


@dataclass(frozen=True)
class AGLNConfig:
    """Constructor values of `AGLN`; the defaults are the paper's, for PASCAL Context with background."""

    in_channels: int = 3
    out_channels: int = 60
    encoder_widths: tuple[int, ...] = ()
    """Channels of the stages of our encoder, finest first; none: ResNet-101."""
    width: int = 256
    """Of everything in the decoder."""
    descriptors: int = 64
    """N of each scale; the paper compares 1, 64, 128 and 256."""
    fused_width: int = 512
    """Of the four scales together, which the classifier sees."""
    dropout: float = 0.1
    """Before the classifier, in training."""

    def __post_init__(self) -> None:
        if len(self.encoder_widths) not in (0, STAGES):
            raise ValueError(f"encoder_widths needs four stages, or none for ResNet-101; got {self.encoder_widths}.")
        counts = (self.in_channels, self.out_channels, self.width, self.descriptors, self.fused_width)
        if min(*counts, *self.encoder_widths) < 1 or not 0 <= self.dropout < 1:
            raise ValueError(f"channels and descriptors must be positive, dropout from 0 to below 1; got {self}.")

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"encoder_widths": list(self.encoder_widths)}


class ResNetEncoder(nn.Module):
    """ResNet-101, not dilated: the maps of its four stages, at a quarter to a thirty-second of the grid."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.resnet = ResNetFeatures("resnet101", pretrained=False, spatial_dims=2, in_channels=in_channels)

    def forward(self, image: Float[Tensor, "batch channel height width"]) -> list[Tensor]:
        _, *maps = self.resnet(image)
        stages: list[Tensor] = maps
        return stages


class SmallEncoder(nn.Module):
    """Ours: two convolutions a stage, on the grids of ResNet."""

    def __init__(self, in_channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.stem = conv_bn_relu(in_channels, widths[0], stride=2)
        ins = (widths[0], *widths[:-1])
        self.stages = nn.ModuleList(
            nn.Sequential(*conv_bn_relu(i, o, stride=2), *conv_bn_relu(o, o)) for i, o in zip(ins, widths, strict=True)
        )

    def forward(self, image: Float[Tensor, "batch channel height width"]) -> list[Tensor]:
        x, maps = self.stem(image), []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


class SemanticAggregation(nn.Module):
    """SAB: N descriptors of a map, each a mean of features over the positions that it attends to."""

    def __init__(self, width: int, descriptors: int) -> None:
        super().__init__()
        self.feature = nn.Conv2d(width, width, kernel_size=1)
        self.attend = nn.Conv2d(width, descriptors, kernel_size=1)

    def attention(self, x: Float[Tensor, "batch channel h w"]) -> Float[Tensor, "batch descriptor position"]:
        """Sums to 1 over the positions."""
        weights: Tensor = self.attend(x).flatten(2).softmax(dim=2)
        return weights

    def forward(self, x: Float[Tensor, "batch channel h w"]) -> Float[Tensor, "batch channel descriptor"]:
        d: Tensor = self.feature(x).flatten(2) @ self.attention(x).transpose(1, 2)
        return d


class SemanticDistribution(nn.Module):
    """SDM: every position of the decoder map takes its own mixture of the descriptors."""

    def __init__(self, width: int, descriptors: int) -> None:
        super().__init__()
        self.attend = nn.Conv2d(width, descriptors, kernel_size=1)
        self.out = nn.Conv2d(width, width, kernel_size=1)

    def attention(self, a: Float[Tensor, "batch channel h w"]) -> Float[Tensor, "batch descriptor position"]:
        """Sums to 1 over the descriptors."""
        weights: Tensor = self.attend(a).flatten(2).softmax(dim=1)
        return weights

    def forward(
        self, a: Float[Tensor, "batch channel h w"], d: Float[Tensor, "batch channel descriptor"]
    ) -> Float[Tensor, "batch channel h w"]:
        m: Tensor = self.out((d @ self.attention(a)).unflatten(2, a.shape[2:]))
        return m


def channel_attention(
    a: Float[Tensor, "batch channel h w"], b: Float[Tensor, "batch channel h w"]
) -> Float[Tensor, "batch channel channel"]:
    """softmax(rowmax(E) - E), E = A B': the channel of B that is most like a channel of A weighs least there."""
    with torch.autocast("cuda" if a.is_cuda else "cpu", enabled=False):
        energy = a.float().flatten(2) @ b.float().flatten(2).transpose(1, 2)
        return (energy.amax(dim=2, keepdim=True) - energy).softmax(dim=2)


def refine(
    a: Float[Tensor, "batch channel h w"], b: Float[Tensor, "batch channel h w"], m: Float[Tensor, "batch channel h w"]
) -> Float[Tensor, "batch channel h w"]:
    """LRM: G, the channels of B resampled by `channel_attention` and gated by sigmoid(M) at every position."""
    resampled = (channel_attention(a, b).to(b.dtype) @ b.flatten(2)).unflatten(2, b.shape[2:])
    g: Tensor = resampled * m.sigmoid()
    return g


class ContextFusion(nn.Module):
    """CFB: conv(A + alpha M + beta (gamma G + B)); it starts as conv(A + B), a step of a feature pyramid."""

    def __init__(self, width: int, descriptors: int) -> None:
        super().__init__()
        self.distribute = SemanticDistribution(width, descriptors)
        self.alpha = nn.Parameter(torch.zeros(1))
        self.beta = nn.Parameter(torch.ones(1))
        self.gamma = nn.Parameter(torch.zeros(1))
        self.conv = conv_bn_relu(width, width)

    def forward(
        self,
        a: Float[Tensor, "batch channel h w"],
        b: Float[Tensor, "batch channel h w"],
        d: Float[Tensor, "batch channel descriptor"],
    ) -> Float[Tensor, "batch channel h w"]:
        m = self.distribute(a, d)
        fused: Tensor = self.conv(a + self.alpha * m + self.beta * (self.gamma * refine(a, b, m) + b))
        return fused


class AGLNDecoder(nn.Module):
    """Four maps of an encoder, finest first, to one on the grid of the finest."""

    def __init__(self, channels: Sequence[int], width: int, descriptors: int, fused_width: int) -> None:
        super().__init__()
        self.deepest = conv_bn_relu(channels[-1], width)
        self.laterals = nn.ModuleList(conv_bn_relu(c, width, kernel=1) for c in reversed(channels[:-1]))
        self.aggregations = nn.ModuleList(SemanticAggregation(width, descriptors) for _ in self.laterals)
        self.fusions = nn.ModuleList(  # a stage has one for each coarser scale
            nn.ModuleList(ContextFusion(width, descriptors) for _ in range(n + 1)) for n in range(len(self.laterals))
        )
        self.smooth = nn.ModuleList(conv_bn_relu(width, width) for _ in self.laterals)
        self.fuse = conv_bn_relu(len(channels) * width, fused_width)

    def forward(self, maps: Sequence[Tensor]) -> Float[Tensor, "batch fused h w"]:
        decoded = [self.deepest(maps[-1])]
        descriptors: list[Tensor] = []
        stages = zip(self.aggregations, self.laterals, self.fusions, reversed(maps[:-1]), strict=True)
        for aggregate, lateral, fusions, encoded in stages:
            descriptors.append(aggregate(decoded[-1]))
            b = lateral(encoded)
            a = resized(decoded[-1], b.shape[-2:], align_corners=True)
            for fusion, d in zip(fusions, descriptors, strict=True):  # type: ignore[call-overload]
                a = fusion(a, b, d)
            decoded.append(a)
        scales = [decoded[0], *(smooth(x) for smooth, x in zip(self.smooth, decoded[1:], strict=True))]
        finest = maps[0].shape[-2:]
        fused: Tensor = self.fuse(torch.cat([resized(x, finest, align_corners=True) for x in scales], dim=1))
        return fused


class AGLN(nn.Module):
    """Encoder, decoder and classifier; logits on the grid of the image."""

    def __init__(self, config: AGLNConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder: nn.Module
        if config.encoder_widths:
            channels, self.encoder = config.encoder_widths, SmallEncoder(config.in_channels, config.encoder_widths)
        else:
            channels, self.encoder = RESNET_WIDTHS, ResNetEncoder(config.in_channels)
        self.decoder = AGLNDecoder(channels, config.width, config.descriptors, config.fused_width)
        self.head = nn.Sequential(
            nn.Dropout(config.dropout), nn.Conv2d(config.fused_width, config.out_channels, kernel_size=1)
        )

    def forward(self, image: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch label height width"]:
        """Logits on the grid of the image, which may be any from 32 x 32.

        Raises:
            ValueError: height or width is below 32.
        """
        if min(image.shape[-2:]) < STRIDE:
            raise ValueError(
                f"AGLN needs height and width of at least {STRIDE}; got {tuple(image.shape[-2:])}. Enlarge the image."
            )
        return resized(self.head(self.decoder(self.encoder(image))), image.shape[-2:], align_corners=True)
