"""`leanseg models` and `leanseg systems`."""

import json
from pathlib import Path

import pytest

from leanseg.catalog import SYSTEMS
from Testing.engine.commands.command_line import (
    Captured,
    leanseg_main,
)
from Testing.engine.tiny import dark_is_lesion, write_tiny_bundle


def test_models_as_json_have_exactly_the_fixed_keys(models_folder: Path, capfd: Captured) -> None:
    bundle = write_tiny_bundle(models_folder / "two", {"fp32": dark_is_lesion(), "int8": b"small"}, id="two")
    assert leanseg_main("models", "--json") == 0
    tiny, two = json.loads(capfd.readouterr().out)
    assert list(tiny) == [
        *("id", "system", "module", "task", "inputs", "labels", "precisions", "bytes", "sha256", "license")
    ]
    assert tiny["id"] == "tiny" and tiny["module"] == "UltrasoundKD" and tiny["labels"] == ["Breast lesion"]
    assert two["precisions"] == ["fp32", "int8"]
    assert (two["bytes"], two["sha256"]) == (5, bundle.card.graphs["int8"].sha256), "of the smallest"


def test_models_as_a_table_fit_their_names(models_folder: Path, capfd: Captured) -> None:
    write_tiny_bundle(models_folder / "two", id="two", task="[bold] claims")
    assert leanseg_main("models") == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].split() == ["id", "task", "precisions", "size", "license"]
    assert [line.split()[0] for line in lines[1:]] == ["tiny", "two"]
    assert "[bold] claims" in lines[2] and "fp32" in lines[1] and "0.0 MB" in lines[1]


def test_models_leave_out_what_is_damaged_and_take_what_is_of_an_unknown_system(
    models_folder: Path, capfd: Captured
) -> None:
    (models_folder / "damaged").mkdir()
    (models_folder / "damaged" / "card.json").write_text("{")
    write_tiny_bundle(models_folder / "own", id="own", system="my_own_network")
    assert leanseg_main("models", "--json") == 0
    rows = json.loads(capfd.readouterr().out)
    assert [(row["id"], row["module"]) for row in rows] == [("own", ""), ("tiny", "UltrasoundKD")]


def test_without_models_the_list_is_empty_and_says_what_to_do(
    models_folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: Captured
) -> None:
    monkeypatch.setenv("LEANSEG_MODELS", str(models_folder / "empty"))
    assert leanseg_main("models", "--json") == 0
    assert json.loads(capfd.readouterr().out) == []
    assert leanseg_main("models") == 0
    assert "set LEANSEG_MODELS" in capfd.readouterr().out


def test_systems_as_json_have_exactly_the_fixed_keys(capfd: Captured) -> None:
    assert leanseg_main("systems", "--json") == 0
    rows = json.loads(capfd.readouterr().out)
    for row in rows:
        assert list(row)[:9] == ["id", "title", "paper", "home", "tests", "recipe", "models", "module", "state"]
        assert list(row)[9:] == ["published", "differs"]
        assert row["state"] in ("works", "planned")
        assert all(list(figure) == ["what", "value", "source"] for figure in row["published"]) and row["differs"]
    assert [row["id"] for row in rows] == [system.id for system in SYSTEMS]
    assert "t2kd_busi" in rows[0]["models"] and "t2kd_student" in rows[0]["recipe"]


def test_systems_as_a_table_say_which_have_a_bundle(capfd: Captured) -> None:
    assert leanseg_main("systems") == 0
    rows = {line.split()[0]: line for line in capfd.readouterr().out.splitlines()[1:]}
    assert " med_danet_v2 " in rows["med_danet_v2"].removeprefix("med_danet_v2") and " recipe only " in rows["agln"]


def test_systems_as_a_table_name_every_one(capfd: Captured) -> None:
    assert leanseg_main("systems") == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [[system.id, system.state] for system in SYSTEMS]
