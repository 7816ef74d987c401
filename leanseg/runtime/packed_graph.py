"""Graphs without weights, and the weights that join them when they are loaded. NumPy alone, without the package `onnx`.

The graph file of a packed model is an ONNX skeleton: nodes that name their weights, which are nowhere. The weights lie
as codes of few bits in one packed file (`quantization/packing.py`), whichever graphs use them. A skeleton says by its
names in which form it wants each tensor:

    encoder.0.weight          float32 values
    encoder.0.weight/codes    int8, of QuantizedTensor.int8(); likewise
    encoder.0.weight/scale    float32, one value an output channel
    encoder.0.weight/rest     float32 (1, channel, 1, ...), to be multiplied with the sums of the inputs, by
    encoder.0.weight/ones     int8, weights of one output channel that are all 1

An ONNX file is a protocol buffer, and two of these, one after the other, are one: lists go on, messages merge. So the
weights are appended to the bytes of the skeleton, and any runtime reads the whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leanseg.errors import BundleError, LeanSegError, UnreadableFileError
from leanseg.quantization.config import QuantizationConfig
from leanseg.quantization.packing import Int8Form, QuantizedTensor, unpacked
from leanseg.schema import parse
from leanseg.weights.bundle import Bundle
from leanseg.weights.card import ModelCard

Tensors = Mapping[str, QuantizedTensor | NDArray[Any]]
FORMS = ("codes", "scale", "rest", "ones")
# field numbers and types of onnx.proto
_MODEL_GRAPH, _GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_INPUT, _INPUT_NAME = 7, 1, 5, 11, 1
_NODE_INPUT, _NODE_OUTPUT = 1, 2
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_RAW = 1, 2, 8, 9
_TYPES = {"float32": 1, "int8": 3}
_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5


def complete_graphs(bundle: Bundle, precision: str) -> dict[str, bytes]:
    """The graphs that run in a precision, by part, with their weights.

    Raises:
        BundleError: no such precision, or files that are missing, damaged, of other bits or of another network.
    """
    return _completed(bundle, bundle.graphs(precision))


def complete_graph(bundle: Bundle, name: str) -> bytes:
    """A graph by its name in the card, with its weights; raises as `complete_graphs`."""
    return _completed(bundle, {name: bundle.graph(name)})[name]


def _completed(bundle: Bundle, graphs: dict[str, bytes]) -> dict[str, bytes]:
    if bundle.card.quantization is None:
        return graphs
    tensors = packed_tensors(bundle)
    return {name: complete(skeleton, tensors, bundle.card.id) for name, skeleton in graphs.items()}


def packed_tensors(bundle: Bundle) -> dict[str, QuantizedTensor | NDArray[Any]]:
    """The weights of a packed bundle.

    Raises:
        BundleError: missing, damaged, or not of the bits that the card says.
    """
    bits = quantization_of(bundle.card).bits
    try:
        return unpacked(bundle.weights(), bundle.folder / bundle.card.weights.file, bits)
    except UnreadableFileError as error:
        raise BundleError(str(error)) from error


def quantization_of(card: ModelCard) -> QuantizationConfig:
    """How the model of a packed bundle is quantized; values that were added since have their defaults.

    Raises:
        BundleError: the card holds no such values.
    """
    try:
        config: QuantizationConfig = parse(QuantizationConfig, card.quantization, "card.quantization")
    except LeanSegError as error:
        raise BundleError(f"The card of {card.id} cannot be used: {error} Restore the bundle.") from error
    return config


def complete(skeleton: bytes, tensors: Tensors, model: str) -> bytes:
    """The skeleton with the weights that it names.

    Raises:
        BundleError: it is no ONNX graph, or names weights that are not there.
    """
    try:
        names = undefined_names(skeleton)
    except (IndexError, ValueError) as error:
        raise BundleError(f"A graph of {model} is cut short or damaged ({error}). Restore the bundle.") from error
    int8: dict[str, Int8Form] = {}
    parts = [skeleton]
    for name in names:
        array = _array(name, tensors, int8)
        if array is None:
            raise BundleError(
                f"The packed weights of {model} are of another network: {name} is missing. Restore the bundle."
            )
        initializer = _message(_GRAPH_INITIALIZER, _tensor(name, array))
        parts.append(_message(_MODEL_GRAPH, initializer))
    return b"".join(parts)


def _array(name: str, tensors: Tensors, int8: dict[str, Int8Form]) -> NDArray[Any] | None:
    """What a skeleton asks for, or None; `int8` keeps what was converted for one form until the next is asked for."""
    tensor_name, slash, form = name.partition("/")
    tensor = tensors.get(tensor_name)
    if not slash:
        return tensor.values() if isinstance(tensor, QuantizedTensor) else tensor
    if not isinstance(tensor, QuantizedTensor) or form not in FORMS:
        return None
    if form == "ones":
        return np.ones((1, *tensor.codes.shape[1:]), np.int8)
    if tensor_name not in int8:
        int8[tensor_name] = tensor.int8()
    if form == "rest":
        rest = int8[tensor_name].rest
        return None if rest is None else rest.reshape(1, -1, *[1] * (tensor.codes.ndim - 2))
    found: NDArray[Any] = getattr(int8[tensor_name], form)
    return found


# ── protocol buffers ────────────────────────────────────────────────────────────────────────────────────────────────


def undefined_names(onnx: bytes) -> list[str]:
    """What the nodes of a graph read and nothing in it gives, in the order of use.

    Raises:
        IndexError, ValueError: the bytes are no ONNX model.
    """
    wanted: dict[str, None] = {}
    given: set[bytes] = {b""}  # an optional input that is left out
    for graph in _fields(onnx, _MODEL_GRAPH):
        for node in _fields(graph, _GRAPH_NODE):
            wanted.update((name.decode("utf-8"), None) for name in _fields(node, _NODE_INPUT))
            given.update(_fields(node, _NODE_OUTPUT))
        for field, name_field in ((_GRAPH_INITIALIZER, _TENSOR_NAME), (_GRAPH_INPUT, _INPUT_NAME)):
            given.update(name for value in _fields(graph, field) for name in _fields(value, name_field))
    if not wanted:
        raise ValueError("it has no nodes")
    return [name for name in wanted if name.encode("utf-8") not in given]


def _fields(message: bytes, wanted: int) -> Iterator[bytes]:
    """The values of one field that hold bytes: strings and messages."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind, size = key & 7, 0
        if kind == _VARINT:
            _, at = _varint(message, at)
        elif kind == _BYTES:
            size, at = _varint(message, at)
        elif kind in (_FIXED_32, _FIXED_64):
            size = 4 if kind == _FIXED_32 else 8
        else:
            raise ValueError(f"a field of the kind {kind}")
        if at + size > len(message):
            raise ValueError(f"{at + size} bytes are needed, {len(message)} are there")
        if kind == _BYTES and key >> 3 == wanted:
            yield message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """A number, 7 bits a byte, and where it ends."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _encoded(value: int) -> bytes:
    parts = []
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def _message(field: int, content: bytes) -> bytes:
    return _encoded(field << 3 | _BYTES) + _encoded(len(content)) + content


def _number(field: int, value: int) -> bytes:
    return _encoded(field << 3 | _VARINT) + _encoded(value)


def _tensor(name: str, array: NDArray[Any]) -> bytes:
    """An ONNX TensorProto."""
    return b"".join(
        (
            *(_number(_TENSOR_DIMS, size) for size in array.shape),
            _number(_TENSOR_TYPE, _TYPES[array.dtype.name]),
            _message(_TENSOR_NAME, name.encode("utf-8")),
            _message(_TENSOR_RAW, array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()),
        )
    )
