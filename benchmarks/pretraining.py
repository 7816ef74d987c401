"""Does FreMAE help? `python benchmarks/pretraining.py RUNS --data DIR [--cell FRACTION SEED] [--json R.json]`.

The student at half its width sees 128 x 128 pixels of busi. Once for each seed its encoder is pre-trained on all images
of the training part, without labels; then it is trained on 10, 25 and 100 % of them with labels, from that encoder and
from scratch: the same images, augmentation, weights of everything else and number of steps. The figure is the Dice of
lesions of busi:test at 0.5, as the network sees them: mean and sample standard deviation over the seeds, and of the
differences of pairs of one seed.

Each cell writes RUNS/<fraction>_<seed>.json and is skipped when it is there, so the benchmark may be stopped at any
time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from leanseg.training.data import select_cases
from leanseg.training.data.arrays import TrainingArrays, load_arrays
from leanseg.training.data.case import LESION_CLASSES
from leanseg.training.fremae import FreMAE, Pretrainer
from leanseg.training.objectives import Supervised, build_loss
from leanseg.training.recipe import Recipe, load_recipe
from leanseg.training.trainer import Trainer

COMMAND = "python benchmarks/pretraining.py RUNS --data DIR"
FRACTIONS, SEEDS = (0.1, 0.25, 1.0), (0, 1, 2)
STEPS, BATCH = 160, 8
SMALL = ("config.widths=[8,16,32,64,128]", "preprocessing.size_ji=[128,128]", "optimizer.bf16=false")


def part(split: str, recipe: Recipe, data: Path) -> TrainingArrays:
    return load_arrays(select_cases([f"busi:{split}"], data, LESION_CLASSES), recipe.preprocessing)


def some(arrays: TrainingArrays, fraction: float, seed: int) -> TrainingArrays:
    """So many images of each class, the same for both starts."""
    generator = torch.Generator().manual_seed(seed)
    chosen = []
    for lesion_class in arrays.classes.unique():
        members = (arrays.classes == lesion_class).nonzero().flatten()
        chosen.append(
            members[torch.randperm(len(members), generator=generator)[: max(round(fraction * len(members)), 1)]]
        )
    keep = torch.cat(chosen)
    ids = tuple(arrays.ids[n] for n in keep.tolist())
    return TrainingArrays(arrays.images[keep], arrays.targets[keep], arrays.classes[keep], torch.arange(len(keep)), ids)


def pretrained(seed: int, train: TrainingArrays, val: TrainingArrays, runs: Path) -> Path:
    folder = runs / f"fremae_{seed}"
    settings = (*SMALL, f"seed={seed}", "optimizer.epochs=10", 'data.train=["busi:train"]')
    recipe = load_recipe("fremae_busi", settings)
    trainer = Pretrainer(recipe, train, val, FreMAE.of(recipe, train), folder)
    if not (folder / "weights.safetensors").is_file():
        trainer.fit()
    elif not finished(folder, recipe.optimizer.epochs):
        trainer.fit(resume=True)
    return folder


def finished(folder: Path, epochs: int) -> bool:
    return len((folder / "log.csv").read_text(encoding="utf-8").splitlines()) == epochs + 1


def test_dice(init: str, seed: int, train: TrainingArrays, test: TrainingArrays, folder: Path) -> float:
    """After a training of so many steps; nothing is chosen on the test part."""
    epochs = max(round(STEPS * BATCH / len(train)), 1)
    settings = (*SMALL, f"seed={seed}", f"init={init}", f"optimizer.epochs={epochs}", f"optimizer.batch_size={BATCH}")
    recipe = load_recipe("t2kd_student_alone", (*settings, "loss.name=dice_bce", "optimizer.ema_decay=0.98"))
    trainer = QuietTrainer(recipe, train, test, Supervised(build_loss(recipe.loss)), folder)
    trainer.fit()
    return Trainer.validate(trainer)["val_dice"]


class QuietTrainer(Trainer):
    """Looks at the test part once, at the end."""

    def validate(self) -> dict[str, float]:
        return {}


def cell(fraction: float, seed: int, data: Path, runs: Path) -> dict[str, Any]:
    """Measured, or read if it was measured before."""
    path = runs / f"{fraction:g}_{seed}.json"
    if path.is_file():
        return dict(json.loads(path.read_text(encoding="utf-8")))
    started = time.process_time()
    recipe = load_recipe("fremae_busi", SMALL)
    train, val, test = (part(split, recipe, data) for split in ("train", "val", "test"))
    labeled = some(train, fraction, seed)
    start = pretrained(seed, train, val, runs)
    folders = {name: runs / f"{name}_{fraction:g}_{seed}" for name in ("scratch", "pretrained")}
    for folder in folders.values():  # what an interrupted run has left
        for file in folder.glob("*"):
            file.unlink()
    result = {
        "fraction": fraction,
        "seed": seed,
        "images": len(labeled),
        "scratch": test_dice("", seed, labeled, test, folders["scratch"]),
        "pretrained": test_dice(str(start), seed, labeled, test, folders["pretrained"]),
        "cpu_seconds": round(time.process_time() - started, 1),
    }
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return result


def summary(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """By fraction, in percent, a figure for each seed; `difference` is pre-trained less scratch of the same seed."""
    rows = []
    for fraction in sorted({one["fraction"] for one in cells}):
        same = [one for one in cells if one["fraction"] == fraction]
        columns = {name: [100 * one[name] for one in same] for name in ("scratch", "pretrained")}
        columns["difference"] = [b - a for a, b in zip(*columns.values(), strict=True)]
        rows.append({"fraction": fraction, "images": same[0]["images"], "n": len(same), **columns})
    return rows


def shown(values: list[float]) -> str:
    """Mean, and of more than one the sample standard deviation."""
    return f"{statistics.mean(values):.2f}" + (f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else "")


def for_page(rows: list[dict[str, Any]]) -> dict[str, list[list[str]]]:
    """What docs/systems.md says of it."""
    what = "busi:test, Dice, percent, pre-trained, and change from scratch"
    return {
        "fremae": [
            [
                f"{what}; {100 * row['fraction']:g} % of the labels",
                f"{shown(row['pretrained'])} (change {shown(row['difference'])}); n = {row['n']} seeds",
            ]
            for row in rows
        ]
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cell", nargs=2, metavar=("FRACTION", "SEED"), help="measure this one alone")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    arguments.runs.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    wanted = [(fraction, seed) for fraction in FRACTIONS for seed in SEEDS]
    if arguments.cell:
        wanted = [(float(arguments.cell[0]), int(arguments.cell[1]))]
    cells = [cell(fraction, seed, arguments.data, arguments.runs) for fraction, seed in wanted]
    table = Table("labels", "images", "scratch", "pretrained", "difference of pairs", "n")
    rows = summary(cells)
    for row in rows:
        figures = [shown(row[name]) for name in ("scratch", "pretrained", "difference")]
        table.add_row(f"{row['fraction']:.0%}", str(row["images"]), *figures, str(row["n"]))
    Console(width=100).print(table)
    print(f"CPU seconds of all cells: {sum(one['cpu_seconds'] for one in cells):.0f}")
    if arguments.json:
        values = {"command": COMMAND, "systems": for_page(rows), "summary": rows, "cells": cells}
        arguments.json.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
