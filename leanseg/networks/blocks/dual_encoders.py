"""Dual encoders: patches of a picture and words of a sentence in one space, so that a cosine says how they agree.

Papers: Radford et al., CLIP, ICML 2021, arXiv 2103.00020 (code MIT), which CM-MaskSD (arXiv 2305.11481) starts from.
Here a CLIP of the package transformers (Apache-2.0), which is passed in and never fetched, and a small one of ours,
whose halves are networks of this package: an encoder of a U-Net and `SmallTextNetwork`.

Inferred: CLIP's own projection of its class token is applied to every patch, as its text projection is to every word.
Ours: that a gray picture is given to all three channels of a CLIP; the small encoder; that its picture feature is the
mean of its patches. Positions of a CLIP for another size of picture are those of the package: bicubic interpolation.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from leanseg.networks.mf2_mvqa import SmallBackbone
from leanseg.networks.text_encoder import SmallTextNetwork, TextEncoderConfig

_CLIP_MEAN, _CLIP_DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class DualEncoding(NamedTuple):
    """What the two halves say, all in one space."""

    patches: Float[Tensor, "batch row column joint"]
    """f_v"""
    picture: Float[Tensor, "batch joint"]
    """g_v"""
    words: Float[Tensor, "batch piece joint"]
    """f_t"""
    sentence: Float[Tensor, "batch joint"]
    """f_s"""


def last_piece(padding: Bool[Tensor, "batch piece"]) -> Int[Tensor, " batch"]:
    """Place of the last piece of each text, which ends it; padding follows the text."""
    return (~padding).sum(dim=1) - 1


def words_of(padding: Bool[Tensor, "batch piece"]) -> Bool[Tensor, "batch piece"]:
    """True for pieces of words: neither padding, nor the piece that begins the text, nor the one that ends it."""
    place = torch.arange(padding.shape[1], device=padding.device)
    return ~padding & (place > 0) & (place < last_piece(padding)[:, None])


def _at(words: Float[Tensor, "batch piece joint"], place: Int[Tensor, " batch"]) -> Float[Tensor, "batch joint"]:
    return words.gather(1, place[:, None, None].expand(-1, 1, words.shape[2]))[:, 0]


class SmallDualEncoder(nn.Module):
    """The encoder of an `attention_unet`, the small text network, and a projection of the patches."""

    def __init__(self, in_channels: int, widths: tuple[int, ...], text: TextEncoderConfig) -> None:
        """`text.out_width` is the width of the space of both."""
        super().__init__()
        self.width, self.stride = text.out_width, 2 ** (len(widths) - 1)
        self.backbone = SmallBackbone(in_channels, widths)
        self.project = nn.Linear(widths[-1], text.out_width)
        self.text = SmallTextNetwork(text)

    def forward(
        self,
        image: Float[Tensor, "picture channel height width"],
        ids: Int[Tensor, "batch piece"],
        padding: Bool[Tensor, "batch piece"],
        owners: Int[Tensor, " batch"] | None = None,
    ) -> DualEncoding:
        """`owners`: of each sentence its picture, where they are not one to one."""
        patches = self.project(self.backbone(image)[-1].permute(0, 2, 3, 1))
        patches = patches if owners is None else patches[owners]
        words = self.text(ids, padding)
        return DualEncoding(patches, patches.mean(dim=(1, 2)), words, _at(words, last_piece(padding)))


class CLIPDualEncoder(nn.Module):
    """A `transformers.CLIPModel`, e.g. of CLIP ViT-B/16 or of PubMedCLIP; pictures have values in [0, 1]."""

    def __init__(self, clip: Any) -> None:
        super().__init__()
        self.vision, self.text = clip.vision_model, clip.text_model
        self.project_vision, self.project_text = clip.visual_projection, clip.text_projection
        self.width, self.stride = int(clip.config.projection_dim), int(clip.config.vision_config.patch_size)
        self.register_buffer("mean", torch.tensor(_CLIP_MEAN)[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(_CLIP_DEVIATION)[:, None, None], persistent=False)

    def forward(
        self,
        image: Float[Tensor, "picture channel height width"],
        ids: Int[Tensor, "batch piece"],
        padding: Bool[Tensor, "batch piece"],
        owners: Int[Tensor, " batch"] | None = None,
    ) -> DualEncoding:
        """`image` has one channel or three. `owners` as of the small one."""
        rows, columns = (side // self.stride for side in image.shape[2:])
        standardized = (image - self.get_buffer("mean")) / self.get_buffer("deviation")
        tokens = self.vision(standardized, interpolate_pos_encoding=True).last_hidden_state
        tokens = self.project_vision(self.vision.post_layernorm(tokens))
        tokens = tokens if owners is None else tokens[owners]
        patches = tokens[:, 1:].unflatten(1, (rows, columns))
        hidden = self.text(input_ids=ids, attention_mask=(~padding).long()).last_hidden_state
        words = self.project_text(hidden) * ~padding[:, :, None]
        return DualEncoding(patches, tokens[:, 0], words, _at(words, last_piece(padding)))
