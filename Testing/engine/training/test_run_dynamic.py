"""Both Med-DANets from a recipe to a run folder, on files; and what a recipe must not ask for."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from leanseg.errors import LeanSegError
from leanseg.networks.med_danet import MedDANet
from leanseg.networks.med_danet_v2 import MedDANetV2
from leanseg.training.recipe import Recipe, load_recipe
from leanseg.training.run import train
from leanseg.training.trainer import load_run

TINY = (
    "brain.size_ji=[32,32]",
    "augment.elastic=0",
    'data.train=["brats:all"]',
    'data.val=["brats:all"]',
    "optimizer.batch_size=4",
)
V2 = (
    *TINY,
    "config.width=4",
    "config.crop_sizes=[16,24]",
    "optimizer.epochs=3",
    "data.empty_fraction=1.0",
    "deployment.neighbor_mm=0.0",
    "deployment.skip_bias=0.0",
    "deployment.follow=false",
    "deployment.probe_mm=0.0",
    "deployment.keep_fp32=true",
)
THIRDS = ("phases.quantize_from=0.34", "phases.decide_from=0.67")
V1 = (*TINY, "config.bank_widths=[2,4]", "optimizer.epochs=2")


def silent(done: int, total: int, what: str) -> None: ...


@pytest.fixture(scope="module")
def bank(brains: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two members, of widths 2 and 4."""
    folders = []
    for width in (2, 4):
        recipe = load_recipe("med_danet_bank", (*TINY, f"config.width={width}", "optimizer.epochs=1"))
        folders.append(str(tmp_path_factory.mktemp("bank") / f"member_{width}"))
        train(recipe, brains, Path(folders[-1]), resume=False, report=silent)
    return folders


def with_bank(bank: list[str], *settings: str) -> Recipe:
    return load_recipe("med_danet", (*V1, f"decisions.bank={bank}", *settings))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = load_file(folder / "weights.safetensors")
    return tensors


def header(folder: Path) -> list[str]:
    return (folder / "log.csv").read_text(encoding="utf-8").splitlines()[0].split(",")


def stopping_after(epochs: int) -> Any:
    return lambda done, total, what: done < epochs


# ── Med-DANet V2 ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_recipe_trains_med_danet_v2_in_three_phases(brains: Path, tmp_path: Path) -> None:
    recipe = load_recipe("med_danet_v2", (*V2, *THIRDS))
    train(recipe, brains, tmp_path / "run", resume=False, report=silent)
    read_back, network = load_run(tmp_path / "run")
    assert read_back == recipe and isinstance(network, MedDANetV2)
    assert {"crop_16", "crop_24", "whole", "gmacs", "agreement", "empty_skipped"} <= set(header(tmp_path / "run"))
    first, second, third = (tmp_path / "run" / "log.csv").read_text(encoding="utf-8").splitlines()[1:]
    skipped = header(tmp_path / "run").index("empty_skipped")
    assert [row.split(",")[skipped] != "" for row in (first, second, third)] == [False, False, True]


@pytest.mark.parametrize("label_cost_weight", [None, 0.02], ids=["sampled", "labels"])
def test_training_in_phases_that_was_interrupted_ends_where_the_uninterrupted_one_does(
    brains: Path, tmp_path: Path, label_cost_weight: float | None
) -> None:
    recipe = load_recipe("med_danet_v2", (*V2, *THIRDS, "optimizer.epochs=4", "phases.decide_from=0.5"))
    assert recipe.phases is not None
    recipe = replace(recipe, phases=replace(recipe.phases, label_cost_weight=label_cost_weight))
    assert recipe.phases is not None and [recipe.phases.phase(n, 4) for n in range(4)] == [1, 2, 3, 3]
    train(recipe, brains, tmp_path / "once", resume=False, report=silent)
    for stop in (1, 3, 4):  # between two phases, and within the third
        train(recipe, brains, tmp_path / "thrice", resume=stop > 1, report=stopping_after(stop))
    once, thrice = weights(tmp_path / "once"), weights(tmp_path / "thrice")
    assert all(torch.equal(once[key], thrice[key]) for key in once)


def test_the_third_phase_changes_nothing_but_the_decision_network(brains: Path, tmp_path: Path) -> None:
    recipe = load_recipe("med_danet_v2", (*V2, *THIRDS, "optimizer.ema_decay=0"))
    train(recipe, brains, tmp_path / "run", resume=False, report=stopping_after(2))
    before = weights(tmp_path / "run")
    train(recipe, brains, tmp_path / "run", resume=True, report=silent)
    after = weights(tmp_path / "run")
    changed = {key.partition(".")[0] for key in before if not torch.equal(before[key], after[key])}
    assert changed == {"decision"}


def test_three_phases_refuse_a_loss_that_mixtures_have_not(brains: Path, tmp_path: Path) -> None:
    recipe = load_recipe("med_danet_v2", (*V2, "loss.name=dice_bce"))
    with pytest.raises(LeanSegError, match=r"a loss of mixed probabilities, regions or softmax_dice; got dice_bce"):
        train(recipe, brains, tmp_path / "run", resume=False, report=silent)


# ── Med-DANet ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_recipe_trains_the_decision_network_of_a_bank(brains: Path, bank: list[str], tmp_path: Path) -> None:
    train(with_bank(bank), brains, tmp_path / "run", resume=False, report=silent)
    read_back, network = load_run(tmp_path / "run")
    assert read_back == with_bank(bank) and isinstance(network, MedDANet)
    assert {"agreement", "tumor_skipped", "empty_skipped"} <= set(header(tmp_path / "run"))
    for n, run in enumerate(bank):
        trained = weights(Path(run))
        assert all(torch.equal(value, trained[key]) for key, value in network.bank[n].state_dict().items())


def test_what_segments_whole_slices_in_med_danet_v2_may_be_a_member(
    brains: Path, bank: list[str], tmp_path: Path
) -> None:
    train(load_recipe("med_danet_v2", (*V2, "optimizer.epochs=1")), brains, tmp_path / "v2", False, silent)
    train(with_bank([bank[0], str(tmp_path / "v2")]), brains, tmp_path / "run", False, silent)
    v2, network = load_run(tmp_path / "v2")[1], load_run(tmp_path / "run")[1]
    assert isinstance(v2, MedDANetV2) and isinstance(network, MedDANet)
    whole = v2.static().state_dict()
    assert all(torch.equal(value, whole[key]) for key, value in network.bank[1].state_dict().items())


def test_training_of_decisions_that_was_interrupted_ends_where_the_uninterrupted_one_does(
    brains: Path, bank: list[str], tmp_path: Path
) -> None:
    train(with_bank(bank), brains, tmp_path / "once", resume=False, report=silent)
    for stop in (1, 2):
        train(with_bank(bank), brains, tmp_path / "twice", resume=stop > 1, report=stopping_after(stop))
    once, twice = weights(tmp_path / "once"), weights(tmp_path / "twice")
    assert all(torch.equal(once[key], twice[key]) for key in once)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("config.bank_widths=[4,2]",), "Member 0 of the bank has another shape"),
        (("config.bank_widths=[2,4,8]",), "The bank has 3 members; got 2 trained ones"),
        (("brain.size_ji=[32,40]",), r"has other preprocessing than med_danet: .*\(32, 32\).* not .*\(32, 40\)"),
        (('data.train=["brats:train"]',), r"has other training data than med_danet: \('brats:all',\), not"),
    ],
)
def test_members_that_do_not_fit_are_refused(
    brains: Path, bank: list[str], tmp_path: Path, settings: tuple[str, ...], message: str
) -> None:
    with pytest.raises(LeanSegError, match=message):
        train(with_bank(bank, *settings), brains, tmp_path / "run", resume=False, report=silent)
    assert not (tmp_path / "run").exists()


def test_a_member_of_another_kind_is_refused(brains: Path, bank: list[str], tmp_path: Path) -> None:
    train(with_bank(bank), brains, tmp_path / "run", resume=False, report=silent)
    with pytest.raises(LeanSegError, match="is a med_danet; a residual_unet or med_danet_v2 is needed"):
        train(with_bank([str(tmp_path / "run")] * 2), brains, tmp_path / "other", resume=False, report=silent)


def test_a_member_that_was_not_trained_is_named(brains: Path, tmp_path: Path) -> None:
    with pytest.raises(LeanSegError, match=r"nowhere holds no trained run .*Train it first"):
        train(with_bank([str(tmp_path / "nowhere")] * 2), brains, tmp_path / "run", resume=False, report=silent)


# ── recipes that make no sense ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("recipe", "settings", "message"),
    [
        ("med_danet_v2", ("decisions.cost_weight=0",), "phases and decisions exclude each other"),
        ("med_danet_v2", ('average=["runs/a"]',), "phases and average exclude each other"),
        ("med_danet_v2", ("network=residual_unet",), r"\[phases\] trains a med_danet_v2; the network is residual_unet"),
        ("med_danet", ("network=residual_unet",), r"\[decisions\] trains a med_danet; the network is residual_unet"),
        ("med_danet_bank", ("network=med_danet_v2",), r"learns to decide by \[phases\] only\. Add a section"),
        ("med_danet_bank", ("network=med_danet",), r"learns to decide by \[decisions\] only\. Add a section"),
        ("med_danet", ("init=runs/a",), r"init and decisions\.bank both give the weights of the bank"),
        ("med_danet", ("decisions.cost_weight=-1",), "cost_weight must be 0 or more; got -1"),
        ("t2kd_student", ("phases.seed=1",), "distillation and phases exclude each other"),
        ("med_danet_v2", ("phases.quantize_from=0.9",), "0 <= quantize_from <= decide_from <= 1 is needed"),
    ],
)
def test_combinations_that_make_no_sense_are_refused(recipe: str, settings: tuple[str, ...], message: str) -> None:
    with pytest.raises(LeanSegError, match=message) as caught:
        load_recipe(recipe, settings)
    assert "\n" not in str(caught.value)


def test_methods_for_brains_need_brains() -> None:
    for name in ("med_danet", "med_danet_v2"):
        with pytest.raises(ValueError, match=r"needs slices of brains\. Add a section \[brain\]"):
            replace(load_recipe(name), brain=None)


def test_an_average_of_dynamic_networks_needs_no_method() -> None:
    recipe = replace(load_recipe("med_danet_v2"), phases=None, average=("runs/a", "runs/b"))
    assert Recipe.from_json(recipe.to_json()) == recipe


def test_phases_of_the_shipped_recipe_change_at_whole_epochs() -> None:
    recipe = load_recipe("med_danet_v2")
    assert recipe.phases is not None
    phases = [recipe.phases.phase(epoch, recipe.optimizer.epochs) for epoch in range(recipe.optimizer.epochs)]
    assert phases == [1] * 14 + [2] * 4 + [3] * 6
