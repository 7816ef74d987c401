"""A whole brain through TransBTSV2, exported against torch: `python benchmarks/brain_volumes.py [--case FOLDER]`.

The same network, the same windows of the same engine, on the same cores: as graphs without torch in the process, fp32
and INT8 (what a bundle runs by default), and in torch eager, fp32. Each has a process of its own; they take turns, and
a ratio is of two runs next to each other, so drift of the machine cancels. Time begins with the sequences in memory and
ends with probabilities on the model grid. Peak memory is that of the whole process, Python and images included.

Weights are random, offsets of the deformable convolutions too, by a voxel or so: speed does not depend on what was
learned. Without --case a phantom of a patient's size is used. `--size half` has half of the paper's channels and the
windows of the recipe; `--windows N` times the first N windows of the case. Absolute times depend on the machine; quote
ratios. Needs the `train` extra and OpenVINO.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from brain_case import files_of, phantom_arrays, read_case
from rich.console import Console
from rich.table import Table
from safetensors.torch import save_file
from torch import nn

from leanseg.inference.sliding_window import SlidingWindowConfig, window_boxes
from leanseg.networks import build_network
from leanseg.processing.brain import BrainPreprocessingConfig, preprocess_brain
from leanseg.training.export_volumes import window_graphs
from leanseg.training.volumes import count_volume_gmacs
from leanseg.volume import Volume, VolumeGeometry

COMMAND = "python benchmarks/brain_volumes.py --case FOLDER"
WORKER = Path(__file__).with_name("brain_volumes_worker.py")
SIZES: dict[str, tuple[dict[str, Any], SlidingWindowConfig]] = {
    "paper": ({}, SlidingWindowConfig((128, 128, 128), 0.5)),
    "half": (
        {"width": 8, "dim": 256, "mlp_dim": 2048, "grid_kji": [80, 96, 80]},
        SlidingWindowConfig((80, 96, 80), 0.25),
    ),
}
EAGER = "torch eager fp32"
GRAPHS = {"fp32": "graph fp32", "int8": "graph INT8"}
CALIBRATION_WINDOWS = 2


def network_of(config: dict[str, Any]) -> nn.Module:
    """Random weights; offsets that point somewhere."""
    torch.manual_seed(0)
    network = build_network("trans_bts_v2", config).eval()
    generator = torch.Generator().manual_seed(1)
    for name, parameter in network.named_parameters():
        if ".offset." in name:
            nn.init.normal_(parameter, std=0.7 if parameter.dim() == 1 else 0.1, generator=generator)
    return network


def volumes_of(case: Path | None) -> dict[str, Volume]:
    if case is not None:
        return read_case(files_of(case))
    return {name: Volume(array[None], VolumeGeometry(array.shape)) for name, array in phantom_arrays().items()}


def write_files(size: str, case: Path | None, folder: Path) -> dict[str, tuple[str, Path]]:
    """By row: kind of worker and its file."""
    config, engine = SIZES[size]
    network = network_of(config)
    image = preprocess_brain(volumes_of(case), BrainPreprocessingConfig(spacing_k_mm=1.0)).volume.array
    boxes = window_boxes(image.shape[1:], engine)[:: max(1, 8 // CALIBRATION_WINDOWS)][:CALIBRATION_WINDOWS]
    windows = torch.stack([torch.from_numpy(image[:, k, j, i]) for k, j, i in boxes]).numpy()
    files = {EAGER: ("torch", folder / "network.safetensors")}
    save_file(network.state_dict(), folder / "network.safetensors")
    for precision, graph in window_graphs(network, engine.window_kji, windows).items():
        path = folder / f"{precision}.onnx"
        path.write_bytes(graph)
        files[GRAPHS[precision]] = ("graph", path)
    return files


class Worker:
    """A process that waits for its turn."""

    def __init__(self, kind: str, file: Path, options: dict[str, Any]) -> None:
        command = [sys.executable, str(WORKER), kind, str(file), json.dumps(options)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self) -> dict[str, float]:
        assert self.process.stdin is not None
        self.process.stdin.write("run\n")
        self.process.stdin.flush()
        return self._answer()

    def peak_mb(self) -> float:
        """Ends it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        peak = self._answer()["peak_mb"]
        self.process.wait()
        return peak

    def _answer(self) -> dict[str, float]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("A process ended early; what it said is above.")
        answer: dict[str, float] = json.loads(line)
        return answer


def measure(files: dict[str, tuple[str, Path]], options: dict[str, Any], rounds: int) -> dict[str, Any]:
    """One run of each to warm up, then `rounds` rounds in turn."""
    workers = {row: Worker(kind, file, options) for row, (kind, file) in files.items()}
    first = {row: worker.run() for row, worker in workers.items()}
    seconds: dict[str, list[float]] = {row: [] for row in workers}
    for n in range(rounds):
        for row, worker in workers.items():
            seconds[row].append(worker.run()["seconds"])
            print(f"round {n + 1}, {row}: {seconds[row][-1]:.1f} s", file=sys.stderr)
    return {
        row: {
            "windows": first[row]["windows"],
            "seconds": [round(one, 2) for one in seconds[row]],
            "peak_mb": round(worker.peak_mb()),
            **faster(seconds[EAGER], seconds[row]),
        }
        for row, worker in workers.items()
    }


def faster(eager: list[float], ours: list[float]) -> dict[str, Any]:
    """How many times less time, by round."""
    ratios = [a / b for a, b in zip(eager, ours, strict=True)]
    return {"ratio_median": round(statistics.median(ratios), 2), "ratios": [round(one, 2) for one in ratios]}


def for_page(results: dict[str, Any], size: str, what: str) -> dict[str, list[list[str]]]:
    """What docs/systems.md says."""
    rows = [
        [
            f"{what}, {row}, {size} size: times faster than torch eager / peak memory, GB",
            f"{results[row]['ratio_median']:.2f} / {results[row]['peak_mb'] / 1000:.2f}; "
            f"n = {len(results[row]['ratios'])} rounds",
        ]
        for row in GRAPHS.values()
    ]
    return {"trans_bts_v2": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--case", type=Path, help="folder with flair, t1ce, t1 and t2 of one patient")
    parser.add_argument("--size", choices=SIZES, default="paper")
    parser.add_argument("--windows", type=int, default=0, help="time only the first so many; 0: the whole case")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.threads])
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    config, engine = SIZES[arguments.size]
    with tempfile.TemporaryDirectory() as folder:
        files = write_files(arguments.size, arguments.case, Path(folder))
        options = {
            "case": str(arguments.case or ""),
            "config": config,
            "window_kji": engine.window_kji,
            "overlap": engine.overlap,
            "windows": arguments.windows,
            "threads": arguments.threads,
        }
        results = measure(files, options, arguments.rounds)
    what = f"first {arguments.windows} windows of a case" if arguments.windows else "a whole case"
    table = Table(f"{what}, {arguments.size} size", "windows", "seconds", "times faster", "peak MB")
    for row, one in results.items():
        seconds = f"{statistics.median(one['seconds']):.1f}"
        table.add_row(row, str(one["windows"]), seconds, f"{one['ratio_median']:.2f}", str(one["peak_mb"]))
    Console(width=110, file=sys.stdout).print(table)
    if arguments.json:
        values = {
            "command": COMMAND,
            "case": "phantom" if arguments.case is None else arguments.case.name,
            "weights": "random",
            "threads": arguments.threads,
            "gmacs_per_window": round(count_volume_gmacs(network_of(config), 4, engine.window_kji), 1),
            "systems": for_page(results, arguments.size, what),
            "results": results,
        }
        arguments.json.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
