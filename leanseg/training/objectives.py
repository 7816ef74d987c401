"""What a network is trained to do with a batch: an `Objective` returns a loss and its named parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn
from torch.nn import functional as F

from leanseg.errors import UnknownNameError
from leanseg.losses.overlap import DiceBCELoss
from leanseg.losses.regions import RegionLoss, SoftmaxDiceLoss, regions_of_classes
from leanseg.losses.weight_balance import WeightBalanceLoss
from leanseg.schema import parse
from leanseg.training.loss_recipe import LossConfig

LOSSES: dict[str, type[Any]] = {
    "weight_balance": WeightBalanceLoss,
    "dice_bce": DiceBCELoss,
    "regions": RegionLoss,
    "softmax_dice": SoftmaxDiceLoss,
}


@dataclass(frozen=True)
class Batch:
    """Augmented images and what they came from."""

    images: Tensor
    """(batch, channel, height, width)"""
    targets: Tensor
    """(batch, label, height, width), float, 0 or 1"""
    classes: Tensor
    """(batch,), as in `TrainingArrays`"""
    indices: Tensor
    """(batch,), position in the training arrays"""
    grid: Tensor
    """(batch, height, width, 2), the geometric augmentation of these images"""


class Objective(Protocol):
    def __call__(self, network: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss to minimize, and parts to log."""


@runtime_checkable
class PhasedObjective(Protocol):
    """An objective that trains parts of a network in turn."""

    def begin_epoch(self, network: nn.Module, epoch: int, epochs: int) -> None:
        """Before each epoch, after the network was switched to training; epochs count from 0."""

    def parameter_groups(self, network: nn.Module) -> list[dict[str, Any]]:
        """For the optimizer: `params`; `lr_factor` multiplies the learning rate; `starts_at` is the fraction of the
        epochs at which the warm-up and decay of a group begin."""

    def logits(self, network: nn.Module, images: Tensor) -> Tensor:
        """What is validated in the present phase."""

    def __call__(self, network: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """As of any objective."""


@dataclass(frozen=True)
class Supervised:
    """The plain objective: a loss between logits and target."""

    loss: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, network: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        logits = network(batch.images).float()
        loss = self.loss(logits.flatten(2, -2), batch.targets.flatten(2, -2))  # a volume is a tall slice
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


def decide(logits: Tensor) -> Tensor:
    """Logits -> masks (batch, label, height, width): one logit above 0, or of four classes the largest, as regions."""
    if logits.shape[1] == 1:
        return logits > 0
    one_hot = F.one_hot(logits.argmax(dim=1), logits.shape[1]).movedim(-1, 1)
    return regions_of_classes(one_hot.float()) > 0
