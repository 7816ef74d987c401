"""The benchmark of question answering: what its results say, and that the page of all systems finds it."""

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from Testing.engine.scripts import rows_on_the_page, script


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setitem(sys.modules, "questions", ModuleType("questions"))  # and takes the script away afterwards
    return script("benchmarks/questions.py")


FIGURES = {"open": 0.25, "closed": 0.625, "overall": 0.5, "bleu_1": 0.5, "ceiling": 0.9, "n": 451.0}


def test_figures_of_a_run_reach_the_page_of_systems(
    questions: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "load_run", lambda run: (None, None))
    monkeypatch.setattr(questions, "load_question_set", lambda parts, data, recipe: None)
    monkeypatch.setattr(questions, "figures_of_run", lambda run, parts: dict.fromkeys(parts, FIGURES))
    result = tmp_path / "questions.json"
    said = ["questions.py", "run", "R", "--data", "D", "--part", "vqa_rad:test", "busi:test", "--json", str(result)]
    monkeypatch.setattr(sys, "argv", said)
    questions.main()
    command = "python benchmarks/questions.py run RUN --data DIR --part vqa_rad:test busi:test"
    value = "25.0 / 62.5 / 50.0; n = 451"
    assert rows_on_the_page("mf2_mvqa", tmp_path) == [
        (f"{part}, accuracy open / closed / overall, percent", value, command) for part in ("vqa_rad:test", "busi:test")
    ]
    assert json.loads(result.read_text())["results"]["busi:test"] == FIGURES


def test_fusions_are_compared_over_the_seeds(
    questions: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def figures(run: Path, parts: dict[str, object]) -> dict[str, dict[str, float]]:
        better = 0.1 if run.name.startswith("stagewise") else 0.0
        return {part: {**FIGURES, "overall": 0.5 + better + 0.1 * int(run.name[-1])} for part in parts}

    monkeypatch.setattr(questions, "load_run", lambda run: (None, None))
    monkeypatch.setattr(questions, "load_question_set", lambda parts, data, recipe: None)
    monkeypatch.setattr(questions, "figures_of_run", figures)
    argv = ["questions.py", "accuracy", "RUNS", "--data", "D", "--seeds", "0", "1", "--json", str(tmp_path / "q.json")]
    monkeypatch.setattr(sys, "argv", argv)
    questions.main()
    rows = rows_on_the_page("mf2_mvqa", tmp_path)
    command = "python benchmarks/questions.py accuracy RUNS --data DIR --seeds 0 1 --part vqa_rad:test"
    assert {command} == {row[2] for row in rows}
    what = "vqa_rad:test, accuracy open / closed / overall, percent"
    assert rows[0][:2] == (f"stagewise, {what}", "25.0 ± 0.0 / 62.5 ± 0.0 / 65.0 ± 7.1; n = 2 seeds")
    assert rows[-1][:2] == (f"stagewise - joint, {what}", "0.0 ± 0.0 / 0.0 ± 0.0 / 10.0 ± 0.0; n = 2 seeds")


def test_speed_names_the_model(questions: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {"load": 0.5, "picture": 0.01, "question": 0.002, "picture and question": 0.012, "heat map": 0.001}
    monkeypatch.setattr(questions, "speed", lambda model: seconds)
    monkeypatch.setattr(sys, "argv", ["questions.py", "speed", "mf2_mvqa", "--json", str(tmp_path / "s.json")])
    questions.main()
    assert rows_on_the_page("mf2_mvqa", tmp_path) == [
        (
            "mf2_mvqa, loading / picture / new question, ms",
            "500 / 10.0 / 2.0",
            "python benchmarks/questions.py speed mf2_mvqa",
        )
    ]
