"""Referring segmentation in figures: with and without masked self-distillation, of a trained run, and speed of use.

    python benchmarks/referring.py ablation RUNS --data DIR [--seeds 0 1 2] [--part busi:test ...] [--json R.json]
    python benchmarks/referring.py run RUN --data DIR --part busi:test bus_bra:external_test163 ... [--json R.json]
    python benchmarks/referring.py model MODEL --data DIR --part busi:test ... [--card] [--json R.json]
    python benchmarks/referring.py speed MODEL [--json R.json]

RUNS holds, for each seed N, `distilled_sN` and `plain_sN`, trained as
`leanseg/training/recipes/cm_mask_sd_ablation.toml` says. Mean and sample standard deviation over the seeds; the last
row is distilled - plain, seed by seed. All are asked the same 150 sentences about each part: `miou` of the object that
is meant, `wrong_iou` of all others, `p50` the fraction with an IoU above 0.5, `found` that of answers that are not
empty, `absent_empty` that of empty ones where nothing is meant, and `dropped_miou` with a quarter of the words unknown.
`model` measures a bundle as it is used, where the words choose among the objects that it outlines, and beside that the
choice of its network alone, at 0.5; `--card` writes that into its card. `speed`: loading, and a sentence about a
picture, the median of 9.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from leanseg.api import Model, load_engine
from leanseg.errors import LeanSegError
from leanseg.inference.referring import ReferringEngine
from leanseg.phantom import ultrasound_phantom
from leanseg.processing.preprocess import PreprocessingConfig, preprocess
from leanseg.prompts.word_pieces import WordPieces
from leanseg.training.data.referring_pairs import ReferringPair
from leanseg.training.data.referring_set import fixed_pairs, load_referring_set
from leanseg.training.evaluate_references import answers_in_use, replies_of
from leanseg.training.export_referring import rounded
from leanseg.training.recipe import Recipe, load_recipe
from leanseg.training.referring import TOKENIZER, answers_of, checked
from leanseg.training.referring_metrics import by_kind, referring_figures
from leanseg.training.trainer import load_run
from leanseg.weights.bundle import rewrite_card

SYSTEM = "cm_mask_sd"
ARMS = ("distilled", "plain")
SHOWN = ("miou", "wrong_iou", "absent_empty", "dropped_miou")
IN_USE = ("miou", "wrong_iou", "p50", "absent_empty")
PAIRS, SEED, DROPPED = 150, 3_000_003, 0.25
REPEATS = 9
Figures = dict[str, dict[str, float]]


def load_pairs(parts: list[str], data: Path, recipe: Recipe) -> dict[str, list[ReferringPair]]:
    """The same ones for every run of a grid."""
    assert recipe.referring is not None
    loaded = {part: load_referring_set([part], data, recipe) for part in parts}
    options = recipe.referring
    return {part: fixed_pairs(some, PAIRS, SEED + n, options) for n, (part, some) in enumerate(loaded.items())}


def figures_of_run(run: Path, pairs: dict[str, list[ReferringPair]]) -> Figures:
    """By part, then by kind of expression; at a probability of 0.5."""
    network = checked(load_run(run)[1])
    read = WordPieces((run / TOKENIZER).read_text(encoding="utf-8"), network.config.length)
    result, answers = {}, []
    for n, (part, some) in enumerate(pairs.items()):
        answers.append(answers_of(network, read, some)[0] > 0.5)
        dropped = referring_figures(answers_of(network, read, some, DROPPED, seed=n)[0] > 0.5, some)
        figures = referring_figures(answers[-1], some)
        result[part] = figures | {"dropped_miou": dropped["miou"], "n": float(len(some))}
    asked = [pair for some in pairs.values() for pair in some]
    return result | {f"kind {kind}": figures for kind, figures in by_kind(torch.cat(answers), asked).items()}


def figures_of_model(model: Model, pairs: dict[str, list[ReferringPair]]) -> Figures:
    """By part and kind of expression, in use; and by part what the network alone would have chosen."""
    engine = model.engine
    if not isinstance(engine, ReferringEngine):
        raise LeanSegError(f"{model.card.id} does not read sentences. Give a model that does, e.g. {SYSTEM}.")
    result, answers = {}, []
    for part, some in pairs.items():
        replies = replies_of(engine, some)
        answers.append(answers_in_use(replies, engine.config))
        result[part] = referring_figures(answers[-1], some) | {"n": float(len(some))}
        alone = torch.stack([torch.from_numpy(reply.found.probability > 0.5) for reply in replies])
        result[f"{part}, network alone"] = referring_figures(alone, some) | {"n": float(len(some))}
    asked = [pair for some in pairs.values() for pair in some]
    return result | {f"kind {kind}": figures for kind, figures in by_kind(torch.cat(answers), asked).items()}


def write_into_card(model: Model, figures: Figures, command: str) -> None:
    """As `metrics.test` of the bundle's card."""
    metrics = {**model.card.metrics, "test": {"command": command, **{k: rounded(row) for k, row in figures.items()}}}
    rewrite_card(model.bundle, dataclasses.replace(model.card, metrics=metrics))


def ablation(runs: Path, data: Path, seeds: list[int], parts: list[str]) -> dict[str, Figures]:
    """By part and kind: mean and sd over the seeds of both arms, and of their difference."""
    pairs = load_pairs(parts, data, load_run(runs / f"{ARMS[0]}_s{seeds[0]}")[0])
    by_arm = {arm: [figures_of_run(runs / f"{arm}_s{seed}", pairs) for seed in seeds] for arm in ARMS}
    result: dict[str, Figures] = {}
    for row in by_arm[ARMS[0]][0]:
        first, second = ([figures[row] for figures in by_arm[arm]] for arm in ARMS)
        differences = [{key: a[key] - b[key] for key in a} for a, b in zip(first, second, strict=True)]
        arms = zip((*ARMS, " - ".join(ARMS)), (first, second, differences), strict=True)
        result[row] = {name: _summary(some) for name, some in arms}
    return result


def _summary(rows: list[dict[str, float]]) -> dict[str, float]:
    result = {}
    for key in rows[0]:
        values = [row[key] for row in rows]
        result[key] = statistics.fmean(values)
        is_known = all(map(math.isfinite, values))  # of some kinds nothing is said that is absent
        result[f"{key}_sd"] = (statistics.stdev(values) if len(values) > 1 else 0.0) if is_known else math.nan
    return result


def speed(model_id: str) -> dict[str, float]:
    """Seconds."""
    started = time.perf_counter()
    model = load_engine(model_id)
    load = time.perf_counter() - started
    assert isinstance(model.engine, ReferringEngine) and isinstance(model.preprocessing, PreprocessingConfig)
    engine, config = model.engine, model.preprocessing
    volume = ultrasound_phantom("benign", seed=1).image
    image = preprocess(volume, config).volume.array[:, 0]
    return {
        "load": load,
        "picture": _median(lambda: preprocess(volume, config)),
        "sentence": _median(lambda: engine.refer(image, "The largest lesion.")),
    }


def _median(run: Callable[[], object]) -> float:
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def _print(rows: Figures) -> None:
    columns = [key for key in next(iter(rows.values())) if not key.endswith("_sd")]
    table = Table("", *columns, box=None)
    for name, row in rows.items():
        shown = [
            f"{row[c]:.3f}" + (f" ± {row[f'{c}_sd']:.3f}" if f"{c}_sd" in row else "") if c in row else ""
            for c in columns
        ]
        table.add_row(name, *shown)
    Console(width=160, highlight=False).print(table)


def _figures(what: str, row: dict[str, float], seeds: int | None) -> list[str]:
    """What docs/systems.md says of a row: of some seeds, or of one run."""
    shown = [f"{row[k]:.3f}" + (f" ± {row[f'{k}_sd']:.3f}" if (seeds or 0) > 1 else "") for k in SHOWN]
    number = f"n = {row['n']:.0f}" if seeds is None else f"n = {seeds} seed{'s' if seeds > 1 else ''}"
    names = "mIoU / IoU with the others / absent left empty / mIoU with a quarter of the words unknown"
    return [f"{what}, {names}", f"{' / '.join(shown)}; {number}"]


def _of_ablation(result: dict[str, Figures], seeds: int) -> list[list[str]]:
    return [
        _figures(f"{arm}, {part}", row, seeds)
        for part, arms in result.items()
        if not part.startswith("kind ")
        for arm, row in arms.items()
    ]


def _of_run(result: Figures) -> list[list[str]]:
    return [_figures(part, row, None) for part, row in result.items() if not part.startswith("kind ")]


def _of_model(result: Figures) -> list[list[str]]:
    rows = []
    for part, row in result.items():
        if not part.startswith("kind "):
            value = " / ".join(f"{row[name]:.3f}" for name in IN_USE)
            rows.append(
                [f"{part}, mIoU / IoU with the others / above 0.5 / absent left empty", f"{value}; n = {row['n']:.0f}"]
            )
    return rows


def _of_speed(model: str, row: dict[str, float]) -> list[str]:
    load, picture, sentence = (1000 * row[name] for name in ("load", "picture", "sentence"))
    return [f"{model}, loading / picture / sentence, ms", f"{load:.0f} / {picture:.1f} / {sentence:.1f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    names = ("ablation", "run", "model", "speed")
    of_runs, of_run, of_model, of_speed = (verbs.add_parser(name) for name in names)
    of_runs.add_argument("runs", type=Path)
    of_runs.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    of_run.add_argument("run", type=Path)
    of_model.add_argument("model")
    of_model.add_argument("--card", action="store_true", help="write the figures into the card")
    of_speed.add_argument("model")
    for one in (of_runs, of_run, of_model, of_speed):
        one.add_argument("--json", type=Path, help="also write the figures here, as docs/systems.py reads them")
        if one is not of_speed:
            one.add_argument("--data", type=Path, required=True)
            one.add_argument("--part", nargs="+", default=["busi:test"])
    arguments = parser.parse_args()
    result: object
    if arguments.verb == "ablation":
        rows = ablation(arguments.runs, arguments.data, arguments.seeds, arguments.part)
        seeds = " ".join(map(str, arguments.seeds))
        said = f"ablation RUNS --data DIR --seeds {seeds} --part {' '.join(arguments.part)}"
        page, result = _of_ablation(rows, len(arguments.seeds)), rows
        _print({f"{name}, {part}": row for part, arms in rows.items() for name, row in arms.items()})
    elif arguments.verb == "run":
        figures = figures_of_run(arguments.run, load_pairs(arguments.part, arguments.data, load_run(arguments.run)[0]))
        said = f"run RUN --data DIR --part {' '.join(arguments.part)}"
        page, result = _of_run(figures), figures
        _print(figures)
    elif arguments.verb == "model":
        model = load_engine(arguments.model)
        recipe = load_recipe(model.card.training["stages"][-1]["recipe"]["id"])
        figures = figures_of_model(model, load_pairs(arguments.part, arguments.data, recipe))
        said = f"model {model.card.id} --data DIR --part {' '.join(arguments.part)}"
        page, result = _of_model(figures), figures
        _print(figures)
        if arguments.card:
            write_into_card(model, figures, f"python benchmarks/referring.py {said}")
    else:
        seconds = {arguments.model: speed(arguments.model)}
        said = f"speed {arguments.model}"
        page, result = [_of_speed(model, row) for model, row in seconds.items()], seconds
        _print(seconds)
    if arguments.json is not None:
        command = f"python benchmarks/referring.py {said}"
        values = {"command": command, "systems": {SYSTEM: page}, "results": result}
        finite = json.loads(json.dumps(values), parse_constant=lambda name: None)  # no NaN in JSON
        arguments.json.write_text(json.dumps(finite, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
