from pathlib import Path

import pytest

from Testing.engine.commands.command_line import GRAY, written


@pytest.fixture
def image(models_folder: Path, tmp_path: Path) -> Path:
    return written(GRAY, tmp_path / "image.png")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder with results of yesterday."""
    folder = tmp_path / "out"
    folder.mkdir()
    for name in ("mask.seg.nrrd", "u.nrrd", "r.json"):
        (folder / name).write_text("of yesterday")
    return folder


@pytest.fixture
def all_outputs(out: Path) -> list[object]:
    return ["-o", out / "mask.seg.nrrd", "--uncertainty", out / "u.nrrd", "--report", out / "r.json"]
