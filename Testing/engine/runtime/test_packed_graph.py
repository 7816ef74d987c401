"""Skeletons and packed weights become one ONNX graph that `onnx` and both runtimes read."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from leanseg.api import load_engine
from leanseg.errors import BundleError
from leanseg.quantization.config import QuantizationConfig
from leanseg.quantization.packing import QuantizedTensor, packed_bytes
from leanseg.runtime.onnxruntime_graph import ONNXRuntimeGraph
from leanseg.runtime.openvino_graph import OpenVINOGraph
from leanseg.runtime.packed_graph import complete, complete_graph, undefined_names
from leanseg.weights.bundle import Bundle, write_bundle
from Testing.engine.tiny import CARD, SIZE_JI

CODES = np.arange(9, dtype=np.uint8).reshape(1, 1, 3, 3)
WEIGHTS = QuantizedTensor(CODES, 4, np.full((1, 1, 1, 1), 0.25, np.float32), np.full((1, 1, 1, 1), -1, np.float32))
"""-1, -0.75, ... 1"""
TENSORS: dict[str, Any] = {"conv.weight": WEIGHTS, "conv.bias": np.float32([0.5]), "seen": np.array(3)}
PACKED = QuantizationConfig("dsq", 4).to_json()


def skeleton(int8: bool = False, weight: str = "conv.weight") -> bytes:
    """probabilities = sigmoid(conv(image)), whose weights are nowhere."""
    nodes = [
        helper.make_node("Conv", ["image", "w" if int8 else weight, "conv.bias"], ["logits"], pads=[1, 1, 1, 1]),
        helper.make_node("Sigmoid", ["logits"], ["probabilities"]),
    ]
    if int8:
        nodes.insert(0, helper.make_node("DequantizeLinear", [f"{weight}/codes", f"{weight}/scale"], ["w"], axis=0))
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 1, *SIZE_JI]) for n in ("image", "probabilities")]
    graph = helper.make_graph(nodes, "skeleton", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return bytes(model.SerializeToString())


def packed_bundle(folder: Path, weights: bytes | None = None, graph: bytes | None = None, bits: int = 4) -> Bundle:
    card = replace(CARD, quantization=PACKED | {"bits": bits})
    return write_bundle(card, {"fp32": graph or skeleton()}, weights or packed_bytes(TENSORS), folder)


@pytest.fixture
def image() -> NDArray[np.float32]:
    return np.random.default_rng(0).random((1, 1, *SIZE_JI), dtype=np.float32)


def convolved(image: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """sigmoid of the 3 x 3 correlation with zeros around, plus 0.5."""
    padded = np.pad(image[0, 0], 1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    logits = np.einsum("jiyx,yx->ji", windows, weights[0, 0]) + 0.5
    result: NDArray[np.float32] = 1 / (1 + np.exp(-logits))
    return result


def test_the_whole_is_what_onnx_would_have_written() -> None:
    whole = onnx.load_from_string(complete(skeleton(), TENSORS, "tiny"))
    onnx.checker.check_model(whole, full_check=True)
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in whole.graph.initializer}
    assert arrays.keys() == {"conv.weight", "conv.bias"}, "what no node reads stays away"
    assert np.array_equal(arrays["conv.weight"], WEIGHTS.values()) and arrays["conv.bias"].tolist() == [0.5]


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("runtime", [OpenVINOGraph, ONNXRuntimeGraph])
def test_both_runtimes_compute_with_the_weights(
    image: NDArray[np.float32], runtime: type[OpenVINOGraph] | type[ONNXRuntimeGraph], int8: bool
) -> None:
    levels = replace(WEIGHTS, lower=np.zeros_like(WEIGHTS.lower), zero=4)  # the same values; 0 is a level
    graph = runtime(complete(skeleton(int8), TENSORS | {"conv.weight": levels}, "tiny"))
    expected = convolved(image, WEIGHTS.values())
    np.testing.assert_allclose(graph({"image": image})["probabilities"][0, 0], expected, rtol=0, atol=1e-5)


def test_names_are_sought_where_they_can_be() -> None:
    assert undefined_names(skeleton()) == ["conv.weight", "conv.bias"]
    assert undefined_names(skeleton(int8=True)) == ["conv.weight/codes", "conv.weight/scale", "conv.bias"]
    assert undefined_names(complete(skeleton(), TENSORS, "tiny")) == []


def test_numbers_of_every_length_are_encoded() -> None:
    for size in (1, 127, 128, 300, 20_000):
        tensors = {"conv.weight": np.ones((size, 1, 1, 1), np.float32), "conv.bias": np.zeros(size, np.float32)}
        whole = onnx.load_from_string(complete(skeleton(), tensors, "tiny"))
        assert [list(tensor.dims) for tensor in whole.graph.initializer] == [[size, 1, 1, 1], [size]]


def test_a_packed_bundle_is_loaded_and_its_checksum_is_of_graph_and_weights(tmp_path: Path) -> None:
    bundle = packed_bundle(tmp_path / "tiny")
    assert (bundle.folder / "tiny.lsq").is_file() and not (bundle.folder / "tiny.safetensors").exists()
    assert bundle.card.bytes_of("fp32") == bundle.card.graphs["fp32"].bytes + bundle.card.weights.bytes
    other = packed_bundle(tmp_path / "other" / "tiny", packed_bytes(TENSORS | {"conv.bias": np.float32([0.25])}))
    assert other.card.graphs == bundle.card.graphs
    assert other.card.checksum("fp32") != bundle.card.checksum("fp32")
    assert load_engine(str(bundle.folder)).precision == "fp32"


# ── refusals ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": packed_bytes(TENSORS)[:-3]}, r"tiny\.lsq is cut short or damaged \(.*\)\. Restore the bundle\.$"),
        ({"weights": b"safetensors"}, r"tiny\.lsq holds no packed weights"),
        ({"bits": 2}, r"tiny\.lsq holds codes of 4 bits \(conv\.weight\); 2 are expected\. Restore the bundle\.$"),
        ({"bits": 9}, r"bits of dsq must be a whole number from 1 to 8; got 9"),
        ({"graph": skeleton(weight="stem.weight")}, r"of another network: stem\.weight is missing\. Restore"),
        ({"graph": skeleton(weight="conv.bias/codes")}, r"of another network: conv\.bias/codes.* is missing\. Restore"),
        ({"graph": skeleton()[:-20]}, r"A graph of tiny is cut short or damaged \(.*\)\. Restore the bundle\.$"),
        ({"graph": b"\x0f"}, r"A graph of tiny is cut short or damaged \(.*\)\. Restore the bundle\.$"),
    ],
)
def test_what_does_not_fit_together_is_refused_in_one_line(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    bundle = packed_bundle(tmp_path / "tiny", **changes)
    with pytest.raises(BundleError, match=message) as caught:
        complete_graph(bundle, "fp32")
    assert "\n" not in str(caught.value)


def test_weights_of_another_shape_are_refused_in_one_line(tmp_path: Path) -> None:
    wide = replace(WEIGHTS, codes=np.zeros((1, 3, 3, 3), np.uint8))
    bundle = packed_bundle(tmp_path / "tiny", packed_bytes(TENSORS | {"conv.weight": wide}))
    with pytest.raises(BundleError, match=r"cannot read the graph .*Restore the bundle\.$") as caught:
        load_engine(str(bundle.folder))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("length", [1, 2, 3, 50])
def test_half_a_number_or_message_is_noticed(length: int) -> None:
    with pytest.raises(BundleError, match="cut short or damaged"):
        complete(skeleton()[:length], TENSORS, "tiny")
