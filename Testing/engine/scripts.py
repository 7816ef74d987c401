"""Scripts of the repository as modules, and what the page of all systems takes from their results."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from leanseg.catalog import find_system

ROOT = Path(__file__).parents[2]


def script(path: str) -> ModuleType:
    """A file of the repository, e.g. `benchmarks/questions.py`; it stays in `sys.modules` under its own name."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


def rows_on_the_page(system: str, folder: Path) -> list[tuple[str, str, str]]:
    """What, value and command of every result below a folder that the page shows of a system."""
    systems = script("docs/systems.py")
    return [(row.what, row.value, row.command) for row in systems.of_results(find_system(system), folder)]
