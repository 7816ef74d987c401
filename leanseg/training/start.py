"""Where a network starts: at the weights of an earlier run, at its encoder, or at those of a bundle or a file."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from leanseg.errors import LeanSegError
from leanseg.networks.blocks.med_adapter import ConvMedAdapter
from leanseg.networks.encoders import encoder_keys
from leanseg.quantization.layers import go_on_, quantize_
from leanseg.training.recipe import Recipe
from leanseg.weights.store import find_bundle

_log = logging.getLogger(__name__)
_BASE_STAGES = "base_stages.json"


def start_at_run_(network: nn.Module, recipe: Recipe, start_recipe: Recipe, start: nn.Module) -> nn.Module:
    """Give a new network what the run `recipe.init` learned: of a pre-training the encoder, else everything.

    Raises:
        LeanSegError: the run is of another network, or was quantized otherwise; or a pre-trained encoder would be
            replaced by `text.start`.
    """
    if start_recipe.fremae is not None:
        if recipe.text is not None and recipe.text.start:
            raise LeanSegError(
                f"{recipe.init} and {recipe.text.start}, the recipe's text.start, both give an encoder. "
                'To keep that of the pre-training: --set text.start=""'
            )
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


def start_at_encoder_(encoder: nn.Module, start: str, option: str, widths: str) -> None:
    """Give `encoder` that of the trained attention_unet `start`: the id of a bundle, or a safetensors file.

    `option` names the setting of the recipe that says `start`, `widths` that of the encoder's sizes.

    Raises:
        UnknownNameError: neither a file nor a bundle.
        LeanSegError: it cannot be read, or its encoder is of another shape.
    """
    path = Path(start)
    try:
        is_file = path.is_file() or path.suffix == ".safetensors"
        tensors = load(path.read_bytes() if is_file else find_bundle(start).weights())
    except (OSError, SafetensorError) as error:
        raise LeanSegError(
            f"{start}, the recipe's {option}, cannot be read ({error}). Give the id of a model, or a safetensors file."
        ) from error
    prefix, own = "encoder.", encoder.state_dict()
    its = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    its = {key: value for key, value in its.items() if key in own}  # a shallower encoder has its first stages
    if {key: value.shape for key, value in its.items()} != {key: value.shape for key, value in own.items()}:
        raise LeanSegError(f"The encoder in {start} has other shapes than {widths}. Use those it was made with.")
    encoder.load_state_dict({key: value.to(own[key].dtype) for key, value in its.items()})


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


def keep_base_stages(recipe: Recipe, folder: Path) -> None:
    """Write into a new run where its base comes from, so that the run is exported without it."""
    if recipe.base:
        stages = find_bundle(recipe.base).card.training["stages"]
        (folder / _BASE_STAGES).write_text(json.dumps(stages, indent=1), encoding="utf-8")


def base_stages(folder: Path) -> list[dict[str, Any]]:
    """What `keep_base_stages` has written into a run that has a base.

    Raises:
        LeanSegError: it is not there, or damaged.
    """
    try:
        stages: list[dict[str, Any]] = json.loads((folder / _BASE_STAGES).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LeanSegError(
            f"The run {folder} does not say where its base comes from ({_BASE_STAGES}). Train it again."
        ) from error
    return stages


def is_adapter(key: str, network: nn.Module) -> bool:
    """Whether a tensor or parameter belongs to a Med-Adapter."""
    names = [name for name, module in network.named_modules() if isinstance(module, ConvMedAdapter)]
    return any(key.startswith(f"{name}.") for name in names)
