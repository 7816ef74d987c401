"""Text guidance in figures: speed of use, the ablation of the paper, and small encoder against teacher.

    python benchmarks/text.py speed MODEL [--json R.json]
    python benchmarks/text.py ablation RUNS --data DIR [--seeds 0 1 2] [--json R.json]
    python benchmarks/text.py teacher RUN --teacher FOLDER --data DIR [--part text_phantom:test] [--json R.json]

`speed`: one slice, a new prompt or click after the slice was looked at, and a volume of 155 slices with one prompt; the
median of 9. RUNS holds, for each seed N, `unet_sN`, `text_sN`, `evidential_sN`, `both_sN`, `clicks_sN`, trained as
`leanseg/training/recipes/text_bcs_ablation.toml` says. All see the same phantoms and are asked the same: a true
description, that names some of the lesions where there are several. `named` is the Dice of those pictures alone. The
last column is both - unet over the seeds: mean and sample standard deviation.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from leanseg.api import load_engine
from leanseg.inference.hints import Click, Hints
from leanseg.losses.evidential import dirichlet
from leanseg.text_phantom import text_phantom
from leanseg.text_session import TextSession
from leanseg.training.data.text_pairs import TextPairs, load_text_pairs
from leanseg.training.metrics import dice_of_masks
from leanseg.training.objectives import Batch
from leanseg.training.recipe import Recipe
from leanseg.training.simulated_user import next_clicks
from leanseg.training.text_guided import Shown, TextGuided, checked
from leanseg.training.text_reading import Reader, load_reader
from leanseg.training.text_recipe import TextConfig
from leanseg.training.trainer import load_run
from leanseg.volume import Volume, VolumeGeometry

METHODS = ("unet", "text", "evidential", "both", "clicks")
REPEATS, SLICES = 9, 155
BATCH = 20
ABLATION_PART = "text_phantom:test:mri+several"


# ── speed ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def speed(model_id: str) -> dict[str, float]:
    """Seconds."""
    model = load_engine(model_id)
    image = text_phantom("mri", 1, 2).image
    session = TextSession(model, image, "mri")
    prompts = iter(f"one mass, upper left, {n}" for n in range(99))  # each is new to the encoder
    figures = {"first look": _seconds(lambda: TextSession(model, image, "mri").propose([0], "tumor"))}
    figures["new prompt"] = _seconds(lambda: session.propose([0], next(prompts)))
    clicks = iter(Hints((Click((0.0, 40.0 + n, 50.0)),)) for n in range(99))
    figures["new click"] = _seconds(lambda: session.propose([0], "tumor", next(clicks)))
    stack = np.repeat(image.array, SLICES, axis=1)
    volume = Volume(stack, VolumeGeometry((SLICES, *stack.shape[2:]), image.geometry.ijk_to_ras))
    started = time.perf_counter()
    TextSession(model, volume, "mri").propose(range(SLICES), "tumor")
    return figures | {f"volume of {SLICES} slices": time.perf_counter() - started}


def _seconds(ask: Callable[[], object]) -> float:
    """Median, after one that does not count."""
    laps = []
    for _ in range(REPEATS + 1):
        started = time.perf_counter()
        ask()
        laps.append(time.perf_counter() - started)
    return statistics.median(laps[1:])


# ── Dice of runs, asked alike ───────────────────────────────────────────────────────────────────────────────────────


def figures_of(run: Path, data: Path, part: str, reader: Reader | None = None) -> dict[str, float]:
    """Dice in percent of what was meant; after one click too, where the network takes hints."""
    recipe, network = load_run(run)
    assert recipe.text is not None
    text = replace(recipe.text, generic=0.0, wrong=0.0, report=0.0, named=1.0, box=0.0, per_part=10**6)
    pairs = load_text_pairs((part,), data, replace(recipe, text=text))
    lesions = pairs.classes.nonzero().flatten()
    guided = TextGuided(pairs, text, reader or load_reader(text), seed=1)
    results: dict[str, list[float]] = {"dice": [], "named": []}
    with torch.no_grad():
        for indices in lesions.split(BATCH):
            for key, values in _asked(guided, checked(network), _plain_batch(pairs, indices), text).items():
                results.setdefault(key, []).extend(values)
    return {key: 100 * statistics.mean(values) for key, values in results.items() if values}


def _asked(guided: TextGuided, network: Any, batch: Batch, text: TextConfig) -> dict[str, list[float]]:
    said = guided.say(batch)
    targets = guided.targets(batch, said, insists=False)
    heard: Any = (None, None)
    if network.config.text and guided.reader is not None:
        heard = guided.reader([one.text for one in said])
    shown = Shown(len(targets), (targets.shape[2], targets.shape[3]), text.hint_radius_px)
    hints = shown.channels if network.config.hints else None
    mask, vacuity = _mask(network, batch, heard, hints)
    dice = dice_of_masks(mask, targets > 0).tolist()
    results = {"dice": dice, "named": [d for d, one in zip(dice, said, strict=True) if one.kind == "named"]}
    if hints is not None:
        clicks = next_clicks(mask, targets > 0, vacuity)
        for n in clicks.is_made.nonzero().flatten().tolist():
            j, i = clicks.places[n].tolist()
            shown.click(n, (j, i), bool(clicks.is_positive[n]))
            shown.channels[n, 3] = mask[n, 0].float()
        results["dice after a click"] = dice_of_masks(_mask(network, batch, heard, hints)[0], targets > 0).tolist()
    return results


def _mask(network: Any, batch: Batch, heard: Any, hints: Any) -> tuple[torch.Tensor, torch.Tensor]:
    logits = network(batch.images, *heard, hints).logits
    return logits[:, 1:] > logits[:, :1], dirichlet(logits).vacuity


def _plain_batch(pairs: TextPairs, indices: torch.Tensor) -> Batch:
    """Without augmentation."""
    height, width = pairs.images.shape[-2:]
    y, x = ((torch.arange(n) + 0.5) / n * 2 - 1 for n in (height, width))
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).expand(len(indices), -1, -1, -1)
    images, targets = pairs.images[indices].float(), pairs.targets[indices].float()
    return Batch(images, targets, pairs.classes[indices], indices, grid)


def ablation(runs: Path, data: Path, seeds: list[int]) -> dict[str, Any]:
    """By method and figure: mean, sample standard deviation, and values by seed; methods without runs are left out."""
    results: dict[str, Any] = {}
    for method in METHODS:
        folders = [runs / f"{method}_s{seed}" for seed in seeds]
        if all(folder.is_dir() for folder in folders):
            results[method] = _over_seeds([figures_of(folder, data, ABLATION_PART) for folder in folders])
    if {"both", "unet"} <= set(results):
        rows = [
            {name: results["both"][name]["seeds"][n] - results["unet"][name]["seeds"][n] for name in ("dice", "named")}
            for n in range(len(seeds))
        ]
        results["both - unet"] = _over_seeds(rows)
    return results


def _over_seeds(rows: list[dict[str, float]]) -> dict[str, dict[str, Any]]:
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return {
        name: {"mean": statistics.mean(v), "sd": statistics.stdev(v) if len(v) > 1 else 0.0, "seeds": v}
        for name, v in columns.items()
    }


def teacher(run: Path, folder: str, data: Path, part: str) -> dict[str, dict[str, float]]:
    """The same run read to by its own encoder and by another, a folder of `transformers`."""
    recipe: Recipe = load_run(run)[0]
    assert recipe.text is not None
    other = load_reader(replace(recipe.text, encoder=folder, encoder_kind="transformers"))
    small, large = figures_of(run, data, part), figures_of(run, data, part, other)
    return {"small": small, "teacher": large, "small - teacher": {name: small[name] - large[name] for name in small}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("speed", "ablation", "teacher"))
    parser.add_argument("subject", help="model, folder of runs, or run")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--teacher", default="")
    parser.add_argument("--part", default="text_phantom:test")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    results: dict[str, Any]
    if arguments.what == "speed":
        results = {"seconds": speed(arguments.subject)}
    elif arguments.data is None:
        parser.error("--data DIR, the folder of the data sets, is needed")
    elif arguments.what == "ablation":
        results = ablation(Path(arguments.subject), arguments.data, arguments.seeds)
    else:
        results = teacher(Path(arguments.subject), arguments.teacher, arguments.data, arguments.part)
    names = list(dict.fromkeys(name for row in results.values() for name in row))
    table = Table("", *results)
    for name in names:
        table.add_row(name, *(_cell(row.get(name)) for row in results.values()))
    Console(width=120).print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value['mean']:.2f} ± {value['sd']:.2f}" if isinstance(value, dict) else f"{value:.3f}"


if __name__ == "__main__":
    main()
