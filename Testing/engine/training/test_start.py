"""An encoder starts as that of a trained model, which is named by its id or by a file."""

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save_file
from torch import nn

from leanseg.errors import LeanSegError
from leanseg.networks import build_network
from leanseg.training.recipe import Recipe, load_recipe
from leanseg.training.start import start_at_encoder_
from leanseg.weights.store import find_bundle


def encoder(*widths: int) -> nn.Module:
    return build_network("attention_unet", {"widths": widths}).get_submodule("encoder")


@pytest.fixture
def student(tmp_path: Path) -> tuple[Path, nn.Module]:
    torch.manual_seed(1)
    network = build_network("attention_unet", {"widths": [4, 8]})
    half = {key: value.half() if value.is_floating_point() else value for key, value in network.state_dict().items()}
    save_file(half, tmp_path / "student.safetensors")
    return tmp_path / "student.safetensors", network.get_submodule("encoder")


def test_an_encoder_starts_as_that_of_a_file(student: tuple[Path, nn.Module]) -> None:
    path, its = student
    own = encoder(4, 8)
    start_at_encoder_(own, str(path), "text.start", "config.widths")
    for key, value in its.state_dict().items():
        assert own.state_dict()[key].dtype == value.dtype
        torch.testing.assert_close(own.state_dict()[key], value, atol=1e-3, rtol=0)


def refused(start: str, own: nn.Module, message: str) -> None:
    with pytest.raises(LeanSegError, match=message) as caught:
        start_at_encoder_(own, start, "text.start", "config.widths")
    assert "\n" not in str(caught.value)


def test_what_cannot_be_a_start_is_named_in_one_line(student: tuple[Path, nn.Module], tmp_path: Path) -> None:
    path, _ = student
    refused(str(path), encoder(4, 6), r"has other shapes than config\.widths")
    refused("gone.safetensors", encoder(4, 8), r"gone\.safetensors, the recipe's text\.start, cannot be read")
    refused("t2kd_bus", encoder(4, 8), "t2kd_busi")
    damaged = tmp_path / "damaged.safetensors"
    for data in (b"", path.read_bytes()[:200], b"no weights at all"):
        damaged.write_bytes(data)
        refused(str(damaged), encoder(4, 8), f"{re.escape(str(damaged))}, the recipe's text.start, cannot be read")


@pytest.mark.parametrize("name", ["text_bcs", "text_bcs_words", "mf2_mvqa", "mf2_mvqa_ablation"])
def test_the_start_of_shipped_recipes_is_a_shipped_model(name: str) -> None:
    recipe = load_recipe(name)
    options = recipe.text or recipe.questions
    assert options is not None and options.start == "t2kd_busi"
    where = "encoder" if recipe.text else "backbone.encoder"
    own = build_network(recipe.network, recipe.config).get_submodule(where)
    start_at_encoder_(own, options.start, "start", "widths")
    weights = load(find_bundle("t2kd_busi").weights())
    first, value = next(iter(own.state_dict().items()))
    assert torch.equal(value, weights[f"encoder.{first}"].float())


def test_recipes_of_the_shipped_card_are_still_read() -> None:
    stages = find_bundle("text_bcs").card.training["stages"]
    recipes = [Recipe.from_json(stage["recipe"]) for stage in stages]
    assert {"text_bcs_words", "text_bcs"} <= {recipe.id for recipe in recipes}
    assert all(Path(recipe.text.start).stem == "t2kd_busi" for recipe in recipes if recipe.text and recipe.text.start)
