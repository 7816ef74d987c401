"""Exported graphs compute what the network computes; INT8 is real INT8."""

import copy

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from leanseg.networks.attention_unet import AttentionUNet, AttentionUNetConfig
from leanseg.networks.blocks.residual_unet import ResidualUNet, ResidualUNetConfig
from leanseg.runtime.openvino_graph import OpenVINOGraph
from leanseg.training.graphs import (
    CalibratedNetwork,
    ancestors,
    export_onnx,
    fold_batch_norm,
    quantize_int8,
    store_weights_as_fp16,
    without_traces,
)

SIZE = (32, 48)


@pytest.fixture(scope="module")
def network() -> AttentionUNet:
    torch.manual_seed(0)
    network = AttentionUNet(AttentionUNetConfig(widths=(8, 16, 32)))
    with torch.no_grad():
        for _ in range(5):  # batch-norm statistics that are not 0 and 1
            network(torch.rand(4, 1, *SIZE) * 3)
        network.head.weight.mul_(10)  # probabilities away from 0.5
    return network.eval()


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return torch.rand(8, 1, *SIZE, generator=torch.Generator().manual_seed(1)).numpy()


@pytest.fixture(scope="module")
def exported(network: AttentionUNet) -> onnx.ModelProto:
    folded = fold_batch_norm(copy.deepcopy(network))
    return export_onnx(CalibratedNetwork(folded, 2.0).eval(), 1, SIZE)


def expected(network: AttentionUNet, images: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return torch.sigmoid(network(torch.from_numpy(images)) / 2.0).numpy()


def run(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    graph = OpenVINOGraph(model.SerializeToString())
    return np.concatenate([graph({"image": image[np.newaxis]})["probabilities"] for image in images])


def test_folding_batch_norm_keeps_the_output(network: AttentionUNet, images: np.ndarray) -> None:
    folded = fold_batch_norm(copy.deepcopy(network))
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in folded.modules())
    with torch.no_grad():
        torch.testing.assert_close(
            folded(torch.from_numpy(images)), network(torch.from_numpy(images)), atol=1e-4, rtol=0
        )


def test_the_fp32_graph_is_the_calibrated_network(
    network: AttentionUNet, exported: onnx.ModelProto, images: np.ndarray
) -> None:
    np.testing.assert_allclose(run(exported, images), expected(network, images), atol=1e-4)


def test_the_graph_names_no_source_file(exported: onnx.ModelProto) -> None:
    assert b".py" not in exported.SerializeToString()
    assert not exported.graph.metadata_props


def test_what_tools_wrote_into_a_graph_is_taken_out(exported: onnx.ModelProto, images: np.ndarray) -> None:
    traced = onnx.ModelProto()
    traced.CopyFrom(exported)
    for part in (traced, traced.graph, *traced.graph.node, *traced.graph.initializer):
        part.metadata_props.add(key="source", value="/somewhere/exporter.py")
        part.doc_string = "exporter.py"
    assert without_traces(traced) == exported
    for made in (quantize_int8(exported, images[:2]), store_weights_as_fp16(exported)):
        assert without_traces(copy.deepcopy(made)) == made


def test_fp16_storage_halves_the_file_and_stays_close(
    network: AttentionUNet, exported: onnx.ModelProto, images: np.ndarray
) -> None:
    small = store_weights_as_fp16(exported)
    assert small.ByteSize() < 0.7 * exported.ByteSize()
    np.testing.assert_allclose(run(small, images), expected(network, images), atol=5e-3)


def test_int8_weights_are_stored_as_int8_and_the_output_stays_close(
    network: AttentionUNet, exported: onnx.ModelProto, images: np.ndarray
) -> None:
    model = quantize_int8(exported, images)
    weights = [t for t in model.graph.initializer if len(t.dims) == 4]
    assert weights and all(t.data_type == TensorProto.INT8 for t in weights)
    convolutions = sum(node.op_type == "Conv" for node in model.graph.node)
    assert sum(node.op_type == "QuantizeLinear" for node in model.graph.node) >= convolutions
    difference = np.abs(run(model, images) - expected(network, images))
    assert 0 < difference.mean() < 0.03


# ── pre-activation blocks, and graphs of which only one output is quantized ─────────────────────────────────────────


class TwoOutputs(torch.nn.Module):
    """A U-Net, and beside it a convolution of the image that must keep its weights."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = ResidualUNet(ResidualUNetConfig(in_channels=1, width=4, up_sampling="nearest"))
        self.beside = torch.nn.Conv2d(1, 2, 3)
        for module in self.network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.uniform_(-0.5, 0.5)
                module.running_var.uniform_(0.5, 2.0)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.softmax(self.network(image), dim=1), self.beside(image).mean(dim=(2, 3))


def test_the_second_batch_norm_of_a_pre_activation_block_is_folded_and_the_first_stays(images: np.ndarray) -> None:
    network = TwoOutputs().network.eval()
    folded = fold_batch_norm(copy.deepcopy(network))
    assert sum(isinstance(m, torch.nn.BatchNorm2d) for m in folded.modules()) == 9  # one for each encoder block
    with torch.no_grad():
        logits = network(torch.from_numpy(images))
        torch.testing.assert_close(folded(torch.from_numpy(images)), logits, atol=1e-4, rtol=0)
    assert logits.std() > 0.01


def test_what_is_beside_the_named_output_keeps_its_weights(images: np.ndarray) -> None:
    network = TwoOutputs().eval()
    fold_batch_norm(network)
    model = export_onnx(network, 1, SIZE, ("probabilities", "beside"), any_shape=True)
    int8 = quantize_int8(model, images, only_convolutions_of="probabilities")
    graph = OpenVINOGraph(int8.SerializeToString(), shape=(2, 1, *SIZE))
    results = graph({"image": images[:2]})
    with torch.no_grad():
        p, beside = (each.numpy() for each in network(torch.from_numpy(images[:2])))
    assert 0 < np.abs(results["probabilities"] - p).max() < 0.1
    np.testing.assert_allclose(results["beside"], beside, atol=1e-3)  # of an image in 8 bits
    quantized = {node.output[0] for node in int8.graph.node if node.op_type == "DequantizeLinear"}
    read = [node.op_type for node in int8.graph.node if quantized.intersection(node.input)]
    kinds = [tensor.data_type for tensor in int8.graph.initializer if len(tensor.dims) == 4]
    assert (kinds.count(TensorProto.INT8), kinds.count(TensorProto.FLOAT)) == (len(kinds) - 1, 1)
    assert "Softmax" not in read and "ReduceMean" not in read


def test_ancestors_are_what_an_output_needs() -> None:
    nodes = [
        helper.make_node("Relu", ["image"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["b"], name="wanted"),
        helper.make_node("Neg", ["a"], ["c"], name="other"),
    ]
    graph = helper.make_graph(nodes, "graph", [], [])
    assert ancestors(graph, {"b"}) == {"first", "wanted"} and ancestors(graph, {"c"}) == {"first", "other"}
