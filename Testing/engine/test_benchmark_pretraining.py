"""The benchmark of pre-training: what it computes from its cells, and how docs/systems.py reads it."""

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def pretraining() -> ModuleType:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import pretraining

        return pretraining
    finally:
        sys.path.remove(str(BENCHMARKS))


def cell(fraction: float, seed: int, scratch: float, pretrained: float) -> dict[str, Any]:
    values = {"fraction": fraction, "seed": seed, "images": 47, "cpu_seconds": 1.0}
    return values | {"scratch": scratch, "pretrained": pretrained}


CELLS = [cell(0.1, 0, 0.50, 0.52), cell(0.1, 1, 0.54, 0.58), cell(1.0, 0, 0.70, 0.69)]


def test_deviations_are_those_of_a_sample_and_differences_are_paired(pretraining: ModuleType) -> None:
    tenth, whole = pretraining.summary(CELLS)
    assert (tenth["fraction"], tenth["images"], tenth["n"]) == (0.1, 47, 2)
    assert tenth["difference"] == pytest.approx([2.0, 4.0]) and whole["difference"] == pytest.approx([-1.0])
    assert pretraining.shown(tenth["difference"]) == "3.00 ± 1.41" and pretraining.shown(whole["scratch"]) == "70.00"


def test_results_have_what_the_page_of_systems_reads(
    pretraining: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for one in CELLS:  # measured before
        (tmp_path / f"{one['fraction']:g}_{one['seed']}.json").write_text(json.dumps(one))
    monkeypatch.setattr(pretraining, "SEEDS", (0,))
    monkeypatch.setattr(pretraining, "FRACTIONS", (0.1, 1.0))
    monkeypatch.setattr(sys, "argv", ["x", str(tmp_path), "--data", "none", "--json", str(tmp_path / "r.json")])
    pretraining.main()
    values = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert values["command"] == "python benchmarks/pretraining.py RUNS --data DIR"
    (what, value), (_, last) = values["systems"]["fremae"]
    assert what == "busi:test, Dice, percent, pre-trained, and change from scratch; 10 % of the labels"
    assert value == "52.00 (change 2.00); n = 1 seeds" and last == "69.00 (change -1.00); n = 1 seeds"
    assert values["cells"] == [CELLS[0], CELLS[2]] and len(values["summary"]) == 2
