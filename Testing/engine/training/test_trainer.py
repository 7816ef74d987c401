import csv
import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from leanseg.errors import LeanSegError
from leanseg.losses.weight_balance import WeightBalanceLoss
from leanseg.training.augment import AugmentConfig
from leanseg.training.data.arrays import TrainingArrays
from leanseg.training.objectives import Batch, Objective, Supervised
from leanseg.training.recipe import Recipe
from leanseg.training.trainer import Trainer, load_run, new_network

MakeTrainer = Callable[..., Trainer]


@dataclass
class Recording:
    """The supervised objective, which remembers every batch and logs a part of its own."""

    after: Callable[[Batch], object] = lambda batch: None
    batches: list[Batch] = field(default_factory=list)

    def __call__(self, network: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        self.batches.append(batch)
        self.after(batch)
        loss, _ = Supervised(WeightBalanceLoss())(network, batch)
        return loss, {"brightness": batch.images.mean()}


@pytest.fixture
def make_trainer(
    small_recipe: Recipe, sixteen_images: TrainingArrays, eight_others: TrainingArrays, tmp_path: Path
) -> MakeTrainer:
    def make(
        folder: str = "run",
        recipe: Recipe = small_recipe,
        objective: Objective | None = None,
        train: TrainingArrays = sixteen_images,
        val: TrainingArrays = eight_others,
        **more: Any,
    ) -> Trainer:
        return Trainer(recipe, train, val, objective or Supervised(WeightBalanceLoss()), tmp_path / folder, **more)

    return make


def optimizer(recipe: Recipe, **changes: Any) -> Recipe:
    return replace(recipe, optimizer=replace(recipe.optimizer, **changes))


def log_of(folder: Path) -> list[dict[str, str]]:
    """Rows of log.csv but for the time they took."""
    with (folder / "log.csv").open(newline="", encoding="utf-8") as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def assert_same_run(folder: Path, other: Path) -> None:
    assert log_of(folder) == log_of(other)
    for name in ("resume.safetensors", "weights.safetensors"):
        left, right = load_file(folder / name), load_file(other / name)
        assert left.keys() == right.keys()
        assert [key for key in left if not torch.equal(left[key], right[key])] == [], name


# ── resume ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("stops", [[2], [1, 2]], ids=["stopped once", "stopped twice"])
def test_a_resumed_run_repeats_the_uninterrupted_one_bit_for_bit(
    make_trainer: MakeTrainer, small_recipe: Recipe, stops: list[int], bf16: bool
) -> None:
    recipe = optimizer(small_recipe, bf16=bf16)
    whole = make_trainer("whole", recipe)
    whole.fit()
    resume = False
    for stop in stops:
        make_trainer("parts", recipe).fit(resume, stop_after=stop)
        resume = True
        assert len(log_of(whole.folder.with_name("parts"))) < 4
    parts = make_trainer("parts", recipe)
    parts.fit(resume=True)
    assert len(log_of(parts.folder)) == 4
    assert_same_run(whole.folder, parts.folder)


@pytest.mark.parametrize("epoch", [2, 3, 4])
@pytest.mark.parametrize("place", ["before the state is replaced", "while the log is written"])
def test_a_run_killed_while_it_writes_resumes_exactly(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch, epoch: int, place: str
) -> None:
    make_trainer("whole").fit()
    trainer = make_trainer("parts")
    replace_file, write_rows = os.replace, csv.DictWriter.writerows

    def replace_or_die(source: Path, target: Path) -> None:
        if trainer.epoch == epoch and target.name == "resume.safetensors":
            raise KeyboardInterrupt
        replace_file(source, target)

    def write_or_die(writer: Any, rows: Any) -> None:
        if trainer.epoch == epoch:
            raise KeyboardInterrupt
        write_rows(writer, rows)

    if place == "while the log is written":
        monkeypatch.setattr("csv.DictWriter.writerows", write_or_die)
    else:
        monkeypatch.setattr("os.replace", replace_or_die)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    monkeypatch.undo()
    make_trainer("parts").fit(resume=True)
    assert_same_run(trainer.folder.with_name("whole"), trainer.folder)


def test_a_run_is_not_resumed_with_another_recipe(make_trainer: MakeTrainer, small_recipe: Recipe) -> None:
    first = make_trainer()
    first.fit(stop_after=1)
    before = {path.name: path.read_bytes() for path in first.folder.iterdir()}
    with pytest.raises(LeanSegError, match="was begun with another recipe"):
        make_trainer(recipe=replace(small_recipe, seed=9)).fit(resume=True)
    assert {path.name: path.read_bytes() for path in first.folder.iterdir()} == before


def test_a_report_that_says_no_stops_after_the_epoch_and_can_be_resumed(make_trainer: MakeTrainer) -> None:
    make_trainer("whole").fit()
    stopped = make_trainer("parts", report=lambda done, total, what: done < 2)
    stopped.fit()
    assert len(log_of(stopped.folder)) == 2
    make_trainer("parts").fit(resume=True)
    assert_same_run(stopped.folder.with_name("whole"), stopped.folder)


def test_resuming_a_finished_run_changes_nothing(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    trainer.fit()
    before = {path.name: path.read_bytes() for path in trainer.folder.iterdir()}
    make_trainer().fit(resume=True)
    assert {path.name: path.read_bytes() for path in trainer.folder.iterdir()} == before


def test_resuming_nothing_says_so_and_leaves_no_folder(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer("nowhere")
    with pytest.raises(LeanSegError, match=r"^There is nothing to resume in .*nowhere\. Start without --resume\.$"):
        trainer.fit(resume=True)
    assert not trainer.folder.exists()


# ── seeds ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_one_seed_gives_one_result_whatever_the_global_generator(
    make_trainer: MakeTrainer, small_recipe: Recipe
) -> None:
    for folder, recipe in [("a", small_recipe), ("b", small_recipe), ("c", replace(small_recipe, seed=1))]:
        torch.manual_seed(ord(folder))
        make_trainer(folder, recipe).fit(stop_after=2)
    root = make_trainer().folder.parent
    assert_same_run(root / "a", root / "b")
    with pytest.raises(AssertionError):
        assert_same_run(root / "a", root / "c")


def test_the_first_weights_come_from_the_seed(small_recipe: Recipe) -> None:
    torch.manual_seed(7)
    one = new_network(small_recipe).state_dict()
    state = torch.get_rng_state()
    same, other = new_network(small_recipe).state_dict(), new_network(replace(small_recipe, seed=1)).state_dict()
    assert torch.equal(torch.get_rng_state(), state), "a caller's generator is left alone"
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not torch.equal(one["head.weight"], other["head.weight"])


# ── the steps ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_epoch_sees_each_image_once_in_another_order_than_the_last(
    make_trainer: MakeTrainer, small_recipe: Recipe, no_augmentation: AugmentConfig, sixteen_images: TrainingArrays
) -> None:
    objective = Recording()
    make_trainer(recipe=replace(small_recipe, augment=no_augmentation), objective=objective).fit(stop_after=2)
    first, second = (torch.cat([b.indices for b in objective.batches[n : n + 4]]) for n in (0, 4))
    assert len(objective.batches) == 8
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(16))
    assert not torch.equal(first, second)
    for batch in objective.batches:  # without augmentation a batch is what it came from
        torch.testing.assert_close(batch.images, sixteen_images.images[batch.indices], rtol=0, atol=1e-5)
        assert torch.equal(batch.targets, sixteen_images.targets[batch.indices].float())
        assert torch.equal(batch.classes, sixteen_images.classes[batch.indices])


def test_targets_of_augmented_images_stay_binary_and_on_the_lesion(
    make_trainer: MakeTrainer, sixteen_images: TrainingArrays
) -> None:
    objective = Recording()
    make_trainer(objective=objective).fit(stop_after=2)
    moved = 0
    for batch in objective.batches:
        assert set(batch.targets.unique().tolist()) <= {0.0, 1.0}
        has_lesion = batch.targets.flatten(1).any(1)
        assert has_lesion.sum() >= len(has_lesion) - (batch.classes == 0).sum() - 1  # one may leave the image
        inside, around = batch.images[batch.targets > 0].mean(), batch.images[batch.targets == 0].mean()
        assert inside < around, "synthetic lesions are dark"
        moved += int(not torch.equal(batch.targets, sixteen_images.targets[batch.indices].float()))
    assert moved == len(objective.batches)


def test_fewer_images_than_a_batch_still_make_a_step(
    make_trainer: MakeTrainer, ultrasound: Callable[..., TrainingArrays]
) -> None:
    objective = Recording()
    make_trainer(objective=objective, train=ultrasound(3)).fit(stop_after=1)
    assert [len(batch.indices) for batch in objective.batches] == [3]


def test_learning_rate_warms_up_and_then_follows_a_cosine(make_trainer: MakeTrainer, small_recipe: Recipe) -> None:
    rates: list[float] = []
    recipe = optimizer(small_recipe, epochs=6, batch_size=16, warmup_epochs=2.0, learning_rate=0.1)
    objective = Recording(lambda batch: rates.append(trainer.optimizer.param_groups[0]["lr"]))
    trainer = make_trainer(recipe=recipe, objective=objective)
    trainer.fit()
    cosine = [0.1 * (0.01 + 0.99 * (1 + math.cos(math.pi * part)) / 2) for part in (0, 1 / 4, 2 / 4, 3 / 4)]
    assert rates == pytest.approx([0.05, 0.1, *cosine])


def test_mean_weights_follow_the_weights_with_a_growing_decay(make_trainer: MakeTrainer, small_recipe: Recipe) -> None:
    trainer = make_trainer(recipe=optimizer(small_recipe, batch_size=16, ema_decay=0.15))  # one step an epoch
    start = {key: value.clone() for key, value in trainer.network.state_dict().items()}
    trainer.fit(stop_after=1)
    first = {key: value.clone() for key, value in trainer.network.state_dict().items()}
    mean = {key: value.clone() for key, value in trainer.mean.state_dict().items()}
    trainer.fit(stop_after=1)
    second = trainer.network.state_dict()
    for key, value in start.items():
        if value.is_floating_point():
            torch.testing.assert_close(mean[key], 0.1 * value + 0.9 * first[key])  # decay 1 / 10
            torch.testing.assert_close(
                trainer.mean.state_dict()[key], 0.15 * mean[key] + 0.85 * second[key]
            )  # 2 / 11, capped
        else:
            assert torch.equal(trainer.mean.state_dict()[key], second[key])
    assert not torch.equal(start["head.weight"], second["head.weight"])


def test_without_decay_the_mean_is_the_weights_themselves(make_trainer: MakeTrainer, small_recipe: Recipe) -> None:
    trainer = make_trainer(recipe=optimizer(small_recipe, ema_decay=0.0))
    trainer.fit(stop_after=1)
    assert all(
        torch.equal(trainer.mean.state_dict()[key], value) for key, value in trainer.network.state_dict().items()
    )


def test_long_gradients_are_clipped(make_trainer: MakeTrainer) -> None:
    def steep(network: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        loss, parts = Supervised(WeightBalanceLoss())(network, batch)
        return 1e4 * loss, parts

    trainer = make_trainer(objective=steep)
    trainer.fit(stop_after=1)
    norms = [p.grad.norm() for p in trainer.network.parameters() if p.grad is not None]
    assert torch.stack(norms).norm().item() == pytest.approx(5, rel=1e-3)


def test_a_loss_that_is_not_a_number_stops_with_one_clear_line(make_trainer: MakeTrainer) -> None:
    def breaks(network: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        loss, parts = Supervised(WeightBalanceLoss())(network, batch)
        return (loss * math.nan if trainer.epoch == 1 else loss), parts

    trainer = make_trainer(objective=breaks)
    with pytest.raises(LeanSegError, match=r"^The loss became nan in epoch 2\. Lower the learning rate\.$"):
        trainer.fit()
    assert len(log_of(trainer.folder)) == 1
    assert all(value.isfinite().all() for value in load_file(trainer.folder / "resume.safetensors").values())


def test_training_finds_synthetic_lesions(
    make_trainer: MakeTrainer, small_recipe: Recipe, ultrasound: Callable[..., TrainingArrays]
) -> None:
    recipe = optimizer(replace(small_recipe, config={"widths": [8, 16]}), epochs=12, ema_decay=0.9)
    trainer = make_trainer(recipe=recipe, train=ultrasound(48), val=ultrasound(24, seed=1))
    before = trainer.validate()
    trainer.fit()
    assert before["val_dice"] < 0.5
    assert trainer.log[-1]["val_dice"] > 0.75 and trainer.log[-1]["val_empty"] > 0.7
    assert trainer.log[-1]["loss"] < 0.6 * trainer.log[0]["loss"]


# ── the run folder ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_log_has_a_row_an_epoch_with_every_part_of_the_loss(make_trainer: MakeTrainer) -> None:
    reports: list[tuple[int, int, str]] = []
    trainer = make_trainer(objective=Recording(), report=lambda *report: reports.append(report))
    trainer.fit()
    rows = log_of(trainer.folder)
    assert list(rows[0]) == ["epoch", "loss", "brightness", "val_dice", "val_empty"]
    assert [float(row["epoch"]) for row in rows] == [1, 2, 3, 4]
    assert all(0 <= float(row["brightness"]) <= 1 and math.isfinite(float(row["loss"])) for row in rows)
    assert [report[:2] for report in reports] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert f"loss {float(rows[-1]['loss']):.3f}" in reports[-1][2]


def test_validation_tells_lesions_from_normal_images(make_trainer: MakeTrainer, eight_others: TrainingArrays) -> None:
    trainer = make_trainer()
    for key, value in trainer.mean.state_dict().items():
        if key.startswith("head."):
            value.fill_(-1.0 if key == "head.bias" else 0.0)  # says nothing, everywhere
    assert trainer.validate() == {"val_dice": 0, "val_empty": 1}


def test_validation_without_a_kind_of_image_has_no_number_for_it(
    make_trainer: MakeTrainer, ultrasound: Callable[..., TrainingArrays]
) -> None:
    assert math.isnan(make_trainer(val=ultrasound(2, classes=("benign",))).validate()["val_empty"])
    assert math.isnan(make_trainer(val=ultrasound(2, classes=("normal",))).validate()["val_dice"])


def test_the_last_epochs_mean_weights_are_kept_however_validation_went(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer()
    scores = iter([0.9, 0.8, 0.5, 0.1])
    monkeypatch.setattr(trainer, "validate", lambda: {"val_dice": next(scores), "val_empty": 0.0})
    trainer.fit()
    kept = load_file(trainer.folder / "weights.safetensors")
    assert all(torch.equal(kept[key], value) for key, value in trainer.mean.state_dict().items())
    assert trainer.epoch == 4


def test_a_run_is_read_back_as_it_was_written(make_trainer: MakeTrainer, small_recipe: Recipe) -> None:
    trainer = make_trainer()
    fitted = trainer.fit()
    recipe, network = load_run(trainer.folder)
    assert recipe == small_recipe and json.loads((trainer.folder / "recipe.json").read_text())["id"] == "small"
    assert not network.training
    assert all(torch.equal(fitted.state_dict()[key], value) for key, value in network.state_dict().items())
    assert sorted(path.suffix for path in trainer.folder.iterdir() if path.suffix == ".partial") == []


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(LeanSegError, match=r"holds no trained run \(weights\.safetensors\)\. Train it first"):
        load_run(tmp_path)


def test_training_starts_from_the_weights_of_another_run(make_trainer: MakeTrainer, small_recipe: Recipe) -> None:
    first = make_trainer("first")
    weights = first.fit().state_dict()
    started = make_trainer("second", replace(small_recipe, init=str(first.folder), seed=5)).network.state_dict()
    assert all(torch.equal(started[key], value) for key, value in weights.items())


def test_a_start_that_does_not_exist_is_named(small_recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(LeanSegError, match="nowhere holds no trained run"):
        new_network(replace(small_recipe, init=str(tmp_path / "nowhere")))


# ── training in phases ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class HeadLater:
    """The head rests for the first half of the epochs, and then learns twice as fast; the rest does the contrary."""

    phases: list[tuple[int, int]] = field(default_factory=list)
    head_is_learning: bool = False

    def begin_epoch(self, network: nn.Module, epoch: int, epochs: int) -> None:
        self.phases.append((epoch, epochs))
        self.head_is_learning = 2 * epoch >= epochs
        assert network.training
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name.startswith("head.") == self.head_is_learning)
        network.zero_grad(set_to_none=True)

    def parameter_groups(self, network: nn.Module) -> list[dict[str, Any]]:
        head = list(network.head.parameters())  # type: ignore[union-attr, operator]
        rest = [parameter for name, parameter in network.named_parameters() if not name.startswith("head.")]
        return [
            {"params": rest, "lr_factor": 1.0, "starts_at": 0.0},
            {"params": head, "lr_factor": 2.0, "starts_at": 0.5},
        ]

    def logits(self, network: nn.Module, images: Tensor) -> Tensor:
        return torch.full_like(images, -1.0)

    def __call__(self, network: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return Supervised(WeightBalanceLoss())(network, batch)


def parameters_of(trainer: Trainer, of_the_head: bool) -> list[Tensor]:
    named = trainer.network.named_parameters()
    return [value.detach().clone() for name, value in named if name.startswith("head.") == of_the_head]


def test_phases_freeze_and_free_parts_in_turn(make_trainer: MakeTrainer) -> None:
    objective = HeadLater()
    trainer = make_trainer(objective=objective)
    before = parameters_of(trainer, of_the_head=True)
    trainer.fit(stop_after=2)
    assert all(map(torch.equal, before, parameters_of(trainer, of_the_head=True)))
    rest = parameters_of(trainer, of_the_head=False)
    trainer.fit()
    assert not any(map(torch.equal, before, parameters_of(trainer, of_the_head=True)))
    assert all(map(torch.equal, rest, parameters_of(trainer, of_the_head=False)))
    assert objective.phases == [(0, 4), (1, 4), (2, 4), (3, 4)]
    # what is validated is what the objective says: nothing drawn anywhere
    assert [row["val_dice"] for row in trainer.log] == [0.0] * 4
    assert [row["val_empty"] for row in trainer.log] == [1.0] * 4


def test_a_group_that_starts_later_has_its_own_warm_up_and_factor(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(objective=HeadLater())  # 4 epochs of 4 steps, warm-up of 1 epoch, rate 0.01
    assert trainer._learning_rate(7, 0.5) == 0.0
    assert [trainer._learning_rate(step, 0.5) for step in (8, 11)] == pytest.approx([0.01 / 4, 0.01])
    trainer.fit(stop_after=3)  # its last step is 11
    rates = [group["lr"] for group in trainer.optimizer.param_groups]
    assert rates == pytest.approx([trainer._learning_rate(11), 2 * 0.01])


def test_a_run_in_phases_is_resumed_exactly(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    make_trainer("whole", objective=HeadLater()).fit()
    make_trainer("parts", objective=HeadLater()).fit(stop_after=2)
    make_trainer("parts", objective=HeadLater()).fit(resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


# ── the mean of runs ────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_average_is_the_mean_of_weights_and_statistics(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    make_trainer("a").fit(stop_after=1)
    make_trainer("b").fit(stop_after=2)
    make_trainer("mean").average([tmp_path / "a", tmp_path / "b"])
    a, b, mean = (load_run(tmp_path / name)[1].state_dict() for name in ("a", "b", "mean"))
    for key, value in mean.items():
        torch.testing.assert_close(value, (a[key] + b[key]) / 2 if value.is_floating_point() else a[key])
    assert not torch.equal(a["head.weight"], b["head.weight"])
    assert [float(row["val_dice"]) for row in log_of(tmp_path / "mean")] == [pytest.approx(0.0, abs=1.0)]


def test_an_average_does_not_replace_a_run_or_mix_networks(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    make_trainer("a").fit(stop_after=1)
    with pytest.raises(LeanSegError, match=r"holds a run\. Go on with --resume"):
        make_trainer("a").average([tmp_path / "a"])
    wide = replace(make_trainer().recipe, config={"widths": [8, 8]})
    with pytest.raises(LeanSegError, match="is of another network than small"):
        make_trainer("wide", wide).average([tmp_path / "a"])
