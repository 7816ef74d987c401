"""Plain rounding: Med-DANet V2's grid of weights, and its like for activations."""

import pytest
import torch
from torch import Tensor

from leanseg.networks.blocks.bits import fake_quantize
from leanseg.quantization.uniform import UniformInputs, UniformWeights, round_through


@pytest.fixture
def weight() -> Tensor:
    return torch.randn(8, 4, 3, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("bits", range(2, 9))
def test_weights_are_rounded_as_in_med_danet_v2(weight: Tensor, bits: int) -> None:
    ours = UniformWeights(bits, per_channel=False)(weight)
    (theirs,) = fake_quantize(weight, torch.tensor([float(bits)]))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    assert len(ours.unique()) <= 2**bits - 1


def test_3_bits_by_hand() -> None:
    # q = 3, m = 0.9: steps of 0.3
    weight = torch.tensor([0.9, -0.46, 0.14, 0.16, -0.9])
    torch.testing.assert_close(UniformWeights(3, False)(weight), torch.tensor([0.9, -0.6, 0.0, 0.3, -0.9]))


def test_each_channel_has_its_own_largest_weight(weight: Tensor) -> None:
    weight[3] *= 0.01
    quantized = UniformWeights(4, per_channel=True)(weight)
    torch.testing.assert_close(quantized.abs().amax((1, 2, 3)), weight.abs().amax((1, 2, 3)))
    assert (UniformWeights(4, per_channel=False)(weight)[3] == 0).all()


def test_a_channel_of_zeros_stays_zero(weight: Tensor) -> None:
    weight[2] = 0
    for clip in (None, 1.5):
        quantized = UniformWeights(4, True, clip)(weight)
        assert (quantized[2] == 0).all() and torch.isfinite(quantized).all()


def test_clipping_ends_the_grid_at_so_many_standard_deviations(weight: Tensor) -> None:
    largest = UniformWeights(4, False, clip_sigmas=1.5)(weight).abs().max().item()
    assert largest == pytest.approx(abs(weight.mean().item()) + 1.5 * weight.std(correction=0).item(), rel=1e-5)


def test_the_gradient_is_the_identity_inside_the_grid(weight: Tensor) -> None:
    upstream = torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
    weight.requires_grad_()
    (UniformWeights(4, True)(weight) * upstream).sum().backward()
    assert weight.grad is not None
    inner = weight.detach().abs() < weight.detach().abs().amax((1, 2, 3), keepdim=True)
    torch.testing.assert_close(weight.grad[inner], upstream[inner])


def test_multiples_of_a_step_are_exact() -> None:
    x, step = torch.linspace(-3, 3, 1001), torch.tensor(0.3)
    rounded = round_through(x, step)
    assert torch.equal(rounded, (x / step).round() * step) and len(rounded.unique()) == 21


def test_activations_follow_their_range_while_training() -> None:
    quantizer = UniformInputs(2)
    assert quantizer(torch.tensor([0.0, 0.9, 1.6, 3.0])).tolist() == [0, 1, 2, 3]
    quantizer(torch.tensor([-1.0, 5.0]))
    assert quantizer.lower.item() == pytest.approx(-0.1) and quantizer.upper.item() == pytest.approx(3.2)
    quantizer.eval()
    quantizer(torch.tensor([-50.0, 50.0]))
    assert quantizer.upper.item() == pytest.approx(3.2)


def test_activations_beyond_their_range_have_no_gradient() -> None:
    quantizer = UniformInputs(4)
    quantizer(torch.tensor([0.0, 1.0]))
    x = torch.tensor([-0.5, 0.5, 1.5], requires_grad=True)
    quantizer.eval()(x).sum().backward()
    assert x.grad is not None and x.grad.tolist() == pytest.approx([0, 1, 0])


def test_a_range_of_nothing_gives_finite_numbers() -> None:
    assert torch.isfinite(UniformInputs(4)(torch.full((3,), 0.7))).all()


@pytest.mark.parametrize(("low", "high"), [(-0.9, 2.1), (0.2, 3.0), (-3.0, -0.5), (0.0, 1.0)])
def test_zero_is_always_a_level_of_activations(low: float, high: float) -> None:
    quantizer = UniformInputs(3)
    quantizer(torch.tensor([low, high]))
    levels = quantizer.eval()(torch.linspace(-5, 5, 1001)).unique()
    assert len(levels) == 8 and 0 in levels
    lowest, step = quantizer.grid()
    torch.testing.assert_close(levels, lowest + step * torch.arange(8))
    assert levels[0] <= max(low, 0) + step / 2 and levels[-1] >= min(high, 0) - step / 2
