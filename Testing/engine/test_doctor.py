import importlib.metadata
from pathlib import Path

import pytest

import leanseg
from leanseg import doctor
from Testing.engine.tiny import write_tiny_bundle


def found() -> dict[str, tuple[str, str]]:
    return {what: (state, advice) for what, state, advice in doctor.examine()}


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names that are put here are not installed."""
    names: set[str] = set()
    version = importlib.metadata.version

    def version_unless_missing(name: str) -> str:
        if name in names:
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(doctor, "version", version_unless_missing)
    return names


def test_it_states_versions_and_the_machine(models_folder: Path) -> None:
    rows = found()
    assert rows["leanseg"] == (leanseg.__version__, "")
    assert rows["numpy"] == (importlib.metadata.version("numpy"), "")
    assert "cores" in rows["machine"][0]


def test_what_is_missing_comes_with_what_to_do(models_folder: Path, missing: set[str]) -> None:
    missing |= {"rich", "torch"}
    rows = found()
    assert rows["rich"] == ("missing", "pip install rich")
    assert rows["torch"] == ("missing", 'only to train: pip install -e ".[train]" in a checkout of LeanSeg')


def test_one_runtime_is_enough(models_folder: Path, missing: set[str]) -> None:
    missing |= {"openvino"}
    assert found()["openvino"] == ("missing", "")
    missing |= {"onnxruntime"}
    assert found()["openvino"] == ("missing", "pip install --no-deps openvino")


@pytest.mark.parametrize("installed", [True, False])
def test_telemetry_is_told(models_folder: Path, monkeypatch: pytest.MonkeyPatch, installed: bool) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if installed else None)
    assert ("openvino-telemetry" in found()) is installed
    if installed:
        assert "pip uninstall openvino-telemetry" in found()["openvino-telemetry"][1]


def test_a_sound_model_agrees_with_its_checksums(models_folder: Path) -> None:
    assert found()["model tiny"] == ("fp32: checksums agree", "")


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("tiny_fp32.onnx", "tiny_fp32.onnx is damaged: its SHA-256 differs. Restore the bundle."),
        ("tiny.safetensors", "tiny.safetensors is damaged: its SHA-256 differs. Restore the bundle."),
        ("card.json", "The card of tiny is damaged"),
    ],
)
def test_damage_of_any_file_is_told(models_folder: Path, file: str, message: str) -> None:
    write_tiny_bundle(models_folder / "sound", id="sound")
    (models_folder / "tiny" / file).write_bytes(b"damaged")
    rows = found()
    state, advice = rows["model tiny"]
    assert state == "cannot be used" and message in advice and "\n" not in advice
    assert rows["model sound"] == ("fp32: checksums agree", "")


def test_a_newer_model_asks_for_an_update(models_folder: Path) -> None:
    (models_folder / "tiny" / "card.json").write_text('{"format": 99}')
    assert "Update LeanSeg" in found()["model tiny"][1]


def test_without_models_it_says_where_it_searched(models_folder: Path) -> None:
    (models_folder / "tiny" / "card.json").unlink()
    state, advice = found()["models"]
    assert state == "none found" and str(models_folder) in advice and "LEANSEG_MODELS" in advice


def test_the_folder_of_the_data_sets(models_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found()["LEANSEG_DATA"] == ("not set", "only to train and evaluate")
    monkeypatch.setenv("LEANSEG_DATA", str(tmp_path))
    assert found()["LEANSEG_DATA"] == (str(tmp_path), "")
    monkeypatch.setenv("LEANSEG_DATA", str(tmp_path / "gone"))
    assert found()["LEANSEG_DATA"] == (f"{tmp_path / 'gone'} does not exist", "set it to the folder of the data sets")
