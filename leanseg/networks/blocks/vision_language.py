"""Stage-divided vision-language interaction (SVLI): the picture reads the prompt, then the prompt reads the picture.

Paper: Zhong et al., TextBCS, arXiv 2603.11206 (no code was released; written from published facts alone).

Departures and inferences (the paper says: two layers of cross-attention and FFN with residuals in each of the modules)
  * Pre-norm, an FFN of four times the width, and the width of the backbone stage are inferred; with the published
    U-Net they give the published number of parameters within 1 %.
  * The text flows down the stages: a stage projects what the stage above made of it.
  * g has one number a channel. It starts at 0, so that the network starts as its U-Net.
  * Learned positions start from sines, not from noise: that words name places is known before training.
  * Ours: tokens are standardized before the first stage; F_V can answer, in training, in which places it sees what was
    said. The gradient of a mask alone, through the decoder, hardly taught words about places.
  * A prompt of padding alone says nothing: it adds nothing, whatever its tokens are.

Symbols: V visual tokens, T text tokens, F_V text-aware visual tokens, F_L vision-aware text tokens, g gate.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

LAYERS = 2
FFN_RATIO = 4
_CHANNELS_PER_HEAD = 16
_PADDED = -1e4  # its exponential is 0 in every precision; -inf would make NaN of a prompt of padding alone


def heads_for(width: int, heads: int) -> int:
    """`heads`, or fewer where a head would have less than 16 channels; a divisor of `width`."""
    most = max(min(heads, width // _CHANNELS_PER_HEAD), 1)
    return next(n for n in range(most, 0, -1) if width % n == 0)


class CrossAttentionLayer(nn.Module):
    """q + MHCA(LN(q), LN(kv)), then + FFN(LN(.))."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads_for(width, heads)
        self.norm_query, self.norm_source, self.norm_ffn = (nn.LayerNorm(width) for _ in range(3))
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.ffn = nn.Sequential(
            nn.Linear(width, FFN_RATIO * width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(FFN_RATIO * width, width),
            nn.Dropout(dropout),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        query: Float[Tensor, "batch query width"],
        source: Float[Tensor, "batch source width"],
        padding: Bool[Tensor, "batch source"] | None = None,
    ) -> Float[Tensor, "batch query width"]:
        """`padding` is True where `source` holds nothing."""
        normed = self.norm_source(source)
        q, k, v = (
            tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for tokens in (self.query(self.norm_query(query)), self.key(normed), self.value(normed))
        )
        scores = q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])
        if padding is not None:
            scores = scores + _PADDED * padding[:, None, None, :].to(scores.dtype)
        attended = (scores.softmax(dim=3).to(v.dtype) @ v).transpose(1, 2).flatten(2)
        query = query + self.dropout(self.out(attended))
        result: Tensor = query + self.ffn(self.norm_ffn(query))
        return result


class Prompt(NamedTuple):
    """What is said about a batch of images."""

    tokens: Float[Tensor, "batch token width"]
    padding: Bool[Tensor, "batch token"]
    """True where there is no word."""

    @property
    def said(self) -> Bool[Tensor, " batch"]:
        """Whether anything is said about an image."""
        return ~self.padding.all(dim=1)

    def mean(self) -> Float[Tensor, "batch width"]:
        """Of the tokens that are no padding; 0 where nothing is said."""
        words = (~self.padding).to(self.tokens.dtype)[:, :, None]
        return (self.tokens * words).sum(dim=1) / words.sum(dim=1).clamp(min=1)


class Interaction(NamedTuple):
    """What one stage makes of features and prompt."""

    features: Float[Tensor, "batch channel height width"]
    prompt: Prompt
    """F_L, which the next stage listens to."""
    vision: Float[Tensor, "batch attention"]
    """The mean of F_V, with the length 1 / tau."""
    language: Float[Tensor, "batch attention"]
    """The mean of F_L, with the length 1."""
    places: Float[Tensor, "batch grid grid"] | None
    """Logits that what was said is there, from F_V"""


class VisionLanguageStage(nn.Module):
    """SVLI of one stage: vision query, then language query, added to the features of the stage.

    tau, which the alignment of the stage is divided by, is learned from 0.07 (inferred).
    """

    def __init__(
        self, channels: int, width: int, text_width: int, grid: int, heads: int, dropout: float, locates: bool = False
    ) -> None:
        """`channels` of the stage, `width` of the attention, `text_width` of the tokens that it is given.

        `locates`: whether it also answers where it sees what was said.
        """
        super().__init__()
        self.grid = grid
        self.see = nn.Identity() if channels == width else nn.Linear(channels, width)
        self.listen = nn.Linear(text_width, width)
        self.positions = nn.Parameter(sine_positions(grid, width))
        self.vision_query, self.language_query = (
            nn.ModuleList(CrossAttentionLayer(width, heads, dropout) for _ in range(LAYERS)) for _ in range(2)
        )
        self.tell = nn.Conv2d(width, channels, kernel_size=1)
        self.where = nn.Linear(width, 1) if locates else None
        self.gate = nn.Parameter(torch.zeros(channels))
        self.log_tau = nn.Parameter(torch.tensor(math.log(0.07)))

    def forward(self, x: Float[Tensor, "batch channel height width"], prompt: Prompt) -> Interaction:
        """`x` on any grid; it is read on `grid` x `grid` places."""
        v = self.see(F.adaptive_avg_pool2d(x, self.grid).flatten(2).transpose(1, 2)) + self.positions
        t = self.listen(prompt.tokens)
        heard = t
        for layer in self.vision_query:
            v = layer(v, heard, prompt.padding)
        for layer in self.language_query:
            t = layer(t, v)
        told = self.tell(v.transpose(1, 2).unflatten(2, (self.grid, self.grid)))
        told = F.interpolate(told, size=x.shape[2:], mode="bilinear", align_corners=False)
        gate = self.gate.view(1, -1, 1, 1) * prompt.said.to(x.dtype).view(-1, 1, 1, 1)
        answer = Prompt(t, prompt.padding)
        vision = F.normalize(v.mean(dim=1).float(), dim=1) / self.log_tau.exp().clamp(min=0.01)
        language = F.normalize(answer.mean().float(), dim=1, eps=1e-6)
        places = None if self.where is None else self.where(v)[:, :, 0].unflatten(1, (self.grid, self.grid))
        return Interaction(x + gate * told, answer, vision, language, places)


class TokenScale(nn.Module):
    """Tokens in standard deviations from their mean, each dimension by itself.

    What all tokens of an encoder have in common is most of each of them, and would drown what they say. The statistics
    are set before training; without them the tokens stay as they are.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))

    def learn(self, tokens: Float[Tensor, "token width"]) -> None:
        """Take the statistics of tokens without padding."""
        self.get_buffer("mean").copy_(tokens.mean(dim=0))
        self.get_buffer("deviation").copy_(tokens.std(dim=0).clamp(min=1e-4))

    def forward(self, tokens: Float[Tensor, "batch token width"]) -> Float[Tensor, "batch token width"]:
        result: Tensor = (tokens - self.get_buffer("mean")) / self.get_buffer("deviation")
        return result


class Dialogue:
    """The prompt on its way down the stages, and what each stage said to it."""

    def __init__(self, tokens: Tensor | None, padding: Tensor | None, scale: nn.Module) -> None:
        self.prompt: Prompt | None = None
        if tokens is not None:
            said = torch.zeros(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
            self.prompt = Prompt(scale(tokens), said if padding is None else padding)
        self.vision: list[Tensor] = []
        self.language: list[Tensor] = []
        self.places: list[Tensor] = []


def sine_positions(grid: int, width: int) -> Float[Tensor, "place width"]:
    """Sines and cosines of row and column, from half a period to `width` / 8 periods across the grid; row by row."""
    frequencies = math.pi * torch.arange(1, width // 4 + 1) / max(grid, 1)
    place = torch.arange(grid) + 0.5
    angles = place[:, None] * frequencies
    waves = torch.cat([angles.sin(), angles.cos()], dim=1)
    rows, columns = waves[:, None].expand(-1, grid, -1), waves[None].expand(grid, -1, -1)
    positions = torch.cat([rows, columns], dim=2).flatten(0, 1)
    return F.pad(positions, (0, width - positions.shape[1]))
