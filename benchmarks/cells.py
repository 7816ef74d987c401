"""A comparison in cells: a training each, which is not done again; means over replicates; a file of both."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from leanseg.training.data import data_root
from leanseg.training.recipe import Recipe
from leanseg.training.run import train

RESULT = "cell.json"
Cells = dict[str, dict[str, float]]
Summary = dict[str, dict[str, dict[str, float]]]
"""By row, by figure: as `spread`"""


def cell(folder: Path, recipe: Recipe, data: Path, measure: Callable[[], dict[str, float]]) -> dict[str, float]:
    """Train into a folder and `measure` what is there, but for what is done already."""
    result = folder / RESULT
    if not result.is_file():
        started = time.process_time()
        resume = (folder / "resume.safetensors").is_file()
        train(recipe, data, folder, resume, lambda done, total, what: print(folder.name, done, what, flush=True))
        seconds = time.process_time() - started
        figures = measure() | {"cpu_seconds_of_last_start": round(seconds, 1)}
        result.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    values: dict[str, float] = json.loads(result.read_text(encoding="utf-8"))
    return values


def spread(values: list[float]) -> dict[str, float]:
    """Mean, number, and of more than one the standard deviation."""
    deviation = {"sd": round(statistics.stdev(values), 2)} if len(values) > 1 else {}
    return {"mean": round(statistics.mean(values), 2), "n": len(values), **deviation}


def shown(figures: dict[str, float] | None) -> str:
    if figures is None:
        return ""
    return f"{figures['mean']:.2f}" + (f" ± {figures['sd']:.2f}" if "sd" in figures else "")


def arguments_of(description: str | None, form: str) -> argparse.Namespace:
    """Of the command line; `form` as of `parser_of`."""
    return parser_of(description, form).parse_args()


def parser_of(description: str | None, form: str) -> argparse.ArgumentParser:
    """Of a benchmark in cells; `form` is how a cell is named, e.g. WAY:FOLD."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("runs", type=Path, help="folder of the run folders")
    parser.add_argument("--data", type=Path, help="folder of the data sets; default: LEANSEG_DATA")
    parser.add_argument("--only", metavar=form, nargs="+", help="train these cells alone")
    parser.add_argument("--json", type=Path, help="also write cells and summary here")
    return parser


def chosen(
    arguments: argparse.Namespace, every: Sequence[str], one: Callable[[Path, Path, str], dict[str, float]]
) -> Cells:
    """Every cell, or those that were named, by `one(runs, data, name)`."""
    if unknown := sorted(set(arguments.only or ()) - set(every)):
        raise SystemExit(f"There is no cell {', '.join(unknown)}. Cells: {', '.join(every)}.")
    data = data_root(arguments.data)
    return {name: one(arguments.runs, data, name) for name in arguments.only or every}


def show(result: Summary, columns: Sequence[str]) -> None:
    """A table with a row for each way."""
    table = Table("way", *columns)
    for way, figures in result.items():
        table.add_row(way, *(shown(figures.get(name)) for name in columns))
    Console(width=160, file=sys.stdout).print(table)


def write(path: Path, command: str, page: dict[str, list[list[str]]], result: Summary, cells: Cells) -> None:
    """As docs/systems.py reads it."""
    values = {"command": command, "systems": page, "summary": result, "cells": cells}
    path.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
