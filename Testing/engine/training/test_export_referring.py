"""A run of a tiny network becomes a bundle that outlines without torch."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from leanseg.api import load_engine
from leanseg.errors import LeanSegError
from leanseg.inference.referring import ReferringEngine
from leanseg.networks.cm_mask_sd import CMMaskSD
from leanseg.training.data.referring_pairs import ReferringPair
from leanseg.training.data.referring_set import fixed_pairs, load_referring_set
from leanseg.training.evaluate_references import (
    EMPTY_WHEN_ABSENT,
    answers_in_use,
    best_existence_threshold,
    replies_of,
    with_thresholds,
)
from leanseg.training.export import export
from leanseg.training.export_referring import best_temperature, logits_of
from leanseg.training.graphs import without_traces
from leanseg.training.referring import TOKENIZER, checked
from leanseg.training.run import train
from leanseg.training.trainer import load_run
from leanseg.weights.bundle import Bundle
from Testing.engine.training.referring_pictures import write_disks
from Testing.engine.training.test_referring import OPTIONS, RECIPE, silent

pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning")  # torch's own


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Bundle, Path]:
    """Run, bundle, data."""
    folder = tmp_path_factory.mktemp("referring")
    data, run = write_disks(folder / "data"), folder / "run"
    recipe = replace(RECIPE, config={**RECIPE.config, "finds_objects": True})
    train(replace(recipe, optimizer=replace(RECIPE.optimizer, epochs=4)), data, run, False, silent)
    return run, export(run, folder / "models" / "tiny_referring", data), data


def engine_of(bundle: Bundle) -> ReferringEngine:
    engine = load_engine(str(bundle.folder)).engine
    assert isinstance(engine, ReferringEngine)
    return engine


def some_pairs(data: Path) -> list[ReferringPair]:
    assert OPTIONS is not None
    return fixed_pairs(load_referring_set(["monuseg_text:test"], data, RECIPE), 4, 0, OPTIONS)


def test_the_bundle_says_what_the_network_says(exported: tuple[Path, Bundle, Path]) -> None:
    run, bundle, data = exported
    network, engine = checked(load_run(run)[1]), engine_of(bundle)
    temperature = bundle.card.temperature
    for pair in some_pairs(data):
        found = engine.refer(pair.image[np.newaxis], pair.text)
        ids = torch.tensor([engine._pieces(pair.text)])
        padding = torch.zeros_like(ids, dtype=torch.bool)
        with torch.no_grad():
            output = network(torch.from_numpy(pair.image)[None, None], ids, padding)
        exists = float(output.existence.sigmoid())
        assert found.existence == pytest.approx(exists, abs=5e-3)
        expected = exists * (output.logits[0, 0] / temperature).sigmoid()
        np.testing.assert_allclose(found.probability, expected, atol=5e-3)
        np.testing.assert_allclose(found.sentence, output.correlation[0], atol=5e-3)
        assert found.objects is not None
        np.testing.assert_allclose(found.objects, output.objects[0, 0].sigmoid(), atol=5e-3)


def test_each_word_has_its_own_correlation(exported: tuple[Path, Bundle, Path]) -> None:
    run, bundle, data = exported
    network, engine, pair = checked(load_run(run)[1]), engine_of(bundle), some_pairs(data)[0]
    found = engine.refer(pair.image[np.newaxis], "The largest lesion.")
    ids = torch.tensor([engine._pieces("The largest lesion.")])
    with torch.no_grad():
        seen = network.encoder(torch.from_numpy(pair.image)[None, None], ids, torch.zeros_like(ids, dtype=torch.bool))
    assert [word for word, _ in found.words] == ["the", "largest", "lesion", "."]
    for n, (_, correlation) in enumerate(found.words):
        expected = torch.cosine_similarity(seen.patches[0], seen.words[0, 1 + n], dim=2)
        np.testing.assert_allclose(correlation, expected, atol=5e-3)


def test_the_card_says_what_it_is(exported: tuple[Path, Bundle, Path]) -> None:
    card, run = exported[1].card, exported[0]
    assert (card.task, card.engine, card.system) == ("referring segmentation", "referring", "cm_mask_sd")
    assert [label.id for label in card.labels] == ["object"]
    assert card.engine_config["grid_ji"] == [8, 8] and card.engine_config["text_length"] == 24
    validation = card.metrics["validation"]
    assert set(validation["fp32"]) == {"miou", "wrong_iou", "p50", "found", "absent_empty"}
    assert validation["fp32"]["absent_empty"] >= EMPTY_WHEN_ABSENT and "monuseg_text:val" in validation["by_part"]
    assert sum(figures["n"] for figures in validation["by_kind"].values()) == validation["n"] == 150
    assert "CC BY-NC-SA" in card.data_licenses[0] and card.gmacs > 0
    assert exported[1].read(engine_of(exported[1]).config.tokenizer) == (run / TOKENIZER).read_bytes()


def test_the_graph_holds_nothing_that_tools_wrote(exported: tuple[Path, Bundle, Path]) -> None:
    (file,) = exported[1].folder.glob("*.onnx")
    assert without_traces(onnx.load(file)) == onnx.load(file)


def test_a_run_without_its_data_is_not_exported(exported: tuple[Path, Bundle, Path], tmp_path: Path) -> None:
    with pytest.raises(LeanSegError, match=r"has no text\.csv"):
        export(exported[0], tmp_path / "bundle", tmp_path)


# ── what is chosen ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_existence_threshold_is_the_smallest_that_leaves_enough_absent_ones_empty() -> None:
    existence = torch.cat([torch.linspace(0.05, 0.95, 10), torch.full((5,), 0.9)])
    there = torch.tensor([False] * 10 + [True] * 5)
    threshold = best_existence_threshold(existence, there)
    left_empty = [(existence[:10] < t).float().mean() >= EMPTY_WHEN_ABSENT for t in (threshold, threshold - 0.1)]
    assert left_empty == [True, False]
    assert best_existence_threshold(existence, torch.ones(15) > 0) == 0.5


def test_the_temperature_follows_what_is_right() -> None:
    targets = torch.zeros(4, 8, 8)
    targets[:, :, :4] = 1
    noisy = torch.where(torch.rand(4, 8, 8, generator=torch.Generator().manual_seed(0)) < 0.2, 1 - targets, targets)
    logits = 8 * (noisy - 0.5)
    assert best_temperature(logits, targets) > 2, "surer than it should be"
    assert best_temperature(logits, torch.zeros_like(targets)) == 1.0


def test_both_thresholds_follow_what_is_right(exported: tuple[Path, Bundle, Path]) -> None:
    engine = engine_of(exported[1])
    pairs = fixed_pairs(load_referring_set(["monuseg_text:test"], exported[2], RECIPE), 12, 0, OPTIONS)
    told = []
    for reply in replies_of(engine, pairs):
        there = reply.pair.mask
        p = np.where(there if there.any() else reply.pair.others, 0.45, 0.22).astype(np.float32)
        told.append(
            reply._replace(
                found=replace(reply.found, probability=p, existence=0.8 if there.any() else 0.3, objects=None)
            )
        )
    config = with_thresholds(engine.config, told)
    assert 0.22 < config.threshold <= 0.45 and 0.3 <= config.existence_threshold < 0.8
    expected = torch.stack([torch.from_numpy(pair.mask) for pair in pairs])
    answers = answers_in_use(told, replace(config, existence_threshold=0.31))
    assert torch.equal(answers, expected)


def test_logits_do_not_depend_on_padding(exported: tuple[Path, Bundle, Path]) -> None:
    run, bundle, data = exported
    network, pairs = checked(load_run(run)[1]), some_pairs(data)
    assert isinstance(network, CMMaskSD)
    together = logits_of(network, engine_of(bundle)._pieces, pairs)
    alone = torch.cat([logits_of(network, engine_of(bundle)._pieces, [pair]) for pair in pairs])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-4)
