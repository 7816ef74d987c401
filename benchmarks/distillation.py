"""Does distillation help? `python benchmarks/distillation.py RUNS --data DIR [--json R.json]`.

RUNS holds, for each seed N, the run folders `t2kd_student_sN` and `t2kd_student_alone_sN`:

    leanseg train t2kd_student --set seed=N --out RUNS/t2kd_student_sN
    leanseg train t2kd_student_alone --set seed=N --out RUNS/t2kd_student_alone_sN

Both train on the same images for the same number of steps from the same random weights. For each, temperature and
postprocessing are chosen on the validation split; then BUSI test and BUS-BRA external_test163 are read once. The last
rows are paired differences over the seeds: mean and sample standard deviation.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

from rich.console import Console
from rich.table import Table

from leanseg.processing.postprocess import lesion_mask
from leanseg.training.calibrate import choose_postprocessing, fit_temperature, predict_cases, probabilities_of
from leanseg.training.data import select_cases
from leanseg.training.data.arrays import load_arrays
from leanseg.training.data.case import LESION_CLASSES
from leanseg.training.metrics import case_metrics, summarize
from leanseg.training.trainer import load_run

TESTS = ("busi:test", "bus_bra:external_test163")
METHODS = ("t2kd_student", "t2kd_student_alone")


def figures(run: Path, data: Path) -> dict[str, float]:
    """Lesion Dice of each test set, and the fraction of normal BUSI test images that are left empty, in percent."""
    recipe, network = load_run(run)
    val_cases = select_cases(recipe.data.val, data, recipe.data.classes)
    temperature = fit_temperature(network, load_arrays(val_cases, recipe.preprocessing))
    predict = probabilities_of(network, temperature)
    postprocessing = choose_postprocessing(predict_cases(predict, val_cases, recipe.preprocessing))
    result = {}
    for part in TESTS:
        cases = select_cases([part], data, LESION_CLASSES)
        predicted = predict_cases(predict, cases, recipe.preprocessing)
        mean = summarize(
            [
                case_metrics(lesion_mask(case.probabilities, postprocessing)[0], case.truth[0], (1.0, 1.0))
                for case in predicted
            ]
        )
        result[f"{part} dice"] = 100 * mean["dice"]["mean"]
        if mean["normal_empty"]["n"]:
            result[f"{part} normal_empty"] = 100 * mean["normal_empty"]["mean"]
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
    table = Table("", *names)
    results: dict[str, dict[str, dict[str, float | list[float]]]] = {}
    pairs = [
        [{name: a[name] - b[name] for name in names} for a, b in zip(*measured.values(), strict=True)],
    ]
    for label, rows in zip((*METHODS, "difference"), (*measured.values(), *pairs), strict=True):
        columns = {name: [row[name] for row in rows] for name in names}
        results[label] = {
            name: {"mean": statistics.mean(values), "sd": statistics.stdev(values), "seeds": values}
            for name, values in columns.items()
        }
        table.add_row(label, *(f"{r['mean']:.2f} ± {r['sd']:.2f}" for r in results[label].values()))
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
