"""Speed of the ultrasound student, side by side in one process: `python benchmarks/ultrasound.py [--json R.json]`.

latency     one slice of 256 x 256, OpenVINO INT8 and fp32 against torch eager (channels_last, fp32), the same network
            and weights (exported anew at this size), two threads, interleaved rounds; ratios are per round, so drift
            of the machine cancels
cold start  a new process from `leanseg segment` to the mask on disk, with torch made unimportable, against a new
            process that imports torch, loads the same weights and predicts the same image

Needs the environment of `make test`. Absolute times depend on the machine; quote the ratios.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from safetensors.torch import load

from leanseg.networks import build_network
from leanseg.phantom import Kind, ultrasound_phantom
from leanseg.pictures import write_png
from leanseg.runtime.openvino_graph import OpenVINOGraph
from leanseg.training.graphs import CalibratedNetwork, export_onnx, fold_batch_norm, quantize_int8
from leanseg.weights.store import find_bundle

THREADS = 2
SIZE_JI = (256, 256)
_BLOCKED = "import sys; sys.modules['torch'] = None; from leanseg.__main__ import main; sys.exit(main(sys.argv[1:]))"
_TORCH = """
import sys
import numpy as np, SimpleITK as sitk, torch
from leanseg.runtime.torch_graph import TorchGraph
from leanseg.weights.store import find_bundle
gray = sitk.GetArrayFromImage(sitk.ReadImage(sys.argv[2]))[..., 0].astype(np.float32) / 255
bundle = find_bundle(sys.argv[1])
image = torch.nn.functional.interpolate(torch.from_numpy(gray)[None, None], bundle.card.preprocessing["size_ji"])
mask = TorchGraph(bundle, "cpu")({"image": image.numpy()})["probabilities"] > 0.5
sitk.WriteImage(sitk.GetImageFromArray(mask[0].astype(np.uint8)), sys.argv[3])
"""


def seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def contenders_of(model: str) -> dict[str, Callable[[], object]]:
    """The same weights in torch and, exported at `SIZE_JI`, in OpenVINO."""
    torch.set_num_threads(THREADS)
    bundle = find_bundle(model)
    network = build_network(bundle.card.network, bundle.card.config).eval()
    network.load_state_dict({key: value.float() for key, value in load(bundle.weights()).items()})
    folded = CalibratedNetwork(fold_batch_norm(copy.deepcopy(network)), bundle.card.temperature).eval()
    fp32 = export_onnx(folded, 1, SIZE_JI)
    kinds: tuple[Kind, ...] = ("benign", "malignant", "normal")
    phantoms = [ultrasound_phantom(kinds[n % 3], seed=n, shape_ji=SIZE_JI).image.array[:, 0] for n in range(12)]
    int8 = quantize_int8(fp32, np.stack(phantoms).astype(np.float32) / 255)
    image = phantoms[0][np.newaxis].astype(np.float32) / 255
    tensor = torch.from_numpy(image).contiguous(memory_format=torch.channels_last)
    eager = network.to(memory_format=torch.channels_last)

    def run_eager() -> torch.Tensor:
        with torch.inference_mode():
            return torch.sigmoid(eager(tensor))

    graphs = [OpenVINOGraph(graph.SerializeToString(), THREADS) for graph in (fp32, int8)]
    return {
        "torch eager": run_eager,
        "openvino fp32": lambda: graphs[0]({"image": image}),
        "openvino int8": lambda: graphs[1]({"image": image}),
    }


def latency(model: str, rounds: int) -> dict[str, list[float]]:
    """Seconds of each contender in each round, each the best of three."""
    contenders = contenders_of(model)
    for run in contenders.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            times[name].append(min(seconds(run) for _ in range(3)))
    return times


def cold_start(model: str, rounds: int) -> dict[str, list[float]]:
    """Seconds of whole processes, interleaved."""
    times: dict[str, list[float]] = {"torch process": [], "leanseg segment": []}
    with tempfile.TemporaryDirectory() as folder:
        png, mask = Path(folder) / "phantom.png", Path(folder) / "out.seg.nrrd"
        gray = ultrasound_phantom("benign").image.array[0, 0]
        write_png(np.repeat(gray[..., np.newaxis], 3, axis=2), png)
        commands = {
            "torch process": [sys.executable, "-c", _TORCH, model, str(png), str(Path(folder) / "mask.nrrd")],
            "leanseg segment": [sys.executable, "-c", _BLOCKED, "segment", model, str(png), "-o", str(mask)],
        }
        for round_number in range(rounds + 1):
            for name, command in commands.items():
                wall = seconds(lambda command=command: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))
                if round_number:  # the first round fills the page cache
                    times[name].append(wall)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="t2kd_busi")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    results = {}
    table = Table("what", "median ms", "against torch: median ratio", "min to max")
    for measured in (latency(arguments.model, arguments.rounds), cold_start(arguments.model, arguments.rounds)):
        base = next(iter(measured))
        for name, times in measured.items():
            ratios = [b / t for b, t in zip(measured[base], times, strict=True)]
            results[name] = {
                "median_ms": round(1000 * statistics.median(times), 2),
                "ratio_median": round(statistics.median(ratios), 2),
                "ratio_min": round(min(ratios), 2),
                "ratio_max": round(max(ratios), 2),
            }
            r = results[name]
            table.add_row(name, str(r["median_ms"]), f"{r['ratio_median']}x", f"{r['ratio_min']} to {r['ratio_max']}")
    Console().print(table)
    if arguments.json:
        machine = {"machine": platform.machine(), "cores": os.cpu_count(), "threads": THREADS}
        text = json.dumps({"machine": machine, "torch": torch.__version__, "results": results}, indent=1)
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
