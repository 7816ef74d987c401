"""A run of a tiny text-guided network becomes a bundle that answers prompts without torch."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from leanseg.api import load_engine
from leanseg.errors import LeanSegError
from leanseg.networks.text_bcs import TextBCS, TextBCSConfig
from leanseg.networks.text_encoder import SmallTextNetwork, TextEncoderConfig
from leanseg.processing.preprocess import PreprocessingConfig
from leanseg.training import export_text as module
from leanseg.training import run_card
from leanseg.training.data.text_pairs import TextPairs, load_text_pairs
from leanseg.training.export import export
from leanseg.training.export_text import (
    best_temperature,
    best_threshold,
    count_prompted_gmacs,
    questions,
    without_costly_int8,
)
from leanseg.training.recipe import DataConfig, Recipe
from leanseg.training.text_encoder import TextEncoderRecipe
from leanseg.training.text_graphs import TextSamples
from leanseg.training.text_recipe import TextConfig
from leanseg.weights.bundle import Bundle

SIDE = 32
CONFIG = TextBCSConfig(
    widths=(4, 8, 12),
    stem_convs=2,
    in_channels=1,
    stages=(1, 2),
    attention_widths=(16, 16),
    text_width=16,
    text_length=8,
    grid=4,
    feeds="skips",
    hints=4,
    existence=True,
)
_PIECES = (
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "tumor",
    "upper",
    "lower",
    "left",
    "right",
    "one",
    "mass",
    "large",
    ".",
    ",",
)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """With a text encoder that nobody taught."""
    folder = tmp_path_factory.mktemp("encoder")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sizes = TextEncoderConfig(len(_PIECES), length=8, width=8, layers=1, heads=2, out_width=16)
        save_file(SmallTextNetwork(sizes).state_dict(), folder / "weights.safetensors")
    encoder = TextEncoderRecipe(network=sizes)
    (folder / "recipe.json").write_text(json.dumps(encoder.to_json()), encoding="utf-8")
    vocabulary = {piece: n for n, piece in enumerate(_PIECES)}
    tokenizer = json.dumps({"model": {"type": "WordPiece", "vocab": vocabulary}})
    (folder / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
    return Recipe(
        id="tiny",
        system="text_bcs",
        network="text_bcs",
        config=CONFIG.to_json(),
        preprocessing=PreprocessingConfig(size_ji=(SIDE, SIDE)),
        data=DataConfig(train=("text_phantom:train",), val=("text_phantom:val",)),
        text=TextConfig(encoder=str(folder), hint_radius_px=2.0),
    )


@pytest.fixture(scope="module")
def pairs(recipe: Recipe) -> TextPairs:
    return load_text_pairs(("text_phantom:val:mri",), Path(), recipe)


def save_run(recipe: Recipe, folder: Path) -> Path:
    """A run that was not trained."""
    folder.mkdir()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = TextBCS(CONFIG)
    save_file(network.state_dict(), folder / "weights.safetensors")
    (folder / "recipe.json").write_text(json.dumps(recipe.to_json()), encoding="utf-8")
    (folder / "log.csv").write_text("epoch,loss,val_dice,seconds\n1.0,0.5,0.25,3.0\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def bundle(recipe: Recipe, pairs: TextPairs, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    root = tmp_path_factory.mktemp("export")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "load_text_pairs", lambda parts, data, recipe: pairs)
        patch.setattr(module, "CALIBRATION_PICTURES", 4)
        patch.setattr(module, "VALIDATION_PICTURES", 6)
        patch.setattr(run_card, "data_licenses", lambda stages: ("made by this project",))
        patch.setattr(module, "SMALL_LOSS", 1.0)
        return export(save_run(recipe, root / "run"), root / "tiny_text", root)


def test_the_bundle_answers_prompts(bundle: Bundle) -> None:
    for precision in ("int8", "fp32"):
        engine = load_engine(str(bundle.folder), precision=precision).engine  # type: ignore[arg-type]
        features = engine.look(np.full((1, SIDE, SIDE), 0.5, np.float32))
        answer = engine.answer(features, engine.encoder.embed("tumor"), engine.nothing_shown((SIDE, SIDE)))
        assert answer.probability.shape == answer.uncertainty.shape == (SIDE, SIDE)
        assert answer.uncertainty.min() > 0 and answer.uncertainty.max() <= 1 and 0 < answer.existence < 1


def test_the_card_says_what_the_engine_needs(bundle: Bundle, recipe: Recipe) -> None:
    card = bundle.card
    assert set(card.graphs) == {"text_fp32", "image_fp32", "image_int8", "prompt_fp32", "prompt_int8"}
    assert card.precisions == ("fp32", "int8") and card.engine == "text_prompted"
    config = card.engine_config
    assert (config["text_length"], config["text_width"], config["hint_radius_px"]) == (8, 16, 2.0)
    assert config["tokenizer"]["bytes"] == (bundle.folder / "tokenizer.json").stat().st_size
    assert card.preprocessing["size_ji"] == [SIDE, SIDE] or card.preprocessing["size_ji"] == (SIDE, SIDE)
    assert {"fp32", "int8", "n", "command"} <= set(card.metrics["validation"])
    assert card.parameters == sum(p.numel() for p in TextBCS(CONFIG).parameters()) + sum(
        p.numel() for p in SmallTextNetwork(TextEncoderConfig(len(_PIECES), 8, 8, 1, 2, out_width=16)).parameters()
    )


def test_what_is_asked_about_a_picture_is_true_of_it(pairs: TextPairs) -> None:
    asked = [questions(pairs, n, 32) for n in range(len(pairs))]
    for n, some in enumerate(asked):
        has_tumor = bool(pairs.targets[n].any())
        assert some[0] == ("Tumor.", has_tumor)
        assert has_tumor or len(some) == 1, "nothing else is asked about a picture without tumor"
    assert {len(some) for some in asked} >= {1, 3}
    assert all(not is_there for some in asked for _, is_there in some[2:])


def test_a_run_without_the_small_encoder_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    assert recipe.text is not None
    other = replace(recipe, text=replace(recipe.text, encoder_kind="transformers"))
    with pytest.raises(LeanSegError, match="holds the small text encoder"):
        export(save_run(other, tmp_path / "run"), tmp_path / "bundle", tmp_path)


def test_the_temperature_undoes_a_scaling_of_the_logits() -> None:
    generator = torch.Generator().manual_seed(0)
    evidence = 6 * torch.rand(4, 2, 64, 64, generator=generator)
    probability = (evidence + 1)[:, 1:] / (evidence + 1).sum(dim=1, keepdim=True)
    targets = torch.rand(4, 1, 64, 64, generator=generator) < probability
    logits = torch.log(torch.expm1(evidence))
    assert best_temperature(logits, targets) == pytest.approx(1.0, abs=0.15)
    assert best_temperature(2.5 * logits, targets) == pytest.approx(2.5, abs=0.4)


def test_the_threshold_divides_what_is_there_from_what_is_not() -> None:
    there = torch.tensor([True, True, True, False, False])
    assert best_threshold(torch.tensor([0.9, 0.8, 0.33, 0.27, 0.1]), there) == pytest.approx(0.3)
    assert best_threshold(torch.tensor([0.9, 0.8, 0.7, 0.2, 0.1]), there) == 0.5
    assert best_threshold(torch.tensor([0.1, 0.2]), torch.tensor([True, True])) == 0.5


@pytest.mark.parametrize(
    ("dice", "kept"),
    [
        ({"int8 int8": 0.897, "fp32 int8": 0.9, "int8 fp32": 0.9}, {"image_int8", "prompt_int8"}),
        ({"int8 int8": 0.85, "fp32 int8": 0.896, "int8 fp32": 0.9}, {"prompt_int8"}),
        ({"int8 int8": 0.85, "fp32 int8": 0.8, "int8 fp32": 0.9}, {"image_int8"}),
        ({"int8 int8": 0.85, "fp32 int8": 0.8, "int8 fp32": 0.8}, set()),
    ],
)
def test_int8_that_costs_dice_is_left_out(
    dice: dict[str, float], kept: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    graphs = {f"{part}_{p}": p.encode() for part in ("image", "prompt") for p in ("fp32", "int8")}

    def figures(image: bytes, prompt: bytes, samples: TextSamples, threshold: float) -> dict[str, float]:
        return {"dice": {"fp32 fp32": 0.9, **dice}[f"{image.decode()} {prompt.decode()}"]}

    monkeypatch.setattr(module, "figures_of", figures)
    chosen, found = without_costly_int8(graphs, TextSamples(*(torch.zeros(0),) * 5), 0.5)
    assert set(chosen) == {"image_fp32", "prompt_fp32"} | kept
    assert ("int8" in found) == bool(kept) and found["fp32"] == {"dice": 0.9}


def test_macs_count_image_and_prompt() -> None:
    # the finest encoder level alone: 3x3, 1 -> 4 and 4 -> 4 channels, at each of 32 x 32 pixels
    network = TextBCS(CONFIG)
    whole = count_prompted_gmacs(network, (SIDE, SIDE)) * 1e9
    assert whole > 9 * (4 + 16) * SIDE**2
    assert math.isclose(count_prompted_gmacs(network, (2 * SIDE, SIDE)) * 1e9, 2 * whole, rel_tol=0.2)
