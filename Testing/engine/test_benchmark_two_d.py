"""The benchmark of 2-D systems: its cells are fair, and what it computes from them."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from leanseg.networks import build_network
from leanseg.training.loss_recipe import LossConfig

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def two_d() -> ModuleType:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import two_d_systems

        return two_d_systems
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.mark.parametrize("dataset", ["busi", "glas"])
def test_ways_differ_in_the_network_or_the_loss_and_in_nothing_else(two_d: ModuleType, dataset: str) -> None:
    plain, pne, agln = (two_d.recipe_of(dataset, way, 1) for way in ("plain", "pne", "agln"))
    assert pne == replace(plain, loss=LossConfig("dice_bce", {}, {"pne": {}}))
    assert agln == replace(plain, network="agln", config=agln.config) and plain.seed == 1
    assert plain.data.train == (f"{dataset}:train",) and plain.loss == LossConfig("dice_bce")
    for recipe in (plain, agln):
        build_network(recipe.network, recipe.config)


def test_changes_are_paired_over_the_seeds(two_d: ModuleType) -> None:
    cells = {"busi:plain:0": {"dice": 70.0}, "busi:plain:1": {"dice": 74.0}, "busi:plain:2": {"dice": 10.0}}
    cells |= {"busi:agln:0": {"dice": 71.0}, "busi:agln:1": {"dice": 77.0}}
    result = two_d.summary(cells)
    assert result["busi:agln"]["dice change"] == {"mean": 2.0, "n": 2, "sd": 1.41}
    assert "dice change" not in result["busi:plain"] and "busi:pne" not in result
    ((what, value),) = two_d.for_page(result)["agln"]
    assert what.startswith("busi test, Dice") and value == "74.00 ± 4.24 (change 2.00 ± 1.41); n = 2 seeds"


def test_a_finished_cell_is_not_trained_again(two_d: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "busi_agln_s0"
    folder.mkdir()
    (folder / "cell.json").write_text(json.dumps({"dice": 1.0}))
    assert two_d.one(tmp_path, tmp_path / "nothing", "busi:agln:0") == {"dice": 1.0}


def test_a_cell_that_does_not_exist_is_refused(two_d: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["two_d_systems.py", "RUNS", "--only", "busi:agl:0"])
    with pytest.raises(SystemExit, match=r"There is no cell busi:agl:0\. Cells: busi:plain:0, "):
        two_d.main()


def test_all_cells_and_what_they_say_together_are_written(
    two_d: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for way, dice in (("plain", 70.0), ("agln", 72.0)):
        folder = tmp_path / f"busi_{way}_s0"
        folder.mkdir()
        (folder / "cell.json").write_text(json.dumps({"dice": dice}))
    folders = [str(tmp_path), "--data", str(tmp_path), "--json", str(tmp_path / "R.json")]
    monkeypatch.setattr(sys, "argv", ["two_d_systems.py", *folders, "--only", "busi:plain:0", "busi:agln:0"])
    two_d.main()
    written = json.loads((tmp_path / "R.json").read_text(encoding="utf-8"))
    assert written["command"] == two_d.COMMAND and written["cells"]["busi:agln:0"] == {"dice": 72.0}
    assert written["summary"]["busi:agln"]["dice change"] == {"mean": 2.0, "n": 1}
    assert written["systems"]["agln"][0][1] == "72.00 (change 2.00); n = 1 seeds"
