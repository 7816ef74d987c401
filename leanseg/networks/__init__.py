"""Networks by name: `build_network("attention_unet", {"widths": [16, 32]})`."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from leanseg.errors import UnknownNameError
from leanseg.networks.attention_unet import AttentionUNet, AttentionUNetConfig
from leanseg.schema import parse

NETWORKS: dict[str, tuple[type[nn.Module], type[Any]]] = {
    "attention_unet": (AttentionUNet, AttentionUNetConfig),
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
