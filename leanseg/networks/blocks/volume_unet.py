"""Blocks of 3-D U-Nets that descend from TransBTS: its residual encoder, its decoder, its Transformer.

Paper: Wang et al., TransBTS, MICCAI 2021, arXiv 2103.04430; written from published facts, see networks/trans_bts.py.
TransBTSV2 (arXiv 2201.12785) and CGA U-Net (arXiv 2203.15383) have the same encoder.
"""

from collections.abc import Callable, Iterable
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

STRIDE = 8
"""Depth, height and width of the input must be multiples of this many voxels."""
STAGE_BLOCKS = (1, 2, 2, 4)
"""Residual blocks of each encoder stage."""
NORM_GROUPS = 8


def check_image(network: str, image: Tensor, in_channels: int) -> None:
    """Refuse other channels than the encoder has, and a grid that it cannot halve three times.

    Raises:
        ValueError: another number of channels; depth, height or width is not a multiple of 8.
    """
    channels, shape_kji = image.shape[1], tuple(image.shape[2:])
    if channels != in_channels:
        raise ValueError(f"{network} takes {in_channels} channels; got {channels}. Set in_channels to {channels}.")
    if any(n % STRIDE for n in shape_kji):
        fits = " x ".join(str(-(-n // STRIDE) * STRIDE) for n in shape_kji)
        raise ValueError(
            f"{network} needs depth, height and width in multiples of {STRIDE}; got {shape_kji}. "
            f"Pad the volume to {fits}."
        )


def check_width(width: int) -> None:
    """Raises ValueError: group norm cannot take so many channels."""
    if width < NORM_GROUPS or width % NORM_GROUPS:
        raise ValueError(f"width must be a multiple of {NORM_GROUPS}; got {width}.")


def stage_widths(width: int) -> list[int]:
    """Channels of each encoder stage, finest first."""
    return [width * 2**level for level in range(len(STAGE_BLOCKS))]


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


class VolumeUNet(nn.Module):
    """A network that begins with the residual encoder; `decoder` and `head` are made by the network itself."""

    decoder: nn.ModuleList
    """Of `decoder_stages`"""
    head: nn.Conv3d

    def __init__(self, in_channels: int, widths: list[int], channel_dropout: float) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.stem = nn.Sequential(conv3(in_channels, widths[0]), nn.Dropout3d(channel_dropout))
        self.downs = nn.ModuleList(conv3(i, o, stride=2) for i, o in pairwise(widths))
        self.stages = nn.ModuleList(
            nn.Sequential(*(EncoderBlock(width) for _ in range(blocks)))
            for width, blocks in zip(widths, STAGE_BLOCKS, strict=True)
        )

    def descend(
        self, image: Float[Tensor, "batch channel k j i"]
    ) -> tuple[list[Tensor], Float[Tensor, "batch deep K J I"]]:
        """Skip connections of full, half and quarter resolution, and what comes out at an eighth; `check_image`."""
        check_image(type(self).__name__, image, self.in_channels)
        x: Tensor = self.stages[0](self.stem(image))
        skips = []
        for down, stage in zip(self.downs, list(self.stages)[1:], strict=True):
            skips.append(x)
            x = stage(down(x))
        return skips, x

    def ascend(
        self, x: Float[Tensor, "batch deep K J I"], skips: Iterable[Tensor]
    ) -> Float[Tensor, "batch label k j i"]:
        """Logits, from an eighth of the grid up along the skip connections, of which the coarsest comes first."""
        for stage, skip in zip(self.decoder, skips, strict=True):
            x = stage(x, skip)
        result: Tensor = self.head(x)
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

    def __init__(
        self, in_channels: int, out_channels: int, block: type[DecoderBlock] | type[EncoderBlock] = DecoderBlock
    ) -> None:
        super().__init__()
        self.halve = nn.Conv3d(in_channels, out_channels, kernel_size=1)
        self.up = nn.ConvTranspose3d(out_channels, out_channels, kernel_size=2, stride=2)
        self.merge = nn.Conv3d(2 * out_channels, out_channels, kernel_size=1)
        self.block = block(out_channels)

    def forward(
        self, x: Float[Tensor, "batch deep k2 j2 i2"], skip: Float[Tensor, "batch channel k j i"]
    ) -> Float[Tensor, "batch channel k j i"]:
        merged = self.merge(torch.cat([skip, self.up(self.halve(x))], dim=1))
        result: Tensor = self.block(merged)
        return result


def decoder_stages(widths: list[int], block: type[DecoderBlock] | type[EncoderBlock] = DecoderBlock) -> nn.ModuleList:
    """From the coarsest to the finest."""
    return nn.ModuleList(
        DecoderStage(deep, fine, block) for deep, fine in zip(widths[:0:-1], widths[-2::-1], strict=True)
    )


class SelfAttention(nn.Module):
    """Every token looks at every token: softmax(q k' / sqrt(d)) v for each head, no bias on q, k and v.

    q and k may have another width than v, `qk_dim`; d is that of a head.
    """

    def __init__(self, dim: int, qk_dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.widths = (qk_dim, qk_dim, dim)
        self.qkv = nn.Linear(dim, sum(self.widths), bias=False)
        self.out = nn.Linear(dim, dim)

    def forward(self, z: Float[Tensor, "batch token dim"]) -> Float[Tensor, "batch token dim"]:
        q, k, v = (x.unflatten(2, (self.heads, -1)).transpose(1, 2) for x in self.qkv(z).split(self.widths, dim=2))
        seen = F.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout if self.training else 0.0)
        result: Tensor = self.out(seen.transpose(1, 2).flatten(2))
        return result


class TransformerLayer(nn.Module):
    """z + attention(norm(z)), then z + MLP(norm(z))."""

    def __init__(self, dim: int, qk_dim: int, heads: int, mlp_dim: int, dropout: float) -> None:
        super().__init__()
        self.attention = nn.Sequential(
            nn.LayerNorm(dim), SelfAttention(dim, qk_dim, heads, dropout), nn.Dropout(dropout)
        )
        self.mlp = nn.Sequential(
            *(nn.LayerNorm(dim), nn.Linear(dim, mlp_dim), nn.GELU(), nn.Dropout(dropout)),
            *(nn.Linear(mlp_dim, dim), nn.Dropout(dropout)),
        )

    def forward(self, z: Float[Tensor, "batch token dim"]) -> Float[Tensor, "batch token dim"]:
        z = z + self.attention(z)
        result: Tensor = z + self.mlp(z)
        return result


def position_embedding(learned: Float[Tensor, "1 dim K0 J0 I0"], grid_kji: torch.Size) -> Tensor:
    """For so many tokens: the learned one, interpolated linearly where the grid is another."""
    if grid_kji == learned.shape[2:]:
        return learned
    return F.interpolate(learned, size=tuple(grid_kji), mode="trilinear", align_corners=False)


def look_around(
    deepest: Float[Tensor, "batch dim K J I"],
    learned: Float[Tensor, "1 dim K0 J0 I0"],
    layers: Callable[[Tensor], Tensor],
) -> Float[Tensor, "batch dim K J I"]:
    """z = F + PE as tokens, through all layers, and back on the grid."""
    grid = deepest.shape[2:]
    z = (deepest + position_embedding(learned, grid)).flatten(2).transpose(1, 2)
    placed: Tensor = layers(z).transpose(1, 2).unflatten(2, tuple(grid))
    return placed
