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
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

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
    position_embedding,
    stage_widths,
)


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
        check_width(self.width)
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


class TransBTS(VolumeUNet):
    """Encoder to an eighth of the grid, transformer over all its voxels, decoder with skip connections."""

    def __init__(self, config: TransBTSConfig) -> None:
        widths = stage_widths(config.width)
        super().__init__(config.in_channels, widths, config.channel_dropout)
        self.config = config
        self.projection = nn.Sequential(
            nn.BatchNorm3d(widths[-1]), nn.ReLU(inplace=True), conv3(widths[-1], config.dim)
        )
        self.position = nn.Parameter(torch.zeros(1, config.dim, *config.token_grid_kji))
        self.dropout = nn.Dropout(config.dropout)
        self.transformer = nn.Sequential(
            *(
                TransformerLayer(config.dim, config.dim, config.heads, config.mlp_dim, config.dropout)
                for _ in range(config.layers)
            )
        )
        self.mapping = nn.Sequential(double_conv(config.dim, widths[-1]), DecoderBlock(widths[-1]))
        self.decoder = decoder_stages(widths)
        self.head = nn.Conv3d(widths[0], config.out_channels, kernel_size=1)

    def forward(self, image: Float[Tensor, "batch channel k j i"]) -> Float[Tensor, "batch label k j i"]:
        """Logits on the grid of the image.

        Raises:
            ValueError: another number of channels, or depth, height or width is not a multiple of 8.
        """
        skips, deepest = self.encode(image)
        return self.decode(skips, self.look_around(deepest))

    def encode(
        self, image: Float[Tensor, "batch channel k j i"]
    ) -> tuple[list[Tensor], Float[Tensor, "batch dim K J I"]]:
        """Skip connections of full, half and quarter resolution, and F at an eighth."""
        skips, deepest = self.descend(image)
        return skips, self.projection(deepest)

    def position_embedding(self, grid_kji: torch.Size) -> Float[Tensor, "1 dim K J I"]:
        """PE for so many tokens: the learned one, interpolated where the grid is another."""
        return position_embedding(self.position, grid_kji)

    def look_around(self, deepest: Float[Tensor, "batch dim K J I"]) -> Float[Tensor, "batch dim K J I"]:
        """The transformer: z = F + PE as tokens, through all layers, and back on the grid."""
        return look_around(deepest, self.position, lambda z: self.transformer(self.dropout(z)))

    def decode(
        self, skips: list[Tensor], deepest: Float[Tensor, "batch dim K J I"]
    ) -> Float[Tensor, "batch label k j i"]:
        """Logits from what `encode` and `look_around` gave."""
        return self.ascend(self.mapping(deepest), reversed(skips))
