import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from leanseg.catalog import SYSTEMS
from leanseg.errors import LeanSegError, UnknownNameError
from leanseg.networks import build_network
from leanseg.training.adapt import with_base
from leanseg.training.objectives import build_loss
from leanseg.training.recipe import RECIPES, Recipe, load_recipe

SHIPPED = sorted(path.stem for path in RECIPES.glob("*.toml"))
SMALL = """
id = "small"
system = "t2kd_attention_unet"
network = "attention_unet"

[config]
widths = [4, 8]

[preprocessing]
size_ji = [64, 96]

[data]
classes = ["benign"]

[optimizer]
learning_rate = 1
bf16 = false

[loss.options]
small_area = 0.1

[distillation]
teachers = { benign = "runs/b" }
"""


@pytest.fixture
def a_recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SMALL, encoding="utf-8")
    return path


def test_a_file_becomes_typed_values(a_recipe_file: Path) -> None:
    recipe = load_recipe(str(a_recipe_file))
    assert (recipe.id, recipe.network, recipe.config) == ("small", "attention_unet", {"widths": [4, 8]})
    assert recipe.preprocessing.size_ji == (64, 96)
    assert recipe.data.classes == ("benign",)
    assert recipe.optimizer.learning_rate == 1.0 and isinstance(recipe.optimizer.learning_rate, float)
    assert recipe.optimizer.bf16 is False
    assert recipe.loss.options == {"small_area": 0.1}
    assert recipe.distillation is not None and recipe.distillation.teachers == {"benign": "runs/b"}


def test_what_a_file_leaves_out_has_its_default(a_recipe_file: Path) -> None:
    recipe = load_recipe(str(a_recipe_file))
    plain = Recipe(id="", system="", network="")
    assert recipe.augment == plain.augment and recipe.optimizer.epochs == plain.optimizer.epochs
    assert recipe.seed == 0 and recipe.loss.name == "weight_balance"
    assert plain.distillation is None


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_recipe_loads_and_names_what_exists(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.id == name
    assert name in next(system for system in SYSTEMS if system.id == recipe.system).recipes
    build_loss(recipe.loss)
    recipe = with_base(recipe) if recipe.base else recipe
    # the one network that needs a folder of weights, which nobody ships
    without_folder = {"random_backbone": True} if recipe.network == "med_tuning" else {}
    network = build_network(recipe.network, {**recipe.config, **without_folder})
    if hasattr(network, "stride") or hasattr(network.config, "stride"):
        stride = getattr(network, "stride", None) or network.config.stride  # type: ignore[union-attr]
        assert all(side % stride == 0 for side in recipe.size_ji)  # type: ignore[operator]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_recipe_survives_json(name: str) -> None:
    recipe = load_recipe(name, ["seed=3"])
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


def test_the_student_alone_differs_from_the_distilled_one_in_its_teachers_only() -> None:
    distilled, alone = load_recipe("t2kd_student"), load_recipe("t2kd_student_alone")
    assert distilled.distillation is not None
    assert replace(distilled, id=alone.id, distillation=None) == alone


def test_settings_override_values_sections_and_texts(a_recipe_file: Path) -> None:
    recipe = load_recipe(
        str(a_recipe_file),
        ["seed=7", "optimizer.epochs=3", "config.widths=[2, 4]", "augment.flip_probability=0", "init=runs/a=b"],
    )
    assert (recipe.seed, recipe.optimizer.epochs, recipe.config) == (7, 3, {"widths": [2, 4]})
    assert recipe.augment.flip_probability == 0.0
    assert recipe.init == "runs/a=b"
    assert recipe.optimizer.learning_rate == 1.0


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("optimizer.epoch=3", r"no key in recipe\.optimizer named 'epoch'\. Did you mean 'epochs'\?"),
        ("sed=3", r"no key in recipe named 'sed'\. Did you mean 'seed'\?"),
        ("seed", "--set needs key=value; got 'seed'"),
        ("seed.more=1", "recipe.seed must be int; got {'more': 1}"),
        ("seed=1.5", "recipe.seed must be int; got 1.5"),
        ("seed=true", "recipe.seed must be int; got True"),
        ("id=5", "recipe.id must be str; got 5"),
        ("optimizer.learning_rate=fast", "recipe.optimizer.learning_rate must be float; got 'fast'"),
        ("optimizer.learning_rate=true", "recipe.optimizer.learning_rate must be float; got True"),
        ("optimizer.bf16=1", "recipe.optimizer.bf16 must be bool; got 1"),
        ("optimizer=5", "recipe.optimizer must be a section; got 5"),
        ("id.x=5", "'id' is a value, not a section"),
        ("preprocessing.size_ji=[64]", r"recipe.preprocessing.size_ji must be .*tuple.*; got \[64\]"),
        ("data.train=busi", r"recipe.data.train must be .*tuple.*; got 'busi'"),
        ("data.classes=[1]", "recipe.data.classes must be str; got 1"),
        ("config=5", "recipe.config must be .*dict.*; got 5"),
        ("distillation.teachers_see=cleen", "Did you mean 'clean'"),
    ],
)
def test_a_setting_that_does_not_fit_is_refused_in_one_clear_line(
    a_recipe_file: Path, setting: str, message: str
) -> None:
    with pytest.raises(LeanSegError, match=message) as caught:
        load_recipe(str(a_recipe_file), [setting])
    assert "\n" not in str(caught.value)


def test_a_recipe_without_an_id_is_refused() -> None:
    with pytest.raises(LeanSegError, match=r"^recipe lacks id\.$"):
        Recipe.from_json({"system": "x", "network": "attention_unet"})


def test_a_recipe_that_does_not_exist_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"no recipe named 't2kd_studnt'\. Did you mean 't2kd_student'\?"):
        load_recipe("t2kd_studnt")


def test_a_file_that_is_not_toml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text("id = \n", encoding="utf-8")
    with pytest.raises(LeanSegError, match=r"broken\.toml is not valid TOML"):
        load_recipe(str(path))


def test_a_shipped_recipe_may_be_named_with_its_ending() -> None:
    assert load_recipe("t2kd_student.toml") == load_recipe("t2kd_student")


def test_overrides_do_not_leak_into_the_next_recipe() -> None:
    changed: Any = load_recipe("t2kd_student", ["config.widths=[2, 4]"])
    assert changed.config != load_recipe("t2kd_student").config
