"""Networks by name: `build_network("attention_unet", {"widths": [16, 32]})`."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from torch import nn

from leanseg.errors import UnknownNameError
from leanseg.networks.attention_unet import AttentionUNet, AttentionUNetConfig

NETWORKS: dict[str, tuple[type[nn.Module], type[Any]]] = {
    "attention_unet": (AttentionUNet, AttentionUNetConfig),
}


def build_network(name: str, config: Mapping[str, Any]) -> nn.Module:
    """A network with random weights.

    Raises:
        UnknownNameError: no network has this name, or its config no such field.
    """
    if name not in NETWORKS:
        raise UnknownNameError("network", name, NETWORKS)
    network, config_type = NETWORKS[name]
    known = {field.name for field in fields(config_type)}
    for key in config:
        if key not in known:
            raise UnknownNameError(f"config field of {name}", key, known)
    return network(config_type(**config))
