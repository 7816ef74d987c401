"""The weights of a graph as 4-bit integers of OpenVINO, for `quantization_worker.py`.

What OpenVINO's compression of weights makes: symmetric codes of each output channel, an `i4` constant that a `Convert`
and a `Multiply` turn to float32 before the layer. NNCF, which writes the same, compresses only matrix products to 4
bits; here convolutions are included, so that the runtime itself says what it makes of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHANNEL_AXIS = {"Convolution": 0, "ConvolutionBackpropData": 1, "MatMul": None}
"""By kind of layer: the axis of its weights that holds output channels."""
LARGEST = 7


def int4_codes(weights: NDArray[np.float32], axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Codes in [-7, 7], and the scale of each channel, that `codes * scale` is near the weights."""
    others = tuple(a for a in range(weights.ndim) if a != axis)
    scale = np.maximum(np.abs(weights).max(axis=others, keepdims=True) / LARGEST, np.finfo(np.float32).tiny)
    return np.round(weights / scale).astype(np.int8), scale.astype(np.float32)


def two_in_a_byte(codes: NDArray[np.int8]) -> NDArray[np.uint8]:
    """The first of a pair in the low half."""
    flat = codes.reshape(-1).view(np.uint8) & 0x0F
    flat = np.append(flat, np.zeros(flat.size % 2, np.uint8))
    return flat[0::2] | (flat[1::2] << 4)


def with_int4_weights(onnx: bytes) -> tuple[Any, int]:
    """OpenVINO's model of a float graph with 4-bit weights, and how many layers have them."""
    import openvino
    from openvino import opset13

    model, count = openvino.Core().read_model(onnx), 0
    for node in model.get_ops():
        kind = node.get_type_name()
        weights = node.input_value(1).get_node() if kind in CHANNEL_AXIS else None
        if weights is not None and weights.get_type_name() == "Convert":  # stored as float16
            weights = weights.input_value(0).get_node()
        if weights is None or weights.get_type_name() != "Constant" or len(weights.shape) < 2:
            continue
        axis = CHANNEL_AXIS[kind]
        if axis is None:  # (rows, columns), or turned over
            axis = len(weights.shape) - (2 if node.get_attributes()["transpose_b"] else 1)
        codes, scale = int4_codes(weights.data.astype(np.float32), axis)
        packed = openvino.Tensor(openvino.Type.i4, openvino.Shape(list(codes.shape)))  # one that owns its memory
        packed.data[:] = two_in_a_byte(codes)
        code = opset13.convert(opset13.constant(packed), "f32")
        node.input(1).replace_source_output(opset13.multiply(code, opset13.constant(scale)).output(0))
        count += 1
    model.validate_nodes_and_infer_types()
    return model, count


def int4_run(onnx: bytes, inputs: dict[str, Any], threads: int) -> Callable[[], object]:
    """Compiled as `OpenVINOGraph` compiles."""
    import openvino

    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    request = openvino.Core().compile_model(with_int4_weights(onnx)[0], "CPU", options).create_infer_request()
    return lambda: request.infer(inputs, share_inputs=True, share_outputs=True)
