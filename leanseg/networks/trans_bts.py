"""TransBTS: a 3-D residual U-Net with a transformer between encoder and decoder.

Paper: Wang et al., TransBTS: multimodal brain tumor segmentation using transformer, MICCAI 2021, arXiv 2103.04430. The
code is under Apache-2.0; nothing was taken from it, this file was written from published facts: the table of layers,
the parameter count and the MACs.

Departures from the released code
  * The network gives logits. There the softmax is part of the network and is applied a second time in inference.
  * Dropout is off in evaluation. There whole channels are dropped in inference as well, so that two runs differ.
  * The layers that it defines and whose output nobody sees are left out: a linear encoding (262,656 parameters) and
    the last layer norm (1,024). 32,723,908 of its 32,987,588 parameters remain, and all MACs.
  * Any grid in multiples of 8 is taken: the position embedding is interpolated linearly from the one of `grid_kji`.
  * Whole volumes go through `inference/sliding_window.py`. The released one fills the last slices of a volume of 155
    from 5 slices away.
Inferred
  * Where a transformer layer drops out: the attention map, and the output of both halves.
  * The order of the two residual units in the decoder (`conv, norm, ReLU` twice, plus the input) and of the
    concatenation (skip first); weights start as torch's own layers do, the position embedding at 0.

Symbols: F features of the encoder, (batch, dim, K, J, I); z tokens, (batch, K * J * I, dim); PE position embedding.
"""

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

STRIDE = 8
"""Depth, height and width of the input must be multiples of this many voxels; a token is one such cube."""
STAGE_BLOCKS = (1, 2, 2, 4)
"""Residual blocks of each encoder stage."""
NORM_GROUPS = 8


@dataclass(frozen=True)
class TransBTSConfig:
    """Constructor values of `TransBTS`; the defaults are the paper's."""

    in_channels: int = 4
    """FLAIR, T1ce, T1, T2."""
    out_channels: int = 4
    """Background, necrosis, edema, enhancing tumor."""
    width: int = 16
    """Channels of the finest level, a multiple of 8; each coarser one has twice as many."""
    dim: int = 512
    """Of a token."""
    layers: int = 4
    heads: int = 8
    mlp_dim: int = 4096
    grid_kji: tuple[int, int, int] = (128, 128, 128)
    """Voxels of the input for which the position embedding is learned."""
    channel_dropout: float = 0.2
    """Of whole channels, after the first convolution, in training."""
    dropout: float = 0.1
    """In the transformer, in training."""

    def __post_init__(self) -> None:
        if self.width < NORM_GROUPS or self.width % NORM_GROUPS:
            raise ValueError(f"width must be a multiple of {NORM_GROUPS}; got {self.width}.")
        if min(self.in_channels, self.layers, self.heads, self.mlp_dim) < 1 or self.out_channels < 2:
            raise ValueError(f"channels, layers and heads must be positive, and labels at least 2; got {self}.")
        if self.dim < 1 or self.dim % self.heads:
            raise ValueError(f"dim must be a multiple of heads; got {self.dim} and {self.heads}.")
        if min(self.grid_kji) < STRIDE or any(n % STRIDE for n in self.grid_kji):
            raise ValueError(f"grid_kji must be multiples of {STRIDE}; got {self.grid_kji}.")
        if not (0 <= self.channel_dropout < 1 and 0 <= self.dropout < 1):
            raise ValueError(f"dropout lies from 0 to below 1; got {self.channel_dropout} and {self.dropout}.")

    @property
    def stride(self) -> int:
        return STRIDE

    @property
    def token_grid_kji(self) -> tuple[int, int, int]:
        k, j, i = self.grid_kji
        return k // STRIDE, j // STRIDE, i // STRIDE

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"grid_kji": list(self.grid_kji)}


def conv3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv3d:
    return nn.Conv3d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1)


class EncoderBlock(nn.Module):
    """x + two times group norm, ReLU, convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(layer for _ in range(2) for layer in self._unit(channels)))

    @staticmethod
    def _unit(channels: int) -> tuple[nn.Module, ...]:
        return nn.GroupNorm(NORM_GROUPS, channels), nn.ReLU(inplace=True), conv3(channels, channels)

    def forward(self, x: Float[Tensor, "batch channel k j i"]) -> Float[Tensor, "batch channel k j i"]:
        result: Tensor = x + self.layers(x)
        return result


def double_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    """Two times convolution, batch norm, ReLU."""
    return nn.Sequential(
        *(conv3(in_channels, out_channels), nn.BatchNorm3d(out_channels), nn.ReLU(inplace=True)),
        *(conv3(out_channels, out_channels), nn.BatchNorm3d(out_channels), nn.ReLU(inplace=True)),
    )


class DecoderBlock(nn.Module):
    """x + two times convolution, batch norm, ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = double_conv(channels, channels)

    def forward(self, x: Float[Tensor, "batch channel k j i"]) -> Float[Tensor, "batch channel k j i"]:
        result: Tensor = x + self.layers(x)
        return result


class DecoderStage(nn.Module):
    """Halve the channels, double the grid, concatenate the skip connection, merge, and a block."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.halve = nn.Conv3d(in_channels, out_channels, kernel_size=1)
        self.up = nn.ConvTranspose3d(out_channels, out_channels, kernel_size=2, stride=2)
        self.merge = nn.Conv3d(2 * out_channels, out_channels, kernel_size=1)
        self.block = DecoderBlock(out_channels)

    def forward(
        self, x: Float[Tensor, "batch deep k2 j2 i2"], skip: Float[Tensor, "batch channel k j i"]
    ) -> Float[Tensor, "batch channel k j i"]:
        merged = self.merge(torch.cat([skip, self.up(self.halve(x))], dim=1))
        result: Tensor = self.block(merged)
        return result


class SelfAttention(nn.Module):
    """Every token looks at every token: softmax(q k' / sqrt(d)) v for each head, no bias on q, k and v."""

    def __init__(self, config: TransBTSConfig) -> None:
        super().__init__()
        self.heads, self.dropout = config.heads, config.dropout
        self.qkv = nn.Linear(config.dim, 3 * config.dim, bias=False)
        self.out = nn.Linear(config.dim, config.dim)

    def forward(self, z: Float[Tensor, "batch token dim"]) -> Float[Tensor, "batch token dim"]:
        batch, tokens, dim = z.shape
        q, k, v = self.qkv(z).view(batch, tokens, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        seen = F.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout if self.training else 0.0)
        result: Tensor = self.out(seen.transpose(1, 2).reshape(batch, tokens, dim))
        return result


class TransformerLayer(nn.Module):
    """z + attention(norm(z)), then z + MLP(norm(z))."""

    def __init__(self, config: TransBTSConfig) -> None:
        super().__init__()
        self.attention = nn.Sequential(nn.LayerNorm(config.dim), SelfAttention(config), nn.Dropout(config.dropout))
        self.mlp = nn.Sequential(
            *(nn.LayerNorm(config.dim), nn.Linear(config.dim, config.mlp_dim), nn.GELU(), nn.Dropout(config.dropout)),
            *(nn.Linear(config.mlp_dim, config.dim), nn.Dropout(config.dropout)),
        )

    def forward(self, z: Float[Tensor, "batch token dim"]) -> Float[Tensor, "batch token dim"]:
        z = z + self.attention(z)
        result: Tensor = z + self.mlp(z)
        return result


class TransBTS(nn.Module):
    """Encoder to an eighth of the grid, transformer over all its voxels, decoder with skip connections."""

    def __init__(self, config: TransBTSConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.width * 2**level for level in range(len(STAGE_BLOCKS))]
        self.stem = nn.Sequential(conv3(config.in_channels, widths[0]), nn.Dropout3d(config.channel_dropout))
        self.downs = nn.ModuleList(conv3(i, o, stride=2) for i, o in pairwise(widths))
        self.stages = nn.ModuleList(
            nn.Sequential(*(EncoderBlock(width) for _ in range(blocks)))
            for width, blocks in zip(widths, STAGE_BLOCKS, strict=True)
        )
        self.projection = nn.Sequential(
            nn.BatchNorm3d(widths[-1]), nn.ReLU(inplace=True), conv3(widths[-1], config.dim)
        )
        self.position = nn.Parameter(torch.zeros(1, config.dim, *config.token_grid_kji))
        self.dropout = nn.Dropout(config.dropout)
        self.transformer = nn.Sequential(*(TransformerLayer(config) for _ in range(config.layers)))
        self.mapping = nn.Sequential(double_conv(config.dim, widths[-1]), DecoderBlock(widths[-1]))
        self.decoder = nn.ModuleList(
            DecoderStage(deep, fine) for deep, fine in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.head = nn.Conv3d(widths[0], config.out_channels, kernel_size=1)

    def forward(self, image: Float[Tensor, "batch channel k j i"]) -> Float[Tensor, "batch label k j i"]:
        """Logits on the grid of the image.

        Raises:
            ValueError: depth, height or width is not a multiple of 8.
        """
        if any(n % STRIDE for n in image.shape[2:]):
            fits = " x ".join(str(-(-n // STRIDE) * STRIDE) for n in image.shape[2:])
            raise ValueError(
                f"TransBTS needs depth, height and width in multiples of {STRIDE}; got {tuple(image.shape[2:])}. "
                f"Pad the volume to {fits}."
            )
        skips, deepest = self.encode(image)
        return self.decode(skips, self.look_around(deepest))

    def encode(
        self, image: Float[Tensor, "batch channel k j i"]
    ) -> tuple[list[Tensor], Float[Tensor, "batch dim K J I"]]:
        """Skip connections of full, half and quarter resolution, and F at an eighth."""
        x = self.stages[0](self.stem(image))
        skips = []
        for down, stage in zip(self.downs, self.stages[1:], strict=True):
            skips.append(x)
            x = stage(down(x))
        return skips, self.projection(x)

    def position_embedding(self, grid_kji: torch.Size) -> Float[Tensor, "1 dim K J I"]:
        """PE for so many tokens: the learned one, interpolated where the grid is another."""
        if grid_kji == self.position.shape[2:]:
            return self.position
        return F.interpolate(self.position, size=tuple(grid_kji), mode="trilinear", align_corners=False)

    def look_around(self, deepest: Float[Tensor, "batch dim K J I"]) -> Float[Tensor, "batch dim K J I"]:
        """The transformer: z = F + PE as tokens, through all layers, and back on the grid."""
        grid = deepest.shape[2:]
        z = (deepest + self.position_embedding(grid)).flatten(2).transpose(1, 2)
        z = self.transformer(self.dropout(z))
        result: Tensor = z.transpose(1, 2).unflatten(2, tuple(grid))
        return result

    def decode(
        self, skips: list[Tensor], deepest: Float[Tensor, "batch dim K J I"]
    ) -> Float[Tensor, "batch label k j i"]:
        """Logits from what `encode` and `look_around` gave."""
        x = self.mapping(deepest)
        for stage, skip in zip(self.decoder, reversed(skips), strict=True):
            x = stage(x, skip)
        result: Tensor = self.head(x)
        return result
