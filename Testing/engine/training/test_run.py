from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

from leanseg.errors import LeanSegError
from leanseg.networks.attention_unet import AttentionUNet
from leanseg.training.recipe import DataConfig, DistillationConfig, OptimizerConfig, Recipe
from leanseg.training.run import train
from leanseg.training.trainer import Report, load_run
from Testing.engine.training.test_data import BUSI, write_dataset


def silent(done: int, total: int, what: str) -> None: ...


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_dataset(tmp_path / "data" / "busi", BUSI)
    return tmp_path / "data"


@pytest.fixture
def recipe(small_recipe: Recipe) -> Recipe:
    return replace(
        small_recipe, data=DataConfig(("busi:train",), ("busi:val",)), optimizer=OptimizerConfig(epochs=2, bf16=False)
    )


@pytest.mark.parametrize("teachers_see", ["clean", "augmented"])
def test_teachers_and_then_the_student_are_trained_from_files(
    recipe: Recipe, data: Path, tmp_path: Path, teachers_see: str
) -> None:
    teachers = {name: str(tmp_path / f"teacher_{name}") for name in ("benign", "malignant")}
    for folder in teachers.values():
        train(recipe, data, Path(folder), resume=False, report=silent)
    distillation = DistillationConfig(teachers, teachers_see=teachers_see)
    student = replace(recipe, id="student", distillation=distillation)
    train(student, data, tmp_path / "student", resume=False, report=silent)
    read_back, network = load_run(tmp_path / "student")
    assert read_back == student and isinstance(network, AttentionUNet)
    header = (tmp_path / "student" / "log.csv").read_text(encoding="utf-8").splitlines()[0]
    assert {"out", "att", "feat", "seg"} <= set(header.split(","))


def test_training_reports_every_epoch_and_goes_on_where_it_stopped(recipe: Recipe, data: Path, tmp_path: Path) -> None:
    reports: list[int] = []

    def stop_after_the_first(done: int, total: int, what: str) -> None:
        reports.append(done)
        if done == 1:
            raise KeyboardInterrupt

    report: Report = stop_after_the_first
    with pytest.raises(KeyboardInterrupt):
        train(recipe, data, tmp_path / "run", resume=False, report=report)
    train(recipe, data, tmp_path / "run", resume=True, report=report)
    assert reports == [1, 2]


def test_a_teacher_that_was_not_trained_is_named(recipe: Recipe, data: Path, tmp_path: Path) -> None:
    distillation = DistillationConfig({"benign": str(tmp_path / "nowhere")})
    with pytest.raises(LeanSegError, match=r"nowhere holds no trained run .*\. Train it first"):
        train(replace(recipe, distillation=distillation), data, tmp_path / "run", resume=False, report=silent)


def test_a_teacher_of_another_kind_is_refused(
    recipe: Recipe, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leanseg.training.run.load_run", lambda folder: (recipe, nn.Identity()))
    distillation = DistillationConfig({"benign": "somewhere"})
    with pytest.raises(LeanSegError, match=r"^The teacher somewhere is a .*; an attention_unet is needed"):
        train(replace(recipe, distillation=distillation), data, tmp_path / "run", resume=False, report=silent)
