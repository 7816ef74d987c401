"""The USE floor works without torch, and the facade costs nothing until it is used."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "leanseg"
MAKE_FLOOR = (
    "leanseg.losses",
    "leanseg.networks",
    "leanseg.quantization",
    "leanseg.runtime.torch_graph",
    "leanseg.training",
)
WITHIN = ("leanseg.training.data", "leanseg.quantization.config", "leanseg.quantization.packing")
"""Parts of MAKE_FLOOR that need no torch: the demo reads real cases, and a user unpacks weights."""
SLICER_ONLY = ("leanseg.slicer_bridge",)
REFUSED = (
    *("torch", "monai", "transformers", "safetensors", "onnx", "onnxruntime"),
    *("slicer", "qt", "ctk", "vtk", "vtkmodules", "PythonQt"),
)

# Imports the modules named on the command line where the packages in REFUSED do not exist.
WITHOUT_REFUSED = f"""
import importlib, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {REFUSED!r}:
            raise ModuleNotFoundError(f"{{name}} is refused by the test", name=name)

sys.meta_path.insert(0, Refuse())
for module in sys.argv[1:]:
    try:
        importlib.import_module(module)
    except ImportError as error:
        sys.exit(f"{{module}}: {{error}}")
"""


def module_names() -> list[str]:
    """Every module of the package by its dotted name, from the files."""
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in PACKAGE.rglob("*.py")]
    return sorted(name.removesuffix(".__init__") for name in names)


def is_below(name: str, parents: tuple[str, ...]) -> bool:
    return any(name == parent or name.startswith(f"{parent}.") for parent in parents)


def fresh_python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )


USE_FLOOR = [*(name for name in module_names() if not is_below(name, MAKE_FLOOR + SLICER_ONLY)), *WITHIN]


def test_use_floor_imports_without_torch_and_slicer() -> None:
    for expected in ("leanseg.api", "leanseg.catalog", "leanseg.runtime.openvino_graph", "leanseg.__main__"):
        assert expected in USE_FLOOR
    done = fresh_python(WITHOUT_REFUSED, *USE_FLOOR)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("verb", ["models", "systems", "doctor"])
def test_command_line_answers_without_torch(verb: str) -> None:
    code = WITHOUT_REFUSED.replace("sys.argv[1:]", "()") + "from leanseg.__main__ import main\nsys.exit(main())"
    done = fresh_python(code, verb)
    assert done.returncode == 0, done.stderr


def test_the_refusal_works() -> None:
    done = fresh_python(WITHOUT_REFUSED, "leanseg.networks")
    assert done.returncode == 1
    assert "torch is refused" in done.stderr


def test_facade_is_lazy() -> None:
    code = "import sys, leanseg; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = fresh_python(code)
    assert done.returncode == 0, done.stderr
    heavy = {"numpy", "SimpleITK", "pydicom", "openvino", "onnxruntime", "rich", "scipy", "torch", "monai"}
    assert heavy.isdisjoint(done.stdout.split())


def test_facade_offers_what_it_names() -> None:
    code = "import leanseg\nfor name in leanseg.__all__: getattr(leanseg, name)"
    done = fresh_python(code)
    assert done.returncode == 0, done.stderr


def test_completion_offers_the_public_names() -> None:
    import leanseg

    assert dir(leanseg) == sorted(leanseg.__all__) and {"load_engine", "segment"} < set(dir(leanseg))
