"""Med-DANet V2 against 3-D networks and itself: `python benchmarks/brain.py [--case FOLDER] [--json R.json]`.

arrays        volumes in memory to labelmap, two threads, one process. Every peer is run between two runs of V2, and the
              ratio is that of its time and their mean, so drift of the machine cancels.
processes     `leanseg segment`, files on disk to .seg.nrrd on disk, against a process that does the same with torch
              and SegResNet in one pass; wall clock and peak memory
MACs          everything counted, on this case and on the papers' basis of 128 slices of 128 x 128

The weights of all peers are random: speed does not depend on them. Without --case a phantom of a patient's size is
used, on which V2 decides as it happens to: quote figures of a real case. Absolute times depend on the machine; quote
ratios.
Needs the `train` extra and OpenVINO.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

try:
    import brain_peers as peers
    import torch
    from brain_case import files_of, read_case, write_phantom
    from cpu import instructions
    from rich.console import Console
    from rich.table import Table

    from leanseg.api import Model, load_engine, segment
    from leanseg.inference.decisions import FULL_BITS, SKIP, DynamicConfig
    from leanseg.inference.dynamic_slicewise import DynamicSlicewiseEngine
    from leanseg.networks import build_network
except ImportError as missing:
    raise SystemExit(f"This benchmark needs {missing.name}. Run: pip install -e .[train] openvino.") from missing

THREADS = 2
PAPER_SLICES, PAPER_SIDE = 128, 128
_SEGMENT = "import sys; sys.modules['torch'] = None; from leanseg.__main__ import main; sys.exit(main(sys.argv[1:]))"
_TORCH = """
import sys
import SimpleITK as sitk, torch
sys.path.insert(0, sys.argv[1])
from brain_peers import torch_whole
from leanseg.networks import build_network
torch.set_num_threads(int(sys.argv[2]))
images = [sitk.ReadImage(file) for file in sys.argv[4:]]
arrays = [sitk.GetArrayFromImage(image) for image in images]
labels = sitk.GetImageFromArray(torch_whole(build_network("segresnet", {}))(arrays))
labels.CopyInformation(images[0])
sitk.WriteImage(labels, sys.argv[3], True)
"""
_LAUNCH = """
import os, subprocess, sys, time
started = time.perf_counter()
child = subprocess.Popen(sys.argv[1:], stdout=2)
_, status, usage = os.wait4(child.pid, 0)
print(time.perf_counter() - started, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6)
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""Prints seconds and peak MB. A small process of its own: to Linux, the peak of a child is at least its parent's."""
Figures = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="med_danet_v2")
    parser.add_argument("--case", type=Path, help="folder with flair, t1ce, t1 and t2 of one patient")
    parser.add_argument("--rounds", type=int, default=9, help="of fast peers; slow ones run a third of it")
    parser.add_argument("--only", nargs="+", metavar="ROW", help="names, or beginnings of names, of rows")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    use_cores(THREADS)
    torch.set_num_threads(THREADS)
    with tempfile.TemporaryDirectory() as folder:
        if arguments.case is None:
            write_phantom(Path(folder))
        files = files_of(arguments.case or Path(folder))
        results = run_all(arguments, files, Path(folder))
    show(results)
    if arguments.json:
        machine = {"machine": platform.machine(), "cores": os.cpu_count(), "threads": THREADS}
        machine["instructions"] = instructions()
        case = "phantom" if arguments.case is None else arguments.case.name
        versions = {"torch": torch.__version__, "python": platform.python_version()}
        text = json.dumps({"machine": machine, "versions": versions, "case": case, "results": results}, indent=1)
        arguments.json.write_text(text + "\n", encoding="utf-8")


def use_cores(number: int) -> None:
    """Keep this process and its children, whatever runtime they use, on so many cores."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:number])
    os.environ["OMP_NUM_THREADS"] = str(number)


def run_all(arguments: argparse.Namespace, files: Mapping[str, Path], folder: Path) -> dict[str, Figures]:
    """Figures by row."""
    model = load_engine(arguments.model)
    volumes = read_case(dict(files))
    arrays = [volume.array[0] for volume in volumes.values()]
    segmentation = segment(volumes, model)  # also warms up

    def ours() -> object:
        return segment(volumes, model).labelmap

    results: dict[str, Figures] = {}
    for name, (make, is_slow) in rows(model, volumes, arrays).items():
        if arguments.only and not name.startswith(tuple(arguments.only)):
            continue
        rounds = max(1, arguments.rounds // 3) if is_slow else arguments.rounds
        results[name] = compare(ours, make(), rounds, warm_up=not is_slow)
        print(f"{name}: {results[name]['ratio_median']}x", file=sys.stderr)
    if not arguments.only or "process".startswith(tuple(arguments.only)):
        results["process: SegResNet in one pass, torch fp32"] = processes(arguments, files, folder)
    results["MACs"] = macs(segmentation.notes, model)
    return results


def rows(
    model: Model, volumes: Mapping[str, Any], arrays: peers.Arrays
) -> dict[str, tuple[Callable[[], Callable[[], object]], bool]]:
    """By name: what makes the peer, and whether it is slow."""

    def of(make: Callable[[], peers.Peer]) -> Callable[[], Callable[[], object]]:
        def run() -> Callable[[], object]:
            peer = make()
            return lambda: peer(arrays)

        return run

    window = (128, 128, 128)
    static = static_whole(model)
    return {
        "SegResNet, windows of 128, torch fp32": (
            of(lambda: peers.torch_windows(build_network("segresnet", {}), window, 0.5)),
            True,
        ),
        "TransBTS, its 8 windows of 128, torch fp32": (
            of(lambda: peers.torch_windows(build_network("trans_bts", {}), window, 0.0)),
            True,
        ),
        "SegResNet in one pass, torch fp32": (of(lambda: peers.torch_whole(build_network("segresnet", {}))), True),
        "SegResNet cropped to the brain, OpenVINO INT8": (
            of(lambda: peers.openvino_cropped_int8(build_network("segresnet", {}), arrays, THREADS)),
            False,
        ),
        "V2 static: every slice whole, same precision": (lambda: lambda: segment(volumes, static).labelmap, False),
    }


def static_whole(model: Model) -> Model:
    """The same model without decision: every slice through the branch that sees all of it."""
    engine = model.engine
    assert isinstance(engine, DynamicSlicewiseEngine)
    whole = engine.config.branches[-1]
    config = dataclasses.replace(engine.config, branches=(whole,), decision_macs=0, position_macs=0)
    return dataclasses.replace(model, engine=DynamicSlicewiseEngine({whole.name: engine.graphs[whole.name]}, config))


def compare(ours: Callable[[], object], peer: Callable[[], object], rounds: int, warm_up: bool = True) -> Figures:
    """Every round: ours, the peer, ours."""
    if warm_up:
        peer()
    times = [[seconds(run) for run in (ours, peer, ours)] for _ in range(rounds)]
    return ratios([(before + after) / 2 for before, _, after in times], [of_peer for _, of_peer, _ in times])


def seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def ratios(ours: Sequence[float], peer: Sequence[float]) -> Figures:
    """How many times faster we are, round by round; seconds of both."""
    each = [p / o for o, p in zip(ours, peer, strict=True)]
    return {
        "seconds": round(statistics.median(ours), 4),
        "peer_seconds": round(statistics.median(peer), 4),
        "ratio_median": round(statistics.median(each), 2),
        "ratio_min": round(min(each), 2),
        "ratio_max": round(max(each), 2),
        "rounds": len(each),
    }


def processes(arguments: argparse.Namespace, files: Mapping[str, Path], folder: Path) -> Figures:
    """Whole processes in turn: ratios, and peak memory of each."""
    inputs = [f"{name}={path}" for name, path in files.items()]
    here, out = str(Path(__file__).parent), str(folder / "ours.seg.nrrd")
    ours = [sys.executable, "-c", _SEGMENT, "segment", arguments.model, *inputs, "-o", out]
    paths = [str(path) for path in files.values()]
    peer = [sys.executable, "-c", _TORCH, here, str(THREADS), str(folder / "peer.seg.nrrd"), *paths]
    measured = []
    for number in range(1 + max(1, arguments.rounds // 3)):
        both = [process(command) for command in (ours, peer)]
        if number:  # the first fills the page cache
            measured.append(both)
    (times, memory), (peer_times, peer_memory) = (
        tuple(zip(*side, strict=True)) for side in zip(*measured, strict=True)
    )
    return ratios(times, peer_times) | {"peak_mb": max(memory), "peer_peak_mb": max(peer_memory)}


def process(command: Sequence[str]) -> tuple[float, float]:
    """Wall-clock seconds and peak resident memory, 10^6 bytes.

    Raises:
        SystemExit: the process failed, or the system does not tell the memory (Windows).
    """
    run = subprocess.run([sys.executable, "-c", _LAUNCH, *command], capture_output=True, text=True, check=False)
    if run.returncode:
        raise SystemExit(f"A process failed: {(run.stderr.strip().splitlines() or ['without a word'])[-1]}")
    wall, peak = map(float, run.stdout.split()[-2:])
    return wall, round(peak, 1)


def macs(notes: Mapping[str, Any], model: Model) -> Figures:
    """GMACs of the case as it ran, and on the papers' basis, there also weighted by bits / 32 as Med-DANet V2 counts.

    What positions and what is computed twice cost is taken over as it is.
    """
    engine = model.engine
    assert isinstance(engine, DynamicSlicewiseEngine)
    size, slices = model.preprocessing.size_ji, notes["slice_decisions"]
    chosen = [one["decision"] for one in slices]
    share = PAPER_SIDE**2 / (size[0] * size[1])
    besides = float(notes["gmacs"]) - gmacs_of(chosen, engine.config, size, 1.0)
    paper = gmacs_of(chosen, engine.config, size, share) + besides
    saved = gmacs_saved([one["bits"] for one in slices], chosen, engine.config, size, share)
    return {
        "gmacs": round(float(notes["gmacs"]), 2),
        "paper_basis_gmacs": round(paper * PAPER_SLICES / len(chosen), 2),
        "paper_basis_bit_weighted_gmacs": round((paper - saved) * PAPER_SLICES / len(chosen), 2),
        "slices": len(chosen),
        "decisions": {name: chosen.count(name) for name in engine.config.names},
    }


def gmacs_of(decisions: Sequence[str], config: DynamicConfig, size_ji: tuple[int, int], share: float) -> float:
    """Of deciding and segmenting; what sees a whole slice costs `share` of what it costs at `size_ji`."""
    total = 0.0
    for decision in map(config.names.index, decisions):
        total += share * config.decision_macs
        if decision != SKIP:
            total += (1.0 if config.is_crop(decision, size_ji) else share) * config.branches[decision - 1].macs
    return total / 1e9


def gmacs_saved(
    bits: Sequence[Sequence[int]],
    decisions: Sequence[str],
    config: DynamicConfig,
    size_ji: tuple[int, int],
    share: float,
) -> float:
    """What the weights of bits / 32 take off, in the same way."""
    total = 0.0
    for of_stages, decision in zip(bits, map(config.names.index, decisions), strict=True):
        if of_stages:
            weight = 1.0 if config.is_crop(decision, size_ji) else share
            stages = zip(config.branches[decision - 1].stage_macs, of_stages, strict=True)
            total += weight * sum(macs * (1 - bit / FULL_BITS) for macs, bit in stages)
    return total / 1e9


def show(results: Mapping[str, Figures]) -> None:
    table = Table("V2 INT8 against", "V2, s", "peer, s", "median ratio", "min to max", "rounds")
    for name, f in results.items():
        if "ratio_median" in f:
            spread = f"{f['ratio_min']} to {f['ratio_max']}"
            table.add_row(
                name,
                *(str(f[key]) for key in ("seconds", "peer_seconds")),
                f"{f['ratio_median']}x",
                spread,
                str(f["rounds"]),
            )
    console = Console(width=120)
    console.print(table)
    for f in results.values():
        if "peak_mb" in f:
            console.print(f"Peak memory of the process: {f['peak_mb']} MB against {f['peer_peak_mb']} MB")
        if "gmacs" in f:
            console.print(
                f"{f['gmacs']} GMAC in {f['slices']} slices, everything counted ({f['decisions']}); "
                f"{f['paper_basis_gmacs']} on the papers' basis of {PAPER_SLICES} slices of {PAPER_SIDE} squared; "
                f"weighted by bits {f['paper_basis_bit_weighted_gmacs']}"
            )


if __name__ == "__main__":
    main()
