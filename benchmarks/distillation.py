"""Does distillation help? `python benchmarks/distillation.py RUNS --data DIR [--json R.json]`.

RUNS holds, for each seed N, the run folders `t2kd_student_sN` and `t2kd_student_alone_sN`:

    leanseg train t2kd_student --set seed=N --out RUNS/t2kd_student_sN
    leanseg train t2kd_student_alone --set seed=N --out RUNS/t2kd_student_alone_sN

Both train on the same images for the same number of steps from the same random weights. BUSI test and BUS-BRA
external_test163 are measured twice: `plain` is every pixel above 0.5, which compares the networks; `chosen` has the
postprocessing that `leanseg export` would choose on the validation split, which compares what would be shipped. The
last column is the paired difference over the seeds: mean and sample standard deviation.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

from rich.console import Console
from rich.table import Table

from leanseg.processing.postprocess import PostprocessingConfig
from leanseg.training.calibrate import (
    choose_postprocessing,
    figures_of,
    fit_temperature,
    predict_cases,
    probabilities_of,
)
from leanseg.training.data import select_cases
from leanseg.training.data.arrays import load_arrays
from leanseg.training.data.case import LESION_CLASSES
from leanseg.training.trainer import load_run

TESTS = ("busi:test", "bus_bra:external_test163")
METHODS = ("t2kd_student", "t2kd_student_alone")


def figures(run: Path, data: Path) -> dict[str, float]:
    """Lesion Dice of each test set, and the fraction of its normal images that are left empty, in percent."""
    recipe, network = load_run(run)
    val_cases = select_cases(recipe.data.val, data, recipe.data.classes)
    temperature = fit_temperature(network, load_arrays(val_cases, recipe.preprocessing))
    predict = probabilities_of(network, temperature)
    chosen = choose_postprocessing(predict_cases(predict, val_cases, recipe.preprocessing))
    result = {}
    for part in TESTS:
        predicted = predict_cases(predict, select_cases([part], data, LESION_CLASSES), recipe.preprocessing)
        for how, postprocessing in (("plain", PostprocessingConfig()), ("chosen", chosen)):
            for name, value in figures_of(predicted, postprocessing).items():
                result[f"{part} {how} {name}"] = 100 * value
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    measured = {
        method: [figures(arguments.runs / f"{method}_s{seed}", arguments.data) for seed in arguments.seeds]
        for method in METHODS
    }
    names = list(measured[METHODS[0]][0])
    table = Table("", *METHODS, "difference")
    results: dict[str, dict[str, dict[str, float | list[float]]]] = {}
    differences = [{name: a[name] - b[name] for name in names} for a, b in zip(*measured.values(), strict=True)]
    for label, rows in {**measured, "difference": differences}.items():
        columns = {name: [row[name] for row in rows] for name in names}
        results[label] = {
            name: {"mean": statistics.mean(values), "sd": statistics.stdev(values), "seeds": values}
            for name, values in columns.items()
        }
    for name in names:
        table.add_row(name, *(f"{r[name]['mean']:.2f} ± {r[name]['sd']:.2f}" for r in results.values()))
    Console(width=120).print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
