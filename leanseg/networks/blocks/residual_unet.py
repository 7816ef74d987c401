"""Residual U-Net for slices: a member of Med-DANet's model bank, and the body of Med-DANet V2.

Paper: Shen et al., Med-DANet V2, WACV 2024, arXiv 2310.18656; its 3-D parent is TransBTS, arXiv 2103.04430. The code of
both is under Apache-2.0; nothing was taken from it, this file was written from published facts: the table of layers,
parameter counts and MACs of every block.

Departures and inferences
  * Height and width are any multiples of 8 and may differ; the paper has 128 x 128.
  * Dropout is off in evaluation. In the released code it stays on, so that two runs differ.
  * The layers that the released code defines and never uses (4,772 parameters) are left out.
  * The decoder's block is convolution, batch norm, ReLU twice plus its input (inferred from TransBTS; the published
    parameter counts fit).
  * The model bank of Med-DANet was never released: that its members look like this is inferred.
  * `up_sampling="nearest"` replaces the transposed convolution by nearest x2 + 1x1 convolution, which quantizes
    everywhere. The convolution is the one that halves the channels; as it commutes with the repetition of pixels, it
    runs before it, at a quarter of the cost.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from leanseg.errors import UnknownNameError
from leanseg.networks.blocks.bits import quantized_conv
from leanseg.networks.blocks.decision import conv_macs
from leanseg.networks.blocks.med_adapter import AdapterConfig, ConvMedAdapter

STRIDE = 8
"""Height and width of the input must be multiples of this many pixels."""
STAGE_BLOCKS = (1, 2, 2, 4)
"""Residual blocks of each encoder stage."""
UP_SAMPLINGS = ("transposed", "nearest")
StageBits = Callable[[int, Tensor], Tensor | None]
"""(stage, its input) -> bits of its weights for each sample; None: the weights as they are."""


@dataclass(frozen=True)
class ResidualUNetConfig:
    """Constructor values of `ResidualUNet`; the defaults are the paper's."""

    in_channels: int = 4
    """FLAIR, T1ce, T1, T2."""
    out_channels: int = 4
    """Background, necrosis, edema, enhancing tumor."""
    width: int = 16
    """Channels of the finest level; each coarser one has twice as many."""
    dropout: float = 0.2
    """Of whole channels, after the first convolution, in training."""
    up_sampling: str = "transposed"
    """`transposed` convolution (paper), or `nearest` x2 + 1x1 convolution."""
    adapters: AdapterConfig | None = None
    """Med-Adapters after the blocks of every encoder stage, of a network that is adapted (training/adapt.py)."""

    def __post_init__(self) -> None:
        if self.up_sampling not in UP_SAMPLINGS:
            raise UnknownNameError("up-sampling", self.up_sampling, UP_SAMPLINGS)
        if min(self.in_channels, self.width) < 1 or self.out_channels < 2 or not 0 <= self.dropout < 1:
            raise ValueError(
                "in_channels and width must be positive, out_channels at least 2, dropout from 0 to below 1; got "
                f"{self.in_channels}, {self.width}, {self.out_channels}, {self.dropout}."
            )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def check_grid(name: str, image: Tensor, stride: int = STRIDE) -> None:
    """Raises ValueError if height or width is not a multiple of `stride`."""
    height, width = image.shape[-2:]
    if height % stride or width % stride:
        raise ValueError(
            f"{name} needs height and width in multiples of {stride}; got {(height, width)}. "
            f"Pad the image to {-(-height // stride) * stride} x {-(-width // stride) * stride}."
        )


class EncoderBlock(nn.Module):
    """x + conv(ReLU(BN(conv(ReLU(BN(x)))))), 3x3 without bias; the weights may have fewer bits."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(2))
        self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))

    def forward(
        self, x: Float[Tensor, "batch channel height width"], bits: Float[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch channel height width"]:
        y = x
        for norm, conv in zip(self.norms, self.convs, strict=True):
            assert isinstance(conv, nn.Conv2d)
            y = quantized_conv(conv, torch.relu(norm(y)), bits)
        return x + y


class EncoderStage(nn.Module):
    """Residual blocks, then a 3x3 convolution of stride 2 that doubles the channels; the last stage has none."""

    def __init__(self, channels: int, blocks: int, is_last: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(EncoderBlock(channels) for _ in range(blocks))
        self.down = None if is_last else nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1, bias=False)

    def forward(
        self, x: Float[Tensor, "batch channel height width"], bits: Float[Tensor, " batch"] | None = None
    ) -> tuple[Float[Tensor, "batch channel height width"], Float[Tensor, "batch deep h w"]]:
        """The skip connection and the input of the next stage."""
        for block in self.blocks:
            x = block(x, bits)
        return x, x if self.down is None else quantized_conv(self.down, x, bits)

    def macs(self, pixels: int) -> int:
        return conv_macs(self.blocks, pixels) + (0 if self.down is None else conv_macs(self.down, pixels // 4))


class DecoderBlock(nn.Module):
    """x + ReLU(BN(conv(ReLU(BN(conv(x)))))), 3x3 with bias."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential()
        for _ in range(2):
            self.layers.append(nn.Conv2d(channels, channels, 3, padding=1))
            self.layers.append(nn.BatchNorm2d(channels))
            self.layers.append(nn.ReLU(inplace=True))

    def forward(self, x: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch channel height width"]:
        y: Tensor = self.layers(x)
        return x + y


class UpConcat(nn.Module):
    """Halve the channels, double the grid, join with the skip connection, halve the channels."""

    def __init__(self, channels: int, up_sampling: str) -> None:
        super().__init__()
        half = channels // 2
        self.reduce = nn.Conv2d(channels, half, 1)
        self.up = nn.ConvTranspose2d(half, half, 2, stride=2) if up_sampling == "transposed" else None
        self.merge = nn.Conv2d(channels, half, 1)

    def forward(
        self, x: Float[Tensor, "batch deep h w"], skip: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch channel height width"]:
        x = self.reduce(x)
        x = F.interpolate(x, scale_factor=2, mode="nearest") if self.up is None else self.up(x)
        merged: Tensor = self.merge(torch.cat([skip, x], dim=1))
        return merged

    def macs(self, pixels: int) -> int:
        """`pixels` is that of the finer grid."""
        up = 0 if self.up is None else conv_macs(self.up, pixels // 4)
        return conv_macs(self.reduce, pixels // 4) + up + conv_macs(self.merge, pixels)


class ResidualUNetBody(nn.Module):
    """All but the head: images to features of `width` channels on the same grid."""

    def __init__(self, config: ResidualUNetConfig) -> None:
        super().__init__()
        self.config = config
        self.stage_channels = tuple(config.width * 2**n for n in range(len(STAGE_BLOCKS)))
        last = len(STAGE_BLOCKS) - 1
        self.first = nn.Conv2d(config.in_channels, config.width, 3, padding=1, bias=False)
        self.dropout = nn.Dropout2d(config.dropout)
        self.stages = nn.ModuleList(
            EncoderStage(channels, blocks, is_last=n == last)
            for n, (channels, blocks) in enumerate(zip(self.stage_channels, STAGE_BLOCKS, strict=True))
        )
        if config.adapters is not None:
            for stage, channels in zip(self.stages, self.stage_channels, strict=True):
                stage.blocks.append(ConvMedAdapter(channels, config.adapters))  # type: ignore[union-attr, operator]
        coarse_to_fine = self.stage_channels[:0:-1]
        self.ups = nn.ModuleList(UpConcat(channels, config.up_sampling) for channels in coarse_to_fine)
        self.blocks = nn.ModuleList(DecoderBlock(channels // 2) for channels in coarse_to_fine[:-1])

    def forward(
        self, image: Float[Tensor, "batch channel height width"], bits: StageBits | None = None
    ) -> Float[Tensor, "batch feature height width"]:
        """`bits` is asked for the bits of each encoder stage; without it nothing is quantized.

        Raises:
            ValueError: height or width is not a multiple of 8.
        """
        check_grid("ResidualUNet", image)
        x: Tensor = self.dropout(self.first(image))
        skips = []
        for n, stage in enumerate(self.stages):
            skip, x = stage(x, None if bits is None else bits(n, x))
            skips.append(skip)
        skips.pop()
        for n, up in enumerate(self.ups):
            x = up(x, skips.pop())
            if n < len(self.blocks):
                x = self.blocks[n](x)
        return x

    def stage_macs(self, height: int, width: int) -> tuple[int, ...]:
        """MACs of each encoder stage for one slice."""
        return tuple(stage.macs(height * width // 4**n) for n, stage in enumerate(self.stages))  # type: ignore[operator]

    def other_macs(self, height: int, width: int) -> int:
        """MACs of the first convolution and the decoder, which are never quantized."""
        total = conv_macs(self.first, height * width)
        for n, up in enumerate(self.ups):
            pixels = height * width // 4 ** (len(self.ups) - 1 - n)
            total += up.macs(pixels)  # type: ignore[operator]
            if n < len(self.blocks):
                total += conv_macs(self.blocks[n], pixels)
        return total


class Head(nn.Module):
    """Features to logits: one more decoder block and a 1x1 convolution."""

    def __init__(self, config: ResidualUNetConfig) -> None:
        super().__init__()
        self.block = DecoderBlock(config.width)
        self.classify = nn.Conv2d(config.width, config.out_channels, 1)

    def forward(
        self, features: Float[Tensor, "batch feature height width"]
    ) -> Float[Tensor, "batch label height width"]:
        logits: Tensor = self.classify(self.block(features))
        return logits

    def macs(self, height: int, width: int) -> int:
        return conv_macs(self, height * width)


class ResidualUNet(nn.Module):
    """Body and one head: the static network."""

    stride = STRIDE

    def __init__(self, config: ResidualUNetConfig) -> None:
        super().__init__()
        self.config = config
        self.body = ResidualUNetBody(config)
        self.head = Head(config)

    def forward(self, image: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch label height width"]:
        """Logits on the grid of the image; raises ValueError if that is not in multiples of 8."""
        logits: Tensor = self.head(self.body(image))
        return logits

    def macs(self, height: int, width: int) -> int:
        """Multiply-accumulates for one slice of this size."""
        body = self.body
        return sum(body.stage_macs(height, width)) + body.other_macs(height, width) + self.head.macs(height, width)
