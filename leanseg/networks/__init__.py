"""Networks by name: `build_network("attention_unet", {"widths": [16, 32]})`."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from leanseg.errors import UnknownNameError
from leanseg.networks.attention_unet import AttentionUNet, AttentionUNetConfig
from leanseg.networks.blocks.residual_unet import ResidualUNet, ResidualUNetConfig
from leanseg.networks.med_danet import MedDANet, MedDANetConfig
from leanseg.networks.med_danet_v2 import MedDANetV2, MedDANetV2Config
from leanseg.networks.segresnet import SegResNet, SegResNetConfig
from leanseg.networks.text_bcs import TextBCS, TextBCSConfig
from leanseg.networks.trans_bts import TransBTS, TransBTSConfig
from leanseg.schema import parse

NETWORKS: dict[str, tuple[type[nn.Module], type[Any]]] = {
    "attention_unet": (AttentionUNet, AttentionUNetConfig),
    "med_danet": (MedDANet, MedDANetConfig),
    "med_danet_v2": (MedDANetV2, MedDANetV2Config),
    "residual_unet": (ResidualUNet, ResidualUNetConfig),
    "segresnet": (SegResNet, SegResNetConfig),
    "text_bcs": (TextBCS, TextBCSConfig),
    "trans_bts": (TransBTS, TransBTSConfig),
}


def build_network(name: str, config: Mapping[str, Any]) -> nn.Module:
    """A network with random weights.

    Raises:
        UnknownNameError: no network has this name, or its config no such field.
        LeanSegError: a value of the config does not fit.
    """
    if name not in NETWORKS:
        raise UnknownNameError("network", name, NETWORKS)
    network, config_type = NETWORKS[name]
    return network(parse(config_type, dict(config), f"config of {name}"))
