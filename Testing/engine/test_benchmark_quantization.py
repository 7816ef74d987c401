"""The benchmark of few bits: its ratios, and that what it writes for ncnn computes the same network."""

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from leanseg.networks.attention_unet import AttentionUNet, AttentionUNetConfig
from leanseg.training.graphs import fold_batch_norm

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def quantization() -> ModuleType:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import quantization

        return quantization
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def ncnn_writer() -> ModuleType:
    pytest.importorskip("ncnn")
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import quantization_ncnn

        return quantization_ncnn
    finally:
        sys.path.remove(str(BENCHMARKS))


def test_ratios_are_those_of_each_round(quantization: ModuleType) -> None:
    found = quantization.figures({"all: ncnn int8": [0.01, 0.03, 0.02], "all: ours": [0.01, 0.01, 0.01]})
    ours = found["all: ours"]
    assert [ours[key] for key in ("ratio", "ratio_min", "ratio_max", "median_ms")] == [2, 1, 3, 10]


def test_without_ncnn_there_are_times_and_no_ratios(quantization: ModuleType) -> None:
    assert quantization.figures({"all: ours": [0.01]}) == {"all: ours": {"median_ms": 10.0, "min_ms": 10.0}}


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
