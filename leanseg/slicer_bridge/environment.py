"""What LeanSeg needs inside Slicer, and what of it is there.

Nothing is imported to find out: a half-finished installation must not be loaded, and a loaded one cannot be replaced.
"""

from __future__ import annotations

import csv
import importlib
import os
import platform
from dataclasses import dataclass, replace
from importlib import metadata, util
from pathlib import Path
from typing import Literal

import slicer
from slicer.i18n import tr as _

from leanseg import __version__
from leanseg.errors import LeanSegError

State = Literal["ok", "missing", "broken"]


@dataclass(frozen=True)
class Requirement:
    """Something that LeanSeg needs. `purpose` says what for or, where it is broken, what is wrong with it."""

    name: str
    state: State
    version: str
    purpose: str
    engine: str = ""
    """Of a model that is whole: the engine that runs it"""


def requirements() -> list[Requirement]:
    """OpenVINO first, then other runtimes that are there, the packages that come with Slicer, and the models."""
    importlib.invalidate_caches()
    found = [examinePackage("openvino", _("runs the models"))]
    onnxruntime = examinePackage("onnxruntime", _("runs the models where there is no OpenVINO"))
    if onnxruntime.state != "missing":
        found.append(onnxruntime)
    telemetry = examinePackage("openvino-telemetry")
    if telemetry.state != "missing":
        advice = _('reports usage; remove it in the Python console: slicer.util.pip_uninstall("openvino-telemetry")')
        found.append(replace(telemetry, state="broken", purpose=advice))
    found.append(examinePackage("numpy", _("arrays"), comesWithSlicer=True))
    found.append(examinePackage("SimpleITK", _("components and shapes of masks"), comesWithSlicer=True))
    found.append(examinePackage("pydicom", _("reads DICOM files"), comesWithSlicer=True))
    return found + _models()


def diagnostics() -> str:
    """For a bug report: one line a fact, without names of persons, folders or images."""
    from leanseg.weights.store import search_path

    lines = [
        f"LeanSeg {__version__}",
        f"Slicer {slicer.app.applicationVersion}, testing {bool(slicer.app.testingEnabled())}",
        f"Python {platform.python_version()}",
        f"{platform.system()} {platform.release()}, {platform.machine()}, {os.cpu_count()} cores",
        f"proxy {'set' if any(name.lower() == 'https_proxy' for name in os.environ) else 'not set'}",
    ]
    lines += [f"{one.name} {one.version}: {one.state}: {one.purpose}" for one in requirements()]
    text = "\n".join(lines)
    private = [folder for folder in (*search_path(), Path.home()) if folder.is_absolute() and folder != folder.parent]
    for folder in sorted(private, key=lambda folder: -len(str(folder))):
        text = text.replace(str(folder), "…")
    return text


def canSegment(found: list[Requirement], engine: str) -> bool:
    """Whether these requirements are enough: a runtime, the packages, and a model for this engine."""
    state = {one.name: one.state for one in found}
    # Half an OpenVINO would be imported before ONNX Runtime is tried.
    runtime = state["openvino"] == "ok" or (state["openvino"] == "missing" and state.get("onnxruntime") == "ok")
    packages = state["numpy"] == state["SimpleITK"] == "ok"
    return runtime and packages and any(one.engine == engine and one.state == "ok" for one in found)


def examinePackage(name: str, purpose: str = "", comesWithSlicer: bool = False) -> Requirement:
    """The state of a Python package. Where Slicer brings it, its files are Slicer's affair, and so is its metadata."""
    advice = _("half installed; install Slicer again") if comesWithSlicer else _("half installed; install it again")
    try:
        spec = util.find_spec(name.replace("-", "_"))
    except ValueError:  # loaded by something that left no spec
        spec = None
    isThere = spec is not None and bool(spec.origin)  # an empty folder is a namespace: it has no origin
    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        if isThere and not comesWithSlicer:
            return Requirement(name, "broken", "", advice)
        return Requirement(name, "ok" if isThere else "missing", "", purpose)
    version = distribution.version if distribution.read_text("METADATA") else ""
    if not isThere or not (comesWithSlicer or _isComplete(distribution)):
        return Requirement(name, "broken", version, advice)
    return Requirement(name, "ok", version, purpose)


def _isComplete(distribution: metadata.Distribution) -> bool:
    """Whether every file is there in its full length. (`distribution.files` may leave out those that are not.)"""
    record = distribution.read_text("RECORD")
    if not record:
        return False  # pip writes it last
    folder = str(distribution.locate_file(""))
    try:
        files = [(path, int(size)) for path, _checksum, size in csv.reader(record.splitlines()) if size]
        return all(Path(f"{folder}/{path}").stat().st_size == size for path, size in files)
    except (OSError, ValueError):  # a file is gone, or the record itself was cut short
        return False


def _models() -> list[Requirement]:
    from leanseg.weights.bundle import read_bundle  # here, because modules import this file when Slicer starts
    from leanseg.weights.store import bundle_folders

    found = []
    for folder in bundle_folders():
        try:
            bundle = read_bundle(folder)
            bundle.check()
        except LeanSegError as error:
            found.append(Requirement(f"model {folder.name}", "broken", "", str(error)))
        else:
            card = bundle.card
            found.append(Requirement(f"model {card.id}", "ok", ", ".join(card.precisions), "", card.engine))
    if not found:
        advice = _("none found; install LeanSeg again, or set LEANSEG_MODELS to a folder of models")
        found.append(Requirement("models", "missing", "", advice))
    return found
