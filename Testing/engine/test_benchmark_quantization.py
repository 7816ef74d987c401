"""The benchmark of few bits: its ratios, and that what it writes for its peers computes the same network."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from leanseg.networks.attention_unet import AttentionUNet, AttentionUNetConfig
from leanseg.training.graphs import export_onnx, fold_batch_norm

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def module(name: str) -> ModuleType:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def quantization() -> ModuleType:
    return module("quantization")


@pytest.fixture(scope="module")
def ncnn_writer() -> ModuleType:
    pytest.importorskip("ncnn")
    return module("quantization_ncnn")


def test_ratios_are_those_of_each_round(quantization: ModuleType) -> None:
    base = [0.01, 0.03, 0.02]
    found = quantization.figures({"all: ncnn int8": base, "all: ours": [0.01, 0.01, 0.01]}, base)
    ours = found["all: ours"]
    assert [ours[key] for key in ("ratio", "ratio_min", "ratio_max", "median_ms")] == [2, 1, 3, 10]


def test_without_ncnn_there_are_times_and_no_ratios(quantization: ModuleType) -> None:
    assert quantization.figures({"all: ours": [0.01]}, None) == {"all: ours": {"median_ms": 10.0, "min_ms": 10.0}}


def test_runs_that_are_not_there_are_named(
    quantization: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert quantization.dice(tmp_path, tmp_path, [0]) == {}
    assert "left out: dsq44_s0" in capsys.readouterr().err


@pytest.mark.parametrize(("int8", "least"), [(False, 0.9999), (True, 0.99)])
def test_ncnn_computes_the_same_student(ncnn_writer: ModuleType, int8: bool, least: float) -> None:
    torch.manual_seed(0)
    network = AttentionUNet(AttentionUNetConfig(widths=(8, 16, 32))).eval()
    images = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_var.fill_(0.1)
    network = fold_batch_norm(network)
    with torch.no_grad():
        wanted = torch.sigmoid(network(images)).numpy()
    found = ncnn_writer.student(network, images, int8).run(1)(images[0].numpy())
    assert np.corrcoef(found.ravel(), wanted[0].ravel())[0, 1] > least


class ConvolutionAndProducts(torch.nn.Module):
    """Channels first and last, and weights on either side of a transposition."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv2d(3, 5, 3)
        self.linear = torch.nn.Linear(5, 7)
        self.matrix = torch.nn.Parameter(torch.randn(7, 9))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.linear(self.convolution(image).permute(0, 2, 3, 1)) @ self.matrix


def test_openvino_computes_with_4_bit_weights_what_their_codes_say() -> None:
    import openvino

    int4 = module("quantization_int4")
    torch.manual_seed(0)
    network = ConvolutionAndProducts().eval()
    image = torch.rand(1, 3, 8, 8)
    graph = export_onnx(network, 3, (8, 8)).SerializeToString()
    model, count = int4.with_int4_weights(graph)
    assert count == 3
    found = next(iter(openvino.Core().compile_model(model, "CPU")({"image": image.numpy()}).values()))
    with torch.no_grad():
        for weights, axis in ((network.convolution.weight, 0), (network.linear.weight, 0), (network.matrix, 1)):
            codes, scale = int4.int4_codes(weights.numpy(), axis)
            assert np.abs(codes).max() == 7
            weights.copy_(torch.from_numpy(codes * scale))
        wanted = network(image).numpy()
    assert np.abs(found - wanted).max() < 0.03 * np.abs(wanted).max()  # the runtime rounds activations to 8 bits


def test_two_codes_share_a_byte_the_first_one_low() -> None:
    packed = module("quantization_int4").two_in_a_byte(np.array([1, -2, 7], np.int8))
    assert packed.tolist() == [0xE1, 0x07]
