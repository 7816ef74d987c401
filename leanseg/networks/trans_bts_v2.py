"""TransBTSV2: TransBTS with one wide Transformer in place of four, and skip connections that look where shapes are.

Paper: Li et al., TransBTSV2: towards better and more efficient volumetric segmentation of medical images, 2022, arXiv
2201.12785. No code and no weights were released; this file was written from a figure of the architecture and the
published size. The encoder and decoder are those of TransBTS (networks/trans_bts.py).

Departures from the paper
  * The network gives logits, dropout is off in evaluation, and any grid in multiples of 8 is taken, as in TransBTS.
  * 17.3 M parameters: the 2.1 M of the position embedding do not fit into the published count, all others do.
Recalled, not verified
  * E = 1.5; 15.30 M parameters and 240.66 G multiply-accumulates.
Inferred
  * 8 heads and 4096 hidden units in the MLP, as TransBTS has; a fourth of the channels inside a bottleneck; that the
    way back from 512 to 128 channels is that of TransBTS. Among the choices tried, these fit the two published figures
    best, without the position embedding: 0.6 % and 0.1 % off.
  * Inside a bottleneck: 1 x 1 x 1 convolution, deformable convolution, 1 x 1 x 1 convolution, the first two with batch
    norm and ReLU, plus the input. Offsets are not limited, and 0 at the start.

Symbols: E how many times wider q and k are than d; d width of a token (`dim`); DBM Deformable Bottleneck Module.
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from leanseg.errors import UnknownNameError
from leanseg.networks.blocks.deformable import DeformableBottleneck
from leanseg.networks.blocks.volume_unet import (
    STRIDE,
    DecoderBlock,
    TransformerLayer,
    VolumeUNet,
    check_width,
    conv3,
    decoder_stages,
    double_conv,
    look_around,
    stage_widths,
)

DBMS = ("deformable", "conv")


@dataclass(frozen=True)
class TransBTSV2Config:
    """Constructor values of `TransBTSV2`; the defaults are the paper's."""

    in_channels: int = 4
    """FLAIR, T1ce, T1, T2; 1 for CT."""
    out_channels: int = 4
    """Background, necrosis, edema, enhancing tumor."""
    width: int = 16
    """Channels of the finest level, a multiple of 8; each coarser one has twice as many."""
    dim: int = 512
    """d, of a token."""
    expansion: float = 1.5
    """E: q and k are E d wide."""
    layers: int = 1
    heads: int = 8
    mlp_dim: int = 4096
    dbm_ratio: int = 4
    """How many times fewer channels there are inside a DBM."""
    dbm: str = "deformable"
    """`deformable`, or `conv`: an ordinary convolution in its place, which is several times faster."""
    grid_kji: tuple[int, int, int] = (128, 128, 128)
    """Voxels of the input for which the position embedding is learned; for others it is interpolated."""
    channel_dropout: float = 0.2
    """Of whole channels, after the first convolution, in training."""
    dropout: float = 0.1
    """In the Transformer, in training."""

    def __post_init__(self) -> None:
        check_width(self.width)
        if self.dbm not in DBMS:
            raise UnknownNameError("dbm", self.dbm, DBMS)
        if min(self.in_channels, self.layers, self.heads, self.mlp_dim) < 1 or self.out_channels < 2:
            raise ValueError(f"channels, layers and heads must be positive, and labels at least 2; got {self}.")
        if self.dim < 1 or self.dim % self.heads or self.qk_dim < 1 or self.qk_dim % self.heads:
            raise ValueError(
                f"dim and dim x expansion must be multiples of heads; got {self.dim}, {self.qk_dim} and {self.heads}."
            )
        if self.dbm_ratio < 1 or self.width % self.dbm_ratio:
            raise ValueError(f"width must be a multiple of dbm_ratio; got {self.width} and {self.dbm_ratio}.")
        if min(self.grid_kji) < STRIDE or any(n % STRIDE for n in self.grid_kji):
            raise ValueError(f"grid_kji must be multiples of {STRIDE}; got {self.grid_kji}.")
        if not (0 <= self.channel_dropout < 1 and 0 <= self.dropout < 1):
            raise ValueError(f"dropout lies from 0 to below 1; got {self.channel_dropout} and {self.dropout}.")

    @property
    def stride(self) -> int:
        return STRIDE

    @property
    def qk_dim(self) -> int:
        """Width of q and k, d_q = d_k = E d."""
        return round(self.expansion * self.dim)

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"grid_kji": list(self.grid_kji)}


class TransBTSV2(VolumeUNet):
    """Encoder to an eighth of the grid, wide Transformer over all its voxels, decoder with a DBM on each skip."""

    def __init__(self, config: TransBTSV2Config) -> None:
        widths = stage_widths(config.width)
        super().__init__(config.in_channels, widths, config.channel_dropout)
        self.config = config
        self.expansion = nn.Sequential(nn.BatchNorm3d(widths[-1]), nn.ReLU(inplace=True), conv3(widths[-1], config.dim))
        self.position = nn.Parameter(torch.zeros(1, config.dim, *(n // STRIDE for n in config.grid_kji)))
        self.dropout = nn.Dropout(config.dropout)
        self.transformer = nn.Sequential(
            *(
                TransformerLayer(config.dim, config.qk_dim, config.heads, config.mlp_dim, config.dropout)
                for _ in range(config.layers)
            )
        )
        self.restoration = nn.Sequential(double_conv(config.dim, widths[-1]), DecoderBlock(widths[-1]))
        self.dbms = nn.ModuleList(
            DeformableBottleneck(width, config.dbm_ratio, config.dbm == "deformable") for width in widths[:-1]
        )
        self.decoder = decoder_stages(widths)
        self.head = nn.Conv3d(widths[0], config.out_channels, kernel_size=1)

    def forward(self, image: Float[Tensor, "batch channel k j i"]) -> Float[Tensor, "batch label k j i"]:
        """Logits on the grid of the image.

        Raises:
            ValueError: another number of channels, or depth, height or width is not a multiple of 8.
        """
        skips, deepest = self.descend(image)
        z = look_around(self.expansion(deepest), self.position, lambda z: self.transformer(self.dropout(z)))
        seen = (dbm(skip) for dbm, skip in zip(reversed(self.dbms), reversed(skips), strict=True))  # one at a time
        return self.ascend(self.restoration(z), seen)
