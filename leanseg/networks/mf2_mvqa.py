"""MF2-MVQA: answers a question about a picture; the question meets the stages of the picture's network one by one.

Paper: Song et al., MF2-MVQA: a multi-stage feature fusion method for medical visual question answering, ISBI 2023,
arXiv 2211.05991 (no code was released; written from published facts alone). What it improves on is MMBERT (Khare et
al., arXiv 2104.01394), here `fusion="joint"`: all stages at once, at the positions after [CLS].

Departures and inferences
  * The paper says that stages are fused level by level with the text. That a block sees the text stream and one stage,
    shallow to deep, and passes on the text stream alone, is inferred; so are layers, pooling and classifier.
  * The paper's backbone is a ResNet-152. Here it is a small U-Net encoder, by default; any module that returns five
    feature maps, shallow to deep, may be passed in with its channels as `stage_widths`: (64, 256, 512, 1024, 2048)
    for a ResNet-152 at strides 2 ... 32. All stages come from one pass; MMBERT's code runs its backbone five times.
  * The average over places comes before the 1x1 convolution, which is linear: the same numbers for less.
  * Ours: visual tokens are normalized, since the stages of a trained network differ in scale; types that are nearly as
    probable as the first also admit their answers (`type_margin`; 1: the first type alone).
  * `fusion="none"` sees no picture: how far the question alone leads.

Symbols: E_s feature map of stage s, V_s its tokens, H_s text stream after stage s (H[:, 0] is [CLS]).
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from leanseg.networks.attention_unet import double_conv

FUSIONS = ("stagewise", "joint", "last", "none")
STAGES = 5
_NEVER = -1e4  # its exponential is 0 in every precision


@dataclass(frozen=True)
class MF2MVQAConfig:
    """Constructor values of `MF2MVQA`; of text and fusion the defaults are the paper's."""

    stage_widths: tuple[int, ...] = (16, 32, 64, 128, 256)
    """Channels of E_1 ... E_5."""
    in_channels: int = 1
    vocabulary: int = 30_522
    """Word pieces; those of BERT."""
    length: int = 28
    """Pieces of the longest question, with [CLS] and [SEP]."""
    answers: int = 557
    types: int = 12
    """Of questions."""
    width: int = 768
    heads: int = 12
    ratio: int = 4
    """Width of the feed-forward network over `width`."""
    layers: tuple[int, ...] = (1, 1, 1, 1, 2)
    """n_s: layers that see stage s."""
    grid: int = 4
    """A stage is `grid` x `grid` tokens; 1 is what MMBERT sees."""
    fusion: str = "stagewise"
    dropout: float = 0.1
    type_margin: float = 0.25

    def __post_init__(self) -> None:
        if self.fusion not in FUSIONS:
            raise ValueError(f"fusion must be one of {', '.join(FUSIONS)}; got {self.fusion!r}.")
        if len(self.stage_widths) != STAGES or len(self.layers) != STAGES:
            raise ValueError(f"{STAGES} stage_widths and layers are needed; got {self.stage_widths}, {self.layers}.")
        sizes = (*self.stage_widths, *self.layers, self.vocabulary, self.length, self.answers, self.types, self.grid)
        if min(*sizes, self.width, self.heads, self.ratio, self.in_channels) < 1 or self.width % self.heads:
            raise ValueError("all sizes must be positive, and width a multiple of heads.")
        if not 0 < self.type_margin <= 1 or not 0 <= self.dropout < 1:
            raise ValueError("type_margin lies above 0 and up to 1, dropout from 0 to below 1.")

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"stage_widths": list(self.stage_widths), "layers": list(self.layers)}


class SmallBackbone(nn.Module):
    """The encoder of an `attention_unet` of the same widths, whose weights fit: strides 1, 2, 4, 8, 16."""

    def __init__(self, in_channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(
            double_conv(i, o) for i, o in zip((in_channels, *widths[:-1]), widths, strict=True)
        )

    def forward(self, image: Float[Tensor, "batch channel height width"]) -> list[Tensor]:
        maps: list[Tensor] = []
        for stage in self.encoder:
            maps.append(stage(F.max_pool2d(maps[-1], 2) if maps else image))
        return maps


class FusionBlock(nn.Module):
    """Pre-norm self-attention and feed-forward network, each added to its input."""

    def __init__(self, config: MF2MVQAConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.norm_attention, self.norm_ffn = nn.LayerNorm(config.width), nn.LayerNorm(config.width)
        self.query_key_value = nn.Linear(config.width, 3 * config.width)
        self.attended = nn.Linear(config.width, config.width)
        self.ffn = nn.Sequential(
            nn.Linear(config.width, config.ratio * config.width),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.ratio * config.width, config.width),
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, z: Float[Tensor, "batch token width"], padding: Bool[Tensor, "batch token"]
    ) -> tuple[Float[Tensor, "batch token width"], Float[Tensor, "batch token"]]:
        """The tokens, and how much of its attention the first one gave to each: the mean over the heads, to look at."""
        mixed = self.query_key_value(self.norm_attention(z)).unflatten(-1, (3, self.heads, -1))
        query, key, value = mixed.permute(2, 0, 3, 1, 4).unbind(0)
        scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[-1])
        weights = (scores + _NEVER * padding[:, None, None, :].to(scores.dtype)).softmax(dim=3).to(value.dtype)
        z = z + self.dropout(self.attended((weights @ value).transpose(1, 2).flatten(2)))
        result: Tensor = z + self.dropout(self.ffn(self.norm_ffn(z)))
        return result, weights[:, :, 0].mean(dim=1)


class AnswerOutput(NamedTuple):
    """What is said to each question."""

    logits: Float[Tensor, "question answer"]
    """Over all answers, whatever the question"""
    types: Float[Tensor, "question type"]
    """Logits of the type of the question"""
    attention: Float[Tensor, "question stage place"]
    """Of [CLS] on the places of each stage, as fractions; 0 for a stage that it does not see"""


class MF2MVQA(nn.Module):
    """A picture and a question -> an answer of a closed vocabulary."""

    def __init__(self, config: MF2MVQAConfig, backbone: nn.Module | None = None) -> None:
        """`backbone`: image -> five maps of `stage_widths` channels; None: `SmallBackbone`."""
        super().__init__()
        self.config = config
        self.backbone = SmallBackbone(config.in_channels, config.stage_widths) if backbone is None else backbone
        self.see = nn.ModuleList(nn.Linear(channels, config.width) for channels in config.stage_widths)
        self.norm_visual = nn.ModuleList(nn.LayerNorm(config.width) for _ in range(STAGES))
        self.stage = nn.Parameter(0.02 * torch.randn(STAGES, config.width))
        self.place = nn.Parameter(0.02 * torch.randn(config.grid**2, config.width))
        self.piece = nn.Embedding(config.vocabulary, config.width)
        nn.init.normal_(self.piece.weight, std=0.1)
        self.position = nn.Parameter(0.02 * torch.randn(config.length, config.width))
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(nn.ModuleList(FusionBlock(config) for _ in range(n)) for n in config.layers)
        self.hidden = nn.Linear(config.width, config.width)
        self.norm = nn.LayerNorm(config.width)
        self.answer = nn.Linear(config.width, config.answers)
        self.kind = nn.Linear(config.width, config.types)
        self.register_buffer("admissible", torch.ones(config.types, config.answers))

    def forward(
        self,
        image: Float[Tensor, "image channel row column"],
        ids: Int[Tensor, "question piece"],
        padding: Bool[Tensor, "question piece"],
        owners: Int[Tensor, " question"] | None = None,
    ) -> AnswerOutput:
        """`padding`: True where there is no piece. `owners`: the image of each question; None: one for each image.

        Raises:
            ValueError: a question of more pieces than `config.length`.
        """
        visual = self.look(image)
        return self.reply(visual if owners is None else visual[owners], ids, padding)

    def look(self, image: Float[Tensor, "image channel row column"]) -> Float[Tensor, "image stage place width"]:
        """V_1 ... V_5, which do not depend on the question."""
        if self.config.fusion == "none":
            return image.new_zeros(len(image), STAGES, self.config.grid**2, self.config.width)
        maps = self.backbone(image)
        stages = []
        for n, features in enumerate(maps):
            pooled = F.adaptive_avg_pool2d(features, self.config.grid).flatten(2).transpose(1, 2)
            stages.append(self.norm_visual[n](self.see[n](pooled)) + self.stage[n] + self.place)
        return torch.stack(stages, dim=1)

    def streams(
        self,
        visual: Float[Tensor, "question stage place width"],
        ids: Int[Tensor, "question piece"],
        padding: Bool[Tensor, "question piece"],
    ) -> tuple[list[Tensor], list[Tensor]]:
        """H_1 ... H_5, and the attention of [CLS] on the visual tokens that were there, (question, token) each."""
        pieces = ids.shape[1]
        if pieces > self.config.length:
            raise ValueError(f"The question has {pieces} pieces; this network reads {self.config.length}. Cut it.")
        words = self.dropout(self.piece(ids) + self.position[:pieces])
        text, attention = [], []
        constant = {"joint": visual.flatten(1, 2), "last": visual[:, -1]}.get(self.config.fusion, visual[:, 0, :0])
        z = torch.cat([words[:, :1], constant.to(words.dtype), words[:, 1:]], dim=1)
        seen = constant.shape[1]
        for n, group in enumerate(self.blocks):
            assert isinstance(group, nn.ModuleList)
            added = visual[:, n] if self.config.fusion == "stagewise" else visual[:, n, :0]
            z = torch.cat([z, added.to(z.dtype)], dim=1)
            nothing = torch.zeros(len(ids), seen, dtype=torch.bool, device=ids.device)
            after = torch.zeros(len(ids), added.shape[1], dtype=torch.bool, device=ids.device)
            hidden = torch.cat([padding[:, :1], nothing, padding[:, 1:], after], dim=1)
            for block in group:
                z, weights = block(z, hidden)
            attention.append(torch.cat([weights[:, 1 : 1 + seen], weights[:, pieces + seen :]], dim=1))
            z = z[:, : pieces + seen]
            text.append(torch.cat([z[:, :1], z[:, 1 + seen :]], dim=1))
        return text, attention

    def reply(
        self,
        visual: Float[Tensor, "question stage place width"],
        ids: Int[Tensor, "question piece"],
        padding: Bool[Tensor, "question piece"],
    ) -> AnswerOutput:
        """The answer of each question to what was seen."""
        text, attention = self.streams(visual, ids, padding)
        said = torch.stack([stream[:, 0] for stream in text]).mean(dim=0)
        logits = self.answer(self.norm(self.hidden(said)))
        return AnswerOutput(logits, self.kind(said), self._by_stage(attention))

    def _by_stage(self, attention: list[Tensor]) -> Float[Tensor, "question stage place"]:
        """Fractions of each stage that is seen; the mean over the layers where all are seen together."""
        places = self.config.grid**2
        together = torch.stack(attention).float().mean(dim=0) if self.config.fusion != "stagewise" else None
        nothing = attention[0].new_zeros(len(attention[0]), places, dtype=torch.float32)
        if self.config.fusion == "stagewise":
            stages = torch.stack([one.float() for one in attention], dim=1)
        elif self.config.fusion == "joint":
            assert together is not None
            stages = together.unflatten(1, (STAGES, places))
        else:
            last = together if self.config.fusion == "last" and together is not None else nothing
            stages = torch.stack([*[nothing] * (STAGES - 1), last], dim=1)
        return stages / stages.sum(dim=2, keepdim=True).clamp(min=1e-6)

    def probabilities(self, output: AnswerOutput, temperature: float = 1.0) -> Float[Tensor, "question answer"]:
        """Softmax over the answers that the probable types admit; all others have probability 0."""
        types = output.types.float().softmax(dim=1)
        likely = (types >= self.config.type_margin * types.amax(dim=1, keepdim=True)).float()
        admitted = likely @ self.get_buffer("admissible") > 0
        return masked(output.logits.float() / temperature, admitted).softmax(dim=1)


def masked(
    logits: Float[Tensor, "question answer"], admitted: Bool[Tensor, "question answer"]
) -> Float[Tensor, "question answer"]:
    """Logits that become probability 0 where an answer is not admitted."""
    return torch.where(admitted, logits, torch.full_like(logits, _NEVER))
