import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest

from leanseg.errors import BundleError
from leanseg.processing.preprocess import PreprocessingConfig
from leanseg.weights.bundle import Bundle, read_bundle
from leanseg.weights.card import CARD_FORMAT, FileCard, ModelCard, parse_section
from Testing.engine.tiny import CARD

GRAPHS = {"fp32": FileCard("tiny_fp32.onnx", "0" * 64, 12)}


def card_values() -> dict[str, Any]:
    values = json.loads(replace(CARD, graphs=GRAPHS).to_json())
    assert isinstance(values, dict)
    return values


def read(values: Any) -> ModelCard:
    return ModelCard.from_json(json.dumps(values), "tiny")


def test_a_card_survives_json() -> None:
    card = replace(
        CARD,
        graphs=GRAPHS,
        postprocessing={"threshold": 0.4, "largest_component": True},
        training={"seeds": [1, 2], "hours": 2.5, "ärzte": None},
        metrics={"busi:test": {"dice": {"mean": 0.8, "n": 3}}},
        data_licenses=("one", "two"),
    )
    assert ModelCard.from_json(card.to_json(), "tiny") == card


def test_there_are_no_defaults() -> None:
    for key in card_values():
        values = card_values()
        del values[key]
        with pytest.raises(BundleError, match=f"card lacks {key}"):
            read(values)


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("temperature", -1.0, "the temperature must be positive"),
        ("labels", {"value": 0}, "a segment's value is 1 to 255"),
        ("labels", {"value": 300}, "a segment's value is 1 to 255"),
        ("labels", {"color_rgb": [0, 0, 2]}, "a color has parts from 0 to 1"),
    ],
)
def test_a_value_out_of_range_is_refused(key: str, change: Any, message: str) -> None:
    values = card_values()
    if isinstance(change, dict):
        values[key][0] |= change
    else:
        values[key] = change
    with pytest.raises(BundleError, match=message):
        read(values)


def test_two_labels_of_one_value_are_refused() -> None:
    values = card_values()
    values["labels"] *= 2
    with pytest.raises(BundleError, match="labels must differ in value"):
        read(values)


@pytest.mark.parametrize("text", ["", "{", '{"id": "tiny"', "not json"])
def test_a_card_that_is_not_json_is_damaged(text: str) -> None:
    with pytest.raises(BundleError, match=r"card of tiny is damaged .*Restore the bundle"):
        ModelCard.from_json(text, "tiny")


@pytest.mark.parametrize("values", [[], "tiny", 1, None])
def test_a_card_that_is_no_object_is_refused(values: Any) -> None:
    with pytest.raises(BundleError, match="card of tiny is not a JSON object"):
        read(values)


@pytest.mark.parametrize("key", ["id", "labels", "graphs", "weights", "postprocessing", "temperature"])
def test_a_lacking_key_is_named(key: str) -> None:
    values = card_values()
    del values[key]
    with pytest.raises(BundleError, match=f"card of tiny cannot be used: card lacks {key}"):
        read(values)


def test_keys_that_are_lacking_or_unknown_further_down_are_named_with_their_place() -> None:
    values = card_values()
    del values["labels"][0]["color_rgb"]
    with pytest.raises(BundleError, match=r"card\.labels lacks color_rgb"):
        read(values)
    values = card_values()
    values["graphs"]["fp32"]["url"] = "somewhere"
    with pytest.raises(BundleError, match=r"no key in card.graphs.fp32 named 'url'"):
        read(values)


def test_an_unknown_key_is_named() -> None:
    with pytest.raises(BundleError, match=r"named 'licence'\. Did you mean 'license'"):
        read(card_values() | {"licence": "MIT"})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("id", 3),
        ("gmacs", "many"),
        ("gmacs", True),
        ("parameters", 2.5),
        ("inputs", "ultrasound"),
        ("inputs", [1]),
        ("labels", {}),
        ("labels", [3]),
        ("graphs", []),
        ("graphs", {"fp32": "tiny.onnx"}),
        ("config", []),
        ("postprocessing", None),
        ("format", "1"),
    ],
)
def test_a_value_of_the_wrong_type_is_named(key: str, value: Any) -> None:
    with pytest.raises(BundleError, match=f"card.{key}.* must be .*; got .*Restore the bundle"):
        read(card_values() | {key: value})


def test_a_color_needs_three_numbers() -> None:
    values = card_values()
    values["labels"][0]["color_rgb"] = [0.5, 0.5]
    with pytest.raises(BundleError, match=r"color_rgb must be tuple\[float, float, float\]; got \[0.5, 0.5\]"):
        read(values)


def test_a_whole_number_may_stand_for_a_fraction() -> None:
    assert read(card_values() | {"gmacs": 2}).gmacs == 2.0


@pytest.mark.parametrize("key", ["graphs", "labels"])
def test_a_card_without_graph_or_label_is_refused(key: str) -> None:
    values = card_values()
    values[key] = type(values[key])()
    with pytest.raises(BundleError, match="names no graph or no label"):
        read(values)


def test_a_newer_format_asks_for_an_update_even_if_its_keys_are_unknown() -> None:
    with pytest.raises(BundleError, match=rf"card format {CARD_FORMAT + 1}; this LeanSeg reads up to .*Update"):
        read({"format": CARD_FORMAT + 1, "anything": "else"})


def test_preprocessing_is_parsed_by_the_same_rules() -> None:
    parsed = parse_section(PreprocessingConfig, {"size_ji": [64, 32], "percentiles": [1, 99]}, "tiny")
    assert parsed == PreprocessingConfig((64, 32), (1.0, 99.0))
    for values in (
        {"size_ji": "64"},
        {"size_ji": [64]},
        {"size_ji": [64, 1.5]},
        {"size_ji": [0, 64]},
        {"percentiles": [200, -5]},
        {"zoom": 2},
    ):
        with pytest.raises(BundleError, match=r"card of tiny cannot be used: .*card\.preprocessing"):
            parse_section(PreprocessingConfig, values, "tiny", "card.preprocessing")


def test_a_damaged_card_of_a_real_bundle_is_told_in_one_line(tiny_bundle: Bundle) -> None:
    path = tiny_bundle.folder / "card.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"tiny"', "tiny", 1), encoding="utf-8")
    with pytest.raises(BundleError, match="card of tiny is damaged") as caught:
        read_bundle(tiny_bundle.folder)
    assert "\n" not in str(caught.value)


# ── models of several graphs ────────────────────────────────────────────────────────────────────────────────────────


def a_file(name: str) -> FileCard:
    return FileCard(f"{name}.onnx", hashlib.sha256(name.encode()).hexdigest(), len(name))


SEVERAL = {name: a_file(name) for name in ("decision_fp32", "crop_fp32", "crop_int8", "whole_fp32", "whole_int8")}


@pytest.mark.parametrize("version", [1, 2])
def test_a_card_of_an_earlier_format_is_still_read(version: int) -> None:
    values = card_values()
    for key in ("engine_config", "quantization")[version - 1 :]:
        del values[key]
    card = read(values | {"format": version})
    assert card == replace(CARD, graphs=GRAPHS) and card.format == CARD_FORMAT
    assert read(json.loads(card.to_json())) == card


def test_of_several_graphs_those_without_int8_run_in_fp32() -> None:
    card = replace(CARD, graphs=SEVERAL)
    assert card.precisions == ("fp32", "int8")
    int8 = {part: file.file for part, file in card.files("int8").items()}
    assert int8 == {"crop": "crop_int8.onnx", "decision": "decision_fp32.onnx", "whole": "whole_int8.onnx"}
    assert {file.file for file in card.files("fp32").values()} == {
        f"{p}_fp32.onnx" for p in ("crop", "decision", "whole")
    }


def test_one_graph_has_its_own_checksum_and_several_have_one_together() -> None:
    assert replace(CARD, graphs=GRAPHS).checksum("fp32") == "0" * 64
    card = replace(CARD, graphs=SEVERAL)
    joined = "".join(a_file(name).sha256 for name in ("crop_int8", "decision_fp32", "whole_int8"))
    assert card.checksum("int8") == hashlib.sha256(joined.encode()).hexdigest() != card.checksum("fp32")


def test_a_precision_or_part_that_is_not_there_is_named() -> None:
    with pytest.raises(BundleError, match=r"The model tiny has no int8 graph\. Choose one of: fp32"):
        replace(CARD, graphs=GRAPHS).files("int8")
    lacking = replace(CARD, graphs={name: file for name, file in SEVERAL.items() if name != "crop_fp32"})
    assert lacking.precisions == ("int8",)
    with pytest.raises(BundleError, match=r"The model tiny has no fp32 graph\. Choose one of: int8"):
        lacking.files("fp32")
