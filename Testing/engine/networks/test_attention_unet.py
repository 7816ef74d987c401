import math
from types import MappingProxyType

import pytest
import safetensors.torch
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from leanseg.networks import build_network
from leanseg.networks.attention_unet import (
    PAPER_TEACHER_WIDTHS,
    TEACHER_WIDTHS,
    AttentionGate,
    AttentionUNet,
    AttentionUNetConfig,
)
from leanseg.training.recipe import load_recipe
from Testing.engine.networks.contract import NetworkContract, count_parameters


class TestAttentionUNet(NetworkContract):
    name = "attention_unet"
    small = MappingProxyType({"widths": (4, 6, 8)})
    input_shape = (1, 16, 24)
    refused_shape = (1, 16, 26)
    paper_parameters = 2.185e6
    parameter_tolerance = 0.01e6


def on_meta(**config: object) -> nn.Module:
    with torch.device("meta"):
        return build_network("attention_unet", config)


@pytest.fixture
def student() -> AttentionUNet:
    torch.manual_seed(0)
    return AttentionUNet(AttentionUNetConfig()).eval()


@pytest.mark.parametrize(("side", "gmacs"), [(256, 4.17), (512, 16.7)])
def test_macs_are_the_papers_within_one_percent(side: int, gmacs: float) -> None:
    with FlopCounterMode(display=False) as counter, torch.device("meta"):
        on_meta()(torch.empty(1, 1, side, side))
    assert counter.get_total_flops() / 2 == pytest.approx(gmacs * 1e9, rel=0.01)


def test_checkpoint_has_the_papers_size(student: AttentionUNet) -> None:
    assert 8.3e6 <= len(safetensors.torch.save(student.state_dict())) <= 8.9e6


@pytest.mark.parametrize(
    ("widths", "least_ratio"),
    [
        (tuple(load_recipe("t2kd_teacher").config["widths"]), 15),
        (TEACHER_WIDTHS, 15),
        (PAPER_TEACHER_WIDTHS, 48),
    ],
)
def test_teacher_is_many_times_the_student(widths: tuple[int, ...], least_ratio: float) -> None:
    assert count_parameters(on_meta(widths=widths)) >= least_ratio * count_parameters(on_meta())


def test_paper_size_teacher_has_106_8_million_parameters() -> None:
    assert count_parameters(on_meta(widths=PAPER_TEACHER_WIDTHS)) == pytest.approx(106.8e6, abs=0.05e6)


def test_features_have_the_grids_that_distillation_expects(student: AttentionUNet) -> None:
    images = torch.rand(2, 1, 64, 96)
    with torch.no_grad():
        logits, gates, bottleneck = student.features(images)
        assert torch.equal(student(images), logits)
    assert [tuple(gate.shape) for gate in gates] == [(2, 1, 8, 12), (2, 1, 16, 24), (2, 1, 32, 48), (2, 1, 64, 96)]
    assert bottleneck.shape == (2, 256, 4, 6)


def test_gates_lie_between_0_and_1_and_depend_on_the_image(student: AttentionUNet) -> None:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for gate in student.features(5 * torch.randn(2, 1, 64, 64, generator=generator)).gates:
            assert gate.min() >= 0 and gate.max() <= 1
            assert gate.std() > 1e-4
            assert not torch.equal(gate[0], gate[1])


def test_a_gate_weighs_its_skip_connection_by_psi() -> None:
    gate = AttentionGate(channels=2).eval()
    with torch.no_grad():
        for parameter in gate.parameters():
            parameter.zero_()  # batch norm's too: psi = sigmoid(its bias)
        gate.psi[1].bias.fill_(1.0)
        x = torch.rand(1, 2, 4, 4)
        gated, psi = gate(torch.rand(1, 2, 4, 4), x)
    expected = 1 / (1 + math.exp(-1))
    assert psi.shape == (1, 1, 4, 4)
    torch.testing.assert_close(psi, torch.full_like(psi, expected))
    torch.testing.assert_close(gated, expected * x)


def test_a_closed_gate_cuts_the_skip_connection() -> None:
    torch.manual_seed(0)
    network = AttentionUNet(AttentionUNetConfig(widths=(4, 8))).eval()
    features = network.features(torch.rand(1, 1, 8, 8))
    (open_gate,) = torch.autograd.grad(features.logits.sum(), network.encoder[0][0][0].weight)
    with torch.no_grad():
        network.decoder[0].gate.psi[1].weight.zero_()
        network.decoder[0].gate.psi[1].bias.fill_(-1e4)
        network.encoder[1][0][0].weight.zero_()  # the way through the bottleneck is cut too
    features = network.features(torch.rand(1, 1, 8, 8))
    (closed,) = torch.autograd.grad(features.logits.sum(), network.encoder[0][0][0].weight)
    assert open_gate.abs().max() > 0
    assert closed.abs().max() == 0


def test_100_by_100_is_refused_and_the_padded_size_is_named(student: AttentionUNet) -> None:
    with pytest.raises(ValueError, match=r"multiples of 16; got \(100, 100\)\. Pad the image to 112 x 112\."):
        student(torch.rand(1, 1, 100, 100))


@pytest.mark.parametrize("widths", [(16,), (16, 1), ()])
def test_too_few_levels_or_channels_are_refused(widths: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least two levels of at least two channels"):
        AttentionUNetConfig(widths=widths)
