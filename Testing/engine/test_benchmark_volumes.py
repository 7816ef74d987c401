"""The benchmark of 3-D systems: its cells are fair, and what it computes from them."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from leanseg.networks import build_network
from leanseg.training.volumes import count_volume_gmacs

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def volumes() -> ModuleType:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import volume_systems

        return volume_systems
    finally:
        sys.path.remove(str(BENCHMARKS))


def test_ways_differ_in_the_network_and_in_nothing_else(volumes: ModuleType) -> None:
    base = volumes.recipe_of("trans_bts", 2)
    assert base.data.train == ("brats:without_fold2",) and base.data.val == ("brats:fold2",)
    for way in volumes.CONFIGS:
        recipe = volumes.recipe_of(way, 2)
        its = {"id": way, "system": way, "network": way, "config": recipe.config, "cga": recipe.cga}
        assert recipe == replace(base, **its) and (recipe.cga is not None) == (way == "cga_unet")


def test_the_networks_cost_roughly_the_same(volumes: ModuleType) -> None:
    gmacs = {}
    for way in volumes.CONFIGS:
        recipe = volumes.recipe_of(way, 0)
        gmacs[way] = count_volume_gmacs(build_network(way, recipe.config), 4, tuple(volumes.SIZE))
    assert max(gmacs.values()) < 1.5 * min(gmacs.values()), gmacs


def test_changes_are_paired_over_the_folds(volumes: ModuleType) -> None:
    def cell(dice: float) -> dict[str, float]:
        return dict.fromkeys(volumes.FIGURES, dice)

    cells = {"segresnet:0": cell(70.0), "segresnet:1": cell(74.0), "segresnet:2": cell(10.0)}
    cells |= {"cga_unet:0": cell(71.0), "cga_unet:1": cell(77.0)}
    result = volumes.summary(cells)
    assert result["cga_unet"]["dice from segresnet"] == {"mean": 2.0, "n": 2, "sd": 1.41}
    assert "dice from segresnet" not in result["segresnet"] and "dice from trans_bts" not in result["cga_unet"]
    (what, value), (change, by) = volumes.for_page(result)["cga_unet"]
    assert what.startswith("Dice of WT / TC / ET") and value.endswith("74.00 ± 4.24; n = 2 folds")
    assert change == "mean Dice, change from segresnet" and by == "2.00 ± 1.41; n = 2 folds"


def test_a_finished_cell_is_not_trained_again(volumes: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "cga_unet_f0"
    folder.mkdir()
    (folder / "cell.json").write_text(json.dumps({"dice": 1.0}))
    assert volumes.one(tmp_path, tmp_path / "nothing", "cga_unet:0") == {"dice": 1.0}


def test_a_cell_that_does_not_exist_is_refused(volumes: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["volume_systems.py", "RUNS", "--only", "cga_une:0"])
    with pytest.raises(SystemExit, match=r"There is no cell cga_une:0\. Cells: segresnet:0, "):
        volumes.main()


def test_the_references_are_the_same_networks_trained_for_longer(volumes: ModuleType) -> None:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import brain_references
    finally:
        sys.path.remove(str(BENCHMARKS))
    for way in volumes.BASELINES:
        more = brain_references.longer(brain_references.EPOCHS)
        brief, longer = volumes.recipe_of(way, 1), volumes.recipe_of(way, 1, more)
        assert longer.optimizer.epochs == brain_references.EPOCHS == 6 * brief.optimizer.epochs
        assert replace(longer, optimizer=brief.optimizer, augment=brief.augment) == brief
