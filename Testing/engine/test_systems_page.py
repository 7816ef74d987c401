"""docs/systems.md says what the catalog, the cards and the results say."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from leanseg.catalog import SYSTEMS, find_system

SCRIPT = Path(__file__).parents[2] / "docs" / "systems.py"


@pytest.fixture(scope="module")
def systems() -> ModuleType:
    spec = importlib.util.spec_from_file_location("systems_page", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_script_writes(systems: ModuleType) -> None:
    written = systems.PAGE.read_text(encoding="utf-8")
    assert written == systems.page(), "the page is old: run python docs/systems.py"


def test_every_system_has_a_section_with_both_kinds_of_figures(systems: ModuleType) -> None:
    parts = systems.page().split("\n## ")[1:]
    assert [part.splitlines()[0] for part in parts] == [system.title for system in SYSTEMS]
    for part, system in zip(parts, SYSTEMS, strict=True):
        assert f"`{system.id}`" in part and f"- state: {system.state}" in part
        assert "\n| paper |" in part and "\n| here |" in part
        assert f"Differs: {system.published.differs}" in part


def write_card(models: Path, metrics: dict[str, object]) -> None:
    (models / "t2kd_busi").mkdir(parents=True)
    (models / "t2kd_busi" / "card.json").write_text(json.dumps({"metrics": metrics}))


def test_our_figures_come_from_the_card_with_the_command_that_measured_them(
    systems: ModuleType, tmp_path: Path
) -> None:
    test = {"dice": {"mean": 0.7956, "n": 65}, "normal_empty": {"mean": 0.9286, "n": 14}, "ece": {"mean": 0.1, "n": 1}}
    write_card(
        tmp_path,
        {
            "validation": {"command": "x", "fp32": {"dice": 0.5}},
            "busi:test:fp32": {**test, "command": "leanseg evaluate fp32"},
            "busi:test:int8": {**test, "command": "leanseg evaluate int8"},
        },
    )
    (row,) = systems.of_cards(find_system("T2KD"), tmp_path)
    assert row.what == "t2kd_busi, busi:test:int8: dice / normal empty"
    assert row.value == "79.6 % / 92.9 %; n = 65 / 14"
    assert row.command == "leanseg evaluate int8"


def test_results_of_benchmarks_are_shown_where_they_name_a_system(systems: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"command": "python a.py", "systems": {"agln": [["gain", "+1.0"]]}}))
    (tmp_path / "b.json").write_text(json.dumps({"results": {}}))
    assert list(systems.of_results(find_system("agln"), tmp_path)) == [("gain", "+1.0", "python a.py")]
    assert list(systems.of_results(find_system("pne"), tmp_path)) == []


def test_what_was_not_trained_says_so(systems: ModuleType) -> None:
    text = systems.section(find_system("agln"), [])
    assert "| here |  | not trained here yet |  |" in text and "- bundle: recipe only" in text
