"""The encoders of our networks as pyramids: features of every level, finest first, each half as fine as the one before.

What pre-training trains (training/fremae.py), and what a network takes over from it.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from leanseg.errors import UnknownNameError
from leanseg.networks.attention_unet import AttentionUNet
from leanseg.networks.blocks.residual_unet import ResidualUNet, check_grid
from leanseg.networks.cga_unet import CGAUNet
from leanseg.networks.med_danet_v2 import MedDANetV2
from leanseg.networks.segresnet import SegResNet
from leanseg.networks.text_bcs import TextBCS
from leanseg.networks.trans_bts import TransBTS
from leanseg.networks.trans_bts_v2 import TransBTSV2

_DESCENT = ("stem.", "downs.", "stages.")  # of `blocks.volume_unet.VolumeUNet`
_PREFIXES: dict[type[nn.Module], tuple[str, ...]] = {
    AttentionUNet: ("encoder.",),
    TextBCS: ("encoder.",),
    ResidualUNet: ("body.first.", "body.stages."),
    MedDANetV2: ("body.first.", "body.stages."),
    SegResNet: ("network.convInit.", "network.down_layers."),
    TransBTS: (*_DESCENT, "projection."),
    TransBTSV2: _DESCENT,
    CGAUNet: _DESCENT,
}
ENCODERS = (
    *("attention_unet", "text_bcs", "residual_unet", "med_danet_v2"),
    *("segresnet", "trans_bts", "trans_bts_v2", "cga_unet"),
)


def encoder_keys(network: nn.Module) -> tuple[str, ...]:
    """Names of the tensors of its encoder.

    Raises:
        UnknownNameError: a network whose encoder is not known here.
    """
    if type(network) not in _PREFIXES:
        raise UnknownNameError("encoder of network", type(network).__name__, ENCODERS)
    return tuple(key for key in network.state_dict() if key.startswith(_PREFIXES[type(network)]))


def encoder_parameters(network: nn.Module) -> list[nn.Parameter]:
    """What of its encoder can learn; raises as `encoder_keys`."""
    keys = set(encoder_keys(network))
    return [parameter for name, parameter in network.named_parameters() if name in keys]


def encode(network: nn.Module, image: Tensor) -> list[Tensor]:
    """Features of every level (batch, channel, *grid), finest first; no other part of the network runs.

    Raises:
        UnknownNameError: as `encoder_keys`.
        ValueError: a grid that the network cannot take.
    """
    if isinstance(network, AttentionUNet):
        check_grid("AttentionUNet", image, network.config.stride)
        levels, x = [], image
        for level, stage in enumerate(network.encoder):
            x = stage(network.pool(x) if level else x)
            levels.append(x)
        return levels
    if isinstance(network, TextBCS):
        return network.encode(image)
    if isinstance(network, (ResidualUNet, MedDANetV2)):
        check_grid(type(network).__name__, image)
        levels, x = [], network.body.dropout(network.body.first(image))
        for stage in network.body.stages:
            here, x = stage(x)
            levels.append(here)
        return levels
    if isinstance(network, SegResNet):
        encoder: Any = network.network
        return list(encoder.encode(image)[1])
    if isinstance(network, TransBTS):
        skips, deepest = network.encode(image)
        return [*skips, deepest]
    if isinstance(network, (TransBTSV2, CGAUNet)):
        skips, deepest = network.descend(image)
        return [*skips, deepest]
    encoder_keys(network)
    raise AssertionError("encoder_keys knows every encoder")


@dataclass(frozen=True)
class EncoderShape:
    """Channels of each level, finest first, and the number of spatial axes."""

    channels: tuple[int, ...]
    axes: int


def encoder_shape(network: nn.Module, in_channels: int, size: tuple[int, ...]) -> EncoderShape:
    """Found out by one image of zeros of this size; raises as `encode`."""
    training = network.training
    with torch.no_grad():
        levels = encode(network.eval(), torch.zeros(1, in_channels, *size))
    network.train(training)
    return EncoderShape(tuple(level.shape[1] for level in levels), len(size))
