"""CGA U-Net trained: what each part of the loss reaches, when, and that the attention learns the truth."""

from pathlib import Path

import pytest
import torch
from torch import nn

from leanseg.errors import LeanSegError
from leanseg.losses.class_centers import ClassGuidanceConfig
from leanseg.losses.regions import RegionLoss
from leanseg.networks.cga_unet import CGAUNet, CGAUNetConfig
from leanseg.training.class_guided import ClassGuided, classes_of
from leanseg.training.objectives import Batch
from leanseg.training.recipe import load_recipe
from leanseg.training.run import train
from Testing.engine.training.test_volumes import TINY, silent


def network() -> CGAUNet:
    torch.manual_seed(0)
    return CGAUNet(CGAUNetConfig(width=8, channel_dropout=0.0)).train()


def batch() -> Batch:
    """Three shells; each is as bright as its class in one sequence."""
    targets = torch.zeros(2, 3, 16, 16, 16)
    for region, margin in enumerate((1, 3, 5)):
        targets[:, region, margin:-margin, margin:-margin, margin:-margin] = 1
    images = targets.sum(dim=1, keepdim=True).repeat(1, 4, 1, 1, 1)
    none = torch.zeros(2, dtype=torch.long)
    return Batch(images, targets, none, none, torch.zeros(2, 16, 16, 2))


def gradients(weight: float, epoch: int = 0) -> tuple[CGAUNet, dict[str, torch.Tensor]]:
    objective, net = ClassGuided(RegionLoss(), ClassGuidanceConfig(weight, distance_from=0.5)), network()
    objective.begin_epoch(net, epoch, 10)
    loss, parts = objective(net, batch())
    loss.backward()
    return net, parts


def test_regions_become_classes() -> None:
    nested = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1]]).T.view(1, 3, 1, 1, 4)
    assert classes_of(nested).flatten().tolist() == [0, 2, 1, 3]


@pytest.mark.parametrize("epoch", [0, 9])
def test_the_attention_branch_learns_from_its_own_loss_only(epoch: int) -> None:
    without, _ = gradients(0.0, epoch)
    assert all(p.grad is None for p in without.attention.parameters())
    one, _ = gradients(20.0, epoch)
    net = network()
    target_loss = ClassGuided(RegionLoss(), ClassGuidanceConfig(20.0))(net, batch())[1]["attention"]
    (20 * target_loss).backward()
    for p, q in zip(one.attention.parameters(), net.attention.parameters(), strict=True):
        assert p.grad is not None and p.grad.any()
        torch.testing.assert_close(p.grad, q.grad)


def test_the_distance_is_off_before_its_epoch() -> None:
    objective, net = ClassGuided(RegionLoss(), ClassGuidanceConfig(distance_from=20 / 550)), network()
    on = []
    for epoch in range(550):
        objective.begin_epoch(net, epoch, 550)
        on.append(objective.keeps_apart)
    assert on == [False] * 20 + [True] * 530
    objective.begin_epoch(net, 3, 10)
    with torch.no_grad():
        objective.keeps_apart = False
        before, parts = objective(net, batch())
        objective.keeps_apart = True
        after, _ = objective(net, batch())
    torch.testing.assert_close(after - before, parts["distance"])
    assert parts["distance"] > 0 and ClassGuidanceConfig().distance_from == pytest.approx(20 / 550)


def test_the_whole_loss_is_the_sum_of_its_parts() -> None:
    objective, net = ClassGuided(RegionLoss(), ClassGuidanceConfig()), network()
    with torch.no_grad():
        loss, parts = objective(net, batch())
        plain = RegionLoss()(net(batch().images).flatten(2, 3), batch().targets.flatten(2, 3))
    torch.testing.assert_close(loss, plain + 20 * parts["attention"])


def test_attention_learns_the_truth() -> None:
    objective, net, data = ClassGuided(RegionLoss(), ClassGuidanceConfig(distance_from=1.0)), network(), batch()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        loss, parts = objective(net, data)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append((float(loss.detach()), float(parts["attention"].detach())))
    assert losses[-1][0] < 0.3 * losses[0][0] and losses[-1][1] < 0.3 * losses[0][1]


def test_a_run_logs_its_parts(brains: Path, tmp_path: Path) -> None:
    recipe = load_recipe("cga_unet", (*TINY, "optimizer.epochs=2", "cga.distance_from=0.5"))
    train(recipe, brains, tmp_path, resume=False, report=silent)
    head, *rows = (tmp_path / "log.csv").read_text(encoding="utf-8").splitlines()
    assert {"attention", "distance", "val_dice"} <= set(head.split(",")) and len(rows) == 2


@pytest.mark.parametrize(
    ("recipe", "settings", "message"),
    [
        ("trans_bts", ("cga.attention_weight=1",), r"\[cga\] trains a cga_unet; the network is trans_bts"),
        ("trans_bts", ("network=cga_unet", "config={width=8}"), r"a cga_unet learns by \[cga\] only"),
        ("cga_unet", ("config.out_channels=3",), "brains have 4 classes.* out_channels is 3"),
        ("trans_bts_v2", ("config.out_channels=7",), "brains have 4 classes.* out_channels is 7"),
        ("cga_unet", ("cga.distance_from=2",), "distance_from lies between 0 and 1"),
    ],
)
def test_recipes_that_do_not_fit_are_refused_in_one_line(recipe: str, settings: tuple[str, ...], message: str) -> None:
    with pytest.raises(LeanSegError, match=message) as caught:
        load_recipe(recipe, settings)
    assert "\n" not in str(caught.value)


def test_the_objective_validates_the_logits() -> None:
    net = network().eval()
    objective = ClassGuided(nn.L1Loss(), ClassGuidanceConfig())
    with torch.no_grad():
        assert torch.equal(objective.logits(net, batch().images), net(batch().images))
