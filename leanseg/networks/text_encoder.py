"""A small transformer that reads word pieces: what `training/text_encoder.py` distills a pretrained encoder into.

Papers: Vaswani et al., Attention is all you need, NeurIPS 2017, arXiv 1706.03762; normalization before each layer as in
Xiong et al., ICML 2020, arXiv 2002.04745. TextBCS (arXiv 2603.11206) reads prompts with BioClinicalBERT, 108 M
parameters; that a network of 1 M learned from a larger one takes its place is ours, as are all sizes below.
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class TextEncoderConfig:
    """Constructor values of `SmallTextNetwork`."""

    vocabulary: int = 3072
    """Pieces of the tokenizer."""
    length: int = 24
    """Pieces of the longest text."""
    width: int = 128
    layers: int = 3
    heads: int = 4
    ratio: int = 4
    """Width of the feed-forward network over `width`."""
    out_width: int = 384
    """Of the vectors of the encoder that it stands for."""
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if min(self.vocabulary, self.length, self.width, self.layers, self.heads, self.ratio, self.out_width) < 1:
            raise ValueError("vocabulary, length, width, layers, heads, ratio and out_width must be positive.")
        if self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads; got {self.width} and {self.heads}.")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class _Layer(nn.Module):
    """Self-attention and a feed-forward network, each added to its input."""

    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.attention_norm = nn.LayerNorm(config.width)
        self.query_key_value = nn.Linear(config.width, 3 * config.width)
        self.attended = nn.Linear(config.width, config.width)
        self.forward_norm = nn.LayerNorm(config.width)
        self.wide = nn.Linear(config.width, config.ratio * config.width)
        self.narrow = nn.Linear(config.ratio * config.width, config.width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, pieces: Float[Tensor, "batch piece width"], padding: Bool[Tensor, "batch piece"]
    ) -> Float[Tensor, "batch piece width"]:
        mixed = self.query_key_value(self.attention_norm(pieces))
        query, key, value = mixed.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        seen = ~padding[:, None, None, :]
        heads = F.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        pieces = pieces + self.dropout(self.attended(heads.transpose(1, 2).flatten(2)))
        inner: Tensor = self.narrow(F.gelu(self.wide(self.forward_norm(pieces))))
        result: Tensor = pieces + self.dropout(inner)
        return result


class SmallTextNetwork(nn.Module):
    """Word pieces -> a vector for each; padded places get 0 and change nothing elsewhere."""

    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.piece = nn.Embedding(config.vocabulary, config.width)
        self.place = nn.Parameter(torch.empty(config.length, config.width))
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.out = nn.Linear(config.width, config.out_width)
        nn.init.normal_(self.piece.weight, std=0.1)
        nn.init.normal_(self.place, std=0.02)

    def forward(
        self, ids: Int[Tensor, "batch piece"], padding: Bool[Tensor, "batch piece"]
    ) -> Float[Tensor, "batch piece out_width"]:
        """`padding`: True where there is no piece; at least one piece of each text is one. Up to `length` pieces.

        Raises:
            ValueError: more pieces than `length`.
        """
        if ids.shape[1] > self.config.length:
            raise ValueError(f"The text has {ids.shape[1]} pieces; this network reads {self.config.length}. Cut it.")
        pieces = self.piece(ids) + self.place[: ids.shape[1]]
        for layer in self.layers:
            pieces = layer(pieces, padding)
        tokens: Tensor = self.out(self.norm(pieces))
        return tokens * ~padding[:, :, None]
