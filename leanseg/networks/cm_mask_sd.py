"""CM-MaskSD: outlines what a sentence refers to, one object of several; learns it from hidden patches and words too.

Paper: Wang et al., CM-MaskSD: cross-modality masked self-distillation for referring image segmentation, IEEE TMM 2024,
arXiv 2305.11481. The official repository (Rubics-Xuan/CM-MaskSD) holds a license and no code; this file was written
from published facts alone.

Departures and inferences
  * The paper: a CLIP dual encoder, a main branch, and two masked branches that share all weights with it: LMVSD hides
    patches by their correlation with the sentence, VMLSD words by theirs with the picture. All else is inferred: the
    decoder, neck and kernel projector are those that CRIS (Wang et al., CVPR 2022, arXiv 2111.15174) is known for;
    ratios, selection, and that the coordinating layers are one LN and Linear for each modality, in every branch.
  * Tokens are hidden after the encoders, so that each picture and sentence is encoded once. f_s, from which the kernel
    comes, is that of the whole sentence.
  * Group norm in the neck: running statistics of batch norm would mix pictures with and without hidden patches.
  * GELU in the decoder. The kernel is divided by the root of its size, so that logits start near 0.
  * `finds_objects`, ours: a 1x1 convolution says where anything is that a sentence could mean, and the kernel only
    which of it. Shapes are then learned from every object of a picture, and from every sentence about it.
  * Groups have eight channels at least, and a picture is encoded once for all sentences about it, both ours.
  * Ours: the encoder that is built where none is passed in (the paper's is CLIP ViT-B/16 at 480 x 480); and the null
    token, whose logit says whether there is what was asked for (after RefSegformer by Wu et al.).

Symbols: f_v, f_t patches and words; g_v, f_s picture and sentence; z, z_v, z_t logits of the three branches.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from leanseg.networks.blocks.correlation_masks import SELECTIONS, correlation, hidden_tokens
from leanseg.networks.blocks.dual_encoders import CLIPDualEncoder, DualEncoding, SmallDualEncoder, words_of
from leanseg.networks.blocks.residual_unet import check_grid
from leanseg.networks.blocks.vision_language import CrossAttentionLayer, heads_for, sine_positions
from leanseg.networks.text_encoder import TextEncoderConfig

_TAPS = 3
_GROUPS = 32
_CHANNELS_PER_GROUP = 8  # at least: groups of one channel would lose how much there is of it


@dataclass(frozen=True)
class CMMaskSDConfig:
    """Constructor values of `CMMaskSD`; of decoder, neck and masks the defaults are the paper's, as inferred."""

    width: int = 512
    """Of patches and words in the decoder."""
    layers: int = 3
    heads: int = 8
    """At most; a head has at least 16 channels."""
    dropout: float = 0.1
    neck_width: int = 256
    """Channels that the kernel is applied to."""
    patch_ratio: float = 0.5
    word_ratio: float = 0.25
    selection: str = "high"
    """Hidden are mostly those that correlate: "high" most, "low" least; "random"."""
    spread: float = 0.1
    """Of the draw: the smaller, the more does the correlation decide."""
    masked: bool = True
    """Whether training has the masked branches."""
    finds_objects: bool = False
    """Whether a second map says where anything is that a sentence could mean, and the kernel only chooses; ours."""
    in_channels: int = 1
    encoder_widths: tuple[int, ...] = (16, 32, 64, 128, 256)
    """This and the next of the small dual encoder, where no other is passed in."""
    vocabulary: int = 3072
    length: int = 24
    """Pieces of the longest sentence, with beginning and end; CRIS reads 17, or 22 for G-Ref."""
    text_width: int = 128
    text_layers: int = 3

    def __post_init__(self) -> None:
        if self.selection not in SELECTIONS:
            raise ValueError(f"selection must be one of {', '.join(SELECTIONS)}; got {self.selection!r}.")
        sizes = (self.width, self.layers, self.heads, self.neck_width, self.in_channels, self.vocabulary)
        if min(*sizes, self.length, self.text_width, self.text_layers, *self.encoder_widths, 1) < 1:
            raise ValueError(f"all sizes must be positive; got {self}.")
        if not (0 <= self.patch_ratio <= 1 and 0 <= self.word_ratio <= 1 and 0 <= self.dropout < 1):
            raise ValueError("patch_ratio and word_ratio lie from 0 to 1, dropout from 0 to below 1.")
        if self.spread <= 0 or not self.encoder_widths:
            raise ValueError("spread must be positive, and encoder_widths needs at least one level.")

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"encoder_widths": list(self.encoder_widths)}


class CMMaskSDOutput(NamedTuple):
    """What training looks at; use needs the logits and the existence."""

    logits: Tensor
    """z, (batch, 1, height, width)"""
    existence: Tensor
    """(batch,) logit that there is what was asked for"""
    correlation: Tensor
    """(batch, row, column), float32: cosine of each patch with the sentence"""
    masked: tuple[Tensor, ...]
    """z_v and z_t in training, else nothing"""
    objects: Tensor | None = None
    """(batch, 1, height, width) logits of all objects, if `finds_objects`"""

    def probabilities(self) -> Float[Tensor, "batch 1 height width"]:
        """sigmoid(z) * sigmoid(existence): empty where there is no such object."""
        return self.logits.float().sigmoid() * self.existence.float().sigmoid()[:, None, None, None]


class Branch(NamedTuple):
    """What one branch says on the grid of the picture."""

    logits: Tensor
    """(batch, 1, height, width)"""
    existence: Tensor
    """(batch,)"""
    objects: Tensor | None
    """(batch, 1, height, width)"""


def both(one: Tensor, other: Tensor) -> Tensor:
    """The logit of the product of two probabilities that are given as logits."""
    return -torch.stack([-one, -other, -one - other]).logsumexp(dim=0)


class DecoderLayer(nn.Module):
    """Patches look at each other, then at the words; then a feed-forward network. Pre-norm, each added to its input."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads_for(width, heads)
        self.norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attended = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        self.words = CrossAttentionLayer(width, heads, dropout)

    def forward(
        self,
        patches: Float[Tensor, "batch patch width"],
        words: Float[Tensor, "batch piece width"],
        padding: Bool[Tensor, "batch piece"],
    ) -> Float[Tensor, "batch patch width"]:
        mixed = self.query_key_value(self.norm(patches)).unflatten(2, (3, self.heads, -1))
        query, key, value = mixed.permute(2, 0, 3, 1, 4).unbind(0)
        # In steps: of so few patches the fused kernel's gradient takes several times as long on a CPU.
        scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[-1])
        seen = (scores.softmax(dim=3).to(value.dtype) @ value).transpose(1, 2).flatten(2)
        result: Tensor = self.words(patches + self.dropout(self.attended(seen)), words, padding)
        return result


def _convolution(in_channels: int, out_channels: int) -> nn.Sequential:
    """3x3 convolution, group norm, ReLU."""
    groups = math.gcd(min(_GROUPS, max(out_channels // _CHANNELS_PER_GROUP, 1)), out_channels)
    norm = nn.GroupNorm(groups, out_channels)
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False), norm, nn.ReLU(True))


class KernelHead(nn.Module):
    """A 3x3 kernel and a bias for each sentence, applied to the features of its picture."""

    def __init__(self, joint: int, channels: int) -> None:
        super().__init__()
        self.project = nn.Linear(joint, channels * _TAPS**2 + 1)

    def forward(
        self, features: Float[Tensor, "batch channel height width"], sentence: Float[Tensor, "batch joint"]
    ) -> Float[Tensor, "batch 1 height width"]:
        """First what each of the nine taps says of each place, by one product, then their sum: no dynamic convolution,
        which runtimes of exported graphs lack."""
        height, width = features.shape[2:]
        projected = self.project(sentence)
        kernel = projected[:, 1:].unflatten(1, (_TAPS**2, -1)) / math.sqrt(projected.shape[1] - 1)
        taps = F.pad((kernel @ features.flatten(2)).unflatten(2, (height, width)), (1, 1, 1, 1))
        total: Tensor = projected[:, :1, None]
        for tap in range(_TAPS**2):
            j, i = divmod(tap, _TAPS)
            total = total + taps[:, tap, j : j + height, i : i + width]
        return total[:, None]


class CMMaskSD(nn.Module):
    """A picture and a sentence -> the one object that it refers to, or that there is none."""

    def __init__(self, config: CMMaskSDConfig, encoder: nn.Module | None = None) -> None:
        """`encoder`: one of `blocks/dual_encoders.py`; None: the small one."""
        super().__init__()
        self.config = config
        if encoder is None:
            text = TextEncoderConfig(
                config.vocabulary,
                config.length,
                config.text_width,
                config.text_layers,
                heads=heads_for(config.text_width, config.heads),
                out_width=config.width,
            )
            encoder = SmallDualEncoder(config.in_channels, config.encoder_widths, text)
        self.encoder = cast(SmallDualEncoder | CLIPDualEncoder, encoder)
        joint, width = self.encoder.width, config.width
        self.coordinate_vision, self.coordinate_words = (
            nn.Sequential(nn.LayerNorm(joint), nn.Linear(joint, width)) for _ in range(2)
        )
        self.null = nn.Parameter(0.02 * torch.randn(width))
        if config.masked:
            self.mask_patch, self.mask_word = (nn.Parameter(0.02 * torch.randn(width)) for _ in range(2))
        self.decoder = nn.ModuleList(DecoderLayer(width, config.heads, config.dropout) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width)
        self.neck = nn.Sequential(
            nn.Upsample(scale_factor=2, mode="bilinear"),
            _convolution(width, width),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            _convolution(width, config.neck_width),
            nn.Conv2d(config.neck_width, config.neck_width, kernel_size=1),
        )
        self.kernel = KernelHead(joint, config.neck_width)
        self.exists = nn.Linear(width, 1)
        if config.finds_objects:
            self.objects = nn.Conv2d(config.neck_width, 1, kernel_size=1)

    def forward(
        self,
        image: Float[Tensor, "picture channel height width"],
        ids: Int[Tensor, "batch piece"],
        padding: Bool[Tensor, "batch piece"],
        generator: torch.Generator | None = None,
        owners: Int[Tensor, " batch"] | None = None,
        hides: bool = True,
    ) -> CMMaskSDOutput:
        """For each picture its sentence; the masked branches run in train mode alone.

        Args:
            padding: True where there is no piece; every sentence has a first and a last piece.
            generator: draws what is hidden.
            owners: of each sentence its picture, where they are not one to one; each picture is then encoded once.
            hides: False leaves the masked branches out in training too.

        Raises:
            ValueError: a grid that does not fit, or masked branches without a generator.
        """
        check_grid("CMMaskSD", image, self.encoder.stride)
        seen: DualEncoding = self.encoder(image, ids, padding, owners)
        agreement = correlation(seen.patches.flatten(1, 2), seen.sentence).unflatten(1, seen.patches.shape[1:3])
        size = list(image.shape[2:])
        patches, words = self.coordinate_vision(seen.patches), self.coordinate_words(seen.words)
        main = self._branch(patches, words, padding, seen.sentence, size)
        masked: tuple[Tensor, ...] = ()
        if self.training and self.config.masked and hides:
            if generator is None:
                raise ValueError("the masked branches draw what they hide. Give a generator, or use masked=False.")
            hidden_patches, hidden_words = self.hidden(seen, padding, generator)
            fewer_patches = torch.where(hidden_patches[..., None], self.mask_patch.to(patches.dtype), patches)
            fewer_words = torch.where(hidden_words[..., None], self.mask_word.to(words.dtype), words)
            told = (padding, seen.sentence, size)
            masked = (
                self._branch(fewer_patches, words, *told).logits,
                self._branch(patches, fewer_words, *told).logits,
            )
        return CMMaskSDOutput(main.logits, main.existence, agreement, masked, main.objects)

    def answer(self, seen: DualEncoding, padding: Bool[Tensor, "batch piece"], size: list[int]) -> Branch:
        """The main branch on a grid of this size: all that use needs."""
        patches, words = self.coordinate_vision(seen.patches), self.coordinate_words(seen.words)
        return self._branch(patches, words, padding, seen.sentence, size)

    def hidden(
        self, seen: DualEncoding, padding: Bool[Tensor, "batch piece"], generator: torch.Generator
    ) -> tuple[Bool[Tensor, "batch row column"], Bool[Tensor, "batch piece"]]:
        """Patches that LMVSD hides, and words that VMLSD hides."""
        config, grid = self.config, seen.patches.shape[1:3]
        agreement = correlation(seen.patches.flatten(1, 2), seen.sentence)
        how = (config.selection, generator, config.spread)
        patches = hidden_tokens(agreement, torch.ones_like(agreement) > 0, config.patch_ratio, *how)
        agreement = correlation(seen.words, seen.picture)
        return patches.unflatten(1, grid), hidden_tokens(agreement, words_of(padding), config.word_ratio, *how)

    def _branch(
        self,
        patches: Float[Tensor, "batch row column width"],
        words: Float[Tensor, "batch piece width"],
        padding: Bool[Tensor, "batch piece"],
        sentence: Float[Tensor, "batch joint"],
        size: list[int],
    ) -> Branch:
        """One branch on a grid of this size."""
        number, rows, columns, width = patches.shape
        side = max(rows, columns)
        positions = sine_positions(side, width).unflatten(0, (side, side))[:rows, :columns]
        placed = (patches + positions.to(patches)).flatten(1, 2)
        x = torch.cat([self.null.to(placed.dtype).expand(number, 1, -1), placed], dim=1)
        for layer in self.decoder:
            x = layer(x, words, padding)
        x = self.norm(x)
        features = self.neck(x[:, 1:].transpose(1, 2).unflatten(2, (rows, columns)))
        logits, objects = self.kernel(features, sentence), None
        if self.config.finds_objects:
            found = self.objects(features)
            logits, objects = both(logits, found), self._spread(found, size)
        return Branch(self._spread(logits, size), self.exists(x[:, 0])[:, 0], objects)

    @staticmethod
    def _spread(logits: Tensor, size: list[int]) -> Tensor:
        return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
