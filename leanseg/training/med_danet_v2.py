"""Training of Med-DANet V2: one run in three phases.

Paper: Shen et al., WACV 2024, arXiv 2310.18656 (code under Apache-2.0, nothing taken from it). Phase borders, weights
and the loss of each phase are published facts:

    1  U-Net and crop position network, 32 bits     mean of L_crop and L_whole
    2  the same with selected bits                  ... + 0.00015 sum over batch and branches of G
    3  the decision network alone                   half the mean + half of (L_decision + 0.02 sum over batch of G)

L is a loss between the output of a branch, or in L_decision of the mixture by the sampled decisions, and the truth. G
are bit-weighted GMACs, counted from the layers. With several crop sizes the mean is over all branches (inferred).

Departures
  * In phase 3 everything but the decision network is really frozen: no gradient, and eval mode, so that batch-norm
    statistics and dropout rest too. In the released code they move on.
  * The decision network pays for the crop position network where it chooses a crop.
  * `label_cost_weight`, an option: in phase 3 the decision network learns labels, as in Med-DANet, from the Dice and
    the MACs of each branch, found out once: an epoch then costs no more than the decision network. With few epochs the
    sampled loss forgets to skip: a tumor slice that is skipped by chance costs more than all empty ones save (6 epochs
    on 12 cases ended with 0.06 % of the slices skipped).

Symbols: g Gumbel noise, tau temperature; y = softmax((log p + g) / tau).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from leanseg.errors import LeanSegError
from leanseg.networks.blocks.bits import FULL_BITS
from leanseg.networks.blocks.decision import background
from leanseg.networks.med_danet_v2 import SKIP, Branch, MedDANetV2
from leanseg.training.med_danet import DecisionLabels
from leanseg.training.objectives import Batch
from leanseg.training.recipe import ThreePhasesConfig


@runtime_checkable
class SegmentationLoss(Protocol):
    """`SoftmaxDiceLoss` (the paper's) or `RegionLoss`."""

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor: ...

    def of_probabilities(self, probabilities: Tensor, target: Tensor) -> Tensor: ...


def gumbel_straight_through(logits: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """One-hot samples (batch, choice) whose gradient is that of the softened sample y."""
    uniform = torch.rand(logits.shape, generator=generator).clamp(min=1e-20).to(logits.device)
    noise = -(-uniform.log()).clamp(min=1e-20).log()
    y = ((logits.log_softmax(dim=1) + noise) / temperature).softmax(dim=1)
    hard = F.one_hot(y.argmax(dim=1), y.shape[1]).to(y.dtype)
    return hard + (y - y.detach())


def mixture(weights: Tensor, branches: list[Branch]) -> Tensor:
    """Probabilities (batch, label, ...) of the weighted sum of skip, which is background, and the branches."""
    logits = [background(branches[0].logits.float(), branches[0].logits.shape[1])]
    logits += [branch.logits.float() for branch in branches]
    probabilities = torch.stack([each.softmax(dim=1) for each in logits], dim=1)
    return (weights.view(*weights.shape, 1, 1, 1) * probabilities).sum(dim=1)


def branch_gmacs(network: MedDANetV2, branches: list[Branch], size_ji: tuple[int, int]) -> Tensor:
    """Bit-weighted GMACs (batch, branch), of crops with the crop position network; carries the selectors' gradient."""
    costs = [_gmacs(network, choice, branch.bits, size_ji) for choice, branch in enumerate(branches, start=1)]
    return torch.stack(costs, dim=1).float()


def _gmacs(network: MedDANetV2, choice: int, bits: Tensor, size_ji: tuple[int, int]) -> Tensor:
    position = 0 if choice == network.whole else network.position.macs(*size_ji)
    return (network.branch_macs(choice, bits, *size_ji) + position) / 1e9


@dataclass
class ThreePhases:
    """The objective of all three phases; `begin_epoch` switches between them."""

    loss: SegmentationLoss
    config: ThreePhasesConfig = field(default_factory=ThreePhasesConfig)
    slices: tuple[Tensor, Tensor] | None = None
    """Un-augmented training slices and their targets, needed where the decision network learns labels."""

    def __post_init__(self) -> None:
        self.phase = 0
        self._labels: DecisionLabels | None = None
        self._generator = torch.Generator()

    def begin_epoch(self, network: nn.Module, epoch: int, epochs: int) -> None:
        """Set the phase, freeze what rests in it, and seed the noise of this epoch."""
        checked = _checked(network)
        self.phase = self.config.phase(epoch, epochs)
        self._generator.manual_seed(self.config.seed * 100_003 + epoch)
        checked.requires_grad_(self.phase < 3)
        checked.decision.requires_grad_(self.phase == 3)
        checked.zero_grad(set_to_none=True)
        if self.phase == 3 and self._labels is None and self.config.label_cost_weight is not None:
            self._labels = self._look_at(checked, self.config.label_cost_weight)

    def parameter_groups(self, network: nn.Module) -> list[dict[str, Any]]:
        """For the optimizer: all but the decision network, and the decision network.

        `lr_factor` multiplies the learning rate. `starts_at` is the fraction of the epochs at which the warm-up and
        decay of a group begin.
        """
        checked = _checked(network)
        decision = list(checked.decision.parameters())
        others = [p for name, p in checked.named_parameters() if not name.startswith("decision.")]
        start = self.config.decide_from
        return [
            {"params": others, "lr_factor": 1.0, "starts_at": 0.0},
            {"params": decision, "lr_factor": self.config.decision_lr_factor, "starts_at": start},
        ]

    def logits(self, network: nn.Module, images: Tensor) -> Tensor:
        """What is validated in the present phase: the whole branch, and in phase 3 what is decided."""
        checked = _checked(network)
        if self.phase == 3:
            return checked.predict(images).logits
        return checked.whole_branch(images, quantize=self.phase == 2).logits

    def __call__(self, network: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        checked = _checked(network)
        if self.phase == 0:
            raise LeanSegError("No phase has begun. Call begin_epoch(network, epoch, epochs) first.")
        return self._decide(checked, batch) if self.phase == 3 else self._segment(checked, batch)

    def _segment(self, network: MedDANetV2, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Phases 1 and 2: every slice through every branch."""
        branches = network.branches(batch.images, quantize=self.phase == 2)
        parts = self._losses(network, branches, batch.targets)
        total = torch.stack(list(parts.values())).mean()
        gmacs = branch_gmacs(network, branches, _size(batch.images))
        if self.phase == 2:
            total = total + self.config.cost_weight * gmacs.sum()
        return total, parts | {"gmacs": gmacs.mean()}

    def _decide(self, network: MedDANetV2, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Phase 3: the decision network samples a branch, or none, for every slice."""
        for child in network.children():
            if child is not network.decision:
                child.eval()  # whoever switched the network to training
        if self._labels is not None:
            return self._labels.loss(network.decision, batch)
        with torch.no_grad():
            branches = network.branches(batch.images, quantize=True)
        parts = self._losses(network, branches, batch.targets)
        gmacs = branch_gmacs(network, branches, _size(batch.images))
        logits = network.decision(batch.images).float()
        weights = gumbel_straight_through(logits, self.config.temperature, self._generator)
        decision = self.loss.of_probabilities(mixture(weights, branches), batch.targets)
        chosen = (weights[:, 1:] * gmacs).sum(dim=1)
        segmenting = torch.stack(list(parts.values())).mean()
        total = 0.5 * segmenting + 0.5 * (decision + self.config.decision_cost_weight * chosen.sum())
        deciding = network.decision.macs(*_size(batch.images)) / 1e9
        parts |= {"decision": decision, "gmacs": chosen.mean() + deciding, "skipped": weights[:, SKIP].mean()}
        return total, parts

    def _look_at(self, network: MedDANetV2, cost_weight: float) -> DecisionLabels:
        """Skip where there is no tumor, else the branch that is worth its MACs; all at 32 bits, as exported graphs
        compute."""
        if self.slices is None:
            raise LeanSegError("Labels need the training slices. Give them as `slices`.")
        images, targets = self.slices
        was_training = network.training
        network.eval()
        bits = torch.full((1, len(network.body.stages)), float(FULL_BITS))
        choices = range(1, network.whole + 1)
        macs = [round(1e9 * _gmacs(network, choice, bits, _size(images)).item()) for choice in choices]
        labels = DecisionLabels.look_at(
            lambda some: [branch.logits for branch in network.branches(some, quantize=False)],
            macs,
            images,
            targets,
            cost_weight,
        )
        network.train(was_training)
        return labels

    def _losses(self, network: MedDANetV2, branches: list[Branch], targets: Tensor) -> dict[str, Tensor]:
        names = [*(f"crop_{size}" for size in network.config.crop_sizes), "whole"]
        return {n: self.loss(branch.logits.float(), targets) for n, branch in zip(names, branches, strict=True)}


def _size(images: Tensor) -> tuple[int, int]:
    return images.shape[-2], images.shape[-1]


def _checked(network: nn.Module) -> MedDANetV2:
    if not isinstance(network, MedDANetV2):
        raise LeanSegError(f"Training in three phases needs a MedDANetV2; got {type(network).__name__}.")
    return network
