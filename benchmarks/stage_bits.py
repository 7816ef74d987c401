"""Does choosing the bits of each stage save time? `python benchmarks/stage_bits.py [--json R.json]`

One slice through Med-DANet V2's U-Net (width 16, random weights) at its true sizes, in OpenVINO with two threads: as
one INT8 or fp32 graph, and as a chain of graphs cut at the borders of the encoder stages, each stage in the precision
that stands for its bits: INT8 for 8, fp32 for 16 (no CPU multiplies 16-bit integers faster). The decoder is INT8.
Then the same network with the paper's transposed convolutions in its decoder, in the place of nearest neighbors and
1 x 1 convolutions, as one graph of each precision; and how far INT8 is from fp32 with either decoder.
Rounds are interleaved; ratios are per round, so drift of the machine cancels. Quote the ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx.utils import Extractor
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from leanseg.networks.med_danet_v2 import MedDANetV2, MedDANetV2Config
from leanseg.runtime.openvino_graph import OpenVINOGraph
from leanseg.training.graphs import export_onnx, fold_batch_norm, quantize_int8

THREADS = 2
SIZES = {"whole": (192, 160), "crop_96": (96, 96)}
CHAINS = {"8 8 8 8": "iiii", "8 8 16 16": "iiff", "16 16 8 8": "ffii", "16 16 16 16": "ffff"}
BASE, FP32 = "one int8 graph", "one fp32 graph"
TRANSPOSED = ", transposed"
STAGES = range(4)
Arrays = dict[str, NDArray[np.float32]]


class WithBorders(nn.Module):
    """The U-Net with what passes between its stages: probabilities, then skip and deeper input of each stage."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        borders: list[Tensor] = []
        body = self.network.body
        hooks = [s.register_forward_hook(lambda module, inputs, both: borders.extend(both)) for s in body.stages]
        logits = self.network(image)
        for hook in hooks:
            hook.remove()
        return (torch.softmax(logits, dim=1), *borders[:-1])  # the last stage gives one tensor twice


BORDERS = [name for n in STAGES for name in (f"skip{n}", f"deep{n}")][:-1]


def pieces_of(model: onnx.ModelProto) -> dict[str, bytes]:
    """The whole graph, and cut: stage0 ... stage3, decoder."""
    extractor = Extractor(onnx.shape_inference.infer_shapes(model))
    cuts = {"whole": (["image"], ["probabilities"])}
    for n in STAGES:
        outputs = [f"skip{n}"] if n == STAGES[-1] else [f"skip{n}", f"deep{n}"]
        cuts[f"stage{n}"] = (["image"] if n == 0 else [f"deep{n - 1}"], outputs)
    cuts["decoder"] = ([f"skip{n}" for n in STAGES], ["probabilities"])
    return {name: extractor.extract_model(*cut).SerializeToString() for name, cut in cuts.items()}


def exported(size_ji: tuple[int, int], up_sampling: str) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """The network with random weights, in fp32 and INT8."""
    torch.manual_seed(0)
    config = MedDANetV2Config(crop_sizes=(96,), paste="logits", up_sampling=up_sampling)
    network = fold_batch_norm(MedDANetV2(config).eval().static())
    fp32 = export_onnx(WithBorders(network).eval(), 4, size_ji, ("probabilities", *BORDERS))
    images = np.random.default_rng(0).standard_normal((8, 4, *size_ji)).astype(np.float32)
    return fp32, quantize_int8(fp32, images, only_convolutions_of="probabilities")


def contenders(size_ji: tuple[int, int]) -> dict[str, Callable[[Arrays], Arrays]]:
    """By name: image -> something with `probabilities`."""
    fp32, int8 = exported(size_ji, "nearest")
    graphs = {
        kind: {name: OpenVINOGraph(piece, threads=THREADS) for name, piece in pieces_of(model).items()}
        for kind, model in (("i", int8), ("f", fp32))
    }

    def chain(kinds: str) -> Callable[[Arrays], Arrays]:
        def run(inputs: Arrays) -> Arrays:
            skips: Arrays = {}
            for n, kind in enumerate(kinds):
                outputs = graphs[kind][f"stage{n}"](inputs)
                skips[f"skip{n}"] = outputs[f"skip{n}"]
                inputs = {f"deep{n}": outputs.get(f"deep{n}", outputs[f"skip{n}"])}
            return graphs["i"]["decoder"](skips)

        return run

    return {
        BASE: graphs["i"]["whole"],
        FP32: graphs["f"]["whole"],
        **{
            name + TRANSPOSED: OpenVINOGraph(pieces_of(model)["whole"], threads=THREADS)
            for name, model in zip((FP32, BASE), exported(size_ji, "transposed"), strict=True)
        },
        **{f"stages of {bits} bits": chain(kinds) for bits, kinds in CHAINS.items()},
    }


def measure(size_ji: tuple[int, int], rounds: int) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Seconds of each round, and the mean difference of the probabilities from those in fp32."""
    runs = contenders(size_ji)
    image = {"image": np.random.default_rng(1).standard_normal((1, 4, *size_ji)).astype(np.float32)}
    errors = {}
    for name, run in runs.items():
        expected = runs[FP32 + (TRANSPOSED if name.endswith(TRANSPOSED) else "")](image)["probabilities"]
        errors[name] = float(np.abs(run(image)["probabilities"] - expected).mean())
        assert errors[name] < 0.05, f"{name} is another network"
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            started = time.perf_counter()
            run(image)
            times[name].append(time.perf_counter() - started)
    return times, errors


def main() -> None:
    parser = argparse.ArgumentParser(description="One graph against a graph for each stage.")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    table = Table("slice", "how", "median ms", "time against one int8 graph", "10 % to 90 %", "mean error")
    results: dict[str, dict[str, dict[str, float]]] = {}
    for size, size_ji in SIZES.items():
        times, errors = measure(size_ji, arguments.rounds)
        for name, seconds in times.items():
            ratios = sorted(t / base for t, base in zip(seconds, times[BASE], strict=True))
            low, high = (ratios[round(q * (len(ratios) - 1))] for q in (0.1, 0.9))
            figures = {
                "median_ms": round(1000 * statistics.median(seconds), 2),
                "ratio_median": round(statistics.median(ratios), 2),
                "ratio_10": round(low, 2),
                "ratio_90": round(high, 2),
                "mean_error": round(errors[name], 5),
            }
            results.setdefault(size, {})[name] = figures
            shown = [str(figures[key]) for key in ("median_ms", "ratio_median")]
            table.add_row(size, name, *shown, f"{low:.2f} to {high:.2f}", f"{errors[name]:.4f}")
    Console(width=120).print(table)
    if arguments.json:
        machine = {"machine": platform.machine(), "cores": os.cpu_count(), "threads": THREADS}
        arguments.json.write_text(
            json.dumps({"machine": machine, "results": results}, indent=1) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
