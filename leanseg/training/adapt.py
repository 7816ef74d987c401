"""Adapting a model that we ship to a few cases of another kind: its network is frozen, and Med-Adapters learn.

The idea is Med-Tuning's (networks/med_tuning.py), the adapter its convolutional form (networks/blocks/med_adapter.py),
after every encoder stage of an Attention U-Net or a residual U-Net. It starts as the identity, so that the adapted
network starts as the base. Nothing of the base changes, batch-norm statistics neither, but what `tune` names.

    leanseg train adapt --set base=med_danet_v2 --data DIR            DIR holds the cases, as data sets do
    leanseg export runs/adapt -o my_model --data DIR

What a recipe with `base` leaves open follows the base: network, preprocessing, the kind of data, and the loss.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from leanseg.errors import LeanSegError
from leanseg.networks.blocks.med_adapter import AdapterConfig, ConvMedAdapter
from leanseg.networks.med_danet_v2 import MedDANetV2Config
from leanseg.processing.brain import BrainPreprocessingConfig
from leanseg.processing.preprocess import PreprocessingConfig
from leanseg.schema import parse
from leanseg.training.loss_recipe import LossConfig
from leanseg.training.objectives import Batch, Supervised
from leanseg.training.recipe import DataConfig, Recipe
from leanseg.weights.store import find_bundle

BASES = ("attention_unet", "residual_unet", "med_danet_v2")
"""Networks that adapters can be inserted into; of a Med-DANet V2 what segments whole slices."""

TUNABLE = ("head", "norms")


def with_base(recipe: Recipe) -> Recipe:
    """The recipe with everything that follows from the bundle `recipe.base`.

    Raises:
        UnknownNameError: no such bundle.
        LeanSegError: a bundle of a network that cannot be adapted, or a recipe that says other things as well.
    """
    if recipe.init:
        raise LeanSegError("init and base both give the weights. Leave init out.")
    if not set(recipe.tune) <= set(TUNABLE):
        raise LeanSegError(f"tune may name {' and '.join(TUNABLE)}; got {', '.join(recipe.tune)}.")
    card = find_bundle(recipe.base).card
    if card.network not in BASES:
        raise LeanSegError(
            f"The base {recipe.base} is a {card.network}; adapters fit into {', '.join(BASES)}. Choose another base."
        )
    if card.quantization is not None:
        raise LeanSegError(
            f"The base {recipe.base} has packed weights, and adapters need those they were packed from. Choose another "
            "base."
        )
    adapters = parse(AdapterConfig, recipe.config.get("adapters", {}), "recipe.config.adapters")
    config, network = {**card.config, "adapters": dataclasses.asdict(adapters)}, card.network
    if network == "med_danet_v2":
        unet = parse(MedDANetV2Config, card.config, f"config of {recipe.base}").unet
        config, network = unet.to_json() | {"adapters": config["adapters"]}, "residual_unet"
    changes: dict[str, Any] = {"system": card.system, "network": network, "config": config}
    if "sequences" in card.preprocessing:
        changes["brain"] = parse(BrainPreprocessingConfig, _trained_on(card.training, card.preprocessing), "brain")
        changes |= {"data": DataConfig(("brats:train",), ("brats:val",))} if recipe.data == DataConfig() else {}
    else:
        changes["preprocessing"] = parse(PreprocessingConfig, card.preprocessing, "preprocessing")
    _check_decided(recipe, changes)
    if recipe.loss == LossConfig():
        changes["loss"] = LossConfig("regions" if "brain" in changes else "dice_bce")
    return dataclasses.replace(recipe, **changes)


def _check_decided(recipe: Recipe, changes: dict[str, Any]) -> None:
    """Nothing that the base decides may be set to something else.

    Raises:
        LeanSegError: it is.
    """
    open_values = {"system": "med_tuning", "network": "base", "preprocessing": PreprocessingConfig(), "brain": None}
    found = [(name, getattr(recipe, name), left, changes.get(name, left)) for name, left in open_values.items()]
    config = changes["config"]
    found += [(f"config.{key}", value, None, config.get(key)) for key, value in recipe.config.items()]
    for name, given, left, decided in found:
        if given not in (left, decided) and name != "config.adapters":
            what = "nothing" if decided is None else decided
            raise LeanSegError(f"The base {recipe.base} decides {name}: {what}, not {given}. Leave {name} out.")


def _trained_on(training: dict[str, Any], preprocessing: dict[str, Any]) -> Any:
    """The grid of training, which may be smaller than the one in use."""
    stages = training.get("stages") or [{}]
    return stages[-1].get("recipe", {}).get("brain") or preprocessing


def tuned_parameters(network: nn.Module, tune: tuple[str, ...]) -> list[nn.Parameter]:
    """Those of the adapters, and of what `tune` names.

    Raises:
        LeanSegError: the network has no adapters.
    """
    adapters = [module for module in network.modules() if isinstance(module, ConvMedAdapter)]
    if not adapters:
        raise LeanSegError(f"{type(network).__name__} has no adapters. Give its config a section [adapters].")
    parts: list[nn.Module] = list(adapters)
    if "head" in tune:
        head = network.get_submodule("head")
        parts.append(head)
    if "norms" in tune:
        parts += [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    found = {id(p): p for part in parts for p in part.parameters()}
    return list(found.values())


@dataclass(frozen=True)
class Adaptation:
    """A `PhasedObjective`: any loss of logits and target, for the adapters of a frozen network."""

    loss: Callable[[Tensor, Tensor], Tensor]
    tune: tuple[str, ...]

    def begin_epoch(self, network: nn.Module, epoch: int, epochs: int) -> None:
        """Freeze the base: no gradient, and evaluation mode, so that statistics and dropout rest."""
        network.requires_grad_(False).eval()
        for parameter in tuned_parameters(network, self.tune):
            parameter.requires_grad_(True)
        for module in network.modules():
            if isinstance(module, ConvMedAdapter):
                module.train()

    def parameter_groups(self, network: nn.Module) -> list[dict[str, Any]]:
        return [{"params": tuned_parameters(network, self.tune), "lr_factor": 1.0, "starts_at": 0.0}]

    def logits(self, network: nn.Module, images: Tensor) -> Tensor:
        logits: Tensor = network(images)
        return logits

    def __call__(self, network: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return Supervised(self.loss)(network, batch)
