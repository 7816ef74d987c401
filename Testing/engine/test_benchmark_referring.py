"""The benchmark of referring segmentation: what its results say, and that the page of all systems finds it."""

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from leanseg.inference.referring import Referred, ReferringConfig, ReferringEngine
from leanseg.training.data.referring_pairs import ReferringPair
from leanseg.training.run import train
from leanseg.weights.card import FileCard
from Testing.engine.scripts import rows_on_the_page, script
from Testing.engine.training.referring_pictures import write_disks
from Testing.engine.training.test_referring import RECIPE, silent

WHAT = "mIoU / IoU with the others / absent left empty / mIoU with a quarter of the words unknown"


@pytest.fixture
def referring(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setitem(sys.modules, "referring", ModuleType("referring"))  # and takes the script away afterwards
    return script("benchmarks/referring.py")


FIGURES = {"miou": 0.5, "wrong_iou": 0.0625, "p50": 0.5, "found": 1.0, "absent_empty": 0.875, "dropped_miou": 0.25}
FIGURES |= {"n": 150.0}
OF_KIND = {key: value for key, value in FIGURES.items() if key != "dropped_miou"}


def test_figures_of_a_model_are_those_in_use_and_of_its_network_alone(referring: ModuleType) -> None:
    right, wrong = np.zeros((32, 32), bool), np.zeros((32, 32), bool)
    right[:16, :12], wrong[:12, 20:] = True, True
    image = np.zeros((32, 32), np.float32)
    pair = ReferringPair(image, "The largest lesion.", right, wrong, "size")
    chosen = np.where(wrong, 0.9, 0.1).astype(np.float32)  # the network means the other one
    objects = np.where(right | wrong, 0.9, 0.1).astype(np.float32)

    class Wrong(ReferringEngine):
        def __init__(self) -> None:
            self.config = ReferringConfig(FileCard("t", "", 1), finds_objects=True)

        def refer(self, image: object, sentence: str) -> Referred:
            assert sentence == "The largest lesion."
            return Referred(chosen, 0.9, np.zeros((2, 2), np.float32), (), objects)

    figures = referring.figures_of_model(SimpleNamespace(engine=Wrong()), {"busi:test": [pair]})
    assert figures["busi:test"]["miou"] == 1 and figures["busi:test, network alone"]["wrong_iou"] == 1
    assert [row[1][:13] for row in referring._of_model(figures)] == ["1.000 / 0.000", "0.000 / 1.000"]


def test_figures_of_a_run_reach_the_page_of_systems(
    referring: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(referring, "load_run", lambda run: (None, None))
    monkeypatch.setattr(referring, "load_pairs", lambda parts, data, recipe: dict.fromkeys(parts))
    found = {"busi:test": FIGURES, "bus_bra:external_test163": FIGURES, "kind size": OF_KIND}
    monkeypatch.setattr(referring, "figures_of_run", lambda run, pairs: found)
    parts = ["busi:test", "bus_bra:external_test163"]
    argv = ["referring.py", "run", "R", "--data", "D", "--part", *parts, "--json", str(tmp_path / "r.json")]
    monkeypatch.setattr(sys, "argv", argv)
    referring.main()
    command = f"python benchmarks/referring.py run RUN --data DIR --part {' '.join(parts)}"
    value = "0.500 / 0.062 / 0.875 / 0.250; n = 150"
    assert rows_on_the_page("cm_mask_sd", tmp_path) == [(f"{part}, {WHAT}", value, command) for part in parts]
    assert json.loads((tmp_path / "r.json").read_text())["results"]["kind size"] == OF_KIND


def test_with_and_without_distillation_are_compared_seed_by_seed(
    referring: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def figures(run: Path, pairs: dict[str, object]) -> dict[str, dict[str, float]]:
        better = 0.125 if run.name.startswith("distilled") else 0.0
        return {"busi:test": {**FIGURES, "miou": 0.5 + better + 0.25 * int(run.name[-1])}, "kind size": OF_KIND}

    monkeypatch.setattr(referring, "load_run", lambda run: (None, None))
    monkeypatch.setattr(referring, "load_pairs", lambda parts, data, recipe: dict.fromkeys(parts))
    monkeypatch.setattr(referring, "figures_of_run", figures)
    argv = ["referring.py", "ablation", "RUNS", "--data", "D", "--seeds", "0", "1", "--json", str(tmp_path / "a.json")]
    monkeypatch.setattr(sys, "argv", argv)
    referring.main()
    rows = rows_on_the_page("cm_mask_sd", tmp_path)
    assert len(rows) == 3
    assert rows[0][0] == f"distilled, busi:test, {WHAT}" and rows[0][1].startswith("0.750 ± 0.177 / ")
    assert rows[2][0] == f"distilled - plain, busi:test, {WHAT}"
    assert rows[2][1] == "0.125 ± 0.000 / 0.000 ± 0.000 / 0.000 ± 0.000 / 0.000 ± 0.000; n = 2 seeds"
    assert rows[0][2] == "python benchmarks/referring.py ablation RUNS --data DIR --seeds 0 1 --part busi:test"


def test_runs_are_asked_the_same_sentences(referring: ModuleType, tmp_path: Path) -> None:
    data = write_disks(tmp_path / "data")
    train(RECIPE, data, tmp_path / "run", False, silent)
    pairs = referring.load_pairs(["monuseg_text:test"], data, RECIPE)
    first, again = (referring.figures_of_run(tmp_path / "run", pairs) for _ in range(2))
    assert str(first) == str(again), "NaN where no sentence is of the kind"
    assert set(first["monuseg_text:test"]) == set(FIGURES)
    kinds = [row for name, row in first.items() if name.startswith("kind ")]
    assert sum(row["n"] for row in kinds) == first["monuseg_text:test"]["n"] == 150


def test_speed_names_the_model(referring: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(referring, "speed", lambda model: {"load": 0.25, "picture": 0.001, "sentence": 0.0042})
    monkeypatch.setattr(sys, "argv", ["referring.py", "speed", "cm_mask_sd", "--json", str(tmp_path / "s.json")])
    referring.main()
    said = "python benchmarks/referring.py speed cm_mask_sd"
    assert rows_on_the_page("cm_mask_sd", tmp_path) == [
        ("cm_mask_sd, loading / picture / sentence, ms", "250 / 1.0 / 4.2", said)
    ]
