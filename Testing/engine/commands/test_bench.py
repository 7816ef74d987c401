"""`leanseg bench`: every precision in turn, on the built-in case of its model."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from leanseg import bench as bench_module
from leanseg.api import load_engine, segment
from leanseg.bench import bench, table_rows
from leanseg.built_in import built_in
from leanseg.errors import InferenceCancelled, LeanSegError
from leanseg.weights.bundle import read_bundle
from leanseg.weights.store import find_bundle
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


def test_what_has_no_case_is_left_out_unless_it_is_named(models_folder: Path, capfd: Captured) -> None:
    write_tiny_bundle(models_folder / "odd", id="odd", inputs=("flair",))
    assert [report["model"] for report in bench(rounds=1)] == ["tiny"]
    message = one_line(capfd, "bench", "tiny", "odd")
    assert message == "There is no built-in case for odd, which takes flair. Time it with --report."


def test_a_brain_model_is_given_its_own_sequences(models_folder: Path) -> None:
    card = read_bundle(write_dynamic_bundle(models_folder / "brains").folder).card
    for inputs in (("t1ce", "t2"), ("flair",)):
        case = built_in(replace(card, inputs=inputs))
        assert case is not None and tuple(case.volumes) == inputs and case.image == case.volumes
    assert built_in(replace(card, inputs=("ct",))) is None


def test_the_cost_is_that_of_the_case(models_folder: Path) -> None:
    write_dynamic_bundle(models_folder / "brains")
    (report, *_) = bench(["brains"], rounds=1)
    case = built_in(find_bundle("brains").card)
    assert case is not None
    model = load_engine("brains", precision=report["precision"])
    assert report["gmacs"] == pytest.approx(segment(case.image, model).notes["gmacs"], abs=1e-3)
    assert report["peak_rss_mb"] is None
    seconds = report["seconds"]
    assert seconds["total"] == pytest.approx(
        seconds["load"] + seconds["first"] + sum(report["cases"][0]["seconds"]), abs=1e-3
    )


def test_it_can_be_cancelled(models_folder: Path) -> None:
    with pytest.raises(InferenceCancelled):
        bench(rounds=1, progress=lambda done, total, what: done < 1)


def test_two_folders_of_one_id_are_told_apart(models_folder: Path) -> None:
    other = write_tiny_bundle(models_folder.parent / "other").folder
    rows = table_rows(bench([str(other), "tiny"], rounds=1))
    assert [row[0] for row in rows] == [str(other), "tiny"]


def test_bad_words_are_one_line(models_folder: Path, tmp_path: Path, capfd: Captured) -> None:
    assert "There is no model named 'none'" in one_line(capfd, "bench", "none")
    assert "does not end with .json" in one_line(capfd, "bench", "--json", tmp_path / "r.txt")
    with pytest.raises(SystemExit) as usage:
        leanseg_main("bench", "--rounds", "0")
    assert usage.value.code == 2 and "a whole number of 1 or more is needed; got '0'" in capfd.readouterr().err
    with pytest.raises(ValueError, match="rounds must be 1 or more"):
        bench(rounds=0)


def test_a_damaged_model_is_told_before_anything_runs(models_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = write_tiny_bundle(models_folder / "damaged", id="damaged")
    (damaged.folder / damaged.card.graphs["fp32"].file).write_bytes(b"no graph")
    monkeypatch.setattr(bench_module, "load_engine", lambda *_args, **_more: pytest.fail("a model was loaded"))
    with pytest.raises(LeanSegError, match="damaged"):
        bench(["tiny", "damaged"])
