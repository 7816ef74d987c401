"""Where a model comes from, for its card: versions, recipes and logs of every stage, licenses of the data."""

from __future__ import annotations

import csv
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from leanseg.training.data import LICENSES
from leanseg.training.start import base_stages
from leanseg.training.trainer import load_run


def versions() -> dict[str, str]:
    packages = ("torch", "onnx", "onnxruntime", "openvino", "numpy", "SimpleITK")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def stages_of(run: Path) -> list[dict[str, Any]]:
    """Recipe and log summary of a run and, before it, of every run that it started from, learned from or holds."""
    recipe = load_run(run)[0]
    teachers = recipe.distillation.teachers.values() if recipe.distillation else ()
    members = recipe.decisions.bank if recipe.decisions else ()
    stages = base_stages(run) if recipe.base else []
    for earlier in (recipe.init, *recipe.average, *teachers, *members):
        stages += [stage for stage in (stages_of(Path(earlier)) if earlier else []) if stage not in stages]
    with (run / "log.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    log = {
        "epochs": 0 if recipe.average else len(rows),
        "hours": round(sum(float(row["seconds"]) for row in rows) / 3600, 2),
        "last_loss": None if recipe.average else round(float(rows[-1]["loss"]), 4),
        "last_val_dice": round(float(rows[-1]["val_dice"]), 4) if "val_dice" in rows[-1] else None,
    }
    values = recipe.to_json()
    if folder := values["config"].get("folder"):  # which backbone it was, not where it lay
        values["config"] = {**values["config"], "folder": Path(folder).name}
    return [*stages, {"recipe": values, "log": log}]


def data_licenses(stages: list[dict[str, Any]]) -> tuple[str, ...]:
    sets = {part.partition(":")[0] for stage in stages for part in stage["recipe"]["data"]["train"]}
    return tuple(LICENSES[name] for name in sorted(sets))
