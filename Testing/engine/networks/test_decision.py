import math
from pathlib import Path

import openvino
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from leanseg.errors import UnknownNameError
from leanseg.networks.blocks.decision import (
    DECISION_WIDTHS,
    DecisionNetwork,
    ShuffleNetV2,
    ShuffleUnit,
    background,
    check_decisions,
)
from Testing.engine.networks.contract import count_parameters


def a_network(outputs: int = 3, width: str = "0.5x") -> ShuffleNetV2:
    torch.manual_seed(0)
    return ShuffleNetV2(4, outputs, width).eval()


@pytest.mark.parametrize(
    ("outputs", "side", "parameters", "mmacs"), [(5, 240, 66_220, 14.7), (3, 128, 65_708, 4.08), (2, 128, 65_452, 4.08)]
)
def test_parameters_and_macs_are_the_papers(outputs: int, side: int, parameters: int, mmacs: float) -> None:
    network = a_network(outputs)
    assert count_parameters(network) == parameters
    assert network.macs(side, side) / 1e6 == pytest.approx(mmacs, rel=2e-3)


@pytest.mark.parametrize(("size", "width"), [((192, 160), "0.5x"), ((75, 90), "1.0x")])
def test_macs_are_those_that_torch_counts(size: tuple[int, int], width: str) -> None:
    with FlopCounterMode(display=False) as counter, torch.device("meta"):
        network = ShuffleNetV2(4, 3, width)
        network(torch.empty(1, 4, *size))
    assert network.macs(*size) == counter.get_total_flops() / 2


@pytest.mark.parametrize("pool", ["mean", "cells"])
def test_macs_of_both_pools_are_those_that_torch_counts(pool: str) -> None:
    with FlopCounterMode(display=False) as counter, torch.device("meta"):
        network = DecisionNetwork(4, 3, pool=pool)
        network(torch.empty(1, 4, 192, 160))
    assert network.macs(192, 160) == counter.get_total_flops() / 2


def by_hand(outputs: list[list[float]]) -> DecisionNetwork:
    """A network that gives these outputs in the cells, one after the other, whatever the image."""
    network = DecisionNetwork(4, len(outputs[0]), pool="cells")
    features = torch.tensor(outputs).T[None, :, None]
    network.stem = network.pool = network.units = nn.Identity()  # type: ignore[assignment]
    network.head = nn.Sequential(nn.Flatten(), nn.Unflatten(1, (1, -1)))
    network.head.register_forward_hook(lambda *_: features)
    network.linear = nn.Linear(features.shape[1], features.shape[1], bias=False)
    nn.init.eye_(network.linear.weight)
    return network


def test_one_cell_that_shows_tumor_is_enough() -> None:
    """s is log(1 + 1) - 0 in the first cell, log(e^6 + e^6) in the second: log odds log((2 + 2 e^6) / 2)."""
    logits, shows = by_hand([[0.0, 0.0, 0.0], [0.0, 6.0, 6.0]]).by_cells(torch.zeros(1, 4, 1, 1))
    assert shows.flatten().tolist() == pytest.approx([math.log(2), math.log(2) + 6])
    odds = logits[0, 1:].logsumexp(dim=0) - logits[0, 0]
    assert odds.item() == pytest.approx(math.log(1 + math.exp(6)), abs=1e-5)
    assert logits[0, 1:].tolist() == [3.0, 3.0], "what to do is decided by the average"


def test_a_slice_whose_cells_are_all_empty_is_skipped() -> None:
    network = by_hand([[5.0, 0.0, 1.0], [4.0, 0.0, 1.0]])
    assert network(torch.zeros(1, 4, 1, 1)).argmax(dim=1).item() == 0


def test_certain_cells_do_not_overflow() -> None:
    logits, _ = by_hand([[0.0, 500.0], [500.0, 0.0]]).by_cells(torch.zeros(1, 4, 1, 1))
    assert torch.isfinite(logits).all() and logits.argmax(dim=1).item() == 1


def test_a_pool_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="decision pool named 'max'"):
        DecisionNetwork(4, 3, pool="max")


@pytest.mark.parametrize("width", DECISION_WIDTHS)
def test_every_width_has_its_stages(width: str) -> None:
    stem, *stages, last = DECISION_WIDTHS[width]
    with torch.device("meta"):
        network = ShuffleNetV2(4, 3, width)
        x = network.pool(network.stem(torch.empty(2, 4, 64, 64)))
        assert x.shape == (2, stem, 16, 16)
        for stage, (channels, side) in enumerate(zip(stages, (8, 4, 2), strict=True)):
            x = network.units[(0, 4, 12)[stage] : (4, 12, 16)[stage]](x)
            assert x.shape == (2, channels, side, side)
        assert network.head(x).shape[1] == last
        assert network(torch.empty(2, 4, 64, 64)).shape == (2, 3)


def test_a_width_that_does_not_exist_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"decision width named '0\.5'\. Did you mean '0\.5x'"):
        ShuffleNetV2(4, 3, "0.5")


def test_initialization_is_the_papers() -> None:
    network = a_network(width="2.0x")
    assert network.stem[0][0].weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert network.linear.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert network.linear.bias is None
    assert network.head[0][0].weight.std().item() == pytest.approx(1 / 976, rel=0.02)
    unit = network.units[5]
    assert isinstance(unit, ShuffleUnit)
    assert unit.main[0][0].weight.std().item() == pytest.approx(1.0, rel=0.1), "a depthwise kernel has one input"
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all() and (module.bias == 1e-4).all()


def test_a_unit_of_stride_1_passes_every_second_channel_unchanged() -> None:
    torch.manual_seed(0)
    unit = ShuffleUnit(6, 6, stride=1).eval()
    x = torch.rand(2, 6, 5, 7)
    with torch.no_grad():
        y = unit(x)
    assert y.shape == x.shape
    assert torch.equal(y[:, :3], x[:, 0::2])
    assert not torch.allclose(y[:, 3:], x[:, 1::2])


def test_for_the_papers_sizes_the_average_covers_the_whole_map() -> None:
    network = a_network()
    image = torch.rand(1, 4, 128, 128)
    with torch.no_grad():
        features = network.head(network.units(network.pool(network.stem(image))))
        assert features.shape == (1, 256, 4, 4)
        expected = network.linear(nn.AvgPool2d(128 // 32)(features).flatten(1))
        torch.testing.assert_close(network(image), expected)


def test_background_is_certain_after_the_softmax() -> None:
    probabilities = background(torch.rand(2, 4, 3, 5), labels=4).softmax(dim=1)
    assert probabilities.shape == (2, 4, 3, 5)
    assert (probabilities[:, 0] == 1).all() and (probabilities[:, 1:] == 0).all()


@pytest.mark.parametrize("decisions", [[0, 3], [-1, 0]])
def test_a_decision_that_does_not_exist_is_refused(decisions: list[int]) -> None:
    with pytest.raises(ValueError, match=r"between 0 \(skip\) and 2; got \["):
        check_decisions(torch.tensor(decisions), choices=3)
    check_decisions(torch.tensor([0, 1, 2]), choices=3)
    check_decisions(torch.tensor([], dtype=torch.int64), choices=3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning")  # torch's own, in torch.onnx
def test_the_exported_graph_agrees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leanseg.networks.blocks.decision.UNITS", (2, 1, 1))  # both kinds; all sixteen take 20 s
    network, images = a_network(), torch.rand(2, 4, 48, 40)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(torch.rand(8, 4, 48, 40))
        expected = network.eval()(images)
    torch.onnx.export(network, (images,), tmp_path / "decision.onnx", dynamo=True, verbose=False)
    hints = {"INFERENCE_PRECISION_HINT": "f32"}
    graph = openvino.Core().compile_model(str(tmp_path / "decision.onnx"), "CPU", hints)
    torch.testing.assert_close(torch.from_numpy(graph([images.numpy()])[0]), expected, rtol=0, atol=1e-4)
    assert expected.abs().max() > 1e-2
