"""The benchmark of folds: what the page of all systems takes from it; and results are JSON for every reader."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from Testing.engine.scripts import ROOT, rows_on_the_page, script

RESULTS = ROOT / "benchmarks" / "results"


@pytest.fixture(scope="module")
def brain_folds() -> ModuleType:
    return script("benchmarks/brain_folds.py")


def row(name: str, fold: int, whole: float, core: float) -> dict[str, Any]:
    dice = {"dice_WT": whole, "dice_TC": core, "dice_ET": 0.25}
    return {"id": name, "fold": fold, "epochs": 14, "gmacs": 2.0, **dice}


def test_a_network_that_is_compared_is_on_the_page_and_the_one_that_decides_is_not(brain_folds: ModuleType) -> None:
    """A card speaks of the latter. Of the former, 0.5 and 0.7: mean 0.6, sd 0.1414."""
    rows = {
        brain_folds.AS_DECIDED: [row("a", 0, 0.9, 0.9)],
        "segresnet": [row("a", 1, 0.5, 0.2), row("b", 0, 0.7, 0.0)],
    }
    page = brain_folds.for_page(rows, "int8")
    what = "brats, cases of fold 0, 1 by models that did not see them, 14 epochs, int8: Dice WT / TC / ET, percent"
    assert page == {"segresnet": [[what, "60.0 ± 14.1 / 10.0 ± 14.1 / 25.0 ± 0.0; n = 2"]]}


@pytest.mark.parametrize("way", ["segresnet", "trans_bts"])
def test_the_references_were_trained_on_all_folds(way: str) -> None:
    command = "python benchmarks/brain_references.py RUNS --data DIR"
    rows = [row[:2] for row in rows_on_the_page(way, RESULTS) if row[2] == command]
    cells = json.loads((RESULTS / "brain_references.json").read_text(encoding="utf-8"))["cells"]
    own = [cells[f"{way}:{fold}"]["dice_WT"] for fold in range(4)]
    assert rows[0][1].startswith(f"{sum(own) / 4:.2f} ± ") and rows[0][1].endswith("n = 4 folds")
    v2 = json.loads((RESULTS / "brain_folds.json").read_text(encoding="utf-8"))["cases"]["as decided"]
    ahead = 100 * sum(case["dice_WT"] for case in v2) / 16 - sum(own) / 4
    assert float(rows[1][1].split()[0]) == pytest.approx(ahead, abs=0.01)


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.name)
def test_results_hold_no_nan_which_is_no_json(path: Path) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{path.name} holds {constant}; write null")

    json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
