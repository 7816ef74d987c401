import copy
import math

import pytest
import torch
from torch import Tensor, nn

from leanseg.errors import LeanSegError
from leanseg.losses.regions import RegionLoss, SoftmaxDiceLoss
from leanseg.networks.med_danet_v2 import SKIP, Branch, MedDANetV2, MedDANetV2Config
from leanseg.training.med_danet_v2 import ThreePhases, branch_gmacs, gumbel_straight_through, mixture
from leanseg.training.objectives import Batch, PhasedObjective
from leanseg.training.recipe import ThreePhasesConfig
from Testing.engine.training.brain_slices import SIDE, batch_of, brain_slices

EPOCHS = 7  # 3 of phase 1, 3 of phase 2, 1 of phase 3
FIRST, SECOND, THIRD = 0, 3, 6
CROP, WHOLE = 1, 2
LOWEST = 3 * SIDE // 4


def a_network(**options: object) -> MedDANetV2:
    torch.manual_seed(0)
    return MedDANetV2(MedDANetV2Config(width=4, crop_sizes=(24,), **options))  # type: ignore[arg-type]


@pytest.fixture
def network() -> MedDANetV2:
    return a_network().train()


@pytest.fixture(scope="module")
def batch() -> Batch:
    return batch_of(*brain_slices(4, tumor_share=0.5))


def begun(network: MedDANetV2, epoch: int, **options: float) -> ThreePhases:
    objective = ThreePhases(SoftmaxDiceLoss(), ThreePhasesConfig(**options))  # type: ignore[arg-type]
    objective.begin_epoch(network, epoch, EPOCHS)
    return objective


def without_randomness(network: MedDANetV2) -> MedDANetV2:
    """No dropout, batch norm of the running statistics."""
    return network.eval()


def gradients(network: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad for name, p in network.named_parameters() if p.grad is not None and p.grad.any()}


# ── phases ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("epoch", "phase"), [(0, 1), (149, 1), (150, 2), (299, 2), (300, 3), (349, 3)])
def test_phases_change_where_the_paper_says(epoch: int, phase: int) -> None:
    assert ThreePhasesConfig().phase(epoch, 350) == phase


def test_borders_are_fractions_of_the_epochs() -> None:
    assert [ThreePhasesConfig().phase(epoch, 7) for epoch in range(7)] == [1, 1, 1, 2, 2, 2, 3]
    config = ThreePhasesConfig(quantize_from=0.0, decide_from=0.5)
    assert [config.phase(epoch, 4) for epoch in range(4)] == [2, 2, 3, 3]


def test_it_is_an_objective_with_phases() -> None:
    assert isinstance(ThreePhases(SoftmaxDiceLoss()), PhasedObjective)


def test_phase_1_is_the_mean_loss_of_the_branches_without_quantization(network: MedDANetV2, batch: Batch) -> None:
    without_randomness(network)
    loss, parts = begun(network, FIRST)(network, batch)
    each = [SoftmaxDiceLoss()(b.logits, batch.targets) for b in network.branches(batch.images, quantize=False)]
    torch.testing.assert_close(loss, (each[0] + each[1]) / 2)
    assert parts["crop_24"] == each[0] and parts["whole"] == each[1]


def test_phase_2_adds_the_bit_weighted_macs_of_all_branches(network: MedDANetV2, batch: Batch) -> None:
    without_randomness(network)
    loss, _ = begun(network, SECOND)(network, batch)
    each = [SoftmaxDiceLoss()(b.logits, batch.targets) for b in network.branches(batch.images, quantize=True)]
    gmacs = 0.0
    for size in (24, SIDE):  # 16 bits at the start: half of the stages; 4 slices
        gmacs += 4 * (sum(network.body.stage_macs(size, size)) / 2 + network.body.other_macs(size, size)) / 1e9
        gmacs += 4 * network.whole_head.macs(SIDE, SIDE) / 1e9
    gmacs += 4 * network.position.macs(SIDE, SIDE) / 1e9
    torch.testing.assert_close(loss, (each[0] + each[1]) / 2 + 0.00015 * gmacs)
    dear, _ = begun(network, SECOND, cost_weight=1.0)(network, batch)
    assert (dear - loss).item() == pytest.approx((1 - 0.00015) * gmacs, rel=1e-3)


def test_phase_3_adds_the_loss_and_the_cost_of_what_is_decided(network: MedDANetV2, batch: Batch) -> None:
    said = torch.full((4, 3), -100.0)
    chosen = [WHOLE, SKIP, CROP, WHOLE]
    said[torch.arange(4), chosen] = 100.0  # no noise is stronger
    network.decision.register_forward_hook(lambda *_: said)
    loss, parts = begun(network, THIRD)(network, batch)
    without_randomness(network)
    branches = network.branches(batch.images, quantize=True)
    each = [SoftmaxDiceLoss()(b.logits, batch.targets) for b in branches]
    probabilities = torch.stack([branches[1].logits[0], torch.zeros(4, SIDE, SIDE), branches[0].logits[2]]).softmax(1)
    probabilities[1] = torch.tensor([1.0, 0, 0, 0])[:, None, None]
    mixed = torch.cat([probabilities, branches[1].logits[3:].softmax(1)])
    decision = SoftmaxDiceLoss().of_probabilities(mixed, batch.targets)
    costs = branch_gmacs(network, branches, (SIDE, SIDE))
    total_gmacs = costs[0, 1] + costs[2, 0] + costs[3, 1]
    torch.testing.assert_close(parts["decision"], decision)
    torch.testing.assert_close(loss, (each[0] + each[1] + 2 * (decision + 0.02 * total_gmacs)) / 4)
    assert parts["skipped"] == 0.25
    assert parts["gmacs"].item() == pytest.approx(
        total_gmacs.item() / 4 + network.decision.macs(SIDE, SIDE) / 1e9, rel=1e-5
    )


@pytest.mark.parametrize(("epoch", "learn", "rest"), [(FIRST, "body.", "decision."), (THIRD, "decision.", "body.")])
def test_what_rests_in_a_phase_gets_no_gradient(
    network: MedDANetV2, batch: Batch, epoch: int, learn: str, rest: str
) -> None:
    begun(network, epoch)(network, batch)[0].backward()
    names = gradients(network)
    assert any(name.startswith(learn) for name in names) and not any(name.startswith(rest) for name in names)
    assert any(name.startswith("position.") for name in names) == (epoch == FIRST)
    assert all(p.requires_grad == (rest == "decision.") for p in network.body.parameters())
    assert all(p.requires_grad == (rest == "body.") for p in network.decision.parameters())


def test_in_phase_2_everything_but_the_decision_network_learns(network: MedDANetV2, batch: Batch) -> None:
    begun(network, SECOND)(network, batch)[0].backward()
    silent = {name.split(".")[0] for name, p in network.named_parameters() if p.grad is None}
    assert silent == {"decision"}
    assert {name.split(".")[0] for name in gradients(network)} >= {"body", "position", "selectors", "crop_head"}


def test_phase_3_leaves_all_but_the_decision_network_bit_identical(network: MedDANetV2, batch: Batch) -> None:
    """With momentum, decay and gradients of 0 left over from the phases before, by which the released code drifts."""
    objective = ThreePhases(RegionLoss())
    optimizer = torch.optim.AdamW(objective.parameter_groups(network), lr=1e-2, weight_decay=0.1, amsgrad=True)
    before: dict[str, Tensor] = {}
    for epoch in (FIRST, SECOND, THIRD, THIRD):
        if epoch == THIRD and not before:
            before = copy.deepcopy(network.state_dict())
        objective.begin_epoch(network, epoch, EPOCHS)
        network.train()  # as a trainer might, after begin_epoch
        loss, _ = objective(network, batch)
        optimizer.zero_grad(set_to_none=False)
        loss.backward()
        optimizer.step()
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and all(name.startswith("decision.") for name in changed)
    assert "decision.linear.weight" in changed and "decision.stem.0.1.running_var" in changed


def test_a_run_that_goes_back_to_phase_2_learns_again(network: MedDANetV2, batch: Batch) -> None:
    begun(network, THIRD)
    begun(network, SECOND)(network, batch)[0].backward()
    assert any(name.startswith("body.") for name in gradients(network))


def test_the_decision_network_has_its_own_rate_and_start(network: MedDANetV2) -> None:
    others, decision = ThreePhases(SoftmaxDiceLoss()).parameter_groups(network)
    assert [id(p) for p in decision["params"]] == [id(p) for p in network.decision.parameters()]
    assert len(others["params"]) + len(decision["params"]) == len(list(network.parameters()))
    assert (others["lr_factor"], others["starts_at"]) == (1.0, 0.0)
    assert (decision["lr_factor"], decision["starts_at"]) == (10.0, pytest.approx(300 / 350))


def test_each_phase_validates_what_it_trains(network: MedDANetV2, batch: Batch) -> None:
    without_randomness(network)
    with torch.no_grad():
        first, second, third = (begun(network, epoch).logits(network, batch.images) for epoch in (FIRST, SECOND, THIRD))
        whole = torch.full((4,), WHOLE)
        assert torch.equal(first, network.predict(batch.images, whole, quantize=False).logits)
        assert torch.equal(second, network.predict(batch.images, whole).logits)
        assert torch.equal(third, network(batch.images))
    assert not torch.equal(first, second)


# ── gradients ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_loss_and_cost_both_reach_the_decision_network(network: MedDANetV2, batch: Batch) -> None:
    objective = begun(network, THIRD)
    logits = network.decision(batch.images)
    weights = gumbel_straight_through(logits, 1.0, torch.Generator().manual_seed(0))
    with torch.no_grad():
        branches = network.branches(batch.images, quantize=True)
        gmacs = branch_gmacs(network, branches, (SIDE, SIDE))
    decision = objective.loss.of_probabilities(mixture(weights, branches), batch.targets)
    for term in (decision, (weights[:, 1:] * gmacs).sum()):
        by_logits, by_weights = torch.autograd.grad(term, (logits, network.decision.linear.weight), retain_graph=True)
        assert by_logits.any() and by_weights.any() and by_logits.isfinite().all()


def test_the_cost_alone_teaches_to_skip(network: MedDANetV2, batch: Batch) -> None:
    logits = torch.zeros(4, 3, requires_grad=True)
    weights = gumbel_straight_through(logits, 1.0, torch.Generator().manual_seed(0))
    with torch.no_grad():
        gmacs = branch_gmacs(network, network.branches(batch.images, quantize=True), (SIDE, SIDE))
    (weights[:, 1:] * gmacs).sum().backward()
    assert logits.grad is not None
    assert (logits.grad[:, SKIP] < 0).all() and (logits.grad[:, WHOLE] > 0).all()


def test_the_dice_of_the_crop_branch_reaches_the_crop_position_network(network: MedDANetV2, batch: Batch) -> None:
    begun(network, FIRST)
    branch = network.branches(batch.images, quantize=False)[0]
    SoftmaxDiceLoss()(branch.logits, batch.targets).backward()
    assert network.position.linear.weight.grad.any()


def test_the_cost_of_phase_2_pushes_every_selector_towards_8_bits(network: MedDANetV2, batch: Batch) -> None:
    begun(network, SECOND)
    branch_gmacs(network, network.branches(batch.images, quantize=True), (SIDE, SIDE)).sum().backward()
    for selector in network.selectors:
        low, high = selector.linear.bias.grad.tolist()
        assert low < 0 < high


# ── sampling ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_samples_are_one_hot_and_follow_the_softmax() -> None:
    probabilities = torch.tensor([0.2, 0.5, 0.3])
    samples = gumbel_straight_through(probabilities.log().expand(20_000, 3), 1.0, torch.Generator().manual_seed(0))
    assert set(samples.unique().tolist()) == {0, 1}
    assert (samples.sum(dim=1) == 1).all()
    torch.testing.assert_close(samples.mean(dim=0), probabilities, rtol=0, atol=0.015)


def test_the_gradient_of_a_sample_is_that_of_its_softened_form() -> None:
    logits, upstream = torch.tensor([[0.3, -0.2, 0.1]], requires_grad=True), torch.tensor([[1.0, 2, 4]])
    (gumbel_straight_through(logits, 0.7, torch.Generator().manual_seed(5)) * upstream).sum().backward()
    uniform = torch.rand(1, 3, generator=torch.Generator().manual_seed(5))
    y = ((logits.detach() - (-uniform.log()).log()) / 0.7).softmax(dim=1)
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, y * (upstream - (y * upstream).sum()) / 0.7)


def test_the_same_seed_and_epoch_give_the_same_loss(network: MedDANetV2, batch: Batch) -> None:
    with torch.no_grad():
        network.decision.linear.weight.zero_()
    losses = [begun(network, THIRD, seed=seed)(network, batch)[0].item() for seed in (0, 0, 1, 2, 3)]
    assert losses[0] == losses[1] and len(set(losses)) > 1


def test_a_mixture_of_certain_decisions_is_what_was_decided() -> None:
    branches = [Branch(torch.randn(2, 4, 2, 2), torch.ones(2, 4)) for _ in range(2)]
    mixed = mixture(torch.tensor([[1.0, 0, 0], [0, 0, 1]]), branches)
    assert (mixed[0, 0] == 1).all() and (mixed[0, 1:] == 0).all()
    torch.testing.assert_close(mixed[1], branches[1].logits[1].softmax(dim=0))


# ── learning ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_larger_cost_weight_lowers_the_macs() -> None:
    """One network, three decision networks trained with the same noise: the mean of what they sample in the end."""
    images, targets = brain_slices(10, tumor_share=0.7)
    batch = batch_of(images, targets)
    spent = []
    for weight in (0.0, 50.0, 200.0):
        network = a_network(dropout=0.0)
        objective = begun(network, THIRD, decision_cost_weight=weight)
        with torch.no_grad():  # the branches never change: know the truth, or nearly
            branches = [Branch(certain, b.bits) for certain, b in _oracle(network, batch)]
        network.branches = lambda image, quantize, branches=branches: branches  # type: ignore[method-assign, misc]
        optimizer = torch.optim.Adam(network.decision.parameters(), lr=3e-3)
        network.train()
        for _ in range(20):
            loss, _ = objective(network, batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            p = network.decision(images).softmax(dim=1)
            spent.append((p[:, 1:] * branch_gmacs(network, branches, (SIDE, SIDE))).sum(dim=1).mean().item())
    assert spent[0] > spent[1] > spent[2]


def test_labels_skip_empty_slices_and_take_the_cheapest_branch_that_is_right() -> None:
    """The crop of the oracle misses the lowest quarter: it is enough for tumors that do not reach there."""
    images, targets = brain_slices(12, tumor_share=0.7)
    batch, network = batch_of(images, targets), a_network()
    branches = [Branch(logits, b.bits) for logits, b in _oracle(network, batch, LOWEST)]
    has_tumor = targets.flatten(1).any(dim=1)
    reaches_down = targets[:, :, LOWEST:].flatten(1).any(dim=1)
    labels = torch.where(has_tumor, torch.where(reaches_down, WHOLE, CROP), SKIP)
    assert set(labels.tolist()) == {SKIP, CROP, WHOLE}
    said = 100 * nn.functional.one_hot(labels, 3).float()
    network.decision.register_forward_hook(lambda *_: said)
    objective = ThreePhases(RegionLoss(), ThreePhasesConfig(label_cost_weight=0.001), (images, targets))
    network.branches = lambda image, quantize: _rows(branches, images, image)  # type: ignore[method-assign]
    objective.begin_epoch(network, THIRD, EPOCHS)
    loss, parts = objective(network, batch)
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    assert (parts["agreement"], parts["tumor_skipped"], parts["empty_skipped"]) == (1.0, 0.0, 1.0)
    first = int(has_tumor.nonzero()[0])
    said[first] = torch.tensor([100.0, 0.0, 0.0])
    loss, parts = objective(network, batch)
    assert loss.item() > 1 and parts["tumor_skipped"].item() == pytest.approx(1 / has_tumor.sum().item())


def _rows(branches: list[Branch], images: Tensor, some: Tensor) -> list[Branch]:
    """Of the slices that `some` holds."""
    rows = [int((images == one).flatten(1).all(dim=1).nonzero()[0]) for one in some]
    return [Branch(branch.logits[rows], branch.bits[rows]) for branch in branches]


def _oracle(network: MedDANetV2, batch: Batch, border: int = SIDE // 2) -> list[tuple[Tensor, Branch]]:
    """Logits of a whole branch that is right and a crop branch that misses the rows from `border`."""
    whole, core, enhancing = batch.targets.unbind(1)
    right = 10 * torch.stack([1 - whole, core - enhancing, whole - core, enhancing], dim=1)
    partly = right.clone()
    partly[:, :, border:] = torch.tensor([10.0, 0, 0, 0]).view(1, 4, 1, 1)
    return list(zip((partly, right), network.branches(batch.images, quantize=True), strict=True))


# ── wrong use ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_without_a_phase_it_says_what_to_call(network: MedDANetV2, batch: Batch) -> None:
    with pytest.raises(LeanSegError, match=r"Call begin_epoch\(network, epoch, epochs\) first"):
        ThreePhases(SoftmaxDiceLoss())(network, batch)


def test_another_network_is_refused() -> None:
    with pytest.raises(LeanSegError, match="needs a MedDANetV2; got Conv2d"):
        ThreePhases(SoftmaxDiceLoss()).begin_epoch(nn.Conv2d(1, 1, 1), 0, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantize_from": 0.9, "decide_from": 0.5}, r"needed; got 0\.9, 0\.5"),
        ({"temperature": 0.0}, "temperature and decision_lr_factor must be positive"),
        ({"cost_weight": -1.0}, "cost weights 0 or more"),
        ({"decide_from": math.nan}, "needed; got"),
        ({"label_cost_weight": -1.0}, "label_cost_weight must be 0 or more"),
    ],
)
def test_refused_configs_say_what_fits(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ThreePhasesConfig(**options)  # type: ignore[arg-type]
