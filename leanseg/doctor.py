"""`leanseg doctor`: what is installed, what is missing, what to do. Nothing leaves this machine."""

from __future__ import annotations

import importlib.util
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from leanseg import __version__
from leanseg.errors import LeanSegError
from leanseg.weights.bundle import read_bundle
from leanseg.weights.store import bundle_folders, search_path

_NEEDED = ("numpy", "SimpleITK", "pydicom", "rich")
_RUNTIMES = ("openvino", "onnxruntime")
_MAKE_FLOOR = ("torch", "safetensors", "monai", "onnx")


def examine() -> list[list[str]]:
    """Rows of (what, state, what to do)."""
    rows = [["leanseg", __version__, ""], ["python", platform.python_version(), ""]]
    rows.append(["machine", f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores", ""])
    rows += [_package(name, f"pip install {name}") for name in _NEEDED]
    runtimes = [_package(name, "") for name in _RUNTIMES]
    if all(row[1] == "missing" for row in runtimes):
        runtimes[0][2] = "pip install --no-deps openvino"
    rows += runtimes
    if importlib.util.find_spec("openvino_telemetry") is not None:
        rows.append(["openvino-telemetry", "installed", "pip uninstall openvino-telemetry: it reports usage"])
    rows += [
        _package(name, 'only to train: pip install -e ".[train]" in a checkout of LeanSeg') for name in _MAKE_FLOOR
    ]
    rows += _models()
    for folder in (os.environ.get("LEANSEG_MODELS") or "").split(os.pathsep):
        rows.append(["LEANSEG_MODELS", *_folder(folder or None, "only for models of your own", "of your models")])
    rows.append(
        ["LEANSEG_DATA", *_folder(os.environ.get("LEANSEG_DATA"), "only to train and evaluate", "of the data sets")]
    )
    return rows


def _package(name: str, advice: str) -> list[str]:
    try:
        return [name, version(name), ""]
    except PackageNotFoundError:
        return [name, "missing", advice]


def _models() -> list[list[str]]:
    rows = []
    for folder in bundle_folders():
        try:
            bundle = read_bundle(folder)
            bundle.check()
            bundle.weights()
            rows.append([f"model {bundle.card.id}", f"{', '.join(sorted(bundle.card.graphs))}: checksums agree", ""])
        except LeanSegError as error:
            rows.append([f"model {folder.name}", "cannot be used", str(error)])
    if not rows:
        places = ", ".join(str(folder) for folder in search_path())
        rows.append(["models", "none found", f"searched: {places}; set LEANSEG_MODELS to a folder of bundles"])
    return rows


def _folder(path: str | None, otherwise: str, what: str) -> tuple[str, str]:
    """State and advice of a folder that the environment names; `otherwise` where it names none."""
    if path is None:
        return "not set", otherwise
    return (path, "") if Path(path).is_dir() else (f"{path} does not exist", f"set it to the folder {what}")
