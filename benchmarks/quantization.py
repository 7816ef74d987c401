"""Few bits in figures: size on disk, speed against INT8 of three runtimes, and Dice of trained runs.

    python benchmarks/quantization.py sizes [--json R.json]
    python benchmarks/quantization.py layers [--rounds 30] [--json R.json]
    python benchmarks/quantization.py student [BUNDLE ...] [--size 128] [--rounds 60] [--json R.json]
    python benchmarks/quantization.py words [--rounds 30] [--json R.json]
    python benchmarks/quantization.py dice RUNS --data DIR [--seeds 0 1 2] [--json R.json]

Times are of long-lived processes, one for each instruction set, whose contenders take turns: a round gives each the
best of three, and a ratio is of one round, so drift of the machine cancels. `vnni` keeps OpenVINO from AMX
(ONEDNN_MAX_CPU_ISA), `avx2` limits it and the kernels (NUMBA_CPU_FEATURES). ONNX Runtime and ncnn have no such limit:
their figures are of the whole CPU, and a ratio of limited against unlimited is a lower bound. A peer that is not
installed is left out, and named.

layers   for each shape of the student at 128 x 128, eight convolutions with ReLU, back and forth between two widths
words    the shipped text encoder, float and with 4-bit weights
dice     RUNS holds `float_sN`, `dsq44_sN`, `ste44_sN`, `dsq22_sN`, `ste22_sN`, `clip22_sN` for each seed N, from
         `leanseg train t2kd_student_low_bits` with the settings that the recipe names; the hardened networks, on the
         test part of BUSI, cut at 0.5
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cpu import instructions
from rich.console import Console
from rich.table import Table

ISA: dict[str, dict[str, str]] = {
    "all": {},
    "vnni": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI"},
    "avx2": {
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": "+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt,+avx,+avx2,+fma,+bmi,+bmi2,+lzcnt,+f16c",
    },
}
LIMITED = ("openvino", "4/4", "2/2", "1/2")
"""Beginnings of the names of what an instruction set can be limited for."""
ROWS = (
    (16, 16, 128), (16, 32, 128), (16, 32, 64), (32, 32, 64), (32, 64, 64), (32, 64, 32), (64, 64, 32), (64, 128, 32),
    (64, 128, 16), (128, 128, 16), (128, 256, 16), (128, 256, 8), (256, 256, 8),
)  # fmt: skip
TITLES = {
    "float": "float",
    "dsq44": "DSQ 4/4 bits",
    "ste44": "rounding 4/4 bits",
    "dsq22": "DSQ 2/2 bits",
    "ste22": "rounding 2/2 bits",
    "clip22": "rounding 2/2 bits, clipped at 2.6 standard deviations",
}
PART = ("busi:test",)
BASE = "ncnn int8"
Figures = dict[str, Any]


class Worker:
    """A process of `quantization_worker.py`."""

    def __init__(self, isa: str, threads: int) -> None:
        self.isa = isa
        script = str(Path(__file__).with_name("quantization_worker.py"))
        environment = os.environ | ISA[isa] | {"OMP_NUM_THREADS": str(threads), "NUMBA_NUM_THREADS": str(threads)}
        self._process = subprocess.Popen(
            [sys.executable, script, str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment,
        )  # fmt: skip

    def ask(self, **asked: Any) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        print(json.dumps(asked), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"The process for {self.isa} ended. Run quantization_worker.py by hand to see why.")
        return json.loads(answer)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def race(workers: Sequence[Worker], rounds: int, base: str = BASE, **asked: Any) -> dict[str, Figures]:
    """Figures by contender, named with its instruction set; every round runs each of them once."""
    places = []
    for worker in workers:
        built = worker.ask(**asked, only=list(LIMITED) + [Path(b).name for b in asked.get("bundles", [])]
                           if worker.isa != "all" else [])  # fmt: skip
        places += [(worker, name) for name in built["names"]]
        for line in built["missing"]:
            print(f"left out: {line}", file=sys.stderr)
    times: dict[str, list[float]] = {f"{worker.isa}: {name}": [] for worker, name in places}
    for _ in range(rounds):
        for worker, name in places:
            times[f"{worker.isa}: {name}"].append(worker.ask(time=name))
    return figures(times, times.get(f"all: {base}"))


def figures(times: dict[str, list[float]], base: list[float] | None) -> dict[str, Figures]:
    """Median milliseconds, and how many times faster than `base` in the same round."""
    results: dict[str, Figures] = {}
    for name, each in times.items():
        results[name] = {"median_ms": round(1000 * statistics.median(each), 3), "min_ms": round(1000 * min(each), 3)}
        if base is not None:
            ratios = [b / t for b, t in zip(base, each, strict=True)]
            spread = statistics.median(ratios), min(ratios), max(ratios)
            results[name] |= dict(zip(("ratio", "ratio_min", "ratio_max"), (round(r, 2) for r in spread), strict=True))
    return results


def sizes() -> dict[str, Figures]:
    """Bytes of the student's weights on disk; what training found changes nothing but the last per mille."""
    import copy

    import numpy as np
    import torch
    from quantization_worker import student_network

    from leanseg.networks import build_network
    from leanseg.networks.attention_unet import AttentionUNetConfig
    from leanseg.quantization.config import QuantizationConfig
    from leanseg.quantization.layers import fix_portion_, packed_state, quantize_
    from leanseg.quantization.packing import write_packed
    from leanseg.training.graphs import CalibratedNetwork, export_onnx, quantize_int8

    folded, temperature = student_network()
    network = build_network("attention_unet", AttentionUNetConfig().to_json()).eval()
    count = sum(p.numel() for p in network.parameters())
    int8 = quantize_int8(
        export_onnx(CalibratedNetwork(folded, temperature).eval(), 1, (128, 128)),
        np.random.default_rng(0).random((2, 1, 128, 128)).astype(np.float32),
    )
    results = {"float32": 4 * count, "INT8 ONNX": len(int8.SerializeToString())}
    for name, method, bits in (("4 bits, DSQ", "dsq", 4), ("2 bits, DSQ", "dsq", 2), ("5 bits, INQ", "inq", 5)):
        quantized = quantize_(copy.deepcopy(network), QuantizationConfig(method=method, bits=bits))
        if method == "inq":
            fix_portion_(quantized, 1.0)
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            write_packed(packed_state(quantized), Path(folder) / "weights.lsq")
            results[name] = (Path(folder) / "weights.lsq").stat().st_size
    return {name: {"bytes": size, "of_float": round(size / (4 * count), 4)} for name, size in results.items()}


def dice(runs: Path, data: Path, seeds: Sequence[int]) -> dict[str, Figures]:
    """Mean and sample standard deviation over the seeds; runs that are not there are left out."""
    from leanseg.processing.postprocess import PostprocessingConfig
    from leanseg.training.calibrate import figures_of, predict_cases, probabilities_of
    from leanseg.training.data import select_cases
    from leanseg.training.trainer import load_run

    results: dict[str, Figures] = {}
    for method in TITLES:
        found: list[float] = []
        empty: list[float] = []
        for run in (runs / f"{method}_s{seed}" for seed in seeds):
            if not run.is_dir():
                print(f"left out: {run.name}, which {runs} does not hold", file=sys.stderr)
                continue
            recipe, network = load_run(run)
            cases = predict_cases(
                probabilities_of(network, 1.0), select_cases(PART, data, recipe.data.classes), recipe.preprocessing
            )
            figures = figures_of(cases, PostprocessingConfig())
            found.append(round(100 * figures["dice"], 2))
            empty.append(round(100 * figures["normal_empty"], 1))
        if found:
            spread = statistics.stdev(found) if len(found) > 1 else 0.0
            mean = {"mean": round(statistics.mean(found), 2), "sd": round(spread, 2), "n": len(found)}
            results[method] = {**mean, "seeds": found, "normal empty": empty}
    return results


def of_dsq(results: dict[str, Figures]) -> list[tuple[str, str]]:
    """What docs/systems.py shows of these."""
    return [
        (f"BUSI test, {TITLES[name]}: Dice, {row['n']} seeds", f"{row['mean']} ± {row['sd']}")
        for name, row in results.items()
    ]


def speed(arguments: argparse.Namespace) -> dict[str, Any]:
    chosen = ["all"] if arguments.what == "words" else arguments.isa
    workers = [Worker(isa, arguments.threads) for isa in chosen]
    try:
        if arguments.what == "student":
            return race(workers, arguments.rounds, build="student", size=arguments.size, bundles=arguments.subjects)
        if arguments.what == "words":
            return race(workers, arguments.rounds, "openvino fp32", build="words")
        rows = {}
        for a, b, size in ROWS[: arguments.first]:
            rows[f"{a} - {b} at {size}"] = race(workers, arguments.rounds, build="row", channels=[a, b], size=size)
            print(f"{a} - {b} at {size}: done", file=sys.stderr)
        return rows
    finally:
        for worker in workers:
            worker.close()


def show(results: dict[str, Any]) -> None:
    nested = all(isinstance(value, dict) for row in results.values() for value in row.values())
    for title, rows in results.items() if nested else [("", results)]:
        columns = list(dict.fromkeys(key for row in rows.values() for key in row))
        table = Table("", *columns, title=title)
        for name, row in rows.items():
            table.add_row(name, *(str(row.get(key, "")) for key in columns))
        Console(width=120).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("sizes", "layers", "student", "words", "dice"))
    parser.add_argument("subjects", nargs="*", help="bundles to time as well, or the folder of runs")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("LEANSEG_DATA", "../shared/data")))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--isa", nargs="+", choices=list(ISA), default=list(ISA))
    parser.add_argument("--first", type=int, default=len(ROWS), help="only so many rows of `layers`")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.what == "dice" and len(arguments.subjects) != 1:
        parser.error("dice needs one folder of runs")
    if arguments.what == "sizes":
        results = sizes()
    elif arguments.what == "dice":
        results = dice(Path(arguments.subjects[0]), arguments.data, arguments.seeds)
    else:
        results = speed(arguments)
    show(results)
    if arguments.json:
        machine = {"machine": platform.machine(), "cores": os.cpu_count(), "threads": arguments.threads}
        machine["instructions"] = instructions()
        about = {"what": arguments.what, "size": arguments.size, "rounds": arguments.rounds}
        if arguments.what == "dice":
            about |= {
                "command": "python benchmarks/quantization.py dice RUNS --data D",
                "systems": {"dsq": of_dsq(results)},
            }
        text = json.dumps({"machine": machine, **about, "results": results}, indent=1)
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
