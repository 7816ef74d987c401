"""Training of CGA U-Net: a segmentation loss, the attention loss, and later the distance of the class centers.

Total = segmentation + attention_weight * MSE (+ the inter-class loss from `distance_from` on); arXiv 2203.15383.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from leanseg.losses.class_centers import ClassGuidanceConfig, InterClassLoss, attention_loss, attention_target
from leanseg.losses.regions import classes_of_regions
from leanseg.networks.cga_unet import CGAUNet
from leanseg.training.objectives import Batch


@dataclass
class ClassGuided:
    """The objective of CGA U-Net: a `PhasedObjective`, because the distance joins later."""

    loss: Callable[[Tensor, Tensor], Tensor]
    config: ClassGuidanceConfig
    keeps_apart: bool = field(default=False, init=False)

    def begin_epoch(self, network: nn.Module, epoch: int, epochs: int) -> None:
        self.keeps_apart = epoch >= round(self.config.distance_from * epochs)

    def parameter_groups(self, network: nn.Module) -> list[dict[str, Any]]:
        return [{"params": list(network.parameters()), "lr_factor": 1.0, "starts_at": 0.0}]

    def logits(self, network: nn.Module, images: Tensor) -> Tensor:
        logits: Tensor = network(images)
        return logits

    def __call__(self, network: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        assert isinstance(network, CGAUNet)
        seen = network.guided(batch.images)
        loss = self.loss(seen.logits.float().flatten(2, -2), batch.targets.flatten(2, -2))  # a volume is a tall slice
        parts: dict[str, Tensor] = {}
        if self.config.attention_weight:
            target = attention_target(classes_of(batch.targets), network.config.out_channels, network.config.stride)
            parts["attention"] = attention_loss(seen.attention, target)
            loss = loss + self.config.attention_weight * parts["attention"]
        # logged from the first epoch on, so that every row of the log has the same columns
        parts["distance"] = InterClassLoss(self.config.as_released)(seen.centers, seen.present)
        if self.keeps_apart:
            loss = loss + parts["distance"]
        return loss, parts


def classes_of(targets: Tensor) -> Tensor:
    """(batch, k, j, i), 0 background, 1 necrosis, 2 edema, 3 enhancing, from nested regions (batch, 3, k, j, i)."""
    classes: Tensor = classes_of_regions(targets.flatten(2, 3)).argmax(dim=1).unflatten(1, targets.shape[2:4])
    return classes
