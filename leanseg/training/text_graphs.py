"""TextBCS as graphs that take turns, so that a new prompt or click does not look at the image again.

    image   image (1, 1, j, i)                                      -> f0, f1, ..., finest first
    prompt  f0, f1, ..., tokens, padding (1 = none), hints          -> probabilities, uncertainty, existence

`probabilities` (1, 1, j, i) is the expected probability of tumor of the Dirichlet distribution whose evidence comes of
logits / temperature, `uncertainty` (1, 1, j, i) its vacuity, `existence` (1, 1) a probability. The third graph, `text`,
is made in `training/text_encoder.py`.

INT8 is weights and inputs of the convolutions. Attention, the sums that it joins, and the last convolution, whose
logits become evidence, stay in float32: they are small. What is not INT8 is stored as float16.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from leanseg.errors import LeanSegError
from leanseg.inference.text_prompted import IMAGE, PROMPT
from leanseg.losses.evidential import dirichlet
from leanseg.networks.text_bcs import TextBCS
from leanseg.runtime.graph import Graph
from leanseg.training.graphs import as_onnx, fold_batch_norm, store_weights_as_fp16, without_traces

OUTPUTS = ("probabilities", "uncertainty", "existence")
_IN_FLOAT = ("head.weight",)
_SMALL = 16  # numbers in a tensor that is not worth storing otherwise
Arrays = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class TextSamples:
    """Images with what is said and shown about each, on the model grid."""

    images: Tensor
    """(sample, channel, j, i), float32"""
    tokens: Tensor
    """(sample, token, width), float32"""
    padding: Tensor
    """(sample, token), True where there is none"""
    hints: Tensor
    """(sample, hint, j, i), float32"""
    targets: Tensor
    """(sample, 1, j, i), True where there is what was asked for"""

    def __len__(self) -> int:
        return len(self.images)

    def inputs(self) -> Iterator[Arrays]:
        """Of each sample what the graphs take but for the features, as batches of one."""
        for n in range(len(self)):
            parts = {"image": self.images, "tokens": self.tokens, "padding": self.padding, "hints": self.hints}
            yield {name: np.asarray(part[n : n + 1].float().numpy()) for name, part in parts.items()}


class ImagePart(nn.Module):
    """What does not depend on the prompt."""

    def __init__(self, network: TextBCS) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.network.encode(image))


class PromptPart(nn.Module):
    """What depends on it: f0, f1, ..., tokens, padding, hints -> the three outputs."""

    def __init__(self, network: TextBCS, temperature: float) -> None:
        super().__init__()
        self.network = network
        self.temperature = temperature

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        *features, tokens, padding, hints = inputs
        output = self.network.decode(features, tokens, padding > 0.5, hints)
        assert output.existence is not None
        result = dirichlet(output.logits / self.temperature)
        return result.probability[:, 1:], result.vacuity, torch.sigmoid(output.existence)[:, None]


def check_exportable(network: nn.Module) -> TextBCS:
    """The network, if these graphs can be made of it.

    Raises:
        LeanSegError: its features depend on the prompt, or it lacks text, hints, evidence or existence.
    """
    if not isinstance(network, TextBCS):
        raise LeanSegError(f"These graphs are of a text_bcs; got a {type(network).__name__}. Give a run of one.")
    config = network.config
    wanted = {
        'feeds="skips"': config.feeds == "skips",
        "text": config.text,
        "hints": config.hints > 0,
        "evidential": config.evidential,
        "existence": config.existence,
    }
    missing = [name for name, has in wanted.items() if not has]
    if missing:
        raise LeanSegError(f"A bundle needs a text_bcs with {', '.join(missing)}; this run has none. Train another.")
    return network


def prompted_graphs(network: TextBCS, temperature: float, samples: TextSamples) -> dict[str, bytes]:
    """`image` and `prompt` by `<part>_<precision>`; INT8 ranges are read from the samples. The network is not changed.

    Raises:
        LeanSegError: as `check_exportable`.
    """
    folded = check_exportable(copy.deepcopy(network)).eval()
    fold_batch_norm(folded)
    seen = list(samples.inputs())
    with torch.no_grad():
        looked = [_named(folded.encode(torch.from_numpy(inputs["image"]))) for inputs in seen]
    said = [{**f, **{k: v for k, v in inputs.items() if k != "image"}} for f, inputs in zip(looked, seen, strict=True)]
    parts: dict[str, tuple[nn.Module, Sequence[str], list[Arrays]]] = {
        IMAGE: (ImagePart(folded), tuple(looked[0]), [{"image": inputs["image"]} for inputs in seen]),
        PROMPT: (PromptPart(folded, temperature), OUTPUTS, said),
    }
    graphs = {}
    for name, (part, outputs, calibration) in parts.items():
        example = tuple(torch.from_numpy(array) for array in calibration[0].values())
        fp32 = as_onnx(part.eval(), example, tuple(calibration[0]), outputs)
        graphs[f"{name}_int8"] = _rest_as_fp16(_int8_convolutions(fp32, calibration)).SerializeToString()
        graphs[f"{name}_fp32"] = store_weights_as_fp16(fp32).SerializeToString()
    return graphs


def run_graphs(image: Graph, prompt: Graph, inputs: Mapping[str, NDArray[np.float32]]) -> Arrays:
    """The outputs for one of `TextSamples.inputs`."""
    features = image({"image": inputs["image"]})
    return prompt({**features, **{name: array for name, array in inputs.items() if name != "image"}})


def _named(features: Sequence[Tensor]) -> Arrays:
    return {f"f{n}": np.asarray(feature.numpy()) for n, feature in enumerate(features)}


class _Calibration:
    """ONNX Runtime's data reader over named arrays."""

    def __init__(self, batches: Iterable[Arrays]) -> None:
        self._batches = iter(batches)

    def get_next(self) -> Arrays | None:
        return next(self._batches, None)


def _int8_convolutions(model: onnx.ModelProto, calibration: Iterable[Arrays]) -> onnx.ModelProto:
    """QDQ: weights per channel and inputs of the convolutions, from the range seen; all else stays."""
    from onnxruntime.quantization import CalibrationMethod, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        source, prepared, target = (Path(folder) / name for name in ("fp32.onnx", "prepared.onnx", "int8.onnx"))
        onnx.save(model, source)
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        nodes = onnx.load(prepared).graph.node
        quantize_static(
            prepared,
            target,
            _Calibration(calibration),
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=[n.name for n in nodes if any(name.endswith(_IN_FLOAT) for name in n.input)],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={"OpTypesToExcludeOutputQuantization": ["Conv"]},
        )
        result = onnx.load(target)
    return without_traces(result)


def _rest_as_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """The weights that are no INT8 as float16, in place; scales stay, which float16 could round to 0."""
    scales = {name for node in model.graph.node if "Linear" in node.op_type for name in node.input}
    casts: list[Any] = []
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and tensor.name not in scales and np.prod(tensor.dims) >= _SMALL:
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), f"{name}.fp16"))
            casts.append(helper.make_node("Cast", [f"{name}.fp16"], [name], to=TensorProto.FLOAT, name=f"{name}.cast"))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    return model
