"""Training of Med-DANet: the model bank first, then the decision network that chooses from it.

Paper: Wang et al., ECCV 2022, arXiv 2206.06575. No code was released. Known: two stages, bank then decision network;
labels for the decision network were made beforehand, one for each slice. Inferred: the formula of the labels, the
weight of the cost, the balance of the classes.

    a_k = mean over WT, TC, ET of the Dice of member k on the slice (1 where truth and prediction are empty)
    c_k = MACs_k / max_j MACs_j
    label = skip if the slice has no tumor, else the k with the largest a_k - lambda c_k; the cheapest of equal ones

Stage 1 is plain training of each member alone (`Supervised`); `load_bank` puts them together. Stage 2 is
`DecisionTraining`: only the decision network learns, the bank is frozen with its batch-norm statistics.

Departures
  * Rare decisions are balanced by weights in the cross-entropy, not by sampling.
  * Labels are made once, from un-augmented slices: what is to be decided is the same after a turn or a change of
    intensities, and steps cost no more than the decision network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from leanseg.errors import LeanSegError
from leanseg.losses.regions import regions_of_classes
from leanseg.networks.blocks.decision import DecisionNetwork
from leanseg.networks.med_danet import SKIP, MedDANet
from leanseg.training.metrics import dice_of_masks
from leanseg.training.objectives import Batch

LOOK_BATCH = 32
"""Slices that are labeled at a time."""


def region_accuracy(logits: Tensor, target: Tensor) -> Tensor:
    """a of each slice: mean Dice over the regions. Logits (batch, 4, ...), target (batch, 3, ...) -> (batch,)."""
    labels = F.one_hot(logits.argmax(dim=1), logits.shape[1]).movedim(-1, 1)
    masks, truth = regions_of_classes(labels.float()) > 0.5, target > 0.5
    regions = [dice_of_masks(masks[:, n : n + 1], truth[:, n : n + 1]) for n in range(masks.shape[1])]
    return torch.stack(regions).mean(dim=0)


def decision_labels(accuracy: Tensor, macs: Sequence[int], has_tumor: Tensor, cost_weight: float) -> Tensor:
    """What the decision network shall say: 0 skip, k the k-th member.

    Args:
        accuracy: (member, batch), a.
        macs: of each member.
        has_tumor: (batch,), bool.
        cost_weight: lambda; 0 asks for the most accurate member.
    """
    costs = torch.tensor(macs, dtype=torch.float64, device=accuracy.device)[:, None]
    score = accuracy.double() - cost_weight * costs / costs.max()
    is_best = score >= score.amax(dim=0) - 1e-9
    cheapest = torch.where(is_best, costs, torch.inf).argmin(dim=0)
    return torch.where(has_tumor, cheapest + 1, SKIP)


def class_weights(counts: Tensor) -> Tensor:
    """Weights that let every class that occurs count the same; their mean over the samples is 1."""
    present = counts > 0
    return torch.where(present, counts.sum() / (present.sum() * counts.clamp(min=1)), 0.0)


def decision_loss(
    logits: Tensor, labels: Tensor, weights: Tensor, has_tumor: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Weighted cross-entropy of decisions (batch, choice), and how often they agree and skip.

    Args:
        labels: (batch,), of `decision_labels`.
        weights: (choice,), of `class_weights`.
        has_tumor: (batch,), bool.
    """
    loss = (weights[labels] * F.cross_entropy(logits, labels, reduction="none")).mean()
    decisions = logits.detach().argmax(dim=1)
    parts = {
        "agreement": (decisions == labels).float().mean(),
        "tumor_skipped": ((decisions == SKIP) & has_tumor).sum() / has_tumor.sum().clamp(min=1),
        "empty_skipped": ((decisions == SKIP) & ~has_tumor).sum() / (~has_tumor).sum().clamp(min=1),
    }
    return loss, parts


@dataclass(frozen=True)
class DecisionLabels:
    """What the decision network shall say to every un-augmented slice, found out once."""

    labels: Tensor
    """(slice,), of `decision_labels`."""
    weights: Tensor
    """(choice,), of `class_weights`."""

    @classmethod
    def look_at(
        cls,
        segment: Callable[[Tensor], Sequence[Tensor]],
        macs: Sequence[int],
        images: Tensor,
        targets: Tensor,
        cost_weight: float,
    ) -> DecisionLabels:
        """Run every way to segment on the slices with tumor.

        Args:
            segment: images (batch, channel, ...) -> logits (batch, 4, ...) of each way, networks being in eval mode.
            macs: of each way.
            images: (slice, channel, height, width).
            targets: (slice, 3, height, width).
            cost_weight: lambda.
        """
        has_tumor = (targets > 0).flatten(1).any(dim=1)
        labels = torch.full((len(images),), SKIP, device=images.device)
        for some in has_tumor.nonzero().flatten().split(LOOK_BATCH):
            with torch.no_grad():
                logits = segment(images[some].float())
            accuracy = torch.stack([region_accuracy(each, targets[some] > 0) for each in logits])
            labels[some] = decision_labels(accuracy, macs, has_tumor[some], cost_weight)
        return cls(labels, class_weights(torch.bincount(labels, minlength=len(macs) + 1)))

    def loss(self, decision: DecisionNetwork, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """`decision_loss` of augmented slices, and `cell_loss` where the network looks at cells.

        The augmentation may have moved a tumor out of sight.
        """
        has_tumor = batch.targets.flatten(1).any(dim=1)
        labels = torch.where(has_tumor, self.labels[batch.indices].to(has_tumor.device), SKIP)
        weights = self.weights.to(has_tumor.device)
        if decision.decision_pool == "mean":
            return decision_loss(decision(batch.images).float(), labels, weights, has_tumor)
        logits, shows = decision.by_cells(batch.images)
        loss, parts = decision_loss(logits.float(), labels, weights, has_tumor)
        cells = cell_loss(shows.float(), batch.targets)
        return loss + cells, parts | {"cells": cells}


def cell_loss(shows: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy of whether a cell shows tumor; cells with and without weigh the same.

    Args:
        shows: (batch, h, w), log odds.
        targets: (batch, region, height, width), the whole tumor first.
    """
    truth = F.adaptive_max_pool2d(targets[:, :1], shows.shape[-2:])[:, 0]
    each = F.binary_cross_entropy_with_logits(shows, truth, reduction="none")
    return (class_weights(torch.bincount(truth.long().flatten(), minlength=2))[truth.long()] * each).mean()


def load_bank(network: MedDANet, members: Sequence[nn.Module]) -> None:
    """Give the bank the parameters and statistics of members that were trained alone.

    Raises:
        LeanSegError: another number of members, or members of another shape.
    """
    if len(members) != len(network.bank):
        raise LeanSegError(f"The bank has {len(network.bank)} members; got {len(members)} trained ones.")
    for n, (member, trained) in enumerate(zip(network.bank, members, strict=True)):
        try:
            member.load_state_dict(trained.state_dict())
        except RuntimeError as error:
            raise LeanSegError(f"Member {n} of the bank has another shape than the trained one.") from error


@dataclass
class DecisionTraining:
    """The objective of stage 2. The bank is frozen: eval mode, no gradient, fixed batch-norm statistics."""

    cost_weight: float = 0.05
    """lambda: how many points of Dice the largest member must win against one that costs nothing."""

    def __post_init__(self) -> None:
        if self.cost_weight < 0:
            raise LeanSegError(f"cost_weight must be 0 or more; got {self.cost_weight}.")
        self._labels: DecisionLabels | None = None

    def begin_epoch(self, network: nn.Module, epoch: int, epochs: int) -> None:
        """Only the decision network has a gradient."""
        checked = _checked(network).requires_grad_(False)
        checked.bank.eval()
        checked.decision.requires_grad_(True)

    def parameter_groups(self, network: nn.Module) -> list[dict[str, Any]]:
        """For the optimizer."""
        return [{"params": list(_checked(network).decision.parameters()), "lr_factor": 1.0, "starts_at": 0.0}]

    def logits(self, network: nn.Module, images: Tensor) -> Tensor:
        """What is validated: each slice by the member that is chosen for it."""
        return _checked(network).predict(images).logits

    def look_at(self, network: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
        """Label every un-augmented training slice, before the first step.

        Returns the number of slices of each decision.
        """
        checked = _checked(network)
        checked.bank.eval()  # whoever switched the network to training
        macs = checked.bank_macs(*images.shape[-2:])
        self._labels = DecisionLabels.look_at(
            lambda some: [member(some) for member in checked.bank], macs, images, targets, self.cost_weight
        )
        return torch.bincount(self._labels.labels, minlength=len(macs) + 1)

    def __call__(self, network: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        if self._labels is None:
            raise LeanSegError("No slice has a label. Call look_at(network, images, targets) first.")
        return self._labels.loss(_checked(network).decision, batch)


def _checked(network: nn.Module) -> MedDANet:
    if not isinstance(network, MedDANet):
        raise LeanSegError(f"Decision training needs a MedDANet; got {type(network).__name__}.")
    return network
