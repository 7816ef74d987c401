"""Quantized networks as packed bundles: weights as codes in one file, and ONNX skeletons that name them.

fp32  what the hardened network computes, in floating point; of networks whose activations keep their bits
int8  convolutions of whole numbers: weights from their codes, activations as `QuantizeLinear` on 2^b levels

Activations that keep their bits in training get 8 in the int8 graph, in ranges read from training images. A layer whose
activations have no level at 0, which convolutions pad with, runs in floating point in both. Batch norms are not folded,
which would change weights; the runtimes do it when they load the graph.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import torch
from numpy.typing import NDArray
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, helper
from torch import Tensor, nn

from leanseg.errors import LeanSegError
from leanseg.quantization.config import QuantizationConfig
from leanseg.quantization.layers import (
    InputQuantizer,
    QuantizedLayer,
    fix_portion_,
    harden_,
    packed_state,
    quantize_,
    quantized_layers,
    quantizer_parameters,
)
from leanseg.quantization.packing import QuantizedTensor, packed_bytes, unpacked
from leanseg.quantization.uniform import UniformInputs
from leanseg.runtime.packed_graph import complete
from leanseg.schema import parse
from leanseg.training.calibrate import calibrate_inputs_
from leanseg.training.graphs import CalibratedNetwork, DescribingNetwork, export_onnx
from leanseg.training.recipe import Recipe
from leanseg.training.settings import assign
from leanseg.training.trainer import load_run

INT8_BITS = 8
SECTION = "quantization"
_PREFIX = "network."
_OPSET = 20


def pack(network: nn.Module, temperature: float, images: Tensor) -> tuple[dict[str, bytes], bytes]:
    """Skeletons by precision, and the packed weights, of a quantized network that is not hardened yet.

    Args:
        images: (case, channel, height, width), from which the int8 graph takes ranges where the network has none.
    """
    tensors = packed_state(network)
    shape = tuple(images.shape[1:])
    graphs = {}
    if any(isinstance(layer.inputs, nn.Identity) for _, layer in quantized_layers(network)):
        graphs["fp32"] = _skeleton(harden_(copy.deepcopy(network)), temperature, shape, tensors, {})
        network = _with_inputs(network, images)
    hard, integers = _with_integers(network, tensors)
    graphs["int8"] = _skeleton(hard, temperature, shape, tensors, integers)
    return {name: graph.SerializeToString() for name, graph in graphs.items()}, packed_bytes(tensors)


def completed(graphs: Mapping[str, bytes], weights: bytes, model: str) -> dict[str, bytes]:
    """Skeletons with their weights, as a user runs them."""
    tensors = unpacked(weights, Path(model))
    return {name: complete(skeleton, tensors, model) for name, skeleton in graphs.items()}


# ── the run ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def quantization_for(recipe: Recipe, settings: Sequence[str]) -> QuantizationConfig | None:
    """How a run is to be quantized: as it was trained, or a float run by `quantization.key=value` settings.

    Raises:
        LeanSegError: settings of anything else, that do not fit, or for a run that was quantized in training.
    """
    if not settings:
        return recipe.quantization
    if recipe.quantization is not None:
        was = recipe.quantization
        raise LeanSegError(f"{recipe.id} learned to be quantized ({was.method}, {was.bits} bits). Leave --set away.")
    values: dict[str, Any] = {}
    assign(values, settings)
    if values.keys() != {SECTION}:
        other = ", ".join(sorted(values.keys() - {SECTION}))
        raise LeanSegError(f"An export sets values of {SECTION} alone; got {other}. Give, say, {SECTION}.bits=4.")
    config: QuantizationConfig = parse(QuantizationConfig, values[SECTION], SECTION)
    return config


def quantized(run: Path, recipe: Recipe, config: QuantizationConfig, images: Tensor) -> tuple[nn.Module, nn.Module]:
    """The network of a run with its quantizers, and as it is deployed; activations of a float run in the ranges of
    images (case, channel, height, width)."""
    _, network = load_run(run, hard=False)
    if recipe.quantization is None:
        quantize_(network, config)
        fix_portion_(network, 1.0)
        calibrate_inputs_(network, images)
    return network, harden_(copy.deepcopy(network)).eval()


def number_of_weights(network: nn.Module) -> int:
    """Parameters of a network without those of its quantizers."""
    learned = sum(parameter.numel() for parameter in quantizer_parameters(network))
    return sum(parameter.numel() for parameter in network.parameters()) - learned


# ── the network ─────────────────────────────────────────────────────────────────────────────────────────────────────


class QuantizeLinear(nn.Module):
    """The same levels as a quantizer of inputs, as the two nodes that runtimes know as whole numbers."""

    scale: Tensor
    zero: Tensor

    def __init__(self, inputs: InputQuantizer) -> None:
        super().__init__()
        lower, step = inputs.grid()
        self.lowest, self.largest = lower, lower + (2**inputs.bits - 1) * step
        self.fills_the_type = inputs.bits == INT8_BITS
        self.register_buffer("scale", torch.tensor(step))
        self.register_buffer("zero", torch.tensor(round(-lower / step), dtype=torch.uint8))

    def forward(self, x: Tensor) -> Tensor:
        if not self.fills_the_type:
            x = x.clamp(self.lowest, self.largest)
        codes = torch.onnx.ops.symbolic(
            "QuantizeLinear", (x, self.scale, self.zero), dtype=torch.uint8, shape=x.shape, version=_OPSET
        )
        result: Tensor = torch.onnx.ops.symbolic(
            "DequantizeLinear", (codes, self.scale, self.zero), dtype=torch.float32, shape=x.shape, version=_OPSET
        )
        return result


def _with_inputs(network: nn.Module, images: Tensor) -> nn.Module:
    """A copy whose activations have 8 bits where they had all."""
    network = copy.deepcopy(network)
    for _, layer in quantized_layers(network):
        if isinstance(layer.inputs, nn.Identity):
            layer.inputs = UniformInputs(INT8_BITS)
    return calibrate_inputs_(network, images)


def _with_integers(network: nn.Module, tensors: Mapping[str, Any]) -> tuple[nn.Module, dict[str, QuantizedTensor]]:
    """A hardened copy with `QuantizeLinear` wherever it is exact, and the weights of those layers by name."""
    hard, integers = harden_(copy.deepcopy(network)), {}
    for name, layer in quantized_layers(hard):
        if _has_zero(layer):
            layer.inputs = QuantizeLinear(layer.inputs)  # type: ignore[arg-type, assignment]
            integers[f"{name}.weight"] = tensors[f"{name}.weight"]
    return hard, integers


def _has_zero(layer: QuantizedLayer) -> bool:
    """Whether 0 is among the levels of the inputs, and padding adds nothing else."""
    assert not isinstance(layer.inputs, nn.Identity)
    lower, step = layer.inputs.grid()
    zero = -lower / step
    return abs(zero - round(zero)) < 1e-4 and 0 <= round(zero) < 2**layer.inputs.bits


# ── the graph ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _skeleton(
    network: nn.Module,
    temperature: float,
    shape: tuple[int, ...],
    tensors: Mapping[str, QuantizedTensor | NDArray[Any]],
    integers: Mapping[str, QuantizedTensor],
) -> onnx.ModelProto:
    """The graph of a hardened network without the weights in `tensors`; those in `integers` are asked for as INT8."""
    describes = hasattr(network, "features")
    kind = DescribingNetwork if describes else CalibratedNetwork
    outputs = ("probabilities", "descriptor") if describes else ("probabilities",)
    model = export_onnx(kind(network, temperature).eval(), shape[0], shape[1:], outputs, optimize=False)
    graph = model.graph
    kept = [
        tensor
        for tensor in graph.initializer
        if tensor.data_type != TensorProto.FLOAT or tensor.name.removeprefix(_PREFIX) not in tensors
    ]
    _replace(graph.initializer, kept)
    nodes: list[NodeProto] = []
    for node in graph.node:
        weight = next((name for name in node.input if name.removeprefix(_PREFIX) in integers), "")
        tensor = integers.get(weight.removeprefix(_PREFIX))
        nodes += [node] if tensor is None else _with_integer_weights(node, weight, tensor)
    _replace(graph.node, nodes)
    _shorten(graph)
    return model


def _shorten(graph: GraphProto) -> None:
    """Weights are named as in the packed file, what is made in the graph as shortly as can be, defaults not at all."""
    made = [tensor.name for tensor in graph.initializer] + [name for node in graph.node for name in node.output]
    ends = {value.name for value in (*graph.input, *graph.output)}
    new = {name: f"v{n}" for n, name in enumerate(made) if name and name not in ends}
    for node in graph.node:
        for names in (node.input, node.output):
            _replace(names, [new.get(name, name.removeprefix(_PREFIX)) for name in names])
        _replace(node.attribute, [attribute for attribute in node.attribute if not _is_default(attribute)])
        node.ClearField("name")
        node.ClearField("doc_string")
    for tensor in graph.initializer:
        tensor.name = new[tensor.name]
    del graph.value_info[:]


def _is_default(attribute: AttributeProto) -> bool:
    """Of convolutions, which the exporter writes with all they have."""
    if attribute.name in ("strides", "dilations"):
        return set(attribute.ints) == {1}
    return (attribute.name, attribute.s) == ("auto_pad", b"NOTSET") or (attribute.name, attribute.i) == ("group", 1)


def _with_integer_weights(node: NodeProto, weight: str, tensor: QuantizedTensor) -> list[NodeProto]:
    """The node with weights from codes. What every weight has in common, the rest, is multiplied with the sum of the
    inputs: a convolution of a single channel of ones, which costs little."""
    is_grouped = any(attribute.name == "group" and attribute.i > 1 for attribute in node.attribute)
    if tensor.needs_rest and (node.op_type != "Conv" or is_grouped):
        return [node]  # in floating point, which is exact as well
    values = helper.make_node("DequantizeLinear", [f"{weight}/codes", f"{weight}/scale"], [weight], axis=0)
    if not tensor.needs_rest:
        return [values, node]
    result, total = node.output[0], NodeProto()
    node.output[0] = f"{weight}/main"
    total.CopyFrom(node)
    _replace(total.input, [node.input[0], f"{weight}/sums"])
    _replace(total.output, [f"{weight}/total"])
    one = f"{weight}/one"
    constant = helper.make_node("Constant", [], [one], value=helper.make_tensor("", TensorProto.FLOAT, [1], [1.0]))
    return [
        values,
        node,
        constant,
        helper.make_node("DequantizeLinear", [f"{weight}/ones", one], [f"{weight}/sums"], axis=0),
        total,
        helper.make_node("Mul", [f"{weight}/total", f"{weight}/rest"], [f"{weight}/scaled"]),
        helper.make_node("Add", [f"{weight}/main", f"{weight}/scaled"], [result]),
    ]


def _replace(repeated: Any, values: list[Any]) -> None:
    """What a repeated field holds."""
    copies = [
        value if isinstance(value, str) else type(value).FromString(value.SerializeToString()) for value in values
    ]
    del repeated[:]
    repeated.extend(copies)
