"""What a network is trained to do with a batch: an `Objective` returns a loss and its named parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from leanseg.errors import UnknownNameError
from leanseg.losses.overlap import DiceBCELoss
from leanseg.losses.weight_balance import WeightBalanceLoss
from leanseg.schema import parse
from leanseg.training.recipe import LossConfig

LOSSES: dict[str, type[Any]] = {"weight_balance": WeightBalanceLoss, "dice_bce": DiceBCELoss}


@dataclass(frozen=True)
class Batch:
    """Augmented images and what they came from."""

    images: Tensor
    """(batch, 1, height, width)"""
    targets: Tensor
    """(batch, 1, height, width), float, 0 or 1"""
    classes: Tensor
    """(batch,), index into `LESION_CLASSES`"""
    indices: Tensor
    """(batch,), position in the training arrays"""
    grid: Tensor
    """(batch, height, width, 2), the geometric augmentation of these images"""


class Objective(Protocol):
    def __call__(self, network: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss to minimize, and parts to log."""


@dataclass(frozen=True)
class Supervised:
    """The plain objective: a loss between logits and target."""

    loss: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, network: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        loss = self.loss(network(batch.images).float(), batch.targets)
        return loss, {}


def build_loss(config: LossConfig) -> Callable[[Tensor, Tensor], Tensor]:
    """A loss of logits and target.

    Raises:
        UnknownNameError: the loss, or an option of it, does not exist.
        LeanSegError: the value of an option does not fit.
    """
    if config.name not in LOSSES:
        raise UnknownNameError("loss", config.name, LOSSES)
    loss: Callable[[Tensor, Tensor], Tensor] = parse(LOSSES[config.name], config.options, f"options of {config.name}")
    return loss
