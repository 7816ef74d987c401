"""Med-Adapter: what Med-Tuning inserts between frozen blocks (networks/med_tuning.py has paper and departures).

    h0   = GELU(down(tokens)) as a volume                    C -> c = floor(C / ratio) channels
    x    = 1x1x1(small(h0) + large(h0) + fourier(h0))        intra-stage enhancement
    attn = 1x1x1(concat[x, D(attn of the stage before)])     inter-stage interaction, at the end of a stage; else x
    out  = tokens + GELU(up(h0 + attn))

The Fourier branch is |IFFT(w FFT(x) + b)| over depth, height and width with one w and b for each frequency of the
depth. As w is the same for all frequencies within the plane, the transforms over height and width cancel: the branch is
a cyclic convolution along the depth, and b adds an impulse at the first pixel. It is computed so, as two products with
real matrices, which every runtime knows; the result is the same.

Symbols: T depth; w, b real, one value a frequency; k the frequency, t and s slices.
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from leanseg.errors import UnknownNameError

OUTPUTS = ("magnitude", "real")
_FEWEST_CHANNELS = 4


@dataclass(frozen=True)
class AdapterConfig:
    """What all adapters of a network have in common; the defaults are the paper's."""

    ratio: int = 6
    """An adapter works on so many times fewer channels."""
    depth: int = 128
    """Frequencies of the Fourier branch; of other depths they are interpolated."""
    fourier_output: str = "magnitude"
    """`magnitude`, which loses the sign (paper), or the `real` part."""
    fourier_bias: float | None = 1.0
    """Where b starts: 1 (paper), 0; None: there is no b."""

    def __post_init__(self) -> None:
        if self.fourier_output not in OUTPUTS:
            raise UnknownNameError("fourier_output", self.fourier_output, OUTPUTS)
        if min(self.ratio, self.depth) < 1:
            raise ValueError(f"ratio and depth must be positive; got {self.ratio} and {self.depth}.")


def at_frequencies(values: Float[Tensor, " frequency"], size: int | torch.SymInt) -> Float[Tensor, " size"]:
    """Values of a periodic spectrum for `size` frequencies: linearly interpolated, that of the mean stays."""
    known = values.shape[0]
    n = torch.arange(size, device=values.device)  # type: ignore[arg-type]
    position = n * (known / (n[-1] + 1))
    below = position.floor().long()
    part = position - below
    return values[below] * (1 - part) + values[(below + 1) % known] * part


class FourierBranch(nn.Module):
    """Weighs the frequencies of the third axis; the fourth holds everything else."""

    def __init__(self, config: AdapterConfig) -> None:
        super().__init__()
        self.output = config.fourier_output
        self.weight = nn.Parameter(torch.ones(config.depth))
        start = config.fourier_bias
        self.bias = None if start is None else nn.Parameter(torch.full((config.depth,), float(start)))

    def forward(self, x: Float[Tensor, "batch channel size other"]) -> Float[Tensor, "batch channel size other"]:
        size = x.shape[2]
        n = torch.arange(size, device=x.device)
        count = n[-1] + 1  # a tensor: the exporter knows no remainder by a size that varies
        shift = (n[:, None] - n) % count
        parts = []
        for wave in (torch.cos, torch.sin) if self.output == "magnitude" else (torch.cos,):
            waves = wave((n[:, None] * n) % count * (2 * math.pi / count)) / count
            y = (waves * at_frequencies(self.weight, size)).sum(dim=1)[shift] @ x
            if self.bias is not None:
                impulse = (waves * at_frequencies(self.bias, size)).sum(dim=1)
                y = y + F.pad(impulse[:, None], (0, x.shape[3] - 1))
            parts.append(y)
        if len(parts) == 1:
            return parts[0].to(x.dtype)
        magnitude: Tensor = torch.linalg.vector_norm(torch.stack(parts), dim=0)  # its gradient at 0 is 0
        return magnitude.to(x.dtype)


def depthwise_3d(channels: int, kernel: int) -> nn.Sequential:
    """Each channel alone: within the slice, then along the depth; batch norm, ReLU."""
    half = kernel // 2
    return nn.Sequential(
        nn.Conv3d(channels, channels, (1, kernel, kernel), padding=(0, half, half), groups=channels),
        nn.Conv3d(channels, channels, (kernel, 1, 1), padding=(half, 0, 0), groups=channels),
        nn.BatchNorm3d(channels),
        nn.ReLU(),
    )


class IntraStageEnhancement(nn.Module):
    """Two scales of depthwise convolutions and the Fourier branch, summed and mixed."""

    def __init__(self, channels: int, config: AdapterConfig) -> None:
        super().__init__()
        self.small = depthwise_3d(channels, 3)
        self.large = depthwise_3d(channels, 5)
        self.fourier = FourierBranch(config)
        self.mix = nn.Conv3d(channels, channels, 1)

    def forward(self, x: Float[Tensor, "batch channel t h w"]) -> Float[Tensor, "batch channel t h w"]:
        spectrum = self.fourier(x.flatten(3)).view_as(x)
        result: Tensor = self.mix(self.small(x) + self.large(x) + spectrum)
        return result


class InterStageInteraction(nn.Module):
    """What the stage before found, brought to this grid and mixed in; zeros for the first stage."""

    def __init__(self, channels: int, halves_grid: bool) -> None:
        super().__init__()
        self.before = channels // 2 if halves_grid else channels
        self.scale = 2 if halves_grid else 1
        self.bring: nn.Module
        if halves_grid:
            self.bring = nn.Conv3d(self.before, channels, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))
        else:
            self.bring = nn.Conv3d(channels, channels, 1)
        self.mix = nn.Conv3d(2 * channels, channels, 1)

    def forward(
        self, x: Float[Tensor, "batch channel t h w"], previous: Float[Tensor, "batch before t h2 w2"] | None
    ) -> Float[Tensor, "batch channel t h w"]:
        if previous is None:
            batch, _, t, h, w = x.shape
            previous = x.new_zeros(batch, self.before, t, self.scale * h, self.scale * w)
        result: Tensor = self.mix(torch.cat([x, self.bring(previous)], dim=1))
        return result


class MedAdapter(nn.Module):
    """After a transformer block. The up-projection starts at 0, so that the adapter starts as the identity."""

    def __init__(
        self, channels: int, config: AdapterConfig, interacts: bool = False, halves_grid: bool = False
    ) -> None:
        super().__init__()
        inner = channels // config.ratio
        if inner < 1 + halves_grid:
            raise ValueError(f"{channels} channels are too few for adapters of ratio {config.ratio}. Lower the ratio.")
        self.down = nn.Linear(channels, inner)
        self.intra = IntraStageEnhancement(inner, config)
        self.inter = InterStageInteraction(inner, halves_grid) if interacts else None
        self.up = nn.Linear(inner, channels)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(
        self,
        tokens: Float[Tensor, "slice length channel"],
        grid: tuple[int, int, int],
        previous: Tensor | None = None,
    ) -> tuple[Float[Tensor, "slice length channel"], Tensor | None]:
        """Tokens of all slices of volumes with `grid` (t, h, w), and what the next stage is told."""
        t, h, w = grid
        narrow = F.gelu(self.down(tokens))
        h0 = narrow.view(-1, t, h, w, narrow.shape[2]).permute(0, 4, 1, 2, 3)
        attention = self.intra(h0)
        if self.inter is not None:
            attention = previous = self.inter(attention, previous)
        both = (h0 + attention).permute(0, 2, 3, 4, 1).reshape(narrow.shape)
        return tokens + F.gelu(self.up(both)), previous


def depthwise_2d(channels: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
    )


class ConvMedAdapter(nn.Module):
    """The same for a convolutional network of single slices, as a block of an encoder stage.

    Linear is 1x1; what runs along the depth is left out, as a slice has none, and the Fourier branch runs along rows
    and along columns, without b. Not in the paper.
    """

    def __init__(self, channels: int, config: AdapterConfig) -> None:
        super().__init__()
        inner = max(channels // config.ratio, _FEWEST_CHANNELS)
        config = replace(config, fourier_bias=None)
        self.down = nn.Conv2d(channels, inner, 1)
        self.small = depthwise_2d(inner, 3)
        self.large = depthwise_2d(inner, 5)
        self.rows = FourierBranch(config)
        self.columns = FourierBranch(config)
        self.mix = nn.Conv2d(inner, inner, 1)
        self.up = nn.Conv2d(inner, channels, 1)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)  # type: ignore[arg-type]

    def forward(
        self, x: Float[Tensor, "batch channel height width"], bits: Tensor | None = None
    ) -> Float[Tensor, "batch channel height width"]:
        """`bits` of the stage are those of its own convolutions; an adapter keeps all of its."""
        h0 = F.gelu(self.down(x))
        spectrum = self.rows(h0) + self.columns(h0.transpose(2, 3)).transpose(2, 3)
        attention = self.mix(self.small(h0) + self.large(h0) + spectrum)
        result: Tensor = x + F.gelu(self.up(h0 + attention))
        return result
