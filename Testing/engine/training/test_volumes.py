"""3-D networks trained on patches, from a recipe to a run folder, on files."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from leanseg.errors import LeanSegError
from leanseg.losses.regions import RegionLoss
from leanseg.networks.segresnet import SegResNet
from leanseg.training.augment import move
from leanseg.training.data.arrays import load_parts
from leanseg.training.objectives import Batch, Supervised
from leanseg.training.recipe import Recipe, load_recipe
from leanseg.training.run import train
from leanseg.training.trainer import load_run
from leanseg.training.volumes import Regions, VolumeTrainer

TINY = (
    "brain.size_ji=[32,32]",
    'data.train=["brats:all"]',
    'data.val=["brats:all"]',
    "patches.size_kji=[8,16,16]",
    "patches.per_volume=3",
    "optimizer.batch_size=2",
    "optimizer.epochs=3",
    "optimizer.bf16=false",  # on a grid of depth 2 torch's gradient of bf16 weights is not defined (2.13, oneDNN)
)
NETWORKS = {
    "segresnet": ("config.blocks_down=[1,1]", "config.blocks_up=[1]"),
    "trans_bts": ("config.dim=16", "config.mlp_dim=32", "config.heads=2", "config.layers=1"),
    "trans_bts_v2": ("config.dim=16", "config.mlp_dim=32", "config.heads=2"),
    "cga_unet": ("config.attention_width=4",),
}
STILL = ("augment.flip_probability=0", "augment.rotation_degrees=0", "augment.log_scale=0", "augment.log_aspect=0")
STILL += ("augment.shift=0", "augment.elastic=0", "sequences.gain=0", "sequences.offset=0", "sequences.noise=0")


def silent(done: int, total: int, what: str) -> None: ...


def stopping_after(epochs: int) -> Any:
    return lambda done, total, what: done < epochs


def recipe_of(network: str, *settings: str) -> Recipe:
    return load_recipe(network, (*TINY, *NETWORKS[network], *settings))


def trainer_of(recipe: Recipe, data: Path, folder: Path) -> VolumeTrainer:
    arrays = load_parts(("brats:all",), data, recipe)
    return VolumeTrainer(recipe, arrays, arrays, Supervised(RegionLoss()), folder)


def test_volumes_are_filled_up_to_the_depth_of_a_patch(brains: Path) -> None:
    """4 slices hold brain; 2 empty ones before and after make 8. 2 slices hold tumor, 36, 16 and 4 pixels each."""
    arrays = load_parts(("brats:all",), brains, recipe_of("segresnet"))
    assert arrays.images.shape == (2, 4, 8, 32, 32) and arrays.images.dtype == torch.float16
    assert arrays.images.any(dim=4).any(dim=3).any(dim=1).tolist() == [[False] * 2 + [True] * 4 + [False] * 2] * 2
    assert arrays.targets.sum(dim=(3, 4))[0, :, 2:6].tolist() == [[0, 36, 36, 0], [0, 16, 16, 0], [0, 4, 4, 0]]
    assert arrays.ids == ("a", "b") and arrays.cases.tolist() == [0, 1]


def test_bf16_trains_and_validates(brains: Path, tmp_path: Path) -> None:
    settings = ("patches.size_kji=[16,16,16]", "optimizer.bf16=true", "optimizer.epochs=1")
    trainer = trainer_of(recipe_of("segresnet", *settings), brains, tmp_path)
    trainer.fit()
    assert 0 <= trainer.log[0]["val_dice"] <= 1 and trainer.log[0]["loss"] < 5


@pytest.mark.parametrize("network", NETWORKS)
def test_an_interrupted_training_ends_where_the_uninterrupted_one_does(
    network: str, brains: Path, tmp_path: Path
) -> None:
    recipe = recipe_of(network)
    train(recipe, brains, tmp_path / "once", resume=False, report=silent)
    for stop in (1, 3):
        train(recipe, brains, tmp_path / "twice", resume=stop > 1, report=stopping_after(stop))
    once, twice = (load_file(tmp_path / name / "resume.safetensors") for name in ("once", "twice"))
    assert once.keys() == twice.keys() and all(torch.equal(once[key], twice[key]) for key in once)
    assert load_run(tmp_path / "once")[0] == recipe


def test_a_network_learns_a_tumor_that_is_bright(brains: Path, tmp_path: Path) -> None:
    settings = ("optimizer.epochs=30", "optimizer.learning_rate=3e-3", "optimizer.ema_decay=0.5")
    recipe = recipe_of("segresnet", *settings, *STILL, "sequences.drop_probability=0")
    trainer = trainer_of(recipe, brains, tmp_path)
    trainer.train.images[:, :3] += 3 * trainer.train.targets
    before = trainer.validate()["val_dice"]
    trainer.fit()
    assert trainer.log[-1]["val_dice"] > 0.65 > 0.2 > before
    assert trainer.log[-1]["loss"] < 0.7 * trainer.log[0]["loss"]


def test_an_epoch_sees_every_volume_as_often(brains: Path, tmp_path: Path) -> None:
    trainer = trainer_of(recipe_of("segresnet"), brains, tmp_path)
    batches = list(trainer._batches())
    assert len(batches) == trainer.steps_per_epoch == 3
    assert torch.cat([batch.indices for batch in batches]).bincount().tolist() == [3, 3]
    assert all(
        batch.images.shape == (2, 4, 8, 16, 16) and batch.targets.shape == (2, 3, 8, 16, 16) for batch in batches
    )


def test_all_slices_of_a_patch_are_moved_alike(brains: Path, tmp_path: Path) -> None:
    """With a truth that is the same in all slices, it is so after the augmentation; each patch has its own."""
    trainer = trainer_of(recipe_of("segresnet"), brains, tmp_path)
    trainer.train.targets[:] = (trainer.train.targets > 0).any(dim=2, keepdim=True).to(torch.uint8)
    for batch in trainer._batches():
        assert torch.equal(batch.targets, batch.targets[:, :, :1].expand_as(batch.targets)) and batch.targets.any()
        assert not torch.equal(batch.grid[0], batch.grid[1])


def test_images_and_truth_are_moved_by_the_grid_that_is_handed_on(brains: Path, tmp_path: Path) -> None:
    settings = (*STILL, "augment.flip_probability=1", "sequences.drop_probability=0", "patches.size_kji=[8,32,32]")
    trainer = trainer_of(recipe_of("segresnet", *settings), brains, tmp_path)
    for batch in trainer._batches():
        whole = trainer.train.images[batch.indices].float()
        torch.testing.assert_close(batch.images, whole.flip(-1), atol=2e-3, rtol=0)
        assert torch.equal(batch.targets, trainer.train.targets[batch.indices].float().flip(-1))
        torch.testing.assert_close(move(whole[:, :, 3], batch.grid), batch.images[:, :, 3])


def test_a_sequence_is_left_out_of_a_whole_patch(brains: Path, tmp_path: Path) -> None:
    settings = (*STILL, "sequences.drop_probability=0.5", "patches.per_volume=40", "patches.size_kji=[8,32,32]")
    trainer = trainer_of(recipe_of("segresnet", *settings), brains, tmp_path)
    there = torch.cat([(batch.images != 0).flatten(3).any(dim=3) for batch in trainer._batches()])
    brain = there[:, :, 2:6]  # the slices that hold brain
    assert torch.equal(brain.all(dim=2), brain.any(dim=2))
    kept = brain.any(dim=2)
    assert kept.any(dim=1).all() and 0.4 < kept.float().mean() < 0.65


def test_regions_are_sums_of_classes() -> None:
    class Constant(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            p = torch.tensor([0.4, 0.3, 0.2, 0.1])
            return (2 * p.log())[None, :, None, None, None].expand(1, 4, *image.shape[2:])

    regions = Regions(Constant(), temperature=2.0)(torch.zeros(1, 4, 2, 3, 4))
    assert regions.shape == (1, 3, 2, 3, 4)
    torch.testing.assert_close(regions[0, :, 1, 2, 3], torch.tensor([0.6, 0.4, 0.1]))


def test_the_loss_of_a_volume_is_that_of_its_slices_side_by_side() -> None:
    generator = torch.Generator().manual_seed(0)
    image, target = torch.randn(2, 4, 3, 8, 8, generator=generator), torch.zeros(2, 3, 3, 8, 8)
    target[:, 0, 1], target[0, 1, 1, :4] = 1, 1
    none = torch.zeros(2, dtype=torch.long)
    objective = Supervised(RegionLoss())
    volume, _ = objective(nn.Identity(), Batch(image, target, none, none, torch.zeros(2, 8, 8, 2)))
    slices = [each.transpose(1, 2).flatten(0, 1) for each in (image, target)]
    flat, _ = objective(nn.Identity(), Batch(*slices, none, none, torch.zeros(6, 8, 8, 2)))
    torch.testing.assert_close(volume, flat)


def test_a_run_holds_the_network_of_its_recipe(brains: Path, tmp_path: Path) -> None:
    train(recipe_of("segresnet", "optimizer.epochs=1"), brains, tmp_path / "run", resume=False, report=silent)
    assert isinstance(load_run(tmp_path / "run")[1], SegResNet)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("config.init_filters=12",), "init_filters must be a multiple of 8"),
        (("patches.size_kji=[8,15,16]",), r"needs depth, height and width in multiples of 2; got \(8, 15, 16\)"),
        (("patches.size_kji=[8,40,16]",), r"patches of 40 x 16 do not fit into slices of 32 x 32"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(
    brains: Path, tmp_path: Path, settings: tuple[str, ...], message: str
) -> None:
    with pytest.raises(LeanSegError, match=message) as caught:
        train(recipe_of("segresnet", *settings), brains, tmp_path / "run", resume=False, report=silent)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("recipe", "settings"),
    [
        ("med_danet_bank", ("patches.per_volume=2",)),
        ("segresnet", ("network=residual_unet", "config={}")),
        ("segresnet", ("decisions.cost_weight=0",)),
        ("med_danet_bank", ("network=segresnet", "config={}")),
    ],
)
def test_patches_and_networks_that_see_three_dimensions_go_together(recipe: str, settings: tuple[str, ...]) -> None:
    with pytest.raises(LeanSegError, match=r"need \[patches\]|trains a med_danet"):
        load_recipe(recipe, settings)
