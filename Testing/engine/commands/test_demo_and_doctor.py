"""`leanseg demo` and `leanseg doctor`."""

from pathlib import Path

import numpy as np
import pytest

from leanseg import demo, doctor
from leanseg.demo import DemoCase
from leanseg.weights.bundle import read_bundle
from Testing.engine.commands.command_line import (
    ELLIPSE,
    Captured,
    contents,
    damage_graph,
    leanseg_main,
    one_line,
)
from Testing.engine.tiny import dark_on_bright


def test_demo_writes_a_page(
    models_folder: Path, tmp_path: Path, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = DemoCase("ellipse", dark_on_bright(ELLIPSE[np.newaxis]), ELLIPSE[np.newaxis])
    monkeypatch.setattr(demo, "_built_in_cases", lambda: [case])
    assert leanseg_main("demo", "-o", tmp_path / "demo") == 0
    assert capfd.readouterr() == (f"Open {tmp_path / 'demo' / 'index.html'} in a browser.\n", "")
    assert (tmp_path / "demo" / "index.html").is_file()


def test_demo_into_what_is_no_folder_is_one_line(image: Path, tmp_path: Path, capfd: Captured) -> None:
    before = contents(tmp_path)
    for folder in (image, image / "demo"):
        assert "Choose another folder with -o" in one_line(capfd, "demo", "-o", folder)
    assert contents(tmp_path) == before


def test_doctor_prints_what_to_do_word_for_word(
    models_folder: Path, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_package", lambda name, advice: [name, "missing", advice])
    damage_graph(read_bundle(models_folder / "tiny"))
    assert leanseg_main("doctor") == 0
    words = " ".join(capfd.readouterr().out.split())
    assert 'torch missing only to train: pip install -e ".[train]" in a checkout' in words, "[train] is no markup"
    assert "model tiny cannot be used" in words and "SHA-256 differs" in words
