import copy
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from leanseg.errors import LeanSegError
from leanseg.losses.regions import RegionLoss
from leanseg.networks.med_danet import SKIP, MedDANet, MedDANetConfig
from leanseg.training.med_danet import (
    DecisionTraining,
    cell_loss,
    class_weights,
    decision_labels,
    load_bank,
    region_accuracy,
)
from Testing.engine.training.brain_slices import batch_of, brain_slices

MACS = (100, 200, 400)
TUMOR = torch.tensor([True])


def a_network(seed: int = 0, widths: tuple[int, ...] = (2, 4)) -> MedDANet:
    torch.manual_seed(seed)
    return MedDANet(MedDANetConfig(bank_widths=widths, dropout=0.0))


# ── labels ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def label(accuracy: list[float], cost_weight: float, has_tumor: Tensor = TUMOR) -> int:
    return int(decision_labels(torch.tensor(accuracy)[:, None], MACS, has_tumor, cost_weight))


def test_a_slice_without_tumor_is_skipped_however_good_the_members_are() -> None:
    assert label([1.0, 1.0, 1.0], 0.0, has_tumor=torch.tensor([False])) == SKIP


def test_without_a_weight_the_most_accurate_member_is_chosen() -> None:
    assert [label(a, 0.0) for a in ([0.9, 0.8, 0.7], [0.7, 0.9, 0.8], [0.7, 0.8, 0.801])] == [1, 2, 3]


def test_with_a_large_weight_the_cheapest_member_is_chosen() -> None:
    assert label([0.0, 0.5, 1.0], 10.0) == 1


def test_of_equal_members_the_cheapest_is_chosen_whatever_its_place() -> None:
    assert label([0.8, 0.8, 0.8], 0.0) == 1
    assert int(decision_labels(torch.full((3, 1), 0.8), (400, 100, 200), TUMOR, 0.0)) == 2


def test_the_label_by_hand() -> None:
    # scores with lambda 0.05: 0.80 - 0.0125, 0.82 - 0.025, 0.84 - 0.05
    assert label([0.80, 0.82, 0.84], 0.05) == 2


def test_a_larger_weight_never_chooses_a_dearer_member() -> None:
    accuracy = torch.rand(3, 200, generator=torch.Generator().manual_seed(0))
    costs = torch.tensor((0, *MACS))
    mean = []
    before = torch.full((200,), max(MACS))
    for weight in (0.0, 0.02, 0.1, 0.5, 10.0):
        chosen = costs[decision_labels(accuracy, MACS, torch.ones(200, dtype=torch.bool), weight)]
        assert (chosen <= before).all()
        mean.append(chosen.float().mean().item())
        before = chosen
    assert mean == sorted(mean, reverse=True) and mean[0] > mean[2] > mean[4] == MACS[0]


def test_accuracy_is_the_mean_dice_of_the_regions_by_hand() -> None:
    # truth: 2 pixels edema, 1 enhancing. Predicted: 1 edema, 1 necrosis, 1 enhancing -> WT 1, TC 2/3, ET 1
    target = torch.tensor([[1.0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 1, 0]]).view(1, 3, 1, 4)
    labels = torch.tensor([2, 1, 3, 0]).view(1, 1, 4)
    logits = torch.nn.functional.one_hot(labels, 4).movedim(-1, 1).float()
    assert region_accuracy(logits, target).item() == pytest.approx((1 + 2 / 3 + 1) / 3)


def test_accuracy_of_an_empty_region_is_1_if_nothing_is_predicted() -> None:
    logits, empty = torch.zeros(2, 4, 2, 2), torch.zeros(2, 3, 2, 2)
    logits[0, 0] = 1
    logits[1, 2] = 1  # edema: TC and ET stay empty
    assert region_accuracy(logits, empty).tolist() == pytest.approx([1, 2 / 3])


def test_every_class_that_occurs_weighs_the_same() -> None:
    weights = class_weights(torch.tensor([6, 0, 3, 1]))
    assert weights.tolist() == pytest.approx([10 / 18, 0, 10 / 9, 10 / 3])
    assert (weights * torch.tensor([6, 0, 3, 1])).sum().item() == pytest.approx(10)


# ── stage 2 ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_loss_is_balanced_cross_entropy_by_hand() -> None:
    network = a_network()
    images, targets = brain_slices(6, tumor_share=1 / 3)
    bank = network.bank.eval()
    dice = torch.stack([region_accuracy(member(images), targets) for member in bank])
    macs, has_tumor = network.bank_macs(*images.shape[-2:]), targets.flatten(1).any(dim=1)
    labels = decision_labels(dice, macs, has_tumor, DecisionTraining().cost_weight)
    assert (labels == SKIP).sum() == 4
    said = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    network.decision.register_forward_hook(lambda *_: said)
    each = -said.log_softmax(dim=1)[torch.arange(6), labels]
    expected = torch.stack([each[labels == k].mean() for k in labels.unique()]).mean()
    objective = DecisionTraining()
    objective.look_at(network, images, targets)
    loss, parts = objective(network, batch_of(images, targets))
    torch.testing.assert_close(loss, expected)
    assert parts["agreement"] == (said.argmax(dim=1) == labels).float().mean()


def test_labels_are_made_once_and_found_by_index() -> None:
    network, (images, targets) = a_network(), brain_slices(20)
    objective, again = DecisionTraining(), DecisionTraining()
    counts = objective.look_at(network, images, targets)
    assert counts.sum() == 20 and counts[SKIP] == 11
    back = torch.arange(20).flip(0)
    again.look_at(network, images[back], targets[back])
    network.eval()
    asked: list[int] = []
    network.bank[0].register_forward_hook(lambda *_: asked.append(1))
    some = torch.tensor([3, 8, 1])
    loss = objective(network, batch_of(images, targets, some))[0]
    same_slices = replace(batch_of(images, targets, some), indices=19 - some)
    torch.testing.assert_close(again(network, same_slices)[0], loss)
    assert asked == []


def test_cells_learn_where_tumor_is_by_hand() -> None:
    """Three cells without tumor and one with, which weighs as much as they together."""
    targets = torch.zeros(1, 3, 4, 4)
    targets[0, 0, 3, 0] = 1
    shows = torch.tensor([[[0.0, 1.0], [2.0, -1.0]]])
    without = [math.log(1 + math.exp(s)) for s in (0, 1, -1)]
    expected = (sum(without) / 3 + math.log(1 + math.exp(-2))) / 2
    assert cell_loss(shows, targets).item() == pytest.approx(expected)


def test_a_network_that_looks_at_cells_learns_them_too() -> None:
    network = MedDANet(MedDANetConfig(bank_widths=(2, 4), decision_pool="cells"))
    images, targets = brain_slices(6)
    objective = DecisionTraining()
    objective.look_at(network, images, targets)
    loss, parts = objective(network, batch_of(images, targets))
    _, shows = network.decision.by_cells(images)
    assert parts["cells"].item() == pytest.approx(cell_loss(shows, targets).item(), rel=1e-4)
    assert loss.item() > parts["cells"].item() > 0


def test_a_tumor_that_the_augmentation_moved_out_of_sight_may_be_skipped() -> None:
    network, (images, targets) = a_network(), brain_slices(4, tumor_share=1.0)
    objective = DecisionTraining()
    objective.look_at(network, images, targets)
    gone = replace(batch_of(images, targets), targets=torch.zeros_like(targets))
    network.decision.register_forward_hook(lambda *_: torch.tensor([[9.0, 0, 0]]).expand(4, 3))
    assert objective(network, gone)[1]["agreement"] == 1


def test_the_bank_is_bit_identical_after_stage_2() -> None:
    network, (images, targets) = a_network(), brain_slices(8)
    before = copy.deepcopy(network.state_dict())
    objective = DecisionTraining()
    objective.look_at(network, images, targets)
    groups = objective.parameter_groups(network)
    optimizer = torch.optim.AdamW([*groups, {"params": network.bank.parameters()}], lr=1e-2, weight_decay=0.1)
    network.train()
    for epoch in range(2):
        objective.begin_epoch(network, epoch, 2)
        network.train()  # as a trainer might, after begin_epoch
        loss, _ = objective(network, batch_of(images, targets))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and all(name.startswith("decision.") for name in changed)
    assert "decision.stem.0.1.running_mean" in changed, "the decision network's own statistics move"


# ── trained on a phantom ────────────────────────────────────────────────────────────────────────────────────────────


def train(module: nn.Module, steps: int, rate: float, loss_of: Callable[[Tensor], Tensor]) -> None:
    """Some steps on twelve of 96 slices each."""
    optimizer = torch.optim.AdamW(module.train().parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        loss = loss_of(torch.randperm(96, generator=generator)[:12])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def test_on_a_phantom_empty_slices_are_skipped_tumors_are_not_and_nothing_is_lost() -> None:
    """Skip recall, tumors skipped, Dice against the largest member on every slice; on slices that nobody saw."""
    images, targets = brain_slices(96)
    network = a_network()
    largest_member = network.bank[1]  # the small one stays as it is, and is never the better
    train(largest_member, 50, 3e-2, lambda n: RegionLoss()(largest_member(images[n]), targets[n]))
    objective = DecisionTraining()
    objective.look_at(network, images, targets)
    objective.begin_epoch(network, 0, 1)
    train(network.decision, 80, 1e-2, lambda n: objective(network, batch_of(images, targets, n))[0])
    network.eval()
    others, truth = brain_slices(200, seed=1)
    has_tumor = truth.flatten(1).any(dim=1)
    with torch.no_grad():
        prediction = network.predict(others)
        largest = region_accuracy(largest_member(others), truth)
    skipped = prediction.decisions == SKIP
    assert skipped[~has_tumor].float().mean() >= 0.95
    assert skipped[has_tumor].float().mean() <= 0.01
    dynamic = region_accuracy(prediction.logits, truth)
    assert largest[has_tumor].mean() > 0.8, "the bank learned something"
    assert dynamic.mean() >= largest.mean() - 0.01
    everything = network.cost(torch.full((200,), 2), 32, 32).macs
    assert prediction.cost.macs < 0.6 * everything


# ── wrong use ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_bank_takes_members_that_were_trained_alone() -> None:
    network, other = a_network(0), a_network(1)
    load_bank(network, list(other.bank))
    for name, value in other.bank.state_dict().items():
        assert torch.equal(network.bank.state_dict()[name], value)
    with pytest.raises(LeanSegError, match="The bank has 2 members; got 1"):
        load_bank(network, list(other.bank)[:1])
    with pytest.raises(LeanSegError, match="Member 0 of the bank has another shape"):
        load_bank(network, list(other.bank)[::-1])


def test_another_network_and_a_negative_weight_are_refused() -> None:
    with pytest.raises(LeanSegError, match="needs a MedDANet; got Conv2d"):
        DecisionTraining().begin_epoch(nn.Conv2d(1, 1, 1), 0, 1)
    with pytest.raises(LeanSegError, match=r"Call look_at\(network, images, targets\) first"):
        DecisionTraining()(a_network(), batch_of(*brain_slices(2)))
    with pytest.raises(LeanSegError, match="cost_weight must be 0 or more; got -1"):
        DecisionTraining(cost_weight=-1)
