from types import MappingProxyType

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from leanseg.errors import UnknownNameError
from leanseg.networks import NETWORKS
from leanseg.networks.blocks.residual_unet import Head, ResidualUNet, ResidualUNetBody, ResidualUNetConfig
from Testing.engine.networks.contract import NetworkContract, count_parameters


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NETWORKS, "residual_unet", (ResidualUNet, ResidualUNetConfig))


class TestResidualUNet(NetworkContract):
    name = "residual_unet"
    small = MappingProxyType({"width": 4, "up_sampling": "nearest"})  # what is exported
    input_shape = (4, 16, 24)
    refused_shape = (4, 16, 28)
    paper_parameters = 1_604_880 + 4_772  # body and head
    parameter_tolerance = 0


def on_meta(**config: object) -> ResidualUNet:
    with torch.device("meta"):
        return ResidualUNet(ResidualUNetConfig(**config))  # type: ignore[arg-type]


def test_parameters_of_body_and_head_are_the_papers() -> None:
    with torch.device("meta"):
        assert count_parameters(ResidualUNetBody(ResidualUNetConfig())) == 1_610_204 - 4_772 - (50 + 82 + 146 + 274)
        assert count_parameters(Head(ResidualUNetConfig())) == 4_772


@pytest.mark.parametrize(
    ("side", "stages", "others"),
    [
        (128, (94.37, 169.87, 169.87, 301.99), 9.44 + 90.18 + 90.18 + 14.68),
        (96, (53.08, 95.55, 95.55, 169.87), 5.31 + 50.72 + 50.72 + 8.26),
    ],
)
def test_mmacs_of_every_stage_are_the_papers(side: int, stages: tuple[float, ...], others: float) -> None:
    network = on_meta()
    assert [n / 1e6 for n in network.body.stage_macs(side, side)] == pytest.approx(stages, abs=0.01)
    assert network.body.other_macs(side, side) / 1e6 == pytest.approx(others, abs=0.03)
    assert network.head.macs(128, 128) / 1e6 == pytest.approx(76.55, abs=0.01)


@pytest.mark.parametrize(("size", "up_sampling"), [((192, 160), "transposed"), ((24, 40), "nearest")])
def test_macs_are_those_that_torch_counts(size: tuple[int, int], up_sampling: str) -> None:
    network = on_meta(width=12, up_sampling=up_sampling)
    with FlopCounterMode(display=False) as counter:
        network(torch.empty(1, 4, *size, device="meta"))
    assert network.macs(*size) == counter.get_total_flops() / 2


@pytest.mark.parametrize(("width", "gmacs"), [(8, 0.26), (16, 1.018), (24, 2.3), (32, 4.1)])
def test_gmacs_of_the_widths_of_a_bank(width: int, gmacs: float) -> None:
    assert on_meta(width=width).macs(128, 128) / 1e9 == pytest.approx(gmacs, rel=0.02)


def test_nearest_up_sampling_then_1x1_convolution_is_what_runs() -> None:
    torch.manual_seed(0)
    up = ResidualUNet(ResidualUNetConfig(width=4, up_sampling="nearest")).body.ups[0]
    x, skip = torch.rand(1, 32, 2, 3), torch.rand(1, 16, 4, 6)
    doubled = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    expected = up.merge(torch.cat([skip, up.reduce(doubled)], dim=1))
    torch.testing.assert_close(up(x, skip), expected)


def test_there_is_dropout_of_channels_in_training_only() -> None:
    torch.manual_seed(0)
    network = ResidualUNet(ResidualUNetConfig(width=4))
    seen: list[Tensor] = []
    network.body.dropout.register_forward_hook(lambda module, inputs, output: seen.append(output))
    image = torch.rand(8, 4, 16, 16)
    with torch.no_grad():
        assert not torch.equal(network.train()(image), network(image))
        assert torch.equal(network.eval()(image), network(image))
    kept = seen[0].flatten(2).abs().sum(dim=2) > 0
    assert 0.6 < kept.float().mean() < 0.95 and (seen[2].flatten(2).abs().sum(dim=2) > 0).all()


def test_every_skip_connection_counts() -> None:
    torch.manual_seed(0)
    body = ResidualUNetBody(ResidualUNetConfig(width=4)).eval()
    image = torch.rand(1, 4, 16, 16)
    with torch.no_grad():
        expected = body(image)
        for up in body.ups:
            weight = up.merge.weight.clone()
            up.merge.weight[:, : weight.shape[1] // 2] = 0
            assert (body(image) - expected).abs().max() > 1e-4
            up.merge.weight.copy_(weight)


def test_refused_configs_say_what_fits() -> None:
    with pytest.raises(UnknownNameError, match=r"up-sampling named 'nearst'\. Did you mean 'nearest'"):
        ResidualUNetConfig(up_sampling="nearst")
    with pytest.raises(ValueError, match="dropout from 0 to below 1"):
        ResidualUNetConfig(dropout=1.0)
