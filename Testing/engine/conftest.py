import os
from pathlib import Path

import pytest
from hypothesis import settings

from leanseg.weights.bundle import Bundle
from Testing.engine.tiny import write_tiny_bundle

# The same examples in every run, no time limit (other work may share the machine), and nothing left on disk.
settings.register_profile("leanseg", deadline=None, derandomize=True, database=None, max_examples=40)
settings.load_profile("leanseg")


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder with the real data sets; tests that need it are skipped where there is none."""
    repository = Path(__file__).resolve().parents[2]
    root = Path(os.environ.get("LEANSEG_DATA", repository.parent / "shared" / "data"))
    if not root.is_dir():
        pytest.skip(f"no data sets: {root} does not exist; set LEANSEG_DATA")
    return root


@pytest.fixture
def tiny_bundle(tmp_path: Path) -> Bundle:
    """A model that can be predicted by hand, see `Testing.engine.tiny`; its id is `tiny`."""
    return write_tiny_bundle(tmp_path / "models" / "tiny")


@pytest.fixture
def models_folder(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> Path:
    """LEANSEG_MODELS, with `tiny` in it; the models that come with LeanSeg are out of sight, the data sets too."""
    folder = tiny_bundle.folder.parent
    monkeypatch.setenv("LEANSEG_MODELS", str(folder))
    monkeypatch.setattr("leanseg.weights.store.SHIPPED_MODELS", folder / "nothing-shipped")
    monkeypatch.delenv("LEANSEG_DATA", raising=False)
    return folder
