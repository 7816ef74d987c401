"""The facade with a text-guided model."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from leanseg.api import list_models, load_engine, segment
from leanseg.doctor import examine
from leanseg.errors import BundleError, IncompatibleInputError, LeanSegError
from leanseg.processing.postprocess import PostprocessingConfig
from leanseg.volume import Volume
from leanseg.weights.bundle import read_bundle
from Testing.engine.text_tiny import text_graphs, write_text_bundle
from Testing.engine.tiny import dark_on_bright, dice, ellipse

LEFT = ellipse((64, 64), (0.12, 0.12), (0.3, 0.25))
RIGHT = ellipse((64, 64), (0.1, 0.1), (0.7, 0.75))


@pytest.fixture(autouse=True)
def told(models_folder: Path) -> Path:
    return write_text_bundle(models_folder / "told").folder


def image(*masks: NDArray[np.bool_]) -> Volume:
    """Slices with these lesions, or two slices with both."""
    return dark_on_bright(np.stack(masks or (LEFT | RIGHT, LEFT | RIGHT)))


def test_a_prompt_decides_what_is_segmented() -> None:
    result = segment(image(), "told", prompt="ultrasound, left mass")
    assert all(dice(mask, LEFT) > 0.9 for mask in result.mask("lesion"))
    assert result.geometry.is_close_to(image().geometry)
    assert result.probabilities.array.shape == result.uncertainty.array.shape == (1, 2, 64, 64)
    np.testing.assert_array_equal(result.probabilities.array[0] >= 0.5, result.labelmap == 1)


def test_without_a_prompt_any_tumor_is_meant() -> None:
    assert all(dice(mask, LEFT | RIGHT) > 0.9 for mask in segment(image(), "told").mask("lesion"))


def test_notes_say_what_was_understood_and_where_nothing_was_found() -> None:
    result = segment(image(LEFT, RIGHT), "told", prompt="round mass, left. ultrasound")
    assert not result.labelmap[1].any() and not result.probabilities.array[0, 1].any() and result.labelmap[0].any()
    notes = result.notes
    assert (notes["slices"], notes["gmacs"], notes["prompt"]) == (2, 0.5, "round mass, left. ultrasound")
    assert notes["understood"] == "round · left · ultrasound"
    assert list(notes["absent"]) == ["1"] and "lies" in notes["absent"]["1"]
    assert notes["existence"][0] > 0.9 > 0.1 > notes["existence"][1]
    json.dumps(notes)


def test_where_nothing_is_found_at_all_the_reason_is_a_warning() -> None:
    warnings = segment(image(RIGHT), "told", prompt="left").notes["warnings"]
    assert "The prompt says left; what looks like a tumor lies lower right." in warnings


def test_the_postprocessing_of_a_call_replaces_the_cards() -> None:
    largest = segment(image(), "told", postprocessing=PostprocessingConfig(largest_component=True))
    assert all(dice(mask, LEFT) > 0.9 for mask in largest.mask("lesion"))


def test_what_the_model_does_not_take_is_refused() -> None:
    with pytest.raises(LeanSegError, match="tiny takes no text; leave the prompt away"):
        segment(image(), "tiny", prompt="left")
    with pytest.raises(LeanSegError, match="told says itself how uncertain it is"):
        segment(image(), "told", prompt="left", uncertainty="flip_variance")
    with pytest.raises(LeanSegError, match="told does the same with every slice"):
        segment(image(), "told", prompt="left", cost_bias=1.0)
    with pytest.raises(IncompatibleInputError, match="told takes one image; got t1, t2"):
        segment({"t1": image(), "t2": image()}, "told", prompt="left")
    with pytest.raises(LeanSegError, match="told answers prompts, which runs on the CPU only"):
        load_engine("told", "cuda")


def test_a_damaged_or_missing_tokenizer_is_refused(told: Path) -> None:
    (told / "tokenizer.json").write_text("{}")
    with pytest.raises(BundleError, match=r"tokenizer\.json is damaged: its SHA-256 differs"):
        load_engine("told")
    (told / "tokenizer.json").unlink()
    with pytest.raises(BundleError, match=r"lacks tokenizer\.json"):
        load_engine("told")


def test_the_tokenizer_is_one_of_the_files_that_the_model_needs(told: Path) -> None:
    bundle = read_bundle(told)
    file = bundle.card.tokenizer
    assert file is not None and file.bytes == (told / "tokenizer.json").stat().st_size
    sizes = {path.name: path.stat().st_size for path in told.iterdir() if path.suffix in (".onnx", ".json")}
    assert bundle.card.bytes_of("fp32") == sum(sizes.values()) - sizes["card.json"]
    other = dataclasses.replace(bundle.card, engine_config={"tokenizer": {"file": "t", "sha256": "0", "bytes": 1}})
    assert other.checksum("fp32") != bundle.card.checksum("fp32"), "other words, another model"
    bundle.check()
    (told / "tokenizer.json").unlink()
    with pytest.raises(BundleError, match=r"^The bundle \S+ lacks tokenizer\.json \(No such file.*\)\. Restore"):
        bundle.check()
    [line] = [row for row in examine() if row[0] == "model told"]
    assert line[1] == "cannot be used" and "lacks tokenizer.json" in line[2] and "\n" not in line[2]


def test_a_card_whose_tokenizer_is_no_file_is_no_card(told: Path) -> None:
    path = told / "card.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    for entry in ("tokenizer.json", {"file": "tokenizer.json"}):
        values["engine_config"]["tokenizer"] = entry
        path.write_text(json.dumps(values), encoding="utf-8")
        with pytest.raises(BundleError, match=r"The card of told cannot be used: .*tokenizer"):
            read_bundle(told)
    assert all(card.id != "told" for card in list_models())


def test_a_bundle_without_one_of_the_graphs_is_refused(models_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graphs = text_graphs()
    del graphs["prompt_fp32"]
    monkeypatch.setattr("Testing.engine.text_tiny.text_graphs", lambda: graphs)
    write_text_bundle(models_folder / "half")
    with pytest.raises(BundleError, match="half has no graph prompt"):
        load_engine("half")
