"""Training with few bits: an objective around any other, that moves what the quantizers of `quantization/` need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from leanseg.quantization.config import QuantizationConfig
from leanseg.quantization.dsq import alphas, evolve_
from leanseg.quantization.inq import round_starts
from leanseg.quantization.layers import fix_portion_, quantizer_parameters
from leanseg.training.objectives import Batch, Objective


@dataclass(frozen=True)
class QuantizationAware:
    """Any plain objective, of a network that learns to be quantized: a `PhasedObjective` around it.

    DSQ: the ceiling of alpha falls from epoch to epoch, and alpha_pull times the sum of alpha^2 joins the loss.
    INQ: at the start of each round a portion of the weights is quantized, and the learning rate begins anew.
    """

    objective: Objective
    config: QuantizationConfig
    epochs: int

    def begin_epoch(self, network: nn.Module, epoch: int, epochs: int) -> None:
        evolve_(network, epoch / max(epochs - 1, 1))
        for start, portion in zip(round_starts(self.config.portions, epochs), self.config.portions, strict=True):
            if start == epoch:
                fix_portion_(network, portion)

    def parameter_groups(self, network: nn.Module) -> list[dict[str, Any]]:
        """Weights; and what quantizers learn, at a tenth of the rate and without decay."""
        learned = quantizer_parameters(network)
        slow = {id(parameter) for parameter in learned}
        # in the last epoch nothing is left that would need a fresh rate
        restarts = round_starts(self.config.portions, self.epochs)[1:-1] if self.config.method == "inq" else ()
        weights = [parameter for parameter in network.parameters() if id(parameter) not in slow]
        groups: list[dict[str, Any]] = [
            {"params": weights, "lr_factor": 1.0, "starts_at": 0.0, "restarts_at": [n / self.epochs for n in restarts]}
        ]
        if learned:
            groups.append({"params": learned, "lr_factor": 0.1, "starts_at": 0.0, "weight_decay": 0.0})
        return groups

    def logits(self, network: nn.Module, images: Tensor) -> Tensor:
        logits: Tensor = network(images)
        return logits

    def __call__(self, network: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        loss, parts = self.objective(network, batch)
        if self.config.method != "dsq":
            return loss, parts
        each = torch.stack(list(alphas(network).values()))
        return loss + self.config.alpha_pull * each.square().sum(), parts | {"alpha": each.mean()}
