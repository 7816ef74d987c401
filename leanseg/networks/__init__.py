"""Networks by name: `build_network("attention_unet", {"widths": [16, 32]})`."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from leanseg.errors import UnknownNameError
from leanseg.networks.agln import AGLN, AGLNConfig
from leanseg.networks.attention_unet import AttentionUNet, AttentionUNetConfig
from leanseg.networks.blocks.residual_unet import ResidualUNet, ResidualUNetConfig
from leanseg.networks.cga_unet import CGAUNet, CGAUNetConfig
from leanseg.networks.cm_mask_sd import CMMaskSD, CMMaskSDConfig
from leanseg.networks.med_danet import MedDANet, MedDANetConfig
from leanseg.networks.med_danet_v2 import MedDANetV2, MedDANetV2Config
from leanseg.networks.med_tuning import MedTuning, MedTuningConfig
from leanseg.networks.mf2_mvqa import MF2MVQA, MF2MVQAConfig
from leanseg.networks.segresnet import SegResNet, SegResNetConfig
from leanseg.networks.text_bcs import TextBCS, TextBCSConfig
from leanseg.networks.trans_bts import TransBTS, TransBTSConfig
from leanseg.networks.trans_bts_v2 import TransBTSV2, TransBTSV2Config
from leanseg.schema import parse

NETWORKS: dict[str, tuple[type[nn.Module], type[Any]]] = {
    "agln": (AGLN, AGLNConfig),
    "attention_unet": (AttentionUNet, AttentionUNetConfig),
    "cga_unet": (CGAUNet, CGAUNetConfig),
    "cm_mask_sd": (CMMaskSD, CMMaskSDConfig),
    "med_danet": (MedDANet, MedDANetConfig),
    "med_danet_v2": (MedDANetV2, MedDANetV2Config),
    "med_tuning": (MedTuning, MedTuningConfig),
    "mf2_mvqa": (MF2MVQA, MF2MVQAConfig),
    "residual_unet": (ResidualUNet, ResidualUNetConfig),
    "segresnet": (SegResNet, SegResNetConfig),
    "text_bcs": (TextBCS, TextBCSConfig),
    "trans_bts": (TransBTS, TransBTSConfig),
    "trans_bts_v2": (TransBTSV2, TransBTSV2Config),
}


def self_contained(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config that needs no folder of first weights: for a network whose weights are given at once, and for cards."""
    return {**config, "folder": "", "random_backbone": True} if config.get("folder") else dict(config)


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
