"""The PNE loss as any recipe of a 2-D network uses it: trained, resumed, and nothing of it in what is exported."""

import csv
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from leanseg.errors import LeanSegError, UnknownNameError
from leanseg.losses.overlap import DiceBCELoss
from leanseg.losses.pne import PNEConfig
from leanseg.losses.regions import RegionLoss, regions_of_classes
from leanseg.networks import build_network
from leanseg.training.data.arrays import TrainingArrays
from leanseg.training.loss_recipe import LossConfig
from leanseg.training.objectives import Batch, PhasedObjective, Supervised, build_loss
from leanseg.training.pixel_contrast import PixelContrast, classes_of, feature_channels, head_of
from leanseg.training.recipe import Recipe, load_recipe
from leanseg.training.trainer import Trainer, load_run


def with_pne(recipe: Recipe, **options: object) -> Recipe:
    return replace(recipe, loss=LossConfig("dice_bce", auxiliary={"pne": options}))


def objective_of(recipe: Recipe, config: PNEConfig | None = None) -> PixelContrast:
    return PixelContrast(build_loss(recipe.loss), config or PNEConfig(), feature_channels(recipe), recipe.seed)


def trainer(folder: Path, recipe: Recipe, train: TrainingArrays, val: TrainingArrays) -> Trainer:
    return Trainer(recipe, train, val, objective_of(recipe), folder)


def batch_of(arrays: TrainingArrays) -> Batch:
    n = len(arrays)
    return Batch(arrays.images, arrays.targets.float(), arrays.classes, torch.arange(n), torch.zeros(n, 32, 32, 2))


# ── in a recipe ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_losses_at_the_top_of_any_recipe_name_the_main_and_the_auxiliary_loss() -> None:
    recipe = load_recipe("t2kd_student_alone", ['losses=["dice_bce", "pne"]', "loss.auxiliary.pne.weight=0.3"])
    assert recipe.loss == LossConfig("dice_bce", {}, {"pne": {"weight": 0.3}})
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert load_recipe("t2kd_student_alone", ['losses=["dice_bce"]']).loss == LossConfig("dice_bce")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (['losses=["pne"]'], r"losses needs one loss of logits and target, such as dice_bce, .*got \['pne'\]"),
        (['losses=["dice_bce", "regions"]'], r"needs one loss of logits and target.*got \['dice_bce', 'regions'\]"),
        (['losses=["dice_bce", "pne"]', "loss.name=regions"], r"losses names dice_bce, \[loss\] names regions"),
        (["losses=pne"], "losses must be names"),
        (["losses=[1]"], "losses must be names"),
        (["loss.auxiliary.pn.weight=1"], r"no auxiliary loss named 'pn'\. Did you mean 'pne'\?"),
        (["loss.auxiliary.pne.tau=1"], "no key in options of pne named 'tau'"),
        (["loss.auxiliary.pne.warmup=2.0"], r"warmup is a fraction from 0 to below 1; got 2\.0"),
        (
            ['losses=["dice_bce", "pne"]', "distillation.true_class_weight=1.0"],
            "distillation and the loss pne exclude each other",
        ),
    ],
)
def test_losses_that_do_not_fit_are_refused(settings: list[str], message: str) -> None:
    with pytest.raises((LeanSegError, UnknownNameError), match=message):
        load_recipe("t2kd_student_alone", settings)


# ── the objective ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("network", "config", "channels"),
    [
        ("attention_unet", {"widths": [4, 8]}, 4),
        ("residual_unet", {"width": 4}, 4),
        ("agln", {"encoder_widths": [4, 4, 8, 8], "width": 8, "fused_width": 12}, 12),
    ],
)
def test_features_are_what_the_head_of_a_network_sees(
    network: str, config: dict[str, object], channels: int, small_recipe: Recipe
) -> None:
    recipe = replace(small_recipe, network=network, config=config)
    assert feature_channels(recipe) == channels
    built, seen = build_network(network, config).eval(), []
    head_of(built).register_forward_pre_hook(lambda head, inputs: seen.append(inputs[0].shape[1]))
    with torch.no_grad():
        built(torch.rand(1, next(built.parameters()).shape[1], 64, 64))
    assert seen == [channels]


def test_during_the_warm_up_the_loss_is_the_plain_one(sixteen_images: TrainingArrays, small_recipe: Recipe) -> None:
    torch.manual_seed(0)
    network, batch = build_network("attention_unet", {"widths": [4, 8]}), batch_of(sixteen_images)
    objective = objective_of(small_recipe, PNEConfig(warmup=0.25))
    assert isinstance(objective, PhasedObjective)
    plain, _ = Supervised(build_loss(small_recipe.loss))(network, batch)
    for epoch, is_warm in ((0, False), (1, False), (2, True)):
        objective.begin_epoch(network, epoch, 8)
        loss, parts = objective(network, batch)
        assert (parts["pne"].item() > 0) is is_warm
        torch.testing.assert_close(loss, plain + 0.1 * parts["pne"])


def test_pixels_are_drawn_from_seed_and_epoch(sixteen_images: TrainingArrays, small_recipe: Recipe) -> None:
    torch.manual_seed(0)
    network, batch = build_network("attention_unet", {"widths": [4, 8]}), batch_of(sixteen_images)
    config = PNEConfig(warmup=0.0, anchors=10, pairs=10)
    losses = []
    for epoch in (0, 0, 1):
        objective = objective_of(small_recipe, config)
        objective.begin_epoch(network, epoch, 4)
        losses.append(objective(network, batch)[1]["pne"].item())
    assert losses[0] == losses[1] != losses[2]


def test_four_classes_are_those_of_the_regions() -> None:
    regions = torch.tensor([[0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 1]]).float().view(1, 3, 1, 4)
    labels, predicted = classes_of(torch.eye(4).view(1, 4, 1, 4), regions)
    assert labels.flatten().tolist() == [0, 2, 1, 3]  # background, edema, necrosis, enhancing tumor
    assert predicted.flatten().tolist() == [0, 1, 2, 3]
    labels, predicted = classes_of(torch.tensor([-1.0, 2.0]).view(1, 1, 1, 2), torch.ones(1, 1, 1, 2))
    assert labels.flatten().tolist() == [1, 1] and predicted.flatten().tolist() == [0, 1]


def test_four_classes_train_too() -> None:
    """A network that takes each pixel's largest channel for its class; a tenth of the pixels shows a wrong one."""
    network = nn.Sequential(OrderedDict(head=nn.Conv2d(4, 4, 1, bias=False)))
    nn.init.dirac_(network.head.weight)
    generator = torch.Generator().manual_seed(1)
    classes = torch.randint(4, (2, 16, 16), generator=generator)
    seen = torch.where(torch.rand(2, 16, 16, generator=generator) < 0.1, (classes + 1) % 4, classes)
    images, truth = (nn.functional.one_hot(each, 4).movedim(-1, 1).float() for each in (seen, classes))
    batch = Batch(images, regions_of_classes(truth), *(torch.zeros(2),) * 3)
    objective = PixelContrast(RegionLoss(), PNEConfig(warmup=0.0), 4, 0)
    objective.begin_epoch(network, 0, 1)
    loss, parts = objective(network, batch)
    loss.backward()
    assert parts["pne"].item() > 0 and all(
        p.grad is not None and p.grad.isfinite().all() for p in objective.parameters()
    )


def test_more_labels_than_the_head_has_are_refused(sixteen_images: TrainingArrays) -> None:
    torch.manual_seed(0)
    network, batch = build_network("attention_unet", {"widths": [4, 8]}), batch_of(sixteen_images)
    many = replace(batch, targets=batch.targets.expand(-1, 5, -1, -1))
    with pytest.raises(LeanSegError, match=r"got 5 labels, and a head of 1\. Set out_channels to the number of labels"):
        PixelContrast(DiceBCELoss(), PNEConfig(), 4, 0)(network, many)


def test_a_network_without_a_head_is_refused() -> None:
    with pytest.raises(LeanSegError, match=r"needs a 2-D network with a head .*Identity has none\. Take pne out"):
        head_of(nn.Identity())


# ── trained, resumed, exported ──────────────────────────────────────────────────────────────────────────────────────


def test_the_projection_learns_and_a_resumed_run_repeats_the_uninterrupted_one(
    tmp_path: Path, sixteen_images: TrainingArrays, eight_others: TrainingArrays, small_recipe: Recipe
) -> None:
    recipe = with_pne(small_recipe)
    whole = trainer(tmp_path / "whole", recipe, sixteen_images, eight_others)
    before = {key: value.clone() for key, value in whole.objective.state_dict().items()}  # type: ignore[attr-defined]
    whole.fit()
    trainer(tmp_path / "parts", recipe, sixteen_images, eight_others).fit(stop_after=2)
    trainer(tmp_path / "parts", recipe, sixteen_images, eight_others).fit(resume=True)
    left, right = (load_file(tmp_path / name / "resume.safetensors") for name in ("whole", "parts"))
    assert left.keys() == right.keys() and [key for key in left if not torch.equal(left[key], right[key])] == []
    learned = {key.removeprefix("objective/"): left[key] for key in left if key.startswith("objective/")}
    assert learned.keys() == before.keys()
    assert [key for key in before if torch.equal(before[key], learned[key])] == []
    with (tmp_path / "whole" / "log.csv").open(newline="", encoding="utf-8") as file:
        pne = [float(row["pne"]) for row in csv.DictReader(file)]
    assert pne[0] == 0 and min(pne[1:]) > 0, "warm-up, then the loss"


def test_long_gradients_are_clipped_together_with_those_of_the_projection(
    tmp_path: Path, sixteen_images: TrainingArrays, eight_others: TrainingArrays, small_recipe: Recipe
) -> None:
    heavy = PixelContrast(build_loss(small_recipe.loss), PNEConfig(weight=1e4, warmup=0.0), 4, 0)
    trained = Trainer(small_recipe, sixteen_images, eight_others, heavy, tmp_path)
    trained.fit(stop_after=1)
    learned = [*trained.network.parameters(), *heavy.parameters()]
    norm = torch.stack([p.grad.norm() for p in learned if p.grad is not None]).norm()
    assert norm.item() == pytest.approx(5.0, rel=1e-3)


def test_what_is_trained_with_it_is_the_plain_network(
    tmp_path: Path, sixteen_images: TrainingArrays, eight_others: TrainingArrays, small_recipe: Recipe
) -> None:
    """The same keys, the same steps and, for the same weights, the same logits: nothing is left to pay for in use."""
    recipe = with_pne(small_recipe)
    trainer(tmp_path / "run", recipe, sixteen_images, eight_others).fit(stop_after=1)
    _, network = load_run(tmp_path / "run")
    plain = build_network(recipe.network, recipe.config).eval()
    plain.load_state_dict(load_file(tmp_path / "run" / "weights.safetensors"))
    assert not any(module._forward_pre_hooks for module in network.modules())
    with torch.no_grad():
        assert torch.equal(network(eight_others.images), plain(eight_others.images))
    assert calls_of(network, eight_others.images) == calls_of(plain, eight_others.images)


def calls_of(network: nn.Module, images: Tensor) -> list[str]:
    """What one pass computes."""
    with torch.no_grad(), torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        network(images)
    return [event.name for event in profile.events() if event.name.startswith("aten::")]
