"""Networks as ONNX graphs.

fp32  batch norm folded, sigmoid(logits / temperature) at the end; weights stored as fp16, computed in fp32
int8  the same graph quantized (QDQ, INT8 weights per channel), calibrated on training images

The graphs of networks that decide for each slice end otherwise: training/dynamic_graphs.py.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from leanseg.networks.blocks.residual_unet import EncoderBlock


class CalibratedNetwork(nn.Module):
    """Network whose output is sigmoid(logits / temperature): what every exported graph computes."""

    def __init__(self, network: nn.Module, temperature: float) -> None:
        super().__init__()
        self.network = network
        self.temperature = temperature

    def forward(self, image: Tensor) -> Tensor:
        return torch.sigmoid(self.network(image) / self.temperature)


class DescribingNetwork(nn.Module):
    """Likewise, and beside it (batch, d): the spatial mean of the deepest features, by which images are compared."""

    def __init__(self, network: nn.Module, temperature: float) -> None:
        super().__init__()
        self.network: Any = network  # one that has `features`
        self.temperature = temperature

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        features = self.network.features(image)
        return torch.sigmoid(features.logits / self.temperature), features.bottleneck.mean(dim=(2, 3))


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """Fold each batch norm that follows a convolution, in an `nn.Sequential` or a pre-activation block, in place."""
    for module in network.modules():
        if isinstance(module, nn.Sequential):
            for n in range(len(module) - 1):
                first, second = module[n], module[n + 1]
                if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                    module[n], module[n + 1] = fuse_conv_bn_eval(first, second), nn.Identity()
        elif isinstance(module, EncoderBlock):  # its first batch norm follows a sum, and stays
            first, second = module.convs[0], module.norms[1]
            assert isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d)
            module.convs[0], module.norms[1] = fuse_conv_bn_eval(first, second), nn.Identity()
    return network


def export_onnx(
    network: nn.Module,
    in_channels: int,
    size_ji: tuple[int, ...],
    outputs: Sequence[str] = ("probabilities",),
    any_shape: bool = False,
    optimize: bool = True,
) -> onnx.ModelProto:
    """A network in eval mode as a graph `image` -> `outputs` of batch 1 and fixed size, (k,) j, i.

    `any_shape`: of any batch, height and width instead (multiples of 8); `size_ji` is an example.
    `optimize`: fold what can be folded; else every weight keeps its name and its values.
    """
    example = torch.zeros(2 if any_shape else 1, in_channels, *size_ji)
    shapes = None
    if any_shape:
        height, width = (8 * torch.export.Dim(name, min=2, max=256) for name in ("height", "width"))
        shapes = ({0: torch.export.Dim("batch"), 2: height, 3: width},)
    return as_onnx(network, (example,), ("image",), outputs, shapes, optimize)


def as_onnx(
    network: nn.Module,
    example: tuple[Tensor, ...],
    inputs: Sequence[str],
    outputs: Sequence[str],
    shapes: tuple[Any, ...] | None = None,
    optimize: bool = True,
) -> onnx.ModelProto:
    """A network in eval mode as a graph `inputs` -> `outputs` of the sizes of `example`, but for `shapes`.

    Every graph of LeanSeg comes from here. `optimize` as of `export_onnx`.
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses torchvision, which is not needed
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore", FutureWarning)  # torch's exporter calls its own deprecated functions
        program = torch.onnx.export(
            network,
            example,
            input_names=list(inputs),
            output_names=list(outputs),
            opset_version=20,
            dynamo=True,
            dynamic_shapes=shapes,
            optimize=optimize,
            verbose=False,
        )
    assert program is not None
    return without_traces(program.model_proto)


def without_traces(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without what tools wrote into it, in place: source lines are large, and they name paths."""
    for part in (model, model.graph, *model.graph.node, *model.graph.initializer, *model.graph.value_info):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return model


def store_weights_as_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose float32 weights are stored as float16 and cast back when the graph is loaded."""
    small = onnx.ModelProto()
    small.CopyFrom(model)
    casts = []
    for tensor in small.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) >= 16:
            name = tensor.name
            values = numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(values, f"{name}.fp16"))
            casts.append(helper.make_node("Cast", [f"{name}.fp16"], [name], to=TensorProto.FLOAT, name=f"{name}.cast"))
    nodes = [*casts, *small.graph.node]
    del small.graph.node[:]
    small.graph.node.extend(nodes)
    onnx.checker.check_model(small)
    return small


class _CalibrationImages:
    """ONNX Runtime's data reader over (channel, height, width) arrays."""

    def __init__(self, images: Iterable[NDArray[np.float32]]) -> None:
        self._batches: Iterator[dict[str, Any]] = iter([{"image": image[np.newaxis]} for image in images])

    def get_next(self) -> dict[str, Any] | None:
        return next(self._batches, None)


def quantize_int8(
    model: onnx.ModelProto, images: Iterable[NDArray[np.float32]], only_convolutions_of: str = ""
) -> onnx.ModelProto:
    """QDQ INT8 graph: weights per channel, activations per tensor from the range seen on `images` (channel, j, i).

    `only_convolutions_of` names an output: then nothing is quantized but the weights and inputs of the convolutions
    on the way to it, for all that read these inputs. What comes after a convolution keeps its precision, at no
    measurable cost.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    options: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        source, prepared, target = (Path(folder) / name for name in ("fp32.onnx", "prepared.onnx", "int8.onnx"))
        onnx.save(model, source)
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        if only_convolutions_of:
            graph = onnx.load(prepared).graph
            needed = ancestors(graph, {only_convolutions_of})
            options["op_types_to_quantize"] = ["Conv"]
            options["nodes_to_exclude"] = [node.name for node in graph.node if node.name not in needed]
            options["extra_options"] = {"OpTypesToExcludeOutputQuantization": ["Conv"]}
        quantize_static(
            prepared,
            target,
            _CalibrationImages(images),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            **options,
        )
        return without_traces(onnx.load(target))


def ancestors(graph: onnx.GraphProto, outputs: Collection[str]) -> set[str]:
    """Names of the nodes that some outputs need."""
    wanted, names = set(outputs), set()
    for node in reversed(graph.node):  # a graph is sorted: what is used was made before
        if wanted.intersection(node.output):
            names.add(node.name)
            wanted.update(node.input)
    return names
