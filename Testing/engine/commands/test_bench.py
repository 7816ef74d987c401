"""`leanseg bench`: every precision in turn, on the built-in case of its model."""

import json
from pathlib import Path

import pytest

from leanseg import bench as bench_module
from leanseg.bench import bench, table_rows
from leanseg.errors import LeanSegError
from Testing.engine.answer_tiny import write_answer_bundle
from Testing.engine.commands.command_line import REPORT_KEYS, Captured, leanseg_main, one_line
from Testing.engine.dynamic_networks import write_dynamic_bundle
from Testing.engine.referring_tiny import write_referring_bundle
from Testing.engine.text_tiny import write_text_bundle
from Testing.engine.tiny import dark_is_lesion, write_tiny_bundle


def test_two_precisions_are_held_against_each_other(models_folder: Path, tmp_path: Path, capfd: Captured) -> None:
    write_tiny_bundle(models_folder / "both", {"fp32": dark_is_lesion(), "int8": dark_is_lesion()}, id="both")
    output = tmp_path / "r.json"
    assert leanseg_main("bench", "both", "--rounds", 3, "--json", output) == 0
    printed, err = capfd.readouterr()
    first, second = (line for line in printed.splitlines() if line.startswith("both"))
    assert "fp32" in first and "1.0 [1.0, 1.0]" in first and "int8" in second and err == ""
    reports = json.loads(output.read_text(encoding="utf-8"))
    assert [report["precision"] for report in reports] == ["fp32", "int8"]
    for report in reports:
        assert list(report) == REPORT_KEYS
        (case,) = report["cases"]
        assert (case["id"], case["slices"], len(case["seconds"])) == ("ultrasound", 1, 3)
        assert report["seconds"]["per_slice"] == sorted(case["seconds"])[1]
        ratios = [a / b for a, b in zip(reports[0]["cases"][0]["seconds"], case["seconds"], strict=True)]
        assert case["times_as_fast"] == pytest.approx(ratios, rel=0.05)


def test_every_kind_of_model_has_its_case(models_folder: Path) -> None:
    write_dynamic_bundle(models_folder / "brains")
    write_text_bundle(models_folder / "told")
    write_referring_bundle(models_folder / "refers")
    write_answer_bundle(models_folder / "answers")
    cases = {report["model"]: report["cases"][0] for report in bench(rounds=1)}
    assert {model: case["id"] for model, case in cases.items()} == {
        "answers": "ultrasound", "brains": "brain", "refers": "lesions", "tiny": "ultrasound", "told": "breasts",
    }  # fmt: skip
    assert {model: case["slices"] for model, case in cases.items()}["told"] == 9
    assert "times_as_fast" not in cases["told"]


def test_what_has_no_case_is_left_out_unless_it_is_named(
    models_folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: Captured
) -> None:
    monkeypatch.setattr(bench_module, "built_in", lambda card: None)
    assert bench(rounds=1) == [] and table_rows([]) == []
    assert "There is no built-in case for tiny, which takes ultrasound." in one_line(capfd, "bench", "tiny")


def test_bad_words_are_one_line(models_folder: Path, tmp_path: Path, capfd: Captured) -> None:
    assert "There is no model named 'none'" in one_line(capfd, "bench", "none")
    assert "does not end with .json" in one_line(capfd, "bench", "--json", tmp_path / "r.txt")
    with pytest.raises(SystemExit) as usage:
        leanseg_main("bench", "--rounds", "0")
    assert usage.value.code == 2 and "a whole number of 1 or more is needed; got '0'" in capfd.readouterr().err
    with pytest.raises(ValueError, match="rounds must be 1 or more"):
        bench(rounds=0)


def test_a_damaged_model_is_told_before_anything_runs(models_folder: Path) -> None:
    (models_folder / "tiny" / "card.json").write_text("{}", encoding="utf-8")
    with pytest.raises(LeanSegError, match="tiny"):
        bench(["tiny"])
