"""A make-believe OpenVINO on disk, for tests of what is installed and of installing."""

import contextlib
import importlib
import sys
import tempfile
import zipfile
from pathlib import Path
from unittest import mock

VERSION = "2025.9.9"
INFO = f"openvino-{VERSION}.dist-info"
FILES = {
    "openvino/__init__.py": 'raise AssertionError("a look at what is installed must not import it")\n',
    "openvino/libs/runtime.bin": "x" * 5000,
    f"{INFO}/METADATA": f"Metadata-Version: 2.1\nName: openvino\nVersion: {VERSION}\n"
    "Requires-Dist: openvino-telemetry>=2023.2.1\n",
    f"{INFO}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
}
RECORD = "".join(f"{name},,{len(text)}\n" for name, text in FILES.items()) + f"{INFO}/RECORD,,\n"


@contextlib.contextmanager
def sitePackages():
    """A folder on the path instead of those with a real runtime; nothing of a runtime is loaded. Yields the folder."""
    with tempfile.TemporaryDirectory() as name:
        others = [
            part for part in sys.path if not any((Path(part) / one).exists() for one in ("openvino", "onnxruntime"))
        ]
        modules = {
            key: value for key, value in sys.modules.items() if key.split(".")[0] not in ("openvino", "onnxruntime")
        }
        with mock.patch.object(sys, "path", [name, *others]), mock.patch.dict(sys.modules, modules, clear=True):
            importlib.invalidate_caches()
            yield Path(name)
    importlib.invalidate_caches()


def write(folder, files):
    """Write {path: text} below a folder."""
    for name, text in files.items():
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")


def writeWheel(folder):
    """A wheel of the make-believe OpenVINO, for any Python and system."""
    with zipfile.ZipFile(Path(folder) / f"openvino-{VERSION}-py3-none-any.whl", "w") as wheel:
        for name, text in (FILES | {f"{INFO}/RECORD": RECORD}).items():
            wheel.writestr(name, text)
