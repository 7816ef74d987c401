"""Do AGLN and the PNE loss help? `python benchmarks/two_d_systems.py RUNS --data DIR [--json R.json]`.

A cell is a set (busi, glas), a way and a seed, and `--only busi:agln:0 ...` trains these alone. Ways: `plain`, an
Attention U-Net; `pne`, the same with the PNE loss; `agln`, a small AGLN. All see the same images for the same number of
steps, with the same loss of logits and the same learning rate. What is finished in RUNS/<set>_<way>_s<seed> is not
trained again, and what was begun is gone on with.

BUSI is measured on its test part, GlaS on testA and testB together; every pixel above 0.5 counts. Differences are
paired over the seeds: mean and sample standard deviation. The networks are small and trained briefly: quote the
differences, not the Dice.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from cells import Cells, Summary, arguments_of, cell, chosen, shown, spread, write
from rich.console import Console
from rich.table import Table

from leanseg.processing.postprocess import PostprocessingConfig
from leanseg.training.calibrate import figures_of, predict_cases, probabilities_of
from leanseg.training.data import select_cases
from leanseg.training.data.case import LESION_CLASSES
from leanseg.training.export import count_gmacs
from leanseg.training.recipe import Recipe, load_recipe
from leanseg.training.trainer import load_run

COMMAND = "python benchmarks/two_d_systems.py RUNS --data DIR"
SEEDS = (0, 1, 2)
PLAIN = "plain"
SETS = {
    "busi": ("t2kd_student_alone", ("preprocessing.size_ji=[96,96]", "optimizer.epochs=8"), ("busi:test",)),
    "glas": (
        "glas_attention_unet",
        ("preprocessing.size_ji=[64,96]", "optimizer.epochs=40"),
        ("glas:testA", "glas:testB"),
    ),
}
"""A recipe that reads the set, what is changed in it, and what is measured."""
RATE = ("optimizer.learning_rate=2e-3", "optimizer.batch_size=8")
UNET = ("config={widths=[8,16,32,64,128]}",)
SMALL_AGLN = (
    "config={in_channels=1,out_channels=1,encoder_widths=[16,32,64,128],width=32,descriptors=32,fused_width=64}"
)
WAYS = {
    PLAIN: (*UNET, 'losses=["dice_bce"]'),
    "pne": (*UNET, 'losses=["dice_bce","pne"]'),
    "agln": ("network=agln", SMALL_AGLN, 'losses=["dice_bce"]'),
}


def recipe_of(dataset: str, way: str, seed: int) -> Recipe:
    base, changes, _ = SETS[dataset]
    return load_recipe(base, (*changes, *RATE, *WAYS[way], f"seed={seed}"))


def measure(run: Path, parts: Iterable[str], data: Path) -> dict[str, float]:
    """Of a run: Dice of images with a lesion or glands and normal images left empty, in percent, and what it costs."""
    recipe, network = load_run(run)
    cases = select_cases(parts, data, LESION_CLASSES)
    predicted = predict_cases(probabilities_of(network, 1.0), cases, recipe.preprocessing)
    figures = {name: 100 * value for name, value in figures_of(predicted, PostprocessingConfig()).items()}
    parameters = sum(p.numel() for p in network.parameters())
    return figures | {"parameters": parameters, "gmacs": count_gmacs(network, 1, recipe.size_ji)}


def summary(cells: Cells) -> Summary:
    """By set and way; `... change` is the paired difference from the plain network, over the seeds that both have."""
    result: Summary = {}
    for dataset in SETS:
        for way in WAYS:
            of_way = {seed: cells[key] for seed in SEEDS if (key := f"{dataset}:{way}:{seed}") in cells}
            if not of_way:
                continue
            pairs = [(of_way[s], cells[k]) for s in of_way if (k := f"{dataset}:{PLAIN}:{s}") in cells]
            figures = {}
            for name in [n for n in ("dice", "normal_empty") if n in next(iter(of_way.values()))]:
                figures[name] = spread([values[name] for values in of_way.values()])
                if way != PLAIN and pairs:
                    figures[f"{name} change"] = spread([a[name] - b[name] for a, b in pairs])
            result[f"{dataset}:{way}"] = figures
    return result


def for_page(result: Summary) -> dict[str, list[list[str]]]:
    """What docs/systems.md says of each."""
    page: dict[str, list[list[str]]] = {way: [] for way in WAYS if way != PLAIN}
    for key, figures in result.items():
        dataset, way = key.split(":")
        if change := figures.get("dice change"):
            value = f"{shown(figures['dice'])} (change {shown(change)}); n = {change['n']} seeds"
            page[way].append([f"{dataset} test, Dice, percent, and change from the plain network", value])
    return page


def one(runs: Path, data: Path, name: str) -> dict[str, float]:
    """The cell of this name."""
    dataset, way, seed = name.split(":")
    folder = runs / f"{dataset}_{way}_s{seed}"
    return cell(folder, recipe_of(dataset, way, int(seed)), data, lambda: measure(folder, SETS[dataset][2], data))


def main() -> None:
    arguments = arguments_of(__doc__, "SET:WAY:SEED")
    cells = chosen(arguments, [f"{dataset}:{way}:{seed}" for seed in SEEDS for dataset in SETS for way in WAYS], one)
    result = summary(cells)
    table = Table("set and way", "Dice", "change", "normal empty")
    for key, figures in result.items():
        table.add_row(key, *(shown(figures.get(name)) for name in ("dice", "dice change", "normal_empty")))
    Console(width=100, file=sys.stdout).print(table)
    if arguments.json:
        write(arguments.json, COMMAND, for_page(result), result, cells)


if __name__ == "__main__":
    main()
