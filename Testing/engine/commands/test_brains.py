"""`leanseg segment` and `leanseg evaluate` with a model of several sequences that decides for each slice."""

import gc
import json
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from leanseg.api import load_engine, measure_regions, segment
from leanseg.errors import BundleError, IncompatibleInputError, LeanSegError
from leanseg.files.images import read_image
from leanseg.processing.postprocess import restore
from leanseg.segmentation import Segmentation
from leanseg.volume import Volume
from leanseg.weights.bundle import Bundle
from Testing.engine.commands.command_line import REPORT_KEYS, Captured, edit_card, leanseg_main, one_line
from Testing.engine.dynamic_networks import write_dynamic_bundle
from Testing.engine.tiny import dark_on_bright, ellipse
from Testing.engine.training.test_brats import write_case


@pytest.fixture
def brain_model(models_folder: Path) -> Bundle:
    """`brains` on LEANSEG_MODELS, beside `tiny`."""
    return write_dynamic_bundle(models_folder / "brains")


@pytest.fixture
def case(tmp_path: Path) -> dict[str, Path]:
    folder = write_case(tmp_path / "data" / "a")
    return {name: folder / f"a_{name}.nii.gz" for name in ("flair", "t1ce", "t1", "t2")}


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out.seg.nrrd"


@pytest.mark.parametrize("names", [("flair", "t1ce", "t1", "t2"), ("t1ce",), ("t2", "flair")])
def test_any_subset_of_the_sequences_gives_a_labelmap_on_their_grid(
    brain_model: Bundle, case: dict[str, Path], output: Path, capfd: Captured, names: tuple[str, ...]
) -> None:
    assert leanseg_main("segment", "brains", *(f"{name}={case[name]}" for name in names), "-o", output) == 0
    out, err = capfd.readouterr()
    assert out.count("\n") == 2 and "4 slices: " in out and "GMACs" in out and f"Written: {output}" in out
    missing = [name for name in ("flair", "t1ce", "t1", "t2") if name not in names]
    assert (err == "") == (missing == []) and all(name in err for name in missing)
    image, labelmap = sitk.ReadImage(str(case["flair"])), sitk.ReadImage(str(output))
    assert labelmap.GetSize() == image.GetSize() and labelmap.GetOrigin() == image.GetOrigin()
    assert set(np.unique(sitk.GetArrayFromImage(labelmap))) <= {0, 1, 2, 3}
    assert [labelmap.GetMetaData(f"Segment{n}_ID") for n in range(3)] == ["ED", "NCR", "ET"]
    expected = segment({name: read_image(case[name]) for name in names}, load_engine("brains"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(labelmap), expected.labelmap)


def test_files_whose_names_say_what_they_are_need_no_name(
    brain_model: Bundle, case: dict[str, Path], tmp_path: Path, output: Path
) -> None:
    named = tmp_path / "named.seg.nrrd"
    assert leanseg_main("segment", "brains", *(f"{name}={path}" for name, path in case.items()), "-o", named) == 0
    assert leanseg_main("segment", "brains", *reversed(list(case.values())), "-o", output) == 0
    one, other = (sitk.GetArrayFromImage(sitk.ReadImage(str(path))) for path in (named, output))
    np.testing.assert_array_equal(one, other)


def test_the_report_holds_every_decision(
    brain_model: Bundle, case: dict[str, Path], tmp_path: Path, output: Path
) -> None:
    report = tmp_path / "r.json"
    inputs = [f"{name}={path}" for name, path in case.items()]
    assert leanseg_main("segment", "brains", *inputs, "-o", output, "--report", report) == 0
    values = json.loads(report.read_text(encoding="utf-8"))
    assert list(values) == REPORT_KEYS and values["precision"] == "int8"
    assert values["checksum"] == brain_model.card.checksum("int8")
    (figures,) = values["cases"]
    assert set(figures["volumes_ml"]) == {"WT", "TC", "ET"} and figures["missing"] == []
    assert sum(figures["decisions"].values()) == len(figures["slice_decisions"]) == 4
    assert figures["gmacs"] == pytest.approx(values["gmacs"], abs=1e-3)
    centers = np.array([one["center_ras_mm"] for one in figures["slice_decisions"]])
    np.testing.assert_allclose(centers[:, 2], [1, 2, 3, 4])  # the slices of the file that hold brain


def test_a_cost_bias_skips_everything_or_nothing(
    brain_model: Bundle, case: dict[str, Path], tmp_path: Path, output: Path
) -> None:
    decisions = []
    for bias in ("1e6", "-1e6"):
        report = tmp_path / "r.json"
        arguments = ["segment", "brains", f"flair={case['flair']}", "-o", output, "--report", report]
        assert leanseg_main(*arguments, f"--cost-bias={bias}") == 0
        decisions.append(json.loads(report.read_text(encoding="utf-8"))["cases"][0]["decisions"])
    assert [one["skip"] for one in decisions] == [4, 0] and decisions[1]["whole"] == 4


def test_evaluate_prints_dice_of_each_region(
    brain_model: Bundle, case: dict[str, Path], tmp_path: Path, capfd: Captured
) -> None:
    root, report = case["flair"].parents[1], tmp_path / "r.json"
    arguments = ["evaluate", "brains", "--dataset", "brats", "--root", root, "--split", "all", "--json", report]
    assert leanseg_main(*arguments) == 0
    out = capfd.readouterr().out
    assert all(f"dice_{name}" in out for name in ("WT", "TC", "ET")) and "tumor_skipped" in out
    values = json.loads(report.read_text(encoding="utf-8"))
    assert list(values) == REPORT_KEYS and [row["id"] for row in values["cases"]] == ["a"]
    (row,) = values["cases"]
    truth = sitk.GetArrayFromImage(sitk.ReadImage(str(root / "a" / "a_seg.nii.gz"))) > 0
    mask = segment({n: read_image(path) for n, path in case.items()}, load_engine("brains")).labelmap > 0
    assert row["dice_WT"] == pytest.approx(2 * (mask & truth).sum() / (mask.sum() + truth.sum()))
    assert values["mean"]["dice_WT"] == {"mean": row["dice_WT"], "n": 1}


def test_evaluate_may_leave_sequences_out(
    brain_model: Bundle, case: dict[str, Path], tmp_path: Path, capfd: Captured
) -> None:
    root, report = case["flair"].parents[1], tmp_path / "r.json"
    arguments = ["evaluate", "brains", "--dataset", "brats", "--root", root]
    assert leanseg_main(*arguments, "--split", "all:t1ce+t2", "--json", report) == 0
    (row,) = json.loads(report.read_text(encoding="utf-8"))["cases"]
    few = segment({name: read_image(case[name]) for name in ("t1ce", "t2")}, load_engine("brains"))
    assert row["decisions"] == few.notes["decisions"] and row["gmacs"] == pytest.approx(few.notes["gmacs"])
    capfd.readouterr()
    assert "no sequence named 't1c'. Did you mean 't1ce'?" in one_line(capfd, *arguments, "--split", "all:t1c")
    assert "no part of brats named 'test'" in one_line(capfd, *arguments, "--split", "test")


def test_the_list_of_models_names_inputs_and_the_size_of_all_graphs(brain_model: Bundle, capfd: Captured) -> None:
    assert leanseg_main("models", "--json") == 0
    row = next(row for row in json.loads(capfd.readouterr().out) if row["id"] == "brains")
    assert row["inputs"] == ["flair", "t1ce", "t1", "t2"] and row["precisions"] == ["fp32", "int8"]
    graphs = brain_model.card.graphs
    assert row["bytes"] == sum(
        graphs[name].bytes for name in ("crop_int8", "whole_int8", "decision_fp32", "position_fp32")
    )


# ── what cannot be done ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (["flar={flair}"], "no input of brains named 'flar'. Did you mean 'flair'?"),
        (["{flair}", "{flair}"], "are both flair. Keep one"),
        (["flair={flair}", "t1={flair}"], "flair and t1 are the same image"),
        (["{unnamed}"], "image.nii.gz does not say what it is. Write NAME="),
        (["flair={flair}", "t1={other}"], "T1 covers 0 % of what FLAIR shows; at least 20 % are needed"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_in_one_line(
    brain_model: Bundle,
    case: dict[str, Path],
    tmp_path: Path,
    output: Path,
    capfd: Captured,
    inputs: list[str],
    message: str,
) -> None:
    unnamed, other = tmp_path / "image.nii.gz", tmp_path / "other.nii.gz"
    unnamed.write_bytes(case["flair"].read_bytes())
    sitk.WriteImage(sitk.GetImageFromArray(np.arange(3600, dtype=np.int16).reshape(4, 30, 30)), str(other))
    given = [text.format(**case, unnamed=unnamed, other=other) for text in inputs]
    assert message in one_line(capfd, "segment", "brains", *given, "-o", output)
    assert not output.exists()


def test_cuda_is_refused(brain_model: Bundle, case: dict[str, Path], output: Path, capfd: Captured) -> None:
    line = one_line(capfd, "segment", "brains", case["flair"], "-o", output, "--device", "cuda")
    assert "decides for each slice, which runs on the CPU only" in line


def test_a_model_that_does_not_decide_takes_no_bias(models_folder: Path, tmp_path: Path) -> None:
    image = dark_on_bright(ellipse((64, 64))[np.newaxis])
    with pytest.raises(LeanSegError, match="tiny does the same with every slice"):
        segment(image, "tiny", cost_bias=1.0)
    with pytest.raises(IncompatibleInputError, match="tiny takes one image; got flair"):
        segment({"flair": image}, "tiny")
    with pytest.raises(LeanSegError, match="labels of tiny are not nested regions"):
        measure_regions(segment(image, "tiny"), load_engine("tiny"))


def test_a_model_of_sequences_takes_no_single_image(brain_model: Bundle) -> None:
    with pytest.raises(IncompatibleInputError, match=r"brains takes sequences by name\. Give some of flair"):
        segment(dark_on_bright(ellipse((64, 64))[np.newaxis]), "brains")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"engine_config": {}}, "card.engine_config lacks branches"),
        ({"labels": []}, "names no graph or no label"),
        ({"preprocessing": {}}, "card.preprocessing lacks sequences"),
    ],
)
def test_a_card_that_cannot_be_followed_is_refused(
    brain_model: Bundle, changes: dict[str, object], message: str
) -> None:
    edit_card(brain_model, **changes)
    with pytest.raises(BundleError, match=message):
        load_engine(str(brain_model.folder))


def test_a_card_with_other_labels_than_regions_is_refused(brain_model: Bundle) -> None:
    card = json.loads((brain_model.folder / "card.json").read_text(encoding="utf-8"))
    edit_card(brain_model, labels=card["labels"][:2])
    with pytest.raises(BundleError, match=r"card of brains has 2 labels for \('WT', 'TC', 'ET'\)"):
        load_engine("brains")


def test_a_bundle_that_lacks_a_graph_says_which(brain_model: Bundle) -> None:
    card = json.loads((brain_model.folder / "card.json").read_text(encoding="utf-8"))
    graphs = {name: entry for name, entry in card["graphs"].items() if not name.startswith("position")}
    edit_card(brain_model, graphs=graphs)
    with pytest.raises(BundleError, match="has no graph position, as its card says"):
        load_engine("brains")


def test_without_openvino_onnx_runtime_does_the_same(
    brain_model: Bundle, case: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    sequences = {name: read_image(path) for name, path in case.items()}
    everything = {0: 3, 1: 2, 2: 1, 3: 0}
    one = segment(sequences, load_engine("brains", precision="fp32"), overrides=everything)
    monkeypatch.setitem(sys.modules, "openvino", None)
    model = load_engine("brains", precision="fp32")
    assert model.engine.graph.runtime.startswith("onnxruntime")
    other = segment(sequences, model, overrides=everything)
    np.testing.assert_allclose(one.probabilities.array, other.probabilities.array, atol=1e-4)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 keeps the arguments of a call until it returns")
def test_the_sequences_are_let_go_while_the_result_is_made(
    brain_model: Bundle, case: dict[str, Path], output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[weakref.ref[Volume]] = []
    alive: list[int] = []

    def reading(path: Path) -> Volume:
        volume = read_image(path)
        read.append(weakref.ref(volume))
        return volume

    def restoring(*arguments: Any) -> Segmentation:
        gc.collect()
        alive.append(sum(one() is not None for one in read))
        return restore(*arguments)

    monkeypatch.setattr("leanseg.files.images.read_image", reading)
    monkeypatch.setattr("leanseg.api.restore", restoring)
    assert leanseg_main("segment", "brains", *(f"{name}={path}" for name, path in case.items()), "-o", output) == 0
    assert len(read) == 4 and alive == [0]
