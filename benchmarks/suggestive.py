"""How many annotations does suggesting save, and what do few bits do to glands? (arXiv 1803.04907)

    python benchmarks/suggestive.py --cells FOLDER [--seeds 0 1 2] [--json R.json] [--print-only]

Learning curves of glas (pool: train, held out: both tests) and busi (pool: 120 lesions of train, held out: the lesions
of val) under the policies of `training/suggestive.py`; and on glas, networks of float and of 5 and 7 bits (INQ), alone
and five together. Every finished cell is a file in FOLDER, so a run that was cut goes on where it was; the tables are
made of the cells that are there.

The networks are small (recipe glas_attention_unet, 64 x 96), gray, and trained for seconds, so compare policies with
each other, not with published figures.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from leanseg.processing.postprocess import PostprocessingConfig, lesion_mask
from leanseg.processing.preprocess import preprocess
from leanseg.training.data import data_root, select_cases
from leanseg.training.data.arrays import TrainingArrays, load_arrays
from leanseg.training.data.case import read_pair
from leanseg.training.gland_metrics import gland_metrics
from leanseg.training.recipe import Recipe, load_recipe
from leanseg.training.suggestive import (
    POLICIES,
    Round,
    SuggestiveConfig,
    annotations_for,
    learning_curve,
    probabilities_and_descriptors,
    round_from_json,
    trained,
    trained_on,
)

CONFIGS = {"busi": SuggestiveConfig(steps=240, final_steps=640), "glas": SuggestiveConfig()}
"""Glands are learned from eight images; lesions need more steps before another image can matter."""
NETWORKS = 5
STEPS, MORE_STEPS = 160, 80
VARIANTS: dict[str, int | None] = {"float": None, "7 bits": 7, "5 bits": 5}
POOL_OF_BUSI = 120
SMALLEST = PostprocessingConfig(min_area_fraction=0.002)
"""A gland covers at least this part of an image."""
PARTS = ("testA", "testB")


def recipe_of(dataset: str) -> Recipe:
    changes = {
        "glas": ["preprocessing.size_ji=[64, 96]"],
        "busi": ["preprocessing.size_ji=[96, 96]", "augment.shadow_probability=0.2", "augment.rotation_degrees=15.0"],
    }
    return load_recipe("glas_attention_unet", changes[dataset])


def arrays_of(dataset: str, root: Path) -> tuple[TrainingArrays, TrainingArrays]:
    """The pool, and what is held out."""
    recipe = recipe_of(dataset)
    pool, held_out = {
        "glas": (["glas:train"], ["glas:testA", "glas:testB"]),
        "busi": (["busi:train"], ["busi:val"]),
    }[dataset]
    both = [select_cases(parts, root, ("benign", "malignant")) for parts in (pool, held_out)]
    if dataset == "busi":
        order = torch.randperm(len(both[0]), generator=torch.Generator().manual_seed(0))
        both[0] = [both[0][int(n)] for n in order[:POOL_OF_BUSI]]
    first, second = (load_arrays(cases, recipe.preprocessing) for cases in both)
    return first, second


class Cells:
    """Results by name, one file each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def read(self, name: str) -> Any:
        """None: not there yet."""
        path = self.folder / f"{name}.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def write(self, name: str, value: Any) -> None:
        partial = self.folder / f"{name}.partial"
        partial.write_text(json.dumps(value), encoding="utf-8")
        partial.replace(self.folder / f"{name}.json")


# ── learning curves ─────────────────────────────────────────────────────────────────────────────────────────────────


def rounds_of(cells: Cells, dataset: str, policy: str, seed: int) -> list[Round]:
    found: list[Round] = []
    while (values := cells.read(f"{dataset}-{policy}-{seed}-{len(found)}")) is not None:
        found.append(round_from_json(values))
    return found


def run_curve(cells: Cells, dataset: str, policy: str, seed: int, root: Path) -> None:
    done = rounds_of(cells, dataset, policy, seed)
    if len(done) > CONFIGS[dataset].rounds:
        return
    pool, held_out = arrays_of(dataset, root)
    started = time.process_time()
    for one in learning_curve(policy, recipe_of(dataset), CONFIGS[dataset], pool, held_out, seed, done):
        seconds = round(time.process_time() - started, 1)
        name = f"{dataset}-{policy}-{seed}-{len(done)}"
        cells.write(name, dataclasses.asdict(one) | {"cpu_seconds": seconds})
        print(f"{name}: {len(one.annotated)} annotated, Dice {one.dice:.4f}, {seconds} s", flush=True)
        done.append(one)
        started = time.process_time()


def curve_rows(cells: Cells, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """For each data set and policy: mean Dice after each round, and annotations for the Dice of random's last round."""
    rows = []
    for dataset in ("glas", "busi"):
        full = {p: [rounds_of(cells, dataset, p, seed) for seed in seeds] for p in POLICIES}
        there = [n for n in range(len(seeds)) if all(len(full[p][n]) > CONFIGS[dataset].rounds for p in POLICIES)]
        if not there:
            continue
        targets = {n: max(one.dice for one in full["random"][n]) for n in there}
        for policy in POLICIES:
            curves = [full[policy][n] for n in there]
            needed = [annotations_for(full[policy][n], targets[n]) for n in there]
            disagreement = [one.disagreement for curve in curves for one in curve if one.disagreement is not None]
            rows.append(
                {
                    "dataset": dataset,
                    "policy": policy,
                    "seeds": len(there),
                    "annotated": [len(one.annotated) for one in curves[0]],
                    "dice": [statistics.mean(d) for d in zip(*([one.dice for one in c] for c in curves), strict=True)],
                    "area": statistics.mean(one.dice for curve in curves for one in curve),
                    "annotations_for_random_best": needed,
                    "disagreement": statistics.mean(disagreement) if disagreement else None,
                }
            )
    return rows


# ── few bits ────────────────────────────────────────────────────────────────────────────────────────────────────────


def run_bits(cells: Cells, seed: int, number: int, root: Path) -> None:
    """One network in every variant: its probabilities on both tests."""
    name = f"bits-{seed}-{number}"
    if cells.read(name) is not None:
        return
    recipe = recipe_of("glas")
    pool, held_out = arrays_of("glas", root)
    everything, started = range(len(pool)), time.process_time()
    maps: dict[str, NDArray[np.uint8]] = {}
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder, "run")
        trained(recipe, pool, everything, STEPS, 1000 * seed + number, run)
        for variant, bits in VARIANTS.items():
            network = trained_on(run, pool, everything, MORE_STEPS, bits)
            p, _ = probabilities_and_descriptors(network, held_out.images)
            maps[variant] = np.round(255 * p[:, 0]).astype(np.uint8)
    np.savez_compressed(cells.folder / f"{name}.npz", **maps)  # type: ignore[arg-type]
    cells.write(name, {"cpu_seconds": round(time.process_time() - started, 1)})
    print(f"{name}: {time.process_time() - started:.0f} s", flush=True)


def bits_rows(cells: Cells, seeds: Sequence[int], root: Path) -> list[dict[str, Any]]:
    """For each variant, 1 or 5 networks, and part of the test: mean and sample deviation (`_sd`) over the seeds."""
    there = [s for s in seeds if all(cells.read(f"bits-{s}-{n}") is not None for n in range(NETWORKS))]
    if not there:
        return []
    config = recipe_of("glas").preprocessing
    cases = select_cases(["glas:testA", "glas:testB"], root, ("benign",))
    pairs = [read_pair(case) for case in cases]
    inputs = [preprocess(image, config) for image, _ in pairs]
    rows = []
    for variant in VARIANTS:
        for many in (1, NETWORKS):
            for part in PARTS:
                measured = []
                for seed in there:
                    maps = [np.load(cells.folder / f"bits-{seed}-{n}.npz")[variant] for n in range(many)]
                    mean = np.mean(np.stack(maps).astype(np.float32) / 255, axis=0)
                    glands = []
                    for n, case in enumerate(cases):
                        if case.split == part:
                            on_grid = inputs[n].volume.with_array(mean[n][np.newaxis, np.newaxis])
                            p = inputs[n].trace.restore(on_grid).array[0]
                            glands.append((lesion_mask(p, SMALLEST)[0], pairs[n][1].array[0, 0]))
                    measured.append(gland_metrics(glands).to_json())
                figures = {key: statistics.mean(one[key] for one in measured) for key in measured[0]}
                if len(there) > 1:
                    figures |= {f"{key}_sd": statistics.stdev(one[key] for one in measured) for key in measured[0]}
                rows.append({"variant": variant, "networks": many, "part": part, "seeds": len(there), **figures})
    return rows


# ── tables ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def print_tables(curves: Sequence[dict[str, Any]], bits: Sequence[dict[str, Any]]) -> None:
    table = Table("data", "policy", "seeds", "annotated: Dice", "mean", "annotations for random's best", "disagreement")
    for row in curves:
        points = "  ".join(f"{n}: {d:.3f}" for n, d in zip(row["annotated"], row["dice"], strict=True))
        needed = "  ".join("not reached" if n is None else f"{n:.1f}" for n in row["annotations_for_random_best"])
        disagreement = "" if row["disagreement"] is None else f"{row['disagreement']:.4f}"
        first = (row["dataset"], row["policy"], str(row["seeds"]), points)
        table.add_row(*first, f"{row['area']:.4f}", needed, disagreement)
    glands = Table("weights", "networks", "part", "seeds", "F1", "object Dice", "object Hausdorff (px)")
    for row in bits:
        figures = [
            f"{row[key]:.3f} ± {row.get(f'{key}_sd', 0):.3f}" for key in ("f1", "object_dice", "object_hausdorff_px")
        ]
        glands.add_row(row["variant"], str(row["networks"]), row["part"], str(row["seeds"]), *figures)
    console = Console(width=170)
    console.print(table)
    console.print(glands)


def of_systems(curves: Sequence[dict[str, Any]], bits: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """What docs/systems.py shows of these."""
    found = []
    for row in curves:
        points = ", ".join(f"{100 * d:.1f}" for d in row["dice"])
        annotated = " / ".join(map(str, row["annotated"]))
        found.append(
            (f"{row['dataset']}, {row['policy']}: Dice at {annotated} annotated, {row['seeds']} seeds", points)
        )
    for row in bits:
        what = f"GlaS {row['part']}, {row['variant']}, {row['networks']} networks: object Dice, {row['seeds']} seeds"
        found.append((what, f"{100 * row['object_dice']:.1f} ± {100 * row.get('object_dice_sd', 0):.1f}"))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Suggestive annotation, and INQ on glands.")
    parser.add_argument("--cells", type=Path, required=True, help="folder of finished cells")
    parser.add_argument("--data", type=Path, help="folder of the data sets; LEANSEG_DATA otherwise")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--print-only", action="store_true", help="run nothing")
    arguments = parser.parse_args()
    cells, root = Cells(arguments.cells), data_root(arguments.data)
    jobs: list[Callable[[], None]] = []
    for seed in arguments.seeds:
        jobs += [partial(run_curve, cells, "busi", policy, seed, root) for policy in POLICIES]
        jobs += [partial(run_bits, cells, seed, number, root) for number in range(NETWORKS)]
    jobs += [partial(run_curve, cells, "glas", policy, seed, root) for seed in arguments.seeds for policy in POLICIES]
    for job in () if arguments.print_only else jobs:
        job()
    curves, bits = curve_rows(cells, arguments.seeds), bits_rows(cells, arguments.seeds, root)
    print_tables(curves, bits)
    if arguments.json:
        settings = {dataset: dataclasses.asdict(config) for dataset, config in CONFIGS.items()}
        command = "python benchmarks/suggestive.py --cells CELLS --data D"
        about = {"command": command, "systems": {"inq": of_systems(curves, bits)}}
        result = {**about, "settings": settings, "torch": torch.__version__, "curves": curves, "bits": bits}
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
