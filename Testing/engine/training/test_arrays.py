"""Slices of brains as training arrays, and a brain recipe trained from files."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from leanseg.errors import LeanSegError
from leanseg.training.data.arrays import BRATS_FOLDER, load_parts
from leanseg.training.recipe import DataConfig, OptimizerConfig, Recipe, load_recipe
from leanseg.training.run import train
from leanseg.training.trainer import load_run
from Testing.engine.training.test_brats import write_case


@pytest.fixture
def recipe() -> Recipe:
    settings = ("config.width=4", "brain.size_ji=[32,32]", "augment.elastic=0")
    return replace(
        load_recipe("med_danet_bank", settings),
        data=DataConfig(("brats:all",), ("brats:all",)),
        optimizer=OptimizerConfig(epochs=1, batch_size=4, bf16=False),
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        write_case(tmp_path / "data" / BRATS_FOLDER / name)
    return tmp_path / "data"


def test_a_volume_becomes_the_slices_that_hold_brain(recipe: Recipe, data: Path) -> None:
    """4 of the 6 slices of each case hold brain, 2 of them tumor: edema 6 x 6, core 4 x 4, enhancing 2 x 2."""
    arrays = load_parts(("brats:all",), data, recipe)
    assert arrays.ids == ("a", "b") and arrays.cases.tolist() == [0] * 4 + [1] * 4
    assert arrays.images.shape == (8, 4, 32, 32) and arrays.images.dtype == torch.float16
    assert arrays.classes.tolist() == [0, 1, 1, 0] * 2
    assert arrays.targets.sum(dim=(2, 3)).tolist() == [[0, 0, 0], [36, 16, 4], [36, 16, 4], [0, 0, 0]] * 2


def test_an_epoch_draws_all_slices_with_tumor_and_some_of_the_empty_ones(recipe: Recipe, data: Path) -> None:
    """Of each case slices 1 and 2 hold tumor; half of the four empty ones are drawn, others each time."""
    arrays = load_parts(("brats:all",), data, recipe)
    drawn = [arrays.order(0.5, torch.Generator().manual_seed(seed)).tolist() for seed in range(20)]
    assert arrays.drawn(0.5) == 6 and arrays.drawn(1.0) == 8
    assert all(len(order) == 6 and {1, 2, 5, 6} <= set(order) for order in drawn)
    assert {n for order in drawn for n in order} == set(range(8)) and len({tuple(order) for order in drawn}) > 10
    assert sorted(arrays.order(1.0, torch.Generator())) == list(range(8))


def test_a_brain_recipe_refuses_other_data(recipe: Recipe, data: Path) -> None:
    with pytest.raises(LeanSegError, match="reads parts of brats; got 'busi:train'"):
        load_parts(("brats:all", "busi:train"), data, recipe)


def test_a_member_of_the_bank_is_trained_from_files(recipe: Recipe, data: Path, tmp_path: Path) -> None:
    train(recipe, data, tmp_path / "run", resume=False, report=lambda done, total, what: None)
    read_back, network = load_run(tmp_path / "run")
    assert read_back == recipe
    with torch.no_grad():
        assert network(torch.zeros(1, 4, 32, 32)).shape == (1, 4, 32, 32)
