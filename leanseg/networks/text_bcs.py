"""TextBCS: a U-Net that is told what to look for, and says where it is unsure.

Paper: Zhong, Pan, Zhou, Lin, Zhuang, TextBCS, arXiv 2603.11206 (breast DCE-MRI). No code was released; this file was
written from published facts alone.

Departures and inferences
  * The U-Net is inferred from its published size: 14.75 M parameters (published 14.8 M). With the four stages of
    `blocks/vision_language.py` it has 32.28 M (published 32.5 M, which may count otherwise).
  * In the paper's form (`feeds="encoder"`) what a stage makes of features and prompt goes into skip connection and next
    level, so the whole encoder depends on the prompt. With `feeds="skips"` it goes into skip connection and bottleneck
    alone: the features of an image are computed once, and a new prompt costs the decoder. This is not in the paper.
  * The decoder up-samples by 2x2 transposed convolution (inferred), with `feeds="skips"` by nearest neighbor and 3x3
    convolution, which quantizes well; and there the gates of the stages start open, which learns places sooner.
  * Hints (clicks, a box, an earlier mask), the existence output, and that stages answer where they see what they were
    told of (`locates`), are not in the paper.

Classes: 0 background, 1 tumor. Logits become evidence in `losses/evidential.py`.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from leanseg.networks.blocks.hints import HintStage
from leanseg.networks.blocks.vision_language import Dialogue, TokenScale, VisionLanguageStage

LABELS = 2
FEEDS = ("encoder", "skips")
_EXISTENCE_CHANNELS = 64
_FOUND_PX = 4  # a tumor is at least about as large: a single bright pixel is none
_OPEN = 0.5


@dataclass(frozen=True)
class TextBCSConfig:
    """Constructor values of `TextBCS`; the defaults are the paper's."""

    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    """Channels of each level, finest first."""
    stem_convs: int = 1
    """Convolutions of the finest level; every other has two."""
    in_channels: int = 3
    stages: tuple[int, ...] = (0, 1, 2, 3)
    """Levels that hear the prompt, ascending."""
    attention_widths: tuple[int, ...] | None = None
    """None: the width of the level of each stage."""
    text_width: int = 768
    text_length: int = 24
    """Tokens of a prompt in the exported graphs; the network takes any number."""
    grid: int = 14
    """Places along each side of the picture that the prompt is compared with."""
    heads: int = 8
    """At most; a head has at least 16 channels."""
    dropout: float = 0.1
    """In the stages that hear the prompt."""
    feeds: str = "encoder"
    """What hears a stage: "encoder", the skip connection and the next level; "skips", skip connection or bottleneck."""
    hints: int = 0
    """Channels of hints on the grid of the image; 0: none."""
    text: bool = True
    """False: the plain U-Net."""
    evidential: bool = True
    """Whether logits mean evidence; False: softmax. The network is the same."""
    existence: bool = False
    """Whether it also says if there is what was asked for."""
    locates: bool = False
    """Whether each stage also says where on its grid that is; it is trained with it, and the mask needs it not."""

    def __post_init__(self) -> None:
        if len(self.widths) < 2 or min(self.widths) < 2:
            raise ValueError(f"widths needs at least two levels of at least two channels; got {self.widths}.")
        if self.feeds not in FEEDS:
            raise ValueError(f"feeds must be one of {', '.join(FEEDS)}; got {self.feeds!r}.")
        if self.text and (
            not self.stages
            or list(self.stages) != sorted(set(self.stages))
            or not set(self.stages) <= set(range(len(self.widths)))
        ):
            raise ValueError(
                f"stages must be some of the levels 0 to {len(self.widths) - 1}, ascending; got {self.stages}."
            )
        if self.attention_widths is not None and len(self.attention_widths) != len(self.stages):
            raise ValueError(
                f"attention_widths needs one width a stage; got {self.attention_widths} for {self.stages}."
            )
        counts = (self.stem_convs, self.in_channels, self.text_width, self.text_length, self.grid, self.heads)
        if min(counts) < 1 or self.hints < 0 or not 0 <= self.dropout < 1:
            raise ValueError(f"sizes must be positive, hints 0 or more, and dropout below 1; got {self}.")

    @property
    def stride(self) -> int:
        """Height and width of the input must be multiples of this many pixels."""
        return int(2 ** (len(self.widths) - 1))

    @property
    def stage_widths(self) -> tuple[int, ...]:
        """Width of the attention of each stage."""
        return self.attention_widths or tuple(self.widths[level] for level in self.stages)

    def to_json(self) -> dict[str, Any]:
        lists = {"widths": list(self.widths), "stages": list(self.stages)}
        attention = None if self.attention_widths is None else list(self.attention_widths)
        return asdict(self) | lists | {"attention_widths": attention}


class TextBCSOutput(NamedTuple):
    """What training looks at; use needs the logits and the existence."""

    logits: Tensor
    """(batch, 2, height, width): of background and tumor."""
    vision: list[Tensor]
    """Of each stage (batch, stage width), float32: mean visual token, scaled to the length 1 / tau of the stage."""
    language: list[Tensor]
    """Of each stage (batch, stage width), float32: mean text token, of length 1; 0 where nothing is said."""
    places: list[Tensor]
    """Of each stage (batch, grid, grid): logits that what was asked for is there; empty without that output."""
    existence: Tensor | None
    """(batch,) logit that there is what was asked for; None without that output."""


def convolutions(in_channels: int, out_channels: int, number: int = 2) -> nn.Sequential:
    """So many times: 3x3 convolution, batch norm, ReLU; the grid is kept."""
    ins = (in_channels, *(out_channels,) * (number - 1))
    return nn.Sequential(
        *(
            nn.Sequential(
                nn.Conv2d(i, out_channels, kernel_size=3, padding=1), nn.BatchNorm2d(out_channels), nn.ReLU(True)
            )
            for i in ins
        )
    )


class DecoderStage(nn.Module):
    """Up-sample, concatenate with the skip connection, convolve twice."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int, transposed: bool) -> None:
        super().__init__()
        self.up: nn.Module
        if transposed:
            self.up = nn.ConvTranspose2d(in_channels, skip_channels, kernel_size=2, stride=2)
        else:
            self.up = nn.Sequential(
                nn.Upsample(scale_factor=2, mode="nearest"), convolutions(in_channels, skip_channels, 1)
            )
        self.convs = convolutions(2 * skip_channels, out_channels)

    def forward(
        self, x: Float[Tensor, "batch deep h w"], skip: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch out height width"]:
        result: Tensor = self.convs(torch.cat([skip, self.up(x)], dim=1))
        return result


class TextBCS(nn.Module):
    """U-Net with vision-language stages, evidence for two classes, hints, and whether there is anything."""

    def __init__(self, config: TextBCSConfig) -> None:
        super().__init__()
        self.config = config
        widths, light = config.widths, config.feeds == "skips"
        numbers = (config.stem_convs, *(2,) * (len(widths) - 1))
        ins: Sequence[int] = (config.in_channels, *widths[:-1])
        self.encoder = nn.ModuleList(convolutions(i, o, n) for i, o, n in zip(ins, widths, numbers, strict=True))
        self.pool = nn.MaxPool2d(2)
        self.interactions = nn.ModuleDict()
        self.token_scale: nn.Module = nn.Identity()
        if config.text:
            self.token_scale = TokenScale(config.text_width)
            text_widths = (config.text_width, *config.stage_widths[:-1])
            self.interactions = nn.ModuleDict(
                {
                    str(level): VisionLanguageStage(
                        widths[level], width, before, config.grid, config.heads, config.dropout, config.locates
                    )
                    for level, width, before in zip(config.stages, config.stage_widths, text_widths, strict=True)
                }
            )
        for stage in self.interactions.values() if light else ():
            assert isinstance(stage, VisionLanguageStage)
            nn.init.constant_(stage.gate, _OPEN)
        self.hints = nn.ModuleList(HintStage(config.hints, w, 2**n) for n, w in enumerate(widths) if config.hints)
        outs = (*widths[-3::-1], widths[0])  # of each level what the next finer one takes, as the published size needs
        deep = (widths[-1], *outs[:-1])
        self.decoder = nn.ModuleList(
            DecoderStage(d, s, o, not light) for d, s, o in zip(deep, widths[-2::-1], outs, strict=True)
        )
        self.head = nn.Conv2d(widths[0], LABELS, kernel_size=1)
        self.exists: nn.Module | None = None
        if config.existence:
            seen = 2 * (widths[-1] + widths[0]) + (config.stage_widths[-1] if config.text else 0)
            self.exists = nn.Sequential(
                nn.Linear(seen, _EXISTENCE_CHANNELS), nn.ReLU(), nn.Linear(_EXISTENCE_CHANNELS, 1)
            )

    def forward(
        self,
        image: Float[Tensor, "batch channel height width"],
        tokens: Float[Tensor, "batch token text"] | None = None,
        padding: Bool[Tensor, "batch token"] | None = None,
        hints: Float[Tensor, "batch hint height width"] | None = None,
    ) -> TextBCSOutput:
        """Everything for a batch of images, each with its prompt and hints.

        Args:
            tokens: of the text encoder; None: nothing is said about any image.
            padding: True where there is no word, None: nowhere; an image with nothing else has no prompt.
            hints: all 0, or None: no hints.

        Raises:
            ValueError: height or width is not a multiple of `config.stride`.
        """
        if self.config.feeds == "skips":
            return self.decode(self.encode(image), tokens, padding, hints)
        dialogue = Dialogue(tokens, padding, self.token_scale)
        features = self._descend(image, dialogue)
        return self._ascend(features, dialogue, hints)

    def encode(self, image: Float[Tensor, "batch channel height width"]) -> list[Tensor]:
        """Features of each level, finest first, which no prompt changes; raises ValueError without `feeds="skips"`."""
        if self.config.feeds != "skips":
            raise ValueError('the encoder depends on the prompt. Call forward, or use feeds="skips".')
        return self._descend(image, None)

    def decode(
        self,
        features: Sequence[Tensor],
        tokens: Float[Tensor, "batch token text"] | None = None,
        padding: Bool[Tensor, "batch token"] | None = None,
        hints: Float[Tensor, "batch hint height width"] | None = None,
    ) -> TextBCSOutput:
        """What `forward` gives, from the features that `encode` gave."""
        dialogue = Dialogue(tokens, padding, self.token_scale)
        told = [self._discuss(level, x, dialogue) for level, x in enumerate(features)]
        return self._ascend(told, dialogue, hints)

    def _descend(self, image: Tensor, dialogue: Dialogue | None) -> list[Tensor]:
        stride, (height, width) = self.config.stride, image.shape[2:]
        if height % stride or width % stride:
            raise ValueError(
                f"TextBCS needs height and width in multiples of {stride}; got {(int(height), int(width))}. "
                f"Pad the image to {-(-height // stride) * stride} x {-(-width // stride) * stride}."
            )
        features, x = [], image
        for level, stage in enumerate(self.encoder):
            x = stage(self.pool(x) if level else x)
            if dialogue is not None:
                x = self._discuss(level, x, dialogue)
            features.append(x)
        return features

    def _discuss(self, level: int, x: Tensor, dialogue: Dialogue) -> Tensor:
        """The features of a level after its stage, if it has one and there is a prompt."""
        if dialogue.prompt is None or str(level) not in self.interactions:
            return x
        result = self.interactions[str(level)](x, dialogue.prompt)
        dialogue.prompt = result.prompt
        dialogue.vision.append(result.vision)
        dialogue.language.append(result.language)
        dialogue.places += [] if result.places is None else [result.places]
        features: Tensor = result.features
        return features

    def _ascend(self, features: list[Tensor], dialogue: Dialogue, hints: Tensor | None) -> TextBCSOutput:
        if hints is not None:
            features = [stage(x, hints) for stage, x in zip(self.hints, features, strict=True)]
        bottleneck = x = features[-1]
        for stage, skip in zip(self.decoder, features[-2::-1], strict=True):
            x = stage(x, skip)
        exists = self._existence(bottleneck, x, dialogue)
        return TextBCSOutput(self.head(x), dialogue.vision, dialogue.language, dialogue.places, exists)

    def _existence(self, bottleneck: Tensor, finest: Tensor, dialogue: Dialogue) -> Tensor | None:
        """From what was told, the bottleneck, and what the decoder found: the bottleneck alone cannot tell places."""
        if self.exists is None:
            return None
        found = F.avg_pool2d(finest, _FOUND_PX)
        seen = [pooled for x in (bottleneck, found) for pooled in (x.mean(dim=(2, 3)), x.amax(dim=(2, 3)))]
        if self.config.text:
            silence = bottleneck.new_zeros(bottleneck.shape[0], self.config.stage_widths[-1])
            seen.append(dialogue.language[-1].to(bottleneck.dtype) if dialogue.language else silence)
        logit: Tensor = self.exists(torch.cat(seen, dim=1))[:, 0]
        return logit
