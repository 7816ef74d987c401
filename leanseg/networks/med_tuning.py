"""Med-Tuning: a frozen 2-D transformer for natural images segments volumes, by small adapters and a decoder.

Paper: Shen, Wang et al., Med-Tuning: a new parameter-efficient tuning framework for medical volumetric segmentation,
MIDL 2024, arXiv 2304.10880. The code of the authors is public; nothing was taken from it, this file was written from
published facts: steps and shapes of the adapter, parameter counts, sizes of both networks.

With Swin-T (4 x 2 blocks, window 4) the numbers are the published ones: 27.154 M parameters without adapters, 0.738 M
inserted, 7.489 M tuned (27.58 %). With ViT-B/16 2.846 M are inserted.

Departures from the paper or its released code
  * The patch embedding is inflated to the number of sequences: the mean of its three channels, scaled so that a sum
    over channels stays as large. There, with Swin, it stays random and frozen.
  * The up-projection of an adapter starts at 0, so that the network starts as the frozen one.
  * w and b of the Fourier branch are interpolated where a volume has other than 128 slices.
  * `fourier_output="real"` and `fourier_bias` are options: the magnitude loses the sign, and a bias of 1 adds an
    impulse at the first voxel. That the Fourier branch sees no further than along the depth is a finding, see
    blocks/med_adapter.py.
  * Tables of relative positions of another window are interpolated bicubically, and of a stage with more blocks than
    `depths` the first ones are taken (Swin-T has 6 in its third).
  * The decoder for ViT is smaller than the paper's (7.5 M of 15.0 M); there, position embeddings are tuned too.
Inferred
  * The decoder for Swin is that of Swin-UNet with two blocks a stage; together with the last layer norm of the
    backbone, which is tuned, it has the published 6.752 M parameters.
  * The class token of ViT passes by the adapters; the last layer norm of ViT is not used.

Weights come from a local folder that `transformers` can read, never from the network.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from leanseg.errors import LeanSegError, MissingDependencyError, UnknownNameError
from leanseg.networks.blocks.med_adapter import AdapterConfig, MedAdapter
from leanseg.networks.blocks.slice_decoders import SwinUNetDecoder, UPerNetDecoder

_PAPER: dict[str, dict[str, Any]] = {
    "swin": {"width": 96, "depths": (2, 2, 2, 2), "heads": (3, 6, 12, 24), "patch": 4},
    "vit": {"width": 768, "depths": (12,), "heads": (12,), "patch": 16},
}
_VIT_STAGES = 4


@dataclass(frozen=True)
class MedTuningConfig:
    """Constructor values of `MedTuning`; the defaults are the paper's, for Swin-T."""

    backbone: str = "swin"
    """`swin` with a decoder as of Swin-UNet, or `vit` with one as of UPerNet."""
    folder: str = ""
    """Of the backbone's weights, as `transformers` saves them."""
    random_backbone: bool = False
    """Do without a folder: frozen random weights, for tests and counts, or where those of a run replace them."""
    in_channels: int = 4
    """FLAIR, T1ce, T1, T2."""
    out_channels: int = 4
    """Background, necrosis, edema, enhancing tumor."""
    ratio: int = 6
    depth: int = 128
    """Slices for which the Fourier branch has weights."""
    fourier_output: str = "magnitude"
    fourier_bias: float = 1.0
    window: int = 4
    """Of Swin, in tokens."""
    width: int | None = None
    """Of the backbone; this and what follows: None or empty is the paper's, Swin-T or ViT-B/16."""
    depths: tuple[int, ...] = ()
    """Blocks of each stage of Swin; of ViT one number, a multiple of 4."""
    heads: tuple[int, ...] = ()
    image_px: int = 224
    """Side of the images that a ViT was trained on: so many position embeddings it has."""

    def __post_init__(self) -> None:
        if self.backbone not in _PAPER:
            raise UnknownNameError("backbone", self.backbone, _PAPER)
        self.adapter  # noqa: B018 - its checks
        if min(self.in_channels, self.window, self.image_px) < 1 or self.out_channels < 2:
            raise ValueError(f"channels, window and image_px must be positive, and labels at least 2; got {self}.")
        sizes = self.sizes
        if len(sizes["depths"]) != len(sizes["heads"]) or min(sizes["depths"], default=0) < 1:
            raise ValueError(f"depths and heads need one number a stage; got {sizes['depths']} and {sizes['heads']}.")
        if self.backbone == "vit" and (len(sizes["depths"]) > 1 or sizes["depths"][0] % _VIT_STAGES):
            raise ValueError(f"a ViT has one number of blocks, a multiple of {_VIT_STAGES}; got {sizes['depths']}.")

    @property
    def adapter(self) -> AdapterConfig:
        return AdapterConfig(self.ratio, self.depth, self.fourier_output, self.fourier_bias)

    @property
    def sizes(self) -> dict[str, Any]:
        """width, depths, heads, patch of the backbone."""
        given = {"width": self.width, "depths": self.depths, "heads": self.heads}
        return _PAPER[self.backbone] | {key: value for key, value in given.items() if value}

    @property
    def stride(self) -> int:
        """Height and width of the input must be multiples of this many pixels, a place of the coarsest level."""
        levels = len(self.sizes["depths"]) if self.backbone == "swin" else 2
        return int(self.sizes["patch"] * 2 ** (levels - 1))

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"depths": list(self.depths), "heads": list(self.heads)}


def random_backbone(config: MedTuningConfig, **changes: Any) -> nn.Module:
    """A backbone as `transformers` builds it, with random weights.

    Raises:
        MissingDependencyError: transformers is not installed.
    """
    try:
        from transformers import SwinConfig, SwinModel, ViTConfig, ViTModel
    except ImportError as error:
        raise MissingDependencyError("Med-Tuning needs transformers. Run: pip install transformers") from error
    sizes, changes = config.sizes, {"attn_implementation": "eager"} | changes  # the fused one is not exported (2.13)
    if config.backbone == "vit":
        values = {
            **{"hidden_size": sizes["width"], "intermediate_size": 4 * sizes["width"], "image_size": config.image_px},
            **{"num_hidden_layers": sizes["depths"][0], "num_attention_heads": sizes["heads"][0]},
            **{"patch_size": sizes["patch"], "num_channels": config.in_channels},
        }
        vit: nn.Module = ViTModel(ViTConfig(**values | changes), add_pooling_layer=False)
        return vit
    values = {
        **{"embed_dim": sizes["width"], "depths": list(sizes["depths"]), "num_heads": list(sizes["heads"])},
        **{"window_size": config.window, "patch_size": sizes["patch"], "num_channels": config.in_channels},
    }
    swin: nn.Module = SwinModel(SwinConfig(**values | changes), add_pooling_layer=False)
    return swin


def load_backbone(config: MedTuningConfig) -> nn.Module:
    """The backbone of a config: from its folder, or random where that is asked for.

    Raises:
        LeanSegError: no folder, one that holds no such backbone, or one of another size.
    """
    if not config.folder:
        if config.random_backbone:
            return random_backbone(config)
        raise LeanSegError(
            f"Med-Tuning needs a trained {config.backbone}: frozen random weights teach nothing. Set config.folder to "
            "its local folder, or config.random_backbone=true for a test."
        )
    if not (Path(config.folder) / "config.json").is_file():
        raise LeanSegError(f"{config.folder} holds no config.json of a {config.backbone}. Give the folder of one.")
    made = random_backbone(config)  # also says where transformers is missing
    kind: Any = type(made)
    try:
        source = kind.from_pretrained(config.folder, local_files_only=True, add_pooling_layer=False)
    except (OSError, ValueError, RuntimeError) as error:
        raise LeanSegError(
            f"{config.folder} cannot be read as a {config.backbone} ({str(error).splitlines()[0]})."
        ) from error
    made.load_state_dict(fitted(source.state_dict(), made.state_dict(), config.folder))
    return made


def fitted(source: dict[str, Tensor], target: dict[str, Tensor], folder: str) -> dict[str, Tensor]:
    """Trained tensors for a network with other channels, another window and fewer blocks.

    Raises:
        LeanSegError: a tensor is missing, or of another shape.
    """
    result = {}
    for key, wanted in target.items():
        value = source.get(key)
        if value is not None and value.shape != wanted.shape and value.ndim == wanted.ndim:
            if key.endswith("patch_embeddings.projection.weight"):
                value = inflated(value, wanted.shape[1])
            elif key.endswith("relative_position_bias_table"):
                value = resized_positions(value, wanted.shape[0])
            elif key.endswith("relative_position_index"):
                value = wanted
        if value is None or value.shape != wanted.shape:
            came = "is missing" if value is None else f"is {tuple(value.shape)}, not {tuple(wanted.shape)}"
            raise LeanSegError(
                f"The backbone in {folder} does not fit: {key} {came}. Set width, depths, heads and image_px to its."
            )
        result[key] = value
    return result


def inflated(weight: Float[Tensor, "out channel h w"], channels: int) -> Float[Tensor, "out channels h w"]:
    """The mean over the channels for every channel, times old / new: an input of equal channels gives the same."""
    return weight.mean(dim=1, keepdim=True).repeat(1, channels, 1, 1) * (weight.shape[1] / channels)


def resized_positions(table: Float[Tensor, "place head"], places: int) -> Float[Tensor, "places head"]:
    """Relative position biases for another window, bicubically."""
    old, new = (round(n**0.5) for n in (len(table), places))
    square = table.T.reshape(1, -1, old, old)
    return F.interpolate(square, size=(new, new), mode="bicubic", align_corners=False).flatten(2)[0].T


class MedTuning(nn.Module):
    """Frozen backbone, a Med-Adapter after each of its blocks, and a decoder."""

    def __init__(self, config: MedTuningConfig, backbone: nn.Module | None = None) -> None:
        """`backbone`: a SwinModel or ViTModel of `transformers`; None: that of the config."""
        super().__init__()
        self.config = config
        self.backbone = (load_backbone(config) if backbone is None else backbone).requires_grad_(False).eval()
        its: Any = self.backbone.config
        self.adapters = nn.ModuleList()
        self.decoder: nn.Module
        if config.backbone == "swin":
            for level, depth in enumerate(its.depths):
                last = [n == depth - 1 for n in range(depth)]
                self.adapters.extend(MedAdapter(its.embed_dim * 2**level, config.adapter, end, True) for end in last)
            self.decoder = SwinUNetDecoder(its, config.out_channels, its.patch_size)
            self.backbone.layernorm.requires_grad_(True)
        else:
            self.stage_blocks = its.num_hidden_layers // _VIT_STAGES
            ends = [(n + 1) % self.stage_blocks == 0 for n in range(its.num_hidden_layers)]
            self.adapters.extend(MedAdapter(its.hidden_size, config.adapter, end) for end in ends)
            self.decoder = UPerNetDecoder(its.hidden_size, config.out_channels)

    def train(self, mode: bool = True) -> "MedTuning":
        """The backbone stays in evaluation, so that nothing drops out of it."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, image: Float[Tensor, "batch channel k j i"]) -> Float[Tensor, "batch label k j i"]:
        """Logits on the grid of the volume; its slices go through the backbone as a batch.

        Raises:
            ValueError: height or width is not a multiple of `config.stride`, or for Swin smaller than its last window.
        """
        batch, _, depth, height, width = image.shape
        stride = self.config.stride
        fewest = stride * (self.config.window if self.config.backbone == "swin" else 1)
        if height % stride or width % stride or min(height, width) < fewest:
            fits = " x ".join(str(max(-(-n // stride) * stride, fewest)) for n in (height, width))
            raise ValueError(
                f"MedTuning needs height and width in multiples of {stride}, at least {fewest}; got "
                f"{(depth, height, width)}. Pad the slices to {fits}."
            )
        slices = image.transpose(1, 2).flatten(0, 1)
        features = self.features(slices, depth)
        logits = self.decoder(features) if self.config.backbone == "swin" else self.decoder(features, (height, width))
        result: Tensor = logits.unflatten(0, (batch, depth)).transpose(1, 2)
        return result

    def features(self, slices: Float[Tensor, "slice channel height width"], depth: int) -> list[Tensor]:
        """Maps (slice, h, w, channel) after each stage; `depth` slices in a row are a volume."""
        return self._swin(slices, depth) if self.config.backbone == "swin" else self._vit(slices, depth)

    def _swin(self, slices: Tensor, depth: int) -> list[Tensor]:
        swin: Any = self.backbone
        tokens, (h, w) = swin.embeddings(slices)
        features, previous, adapters = [], None, iter(self.adapters)
        for stage in swin.encoder.layers:
            for block in stage.blocks:
                tokens, _ = block(tokens, (h, w))
                tokens, previous = next(adapters)(tokens, (depth, h, w), previous)
            features.append(tokens.unflatten(1, (h, w)))
            if stage.downsample is not None:
                tokens, (h, w) = stage.downsample(tokens, (h, w)), ((h + 1) // 2, (w + 1) // 2)
        features[-1] = swin.layernorm(features[-1])
        return features

    def _vit(self, slices: Tensor, depth: int) -> list[Tensor]:
        vit: Any = self.backbone
        patch = vit.config.patch_size
        h, w = slices.shape[2] // patch, slices.shape[3] // patch
        tokens = vit.embeddings(slices, interpolate_pos_encoding=True)
        features, previous = [], None
        for n, (block, adapter) in enumerate(zip(vit.layers, self.adapters, strict=True)):
            tokens = block(tokens)
            patches, previous = adapter(tokens[:, 1:], (depth, h, w), previous)
            tokens = torch.cat([tokens[:, :1], patches], dim=1)
            if (n + 1) % self.stage_blocks == 0:
                features.append(patches.unflatten(1, (h, w)))
        return features
