"""Exported graphs compute what the network computes; INT8 is real INT8."""

import copy

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto

from leanseg.networks.attention_unet import AttentionUNet, AttentionUNetConfig
from leanseg.runtime.openvino_graph import OpenVINOGraph
from leanseg.training.graphs import (
    CalibratedNetwork,
    export_onnx,
    fold_batch_norm,
    quantize_int8,
    store_weights_as_fp16,
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
