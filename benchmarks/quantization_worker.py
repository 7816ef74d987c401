"""One process of `benchmarks/quantization.py`: builds contenders and times them, as its standard input asks.

A line is JSON: {"build": "student", "size": 128, "bundles": [...]}, {"build": "words"},
{"build": "row", "channels": [16, 32], "size": 128} or {"time": NAME}. The answer is a line: names of what was built and
what is missing, or seconds, the best of three. Instruction sets are limited by the environment before the process
starts.
"""

from __future__ import annotations

import copy
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import quantization_ncnn
import torch
from onnx import TensorProto, helper, numpy_helper
from quantization_int4 import int4_run
from safetensors.torch import load
from torch import nn

from leanseg.errors import MissingDependencyError
from leanseg.networks import build_network
from leanseg.networks.attention_unet import AttentionUNet
from leanseg.phantom import ultrasound_phantom
from leanseg.runtime.openvino_graph import OpenVINOGraph
from leanseg.runtime.packed_graph import complete_graphs
from leanseg.training.graphs import CalibratedNetwork, export_onnx, fold_batch_norm, quantize_int8
from leanseg.weights.store import find_bundle

Run = Callable[[], object]
STUDENT = "t2kd_busi"
PAIRS = 4
"""A row is so many times a convolution to the second number of channels and one back to the first."""
BITS = ((4, 4), (2, 2), (1, 2))
KERNELS_SHOWN = 2
LAPS = 3
"""The best of so many, one after the other, counts."""


def onnxruntime_run(model: onnx.ModelProto, image: Any, threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"image": image})


def openvino_run(model: bytes, image: Any, threads: int) -> Run:
    graph = OpenVINOGraph(model, threads, shape=image.shape)
    return lambda: graph({"image": image})


def seconds(run: Run) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


# ── the whole student ───────────────────────────────────────────────────────────────────────────────────────────────


def student_network() -> tuple[AttentionUNet, float]:
    bundle = find_bundle(STUDENT)
    network = build_network(bundle.card.network, bundle.card.config).eval()
    network.load_state_dict({key: value.float() for key, value in load(bundle.weights()).items()})
    folded = fold_batch_norm(copy.deepcopy(network))
    assert isinstance(folded, AttentionUNet)
    return folded, bundle.card.temperature


def student(size: int, bundles: list[str], threads: int) -> dict[str, Callable[[], Run]]:
    """By name: what makes a contender. `bundles`: folders of packed or other models of the same input."""
    network, temperature = student_network()
    images = np.stack([ultrasound_phantom("benign", seed=n, shape_ji=(size, size)).image.array[:, 0] for n in range(8)])
    images = images.astype(np.float32) / 255
    fp32 = export_onnx(CalibratedNetwork(network, temperature).eval(), 1, (size, size))
    int8 = quantize_int8(fp32, images)

    def ncnn(is_int8: bool) -> Run:
        run = quantization_ncnn.student(network, torch.from_numpy(images), is_int8).run(threads)
        return lambda: run(images[0])

    makers: dict[str, Callable[[], Run]] = {
        "openvino int8": lambda: openvino_run(int8.SerializeToString(), images[:1], threads),
        "openvino fp32": lambda: openvino_run(fp32.SerializeToString(), images[:1], threads),
        "openvino int4 weights": lambda: int4_run(fp32.SerializeToString(), {"image": images[:1]}, threads),
        "onnxruntime int8": lambda: onnxruntime_run(int8, images[:1], threads),
        "ncnn fp32": lambda: ncnn(False),
        "ncnn int8": lambda: ncnn(True),
    }
    for folder in bundles:
        bundle = find_bundle(folder)
        precision = "int8" if "int8" in bundle.card.graphs else "fp32"
        (graph,) = complete_graphs(bundle, precision).values()
        makers[Path(folder).name] = lambda g=graph: openvino_run(g, images[:1], threads)
    return makers


# ── the shipped text encoder ────────────────────────────────────────────────────────────────────────────────────────


def words(threads: int) -> dict[str, Callable[[], Run]]:
    """One prompt of the greatest length; its graph is matrix products, which is what 4-bit weights are made for."""
    bundle = find_bundle("text_bcs")
    graph = bundle.graph("text_fp32")
    ids = np.random.default_rng(0).integers(1, 1000, (1, bundle.card.engine_config["text_length"])).astype(np.float32)
    inputs = {"ids": ids, "padding": np.zeros_like(ids)}

    def openvino() -> Run:
        compiled = OpenVINOGraph(graph, threads)
        return lambda: compiled(inputs)

    return {"openvino fp32": openvino, "openvino int4 weights": lambda: int4_run(graph, inputs, threads)}


# ── rows of convolutions ────────────────────────────────────────────────────────────────────────────────────────────


def row(channels: tuple[int, int], size: int, threads: int) -> dict[str, Callable[[], Run]]:
    """8-bit codes in and out for OpenVINO and ONNX Runtime, packed codes for the kernels, float32 for ncnn."""
    first, second = channels
    steps = [(first, second), (second, first)] * PAIRS
    codes = np.random.default_rng(0).integers(0, 16, (1, first, size, size)).astype(np.uint8)
    graph = _row_graph(steps, size)

    def ncnn() -> Run:
        torch.manual_seed(0)
        convs = [nn.Conv2d(a, b, 3, padding=1) for a, b in steps]
        image = torch.from_numpy(codes.astype(np.float32) / 16)
        run = quantization_ncnn.row(convs, image).run(threads)
        return lambda: run(image[0].numpy())

    makers: dict[str, Callable[[], Run]] = {
        "openvino int8": lambda: openvino_run(graph.SerializeToString(), codes, threads),
        "onnxruntime int8": lambda: onnxruntime_run(graph, codes, threads),
        "ncnn int8": ncnn,
    }
    return makers | _kernels(steps, codes[0], threads)


def _kernels(steps: list[tuple[int, int]], codes: Any, threads: int) -> dict[str, Callable[[], Run]]:
    import numba

    from leanseg.quantization.narrow_kernels import usable_kernels

    numba.set_num_threads(threads)
    makers = {}
    for bits in BITS:
        for kernel in usable_kernels(*bits)[:KERNELS_SHOWN]:
            if kernel != "words" and (bits != (1, 2) or kernel.startswith("bits")):
                name = f"{bits[0]}/{bits[1]} bits, {kernel}"
                makers[name] = lambda k=kernel, b=bits: _kernel_run(steps, codes, k, b)
    return makers


def _kernel_run(steps: list[tuple[int, int]], codes: Any, kernel: str, bits: tuple[int, int]) -> Run:
    from leanseg.quantization.narrow_kernels import NarrowConvolution

    draw, half = np.random.default_rng(0), 2 ** (bits[0] - 1)
    layers = [NarrowConvolution(draw.integers(-half, half, (b, a, 3, 3)), *bits, kernel) for a, b in steps]
    scales = [np.full(b, 0.02, np.float32) for _, b in steps]
    shape = codes.shape[1:]
    packed = layers[0].pack(codes % 2 ** bits[1])

    def run() -> object:
        x = packed
        for layer, scale, following in zip(layers, scales, [*layers[1:], layers[0]], strict=True):
            x = layer.requantized(x, shape, scale, scale, following)
        return x

    return run


def _row_graph(steps: list[tuple[int, int]], size: int) -> onnx.ModelProto:
    """Codes `image` -> convolutions, ReLU, codes -> `codes`, QDQ."""
    draw, made = np.random.default_rng(0), helper.make_node
    values = {"s": np.float32(1 / 16), "z": np.uint8(0)}
    nodes, x = [], "image"
    for n, (a, b) in enumerate(steps):
        last = "codes" if n == len(steps) - 1 else f"q{n}"
        values[f"w{n}"] = draw.integers(-127, 128, (b, a, 3, 3)).astype(np.int8)
        values[f"v{n}"], values[f"y{n}"] = np.full(b, 1e-3, np.float32), np.zeros(b, np.int8)
        values[f"b{n}"] = np.full(b, 0.1, np.float32)
        nodes += [
            made("DequantizeLinear", [x, "s", "z"], [f"x{n}"]),
            made("DequantizeLinear", [f"w{n}", f"v{n}", f"y{n}"], [f"d{n}"], axis=0),
            made("Conv", [f"x{n}", f"d{n}", f"b{n}"], [f"c{n}"], pads=[1] * 4),
            made("Relu", [f"c{n}"], [f"r{n}"]),
            made("QuantizeLinear", [f"r{n}", "s", "z"], [last]),
        ]
        x = last
    shapes = [[1, steps[0][0], size, size], [1, steps[-1][1], size, size]]
    ends = [helper.make_tensor_value_info(n, TensorProto.UINT8, s) for n, s in zip(("image", x), shapes, strict=True)]
    weights = [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()]
    graph = helper.make_graph(nodes, "row", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


# ── asked and answered ──────────────────────────────────────────────────────────────────────────────────────────────


def build(asked: dict[str, Any], threads: int) -> tuple[dict[str, Run], list[str]]:
    """Contenders that ran once, and those whose package is missing; `only` names beginnings of names."""
    if asked["build"] == "student":
        makers = student(asked["size"], asked["bundles"], threads)
    elif asked["build"] == "words":
        makers = words(threads)
    else:
        makers = row((asked["channels"][0], asked["channels"][1]), asked["size"], threads)
    runs, missing = {}, []
    for name, make in makers.items():
        if asked.get("only") and not name.startswith(tuple(asked["only"])):
            continue
        try:
            runs[name] = make()
            runs[name]()
        except (ImportError, MissingDependencyError) as error:
            missing.append(f"{name}: {error}")
    return runs, missing


def main() -> None:
    threads, runs = int(sys.argv[1]), {}
    torch.set_num_threads(threads)
    for line in sys.stdin:
        asked = json.loads(line)
        if "build" in asked:
            runs, missing = build(asked, threads)
            answer: Any = {"names": list(runs), "missing": missing}
        else:
            answer = min(seconds(runs[asked["time"]]) for _ in range(LAPS))
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
