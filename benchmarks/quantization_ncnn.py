"""The ultrasound student and rows of convolutions as ncnn networks, fp32 and INT8.

The Python wheel of ncnn has no converter and no quantizer, so files are written here after ncnn's public description of
its format: a text of layers, and their weights one after the other. INT8 is what `ncnn2int8` makes: weights symmetric
per output channel, inputs symmetric per layer from the largest value seen, and sums requantized at once where nothing
but the next convolution reads them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from leanseg.networks.attention_unet import AttentionUNet

MAGIC = "7767517"
FLAG_INT8 = 0x000D4B38
RELU = 1
FUSED = 100
"""Added to the INT8 flag of a convolution that gives out INT8."""
Array = NDArray[np.float32]
Largest = dict[nn.Module, float]
"""Of each convolution: the largest absolute value that it reads."""


@dataclass
class Writer:
    """Layers so far."""

    int8: bool
    lines: list[str] = field(default_factory=list)
    blobs: int = 0
    weights: bytes = b""

    def layer(self, kind: str, inputs: Sequence[str], outputs: int = 1, parameters: str = "") -> list[str]:
        names = [f"b{self.blobs + n}" for n in range(outputs)]
        self.blobs += outputs
        head = f"{kind} l{len(self.lines)} {len(inputs)} {outputs}"
        self.lines.append(" ".join([head, *inputs, *names, parameters]).rstrip())
        return names

    def one(self, kind: str, inputs: Sequence[str], parameters: str = "") -> str:
        return self.layer(kind, inputs, 1, parameters)[0]

    def conv(
        self,
        x: str,
        conv: nn.Conv2d,
        largest: dict[nn.Module, float],
        relu: bool = False,
        then: nn.Module | None = None,
    ) -> str:
        """`largest`: absolute value of the inputs of each convolution; `then`: the only reader, a convolution too."""
        w = conv.weight.detach().numpy().astype(np.float32)
        assert conv.bias is not None
        flag = (1 + (FUSED if then is not None else 0)) if self.int8 else 0
        values = {0: w.shape[0], 1: w.shape[2], 4: w.shape[2] // 2, 5: 1, 6: w.size, 8: flag, 9: RELU if relu else 0}
        x = self.one("Convolution", [x], " ".join(f"{n}={value}" for n, value in values.items()))
        bias = conv.bias.detach().numpy().astype("<f4").tobytes()
        if not self.int8:
            self.weights += np.uint32(0).tobytes() + w.astype("<f4").tobytes() + bias
            return x
        scales = 127 / np.maximum(np.abs(w).reshape(len(w), -1).max(axis=1), 1e-12)
        codes = np.rint(w * scales.reshape(-1, 1, 1, 1)).astype(np.int8).tobytes()
        inputs = [127 / largest[one] for one in (conv, then) if one is not None]
        floats = np.concatenate([scales, inputs]).astype("<f4").tobytes()
        self.weights += np.uint32(FLAG_INT8).tobytes() + codes + bytes(-len(codes) % 4) + bias + floats
        return x

    def run(self, threads: int) -> Callable[[Array], Array]:
        """Image (channel, j, i) to the last blob.

        Raises:
            ImportError: ncnn is not installed.
        """
        import ncnn

        net = ncnn.Net()
        net.opt.num_threads = threads
        net.opt.use_vulkan_compute = False
        text = "\n".join([MAGIC, f"{len(self.lines)} {self.blobs}", *self.lines]) + "\n"
        with tempfile.TemporaryDirectory() as folder:
            param, weights = Path(folder) / "net.param", Path(folder) / "net.bin"
            param.write_text(text, encoding="ascii")
            weights.write_bytes(self.weights)
            if net.load_param(str(param)) or net.load_model(str(weights)):
                raise RuntimeError("ncnn cannot read the network that was written for it.")
        first, last = "b0", f"b{self.blobs - 1}"

        def infer(image: Array) -> Array:
            with net.create_extractor() as extractor:
                extractor.input(first, ncnn.Mat(image))
                return np.array(extractor.extract(last)[1])

        return infer


def largest_inputs(network: nn.Module, images: torch.Tensor) -> Largest:
    largest: Largest = {}

    def look(module: nn.Module, inputs: Any) -> None:
        largest[module] = max(largest.get(module, 1e-6), float(inputs[0].abs().max()))

    hooks = [m.register_forward_pre_hook(look) for m in network.modules() if isinstance(m, nn.Conv2d)]
    with torch.no_grad():
        network(images)
    for hook in hooks:
        hook.remove()
    return largest


def student(network: AttentionUNet, images: torch.Tensor, int8: bool) -> Writer:
    """Of a network with folded batch norm; `images` (batch, 1, j, i) give the ranges."""
    largest, w = largest_inputs(network, images), Writer(int8)

    def both(x: str, convs: nn.Module) -> str:
        first, second = (module for module in convs.modules() if isinstance(module, nn.Conv2d))
        return w.conv(w.conv(x, first, largest, True, second), second, largest, True)

    x, skips = w.one("Input", []), []
    for level, stage in enumerate(network.encoder):
        x = both(w.one("Pooling", [x], "0=0 1=2 2=2") if level else x, stage)
        if level < len(network.encoder) - 1:
            skip, x = w.layer("Split", [x], 2)
            skips.append(skip)
    for stage in network.decoder:
        gate = stage.gate
        x = w.conv(w.one("Interp", [x], "0=1 1=2.0 2=2.0"), stage.up[1][0], largest, True)
        (g, x), (s, skip) = w.layer("Split", [x], 2), w.layer("Split", [skips.pop()], 2)
        agreed = w.one("BinaryOp", [w.conv(g, gate.gating[0], largest), w.conv(s, gate.skip[0], largest)], "0=0")
        psi = w.one("Sigmoid", [w.conv(w.one("ReLU", [agreed]), gate.psi[0], largest)])
        x = both(w.one("Concat", [w.one("BinaryOp", [skip, psi], "0=2"), x], "0=0"), stage.convs)
    w.one("Sigmoid", [w.conv(x, network.head, largest)])
    return w


def row(convs: Sequence[nn.Conv2d], image: torch.Tensor) -> Writer:
    """Convolutions with ReLU, one after the other, INT8."""
    largest, w = largest_inputs(nn.Sequential(*[m for conv in convs for m in (conv, nn.ReLU())]), image), Writer(True)
    x = w.one("Input", [])
    for conv, then in zip(convs, [*convs[1:], None], strict=True):
        x = w.conv(x, conv, largest, True, then)
    return w
