"""The PNE loss beside any loss of the logits: an objective that has a part to learn of its own.

The projection of `losses/pne.py` lives here, not in the network: it is trained and saved to go on with, and what is
exported is the network alone. The features are the input of the network's `head`, the layers that classify pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from leanseg.errors import LeanSegError
from leanseg.losses.pne import PixelProjection, PNEConfig, pne_loss
from leanseg.losses.regions import REGION_NAMES, classes_of_regions
from leanseg.networks import build_network
from leanseg.training.objectives import Batch
from leanseg.training.recipe import Recipe

Loss = Callable[[Tensor, Tensor], Tensor]


def head_of(network: nn.Module) -> nn.Module:
    """What classifies the pixels of a 2-D network.

    Raises:
        LeanSegError: the network has no `head`.
    """
    head = getattr(network, "head", None)
    if not isinstance(head, nn.Module):
        raise LeanSegError(
            f"The loss pne needs a 2-D network with a head that classifies pixels, such as attention_unet; "
            f"{type(network).__name__} has none. Take pne out of losses."
        )
    return head


def feature_channels(recipe: Recipe) -> int:
    """Of what the head of the recipe's network sees."""
    with torch.device("meta"):
        head = head_of(build_network(recipe.network, recipe.config))
    return next(layer.in_channels for layer in head.modules() if isinstance(layer, nn.Conv2d))


def classes_of(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Labels and predictions (batch, height, width): of one logit 0 and 1, of more as many as there are.

    Raises:
        LeanSegError: the target has more labels than the head.
    """
    if logits.shape[1] == targets.shape[1] == 1:
        return targets[:, 0].long(), (logits[:, 0] > 0).long()
    if logits.shape[1] == targets.shape[1] + 1 and targets.shape[1] == len(REGION_NAMES):
        targets = classes_of_regions(targets)
    if logits.shape[1] != targets.shape[1]:
        raise LeanSegError(
            f"The loss pne got {targets.shape[1]} labels, and a head of {logits.shape[1]}. Set out_channels to the "
            "number of labels."
        )
    return targets.argmax(dim=1), logits.argmax(dim=1)


class PixelContrast(nn.Module):
    """A `PhasedObjective`: a loss of logits and target, and PNE of the features once its warm-up is over."""

    def __init__(self, loss: Loss, config: PNEConfig, channels: int, seed: int) -> None:
        super().__init__()
        self.loss = loss
        self.config = config
        self.seed = seed
        self.is_warm = config.warmup == 0
        self._generator = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.projection = PixelProjection(channels, config.width)

    def begin_epoch(self, network: nn.Module, epoch: int, epochs: int) -> None:
        self._generator.manual_seed(self.seed * 100_003 + epoch)
        self.is_warm = epoch >= self.config.warmup * epochs
        self.train()

    def parameter_groups(self, network: nn.Module) -> list[dict[str, Any]]:
        return [{"params": [*network.parameters(), *self.parameters()], "lr_factor": 1.0, "starts_at": 0.0}]

    def logits(self, network: nn.Module, images: Tensor) -> Tensor:
        logits: Tensor = network(images)
        return logits

    def forward(self, network: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        seen: list[Tensor] = []
        hook = head_of(network).register_forward_pre_hook(lambda head, inputs: seen.append(inputs[0]))
        try:
            logits = network(batch.images).float()
        finally:
            hook.remove()
        labels, predicted = classes_of(logits, batch.targets)
        loss = self.loss(logits, batch.targets)
        if not self.is_warm:
            return loss, {"pne": torch.zeros(())}
        with torch.autocast(batch.images.device.type, enabled=False):  # similarities / tau need float32
            pne = pne_loss(seen[0], labels, predicted, self.projection, self.config, self._generator)
        return loss + self.config.weight * pne, {"pne": pne}
