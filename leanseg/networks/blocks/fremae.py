"""What FreMAE puts behind an encoder while it is pre-trained (training/fremae.py): two ways through its levels, and a
map from features to the spectrum of the image. In 2-D as published, and in 3-D.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

_CONV: dict[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
_DECONV: dict[int, type[nn.ConvTranspose2d] | type[nn.ConvTranspose3d]] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_NORM: dict[int, type[nn.BatchNorm2d] | type[nn.BatchNorm3d]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
LOW_STRIDE = 4
"""The low-pass target is so many times smaller than the image."""


class TopDown(nn.Module):
    """From the coarsest level to the finest: 1x1, 2x2 transposed, concatenate, 1x1, batch norm, ReLU."""

    def __init__(self, channels: Sequence[int], axes: int) -> None:
        super().__init__()
        conv = _CONV[axes]
        coarse_to_fine = list(zip(channels[:0:-1], channels[-2::-1], strict=True))
        self.ups = nn.ModuleList(
            nn.Sequential(conv(deep, fine, 1), _DECONV[axes](fine, fine, 2, stride=2)) for deep, fine in coarse_to_fine
        )
        self.merges = nn.ModuleList(
            nn.Sequential(conv(2 * fine, fine, 1), _NORM[axes](fine), nn.ReLU(True)) for _, fine in coarse_to_fine
        )

    def forward(self, levels: list[Tensor]) -> Tensor:
        """A_low, on the grid of the finest level with its channels."""
        x = levels[-1]
        for up, merge, level in zip(self.ups, self.merges, levels[-2::-1], strict=True):
            x = merge(torch.cat([up(x), level], dim=1))
        return x


class BottomUp(nn.Module):
    """From the finest level to the coarsest: 1x1, 3x3 of stride 2; 1x1 of the level; 1x1, batch norm, ReLU of both."""

    def __init__(self, channels: Sequence[int], axes: int) -> None:
        super().__init__()
        conv = _CONV[axes]
        fine_to_coarse = list(pairwise(channels))
        self.downs = nn.ModuleList(
            nn.Sequential(conv(fine, deep, 1), conv(deep, deep, 3, stride=2, padding=1))
            for fine, deep in fine_to_coarse
        )
        self.sides = nn.ModuleList(conv(deep, deep, 1) for _, deep in fine_to_coarse)
        self.merges = nn.ModuleList(
            nn.Sequential(conv(2 * deep, deep, 1), _NORM[axes](deep), nn.ReLU(True)) for _, deep in fine_to_coarse
        )

    def forward(self, levels: list[Tensor]) -> Tensor:
        """A_high, on the grid of the coarsest level with its channels."""
        x = levels[0]
        for down, side, merge, level in zip(self.downs, self.sides, self.merges, levels[1:], strict=True):
            x = merge(torch.cat([down(x), side(level)], dim=1))
        return x


class FrequencyMapping(nn.Module):
    """|IFFT(W FFT(x) + B)| + x, then 1x1: W and B are real, one of each for every channel and frequency."""

    def __init__(self, channels: int, out_channels: int, size: tuple[int, ...], bias: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, *size))
        self.bias = nn.Parameter(torch.full((channels, *size), bias))
        self.project = _CONV[len(size)](channels, out_channels, 1)

    def filtered(self, x: Float[Tensor, "batch channel *grid"]) -> Float[Tensor, "batch channel *grid"]:
        axes = tuple(range(2, x.ndim))
        x = x.float()  # no Fourier transform of bfloat16
        spectrum = torch.fft.fftn(x, dim=axes, norm="ortho") * self.weight + self.bias
        result: Tensor = torch.fft.ifftn(spectrum, dim=axes, norm="ortho").abs() + x
        return result

    def forward(self, x: Float[Tensor, "batch channel *grid"]) -> Float[Tensor, "batch out *grid"]:
        result: Tensor = self.project(self.filtered(x))
        return result


class BilateralDecoder(nn.Module):
    """Levels of an encoder -> an image of full size, asked for the details, and one of a quarter, for the rest."""

    def __init__(
        self, channels: Sequence[int], in_channels: int, size: tuple[int, ...], low_channels: int, bias: float
    ) -> None:
        super().__init__()
        axes = len(size)
        self.size = tuple(size)
        self.low_size = tuple(n // LOW_STRIDE for n in size)
        self.top_down = TopDown(channels, axes)
        self.bottom_up = BottomUp(channels, axes)
        self.narrow = _CONV[axes](channels[-1], low_channels, 1)
        self.detail = FrequencyMapping(channels[0], in_channels, self.size, bias)
        self.coarse = FrequencyMapping(low_channels, in_channels, self.low_size, bias)

    def forward(self, levels: list[Tensor]) -> tuple[Tensor, Tensor]:
        """(batch, in_channels, *size) and (batch, in_channels, *low_size)."""
        low_level = self.top_down(levels)
        mode = "bilinear" if len(self.size) == 2 else "trilinear"
        high_level = F.interpolate(
            self.narrow(self.bottom_up(levels)).float(), size=self.low_size, mode=mode, align_corners=False
        )
        return self.detail(low_level), self.coarse(high_level)
