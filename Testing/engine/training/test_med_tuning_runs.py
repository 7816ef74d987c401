"""A finished run of Med-Tuning has all its weights: the folder of the backbone is needed no more, nor named."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from leanseg.inference.sliding_window import SlidingWindowConfig
from leanseg.networks import build_network
from leanseg.networks.med_tuning import MedTuningConfig, random_backbone
from leanseg.training.brain_card import brain_card
from leanseg.training.recipe import Recipe, load_recipe
from leanseg.training.trainer import load_run, new_network
from leanseg.weights.card import ModelCard

TINY: dict[str, Any] = {"width": 12, "window": 2, "ratio": 3, "depth": 4}
SWIN = {**TINY, "backbone": "swin", "depths": [1, 1], "heads": [1, 2]}
VIT = {**TINY, "backbone": "vit", "depths": [4], "heads": [2], "image_px": 32}
IMAGE = torch.rand(1, 4, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=[SWIN, VIT], ids=["swin", "vit"])
def recipe(request: pytest.FixtureRequest, tmp_path: Path) -> Recipe:
    """With a folder as `transformers` saves it."""
    folder = tmp_path / "secret" / "backbone"
    config = request.param
    values = {**config, "depths": tuple(config["depths"]), "heads": tuple(config["heads"])}
    torch.manual_seed(3)
    random_backbone(MedTuningConfig(**values)).save_pretrained(folder)  # type: ignore[operator]
    return replace(load_recipe("med_tuning"), config={**config, "folder": str(folder)})


def finished(recipe: Recipe, folder: Path) -> torch.Tensor:
    """A run as training leaves it, and what its network says."""
    network = build_network(recipe.network, recipe.config).eval()
    folder.mkdir()
    (folder / "recipe.json").write_text(json.dumps(recipe.to_json()), encoding="utf-8")
    (folder / "log.csv").write_text("epoch,loss,val_dice,seconds\n1,0.5,0.5,1\n", encoding="utf-8")
    save_file(network.state_dict(), folder / "weights.safetensors")
    shutil.rmtree(recipe.config["folder"])
    with torch.no_grad():
        logits: torch.Tensor = network(IMAGE)
    return logits


def test_a_finished_run_is_read_without_the_folder_of_its_backbone(recipe: Recipe, tmp_path: Path) -> None:
    expected = finished(recipe, tmp_path / "run")
    read, network = load_run(tmp_path / "run")
    assert read == recipe, "what was trained is told as it was"
    with torch.no_grad():
        assert torch.equal(network(IMAGE), expected)
        begun = new_network(replace(recipe, init=str(tmp_path / "run"))).eval()
        assert torch.equal(begun(IMAGE), expected), "nor to go on from it"


def test_the_card_names_no_local_folder_and_builds_the_network(recipe: Recipe, tmp_path: Path) -> None:
    finished(recipe, tmp_path / "run")
    read, network = load_run(tmp_path / "run")
    window = SlidingWindowConfig((3, 32, 32))
    card: ModelCard = brain_card(read, network, tmp_path / "run", "ours", window, 1.0, 1.0)
    assert "secret" not in card.to_json()
    assert card.training["stages"][-1]["recipe"]["config"]["folder"] == "backbone"
    build_network(card.network, card.config).load_state_dict(network.state_dict())
