"""Attention U-Net: student and teachers of T2KD.

Paper: Guo et al., dual-teacher knowledge distillation for breast ultrasound, J. Biomed. Eng. 2025,
doi 10.7507/1001-5515.202311054 (predecessor LightBTSeg, arXiv 2311.11086); the network itself is
Oktay et al., Attention U-Net, arXiv 1804.03999. The T2KD authors released no code; this file was
written from the published facts alone.

Departures and inferences
  * The widths are inferred from the published size and cost. (16, 32, 64, 128, 256) has 2.185 M
    parameters and 16.6 GMAC at 512 x 512, which matches the paper's student (2.2 M, 16.59 "GFLOPs")
    within 1 %. (112, ..., 1792) has 106.8 M, which matches the paper's teacher (106.1 M). The paper's
    own figures may come from another variant; identity is not claimed.
  * Input is one grey channel; the paper does not say one or three.
  * Up-sampling is nearest x2 + 3x3 convolution (inferred), which also quantizes well.
  * A gate sees the already up-sampled decoder features, so no resampling happens inside it.

Symbols: g gating signal (decoder), x skip (encoder), psi attention map, F_int = width / 2.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from leanseg.networks.blocks.maps import conv_bn_relu
from leanseg.networks.blocks.med_adapter import AdapterConfig, ConvMedAdapter

STUDENT_WIDTHS = (16, 32, 64, 128, 256)
TEACHER_WIDTHS = (64, 128, 256, 512, 1024)
PAPER_TEACHER_WIDTHS = (112, 224, 448, 896, 1792)


@dataclass(frozen=True)
class AttentionUNetConfig:
    """Constructor values of `AttentionUNet`; the defaults are the paper's student."""

    widths: tuple[int, ...] = STUDENT_WIDTHS
    """Channels of each level, finest first."""
    in_channels: int = 1
    out_channels: int = 1
    """One logit: lesion against background."""
    adapters: AdapterConfig | None = None
    """Med-Adapters after every encoder stage, of a network that is adapted (training/adapt.py)."""

    def __post_init__(self) -> None:
        if len(self.widths) < 2 or min(self.widths) < 2:
            raise ValueError(f"widths needs at least two levels of at least two channels; got {self.widths}.")

    @property
    def stride(self) -> int:
        """Height and width of the input must be multiples of this many pixels."""
        return int(2 ** (len(self.widths) - 1))

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"widths": list(self.widths)}


class AttentionUNetFeatures(NamedTuple):
    """What distillation looks at; `gates` and `bottleneck` come from the same forward pass as `logits`."""

    logits: Tensor
    """(batch, out_channels, height, width)"""
    gates: list[Tensor]
    """psi of each gate, coarsest first: (batch, 1, height / 2^l, width / 2^l), in [0, 1]."""
    bottleneck: Tensor
    """(batch, widths[-1], height / stride, width / stride)"""


def double_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(*(conv_bn_relu(c, out_channels, bias=True) for c in (in_channels, out_channels)))


class AttentionGate(nn.Module):
    """Weighs a skip connection by how well it agrees with the decoder.

    psi = sigmoid(BN(1x1(ReLU(BN(W_g g) + BN(W_x x))))), output psi * x (arXiv 1804.03999, eq. 1-2).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(channels // 2, 1)
        self.gating = nn.Sequential(nn.Conv2d(channels, inner, kernel_size=1), nn.BatchNorm2d(inner))
        self.skip = nn.Sequential(nn.Conv2d(channels, inner, kernel_size=1), nn.BatchNorm2d(inner))
        self.psi = nn.Sequential(nn.Conv2d(inner, 1, kernel_size=1), nn.BatchNorm2d(1), nn.Sigmoid())

    def forward(
        self, g: Float[Tensor, "batch channel height width"], x: Float[Tensor, "batch channel height width"]
    ) -> tuple[Float[Tensor, "batch channel height width"], Float[Tensor, "batch 1 height width"]]:
        psi = self.psi(torch.relu(self.gating(g) + self.skip(x)))
        return x * psi, psi


class DecoderStage(nn.Module):
    """Up-sample, gate the skip connection, concatenate, convolve twice."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        convolve = conv_bn_relu(in_channels, out_channels, bias=True)
        self.up = nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), convolve)
        self.gate = AttentionGate(out_channels)
        self.convs = double_conv(2 * out_channels, out_channels)

    def forward(
        self, x: Float[Tensor, "batch deep h w"], skip: Float[Tensor, "batch channel height width"]
    ) -> tuple[Float[Tensor, "batch channel height width"], Float[Tensor, "batch 1 height width"]]:
        x = self.up(x)
        gated, psi = self.gate(x, skip)
        return self.convs(torch.cat([gated, x], dim=1)), psi


class AttentionUNet(nn.Module):
    """U-Net whose skip connections pass attention gates."""

    def __init__(self, config: AttentionUNetConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.widths
        ins: Sequence[int] = (config.in_channels, *widths[:-1])
        self.encoder = nn.ModuleList(double_conv(i, o) for i, o in zip(ins, widths, strict=True))
        if config.adapters is not None:
            for stage, width in zip(self.encoder, widths, strict=True):
                stage.append(ConvMedAdapter(width, config.adapters))  # type: ignore[operator]
        self.pool = nn.MaxPool2d(2)
        self.decoder = nn.ModuleList(
            DecoderStage(deep, fine) for deep, fine in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.head = nn.Conv2d(widths[0], config.out_channels, kernel_size=1)

    def forward(self, image: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch label height width"]:
        """Logits on the grid of the image.

        Raises:
            ValueError: height or width is not a multiple of `config.stride`.
        """
        return self.features(image).logits

    def features(self, image: Float[Tensor, "batch channel height width"]) -> AttentionUNetFeatures:
        """The forward pass with what distillation needs beside the logits; raises as `forward`."""
        stride = self.config.stride
        if image.shape[-2] % stride or image.shape[-1] % stride:
            raise ValueError(
                f"AttentionUNet needs height and width in multiples of {stride}; got {tuple(image.shape[-2:])}. "
                f"Pad the image to {-(-image.shape[-2] // stride) * stride} x {-(-image.shape[-1] // stride) * stride}."
            )
        skips, x = [], image
        for level, stage in enumerate(self.encoder):
            x = stage(self.pool(x) if level else x)
            skips.append(x)
        bottleneck = skips.pop()
        x, gates = bottleneck, []
        for stage in self.decoder:
            x, psi = stage(x, skips.pop())
            gates.append(psi)
        return AttentionUNetFeatures(self.head(x), gates, bottleneck)
