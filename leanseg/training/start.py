"""Where a network starts: at the weights of an earlier run, at its encoder, or at a bundle's weights."""

from __future__ import annotations

import logging

from safetensors.torch import load
from torch import Tensor, nn

from leanseg.errors import LeanSegError
from leanseg.networks.blocks.med_adapter import ConvMedAdapter
from leanseg.networks.encoders import encoder_keys
from leanseg.quantization.layers import go_on_, quantize_
from leanseg.training.recipe import Recipe
from leanseg.weights.store import find_bundle

_log = logging.getLogger(__name__)


def start_at_run_(network: nn.Module, recipe: Recipe, start_recipe: Recipe, start: nn.Module) -> nn.Module:
    """Give a new network what the run `recipe.init` learned: of a pre-training the encoder, else everything.

    Raises:
        LeanSegError: the run is of another network, or was quantized otherwise.
    """
    if start_recipe.fremae is not None:
        give_encoder_(network, start.state_dict(), recipe.init)
        return quantize_(network, recipe.quantization)
    if (start_recipe.network, start_recipe.config) != (recipe.network, recipe.config):
        raise LeanSegError(f"{recipe.init} is of another network than {recipe.id}. Give both the same config.")
    if start_recipe.quantization is not None:
        return go_on_(network, recipe.quantization, start.state_dict(), start_recipe.quantization)
    network.load_state_dict(start.state_dict())
    return quantize_(network, recipe.quantization)


def give_encoder_(network: nn.Module, tensors: dict[str, Tensor], where: str) -> None:
    """Every tensor of the network's encoder from those of a pre-training; what else there is is left out, and said so.

    Raises:
        UnknownNameError: a network whose encoder is not known.
        LeanSegError: a tensor of the encoder is missing, or of another shape.
    """
    keys, own = encoder_keys(network), network.state_dict()
    for key in keys:
        if key not in tensors or tensors[key].shape != own[key].shape:
            came = f"has shape {tuple(tensors[key].shape)}" if key in tensors else "is missing"
            raise LeanSegError(
                f"{where} was pre-trained for another encoder: {key} {came}, {tuple(own[key].shape)} is needed. Give "
                "both the same network and config."
            )
    network.load_state_dict({key: tensors[key] for key in keys}, strict=False)
    _log.warning(
        "%s: all %d tensors of the encoder are taken; decoder and frequency mapping blocks of the pre-training are "
        "left out, and %d other tensors of the network start anew.",
        where,
        len(keys),
        len(own) - len(keys),
    )


def start_at_base_(network: nn.Module, recipe: Recipe) -> nn.Module:
    """Give an adapted network the weights of the bundle `recipe.base`; only its adapters keep their own.

    Raises:
        LeanSegError: no such bundle, or one of another network.
    """
    bundle = find_bundle(recipe.base)
    tensors = {key: value.float() for key, value in load(bundle.weights()).items()}
    if bundle.card.network == "med_danet_v2":  # `static()`: the body with the head of whole slices
        tensors = {key.replace("whole_head.", "head."): value for key, value in tensors.items()}
    own = network.state_dict()
    taken = {key: value.to(own[key].dtype) for key, value in tensors.items() if key in own}
    missing = [key for key in own if key not in taken and not is_adapter(key, network)]
    if missing or any(taken[key].shape != own[key].shape for key in taken):
        raise LeanSegError(f"The weights of {recipe.base} do not fit {recipe.network}. Choose another base.")
    network.load_state_dict(taken, strict=False)
    return network


def is_adapter(key: str, network: nn.Module) -> bool:
    """Whether a tensor or parameter belongs to a Med-Adapter."""
    names = [name for name, module in network.named_modules() if isinstance(module, ConvMedAdapter)]
    return any(key.startswith(f"{name}.") for name in names)
