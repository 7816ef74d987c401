from types import MappingProxyType

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from leanseg.networks.segresnet import SegResNet, SegResNetConfig
from Testing.engine.networks.contract import NetworkContract

SMALL = MappingProxyType({"init_filters": 8, "blocks_down": (1, 1, 1), "blocks_up": (1, 1), "out_channels": 3})


class TestSegResNet(NetworkContract):
    name = "segresnet"
    small = SMALL
    input_shape = (4, 8, 8, 12)
    refused_shape = (4, 8, 8, 10)
    paper_parameters = 4_702_244
    """By hand: a block of c channels has 2 (2 c + 27 c^2). 1728 + block(16); 27 16 32 + 2 block(32); 27 32 64 + 2
    block(64); 27 64 128 + 4 block(128); up 128 64 + block(64), 64 32 + block(32), 32 16 + block(16); 32 + 4 16 + 4."""
    parameter_tolerance = 0


def test_macs_are_those_of_monais_bundle_for_brats() -> None:
    """148 G of a window of 128^3 were counted on the bundle's network, whose head has 3 labels instead of 4."""
    with torch.device("meta"):
        network = SegResNet(SegResNetConfig()).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.empty(1, 4, 128, 128, 128, device="meta"))
    assert counter.get_total_flops() / 2e9 == pytest.approx(148, abs=0.5)


def test_dropout_is_off_in_evaluation() -> None:
    torch.manual_seed(0)
    network = SegResNet(SegResNetConfig(**{**SMALL, "dropout": 0.5}))  # type: ignore[arg-type]
    image = torch.rand(1, 4, 8, 8, 8)
    with torch.no_grad():
        assert torch.equal(network.eval()(image), network(image))
        assert not torch.equal(network.train()(image), network(image))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"init_filters": 12}, "init_filters must be a multiple of 8; got 12"),
        ({"blocks_up": (1, 1, 1)}, r"one level less than blocks_down.*\(1, 1, 1\) and \(1, 1, 1\)"),
        ({"blocks_down": (1, 0, 1)}, "each with at least one block"),
        ({"dropout": 1.0}, "dropout below 1"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SegResNetConfig(**{**SMALL, **changes})  # type: ignore[arg-type]
