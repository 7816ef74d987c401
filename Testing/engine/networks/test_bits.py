import math

import pytest
import torch
from torch import Tensor, nn

from leanseg.networks.blocks.bits import BitSelector, fake_quantize, quantized_conv, sobel_density


@pytest.fixture
def weight() -> Tensor:
    return torch.randn(8, 4, 3, 3, generator=torch.Generator().manual_seed(0))


def test_8_bits_are_at_most_255_values_on_a_symmetric_grid(weight: Tensor) -> None:
    (quantized,) = fake_quantize(weight, torch.tensor([8.0]))
    step = weight.abs().max() / 127
    steps = (quantized / step).round()
    assert 100 < len(steps.unique()) <= 255 and steps.abs().max() == 127
    torch.testing.assert_close(quantized, steps * step)
    assert (quantized - weight).abs().max() <= step / 2 * 1.001


def test_8_bits_by_hand() -> None:
    weight = torch.tensor([1.27, -0.504, 0.004, 0.006]).view(1, 1, 2, 2)
    (quantized,) = fake_quantize(weight, torch.tensor([8.0]))
    torch.testing.assert_close(quantized.flatten(), torch.tensor([1.27, -0.50, 0.0, 0.01]), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("bits", "largest_error"), [(32, 1e-6), (16, 2e-5), (8, 5e-3)])
def test_error_relative_to_the_largest_weight(weight: Tensor, bits: float, largest_error: float) -> None:
    (quantized,) = fake_quantize(weight, torch.tensor([float(bits)]))
    assert (quantized - weight).abs().max() <= largest_error * weight.abs().max()
    assert torch.equal(quantized, weight) == (bits == 32)


@pytest.mark.parametrize("bits", [8.0, 16.0, 32.0])
def test_the_gradient_of_quantization_is_the_identity(weight: Tensor, bits: float) -> None:
    upstream = torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
    weight.requires_grad_()
    (fake_quantize(weight, torch.tensor([bits]))[0] * upstream).sum().backward()
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad, upstream)


def test_zero_weights_stay_zero() -> None:
    assert (fake_quantize(torch.zeros(1, 1, 3, 3), torch.tensor([8.0])) == 0).all()


@pytest.mark.parametrize("has_gradient", [False, True])
@pytest.mark.parametrize("stride", [1, 2])
def test_each_sample_has_its_own_bits(has_gradient: bool, stride: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 5, 3, stride=stride, padding=1, bias=False)
    x, bits = torch.randn(4, 3, 8, 6), torch.tensor([16.0, 4.0, 32.0, 4.0], requires_grad=has_gradient)
    together = quantized_conv(conv, x, bits)
    for n in range(4):
        alone = quantized_conv(conv, x[n : n + 1], bits[n : n + 1])
        torch.testing.assert_close(together[n : n + 1], alone, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(together[2:3], conv(x[2:3]), rtol=1e-5, atol=1e-6)
    assert not torch.allclose(together[1:2], conv(x[1:2]), atol=1e-3)


def test_the_bits_of_a_sample_learn_from_that_sample_alone() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 5, 3, padding=1, bias=False)
    bits = torch.tensor([4.0, 8.0], requires_grad=True)
    quantized_conv(conv, torch.randn(2, 3, 8, 6), bits)[0].square().sum().backward()
    assert bits.grad is not None and bits.grad[0] != 0 and bits.grad[1] == 0


def test_sobel_density_by_hand() -> None:
    # a ramp of slope 2 along i: inside |Sobel_i| is 2, half of it at the two border columns; nothing along j
    ramp = 2 * torch.arange(4.0).expand(1, 2, 3, 4).clone()
    ramp[:, 1] = 5
    torch.testing.assert_close(sobel_density(ramp)[0], torch.tensor([(1 + 2 + 2 + 1) / 4, 0, 0, 0]))
    turned = sobel_density(ramp.movedim(2, 3))[0]
    torch.testing.assert_close(turned, torch.tensor([0, 1.5, 0, 0]))


def a_complexity(batch: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(batch, 8, generator=generator), torch.rand(batch, 16, 4, 4, generator=generator)


@pytest.mark.parametrize(("channels", "parameters"), [(16, 50), (32, 82), (64, 146), (128, 274)])
def test_parameters_are_the_papers(channels: int, parameters: int) -> None:
    assert sum(p.numel() for p in BitSelector(4, channels, (8, 16)).parameters()) == parameters


@pytest.mark.parametrize("candidates", [(8, 16), (4, 8, 16), (2, 4, 8, 16)])
def test_the_most_bits_win_at_the_start(candidates: tuple[int, ...]) -> None:
    assert BitSelector(4, 16, candidates)(*a_complexity()).tolist() == [candidates[-1]] * 2


def test_bits_are_exactly_a_candidate_and_their_gradient_that_of_the_expectation() -> None:
    selector = BitSelector(4, 16, (8, 16))
    for bias, expected in ([0.0, 0.3], 16), ([0.3, 0.0], 8):
        with torch.no_grad():
            selector.linear.bias.copy_(torch.tensor(bias))
        selector.zero_grad()
        bits = selector(*a_complexity())
        assert bits.tolist() == [expected] * 2
        bits.sum().backward()
        p = 1 / (1 + math.exp(bias[0] - bias[1]))  # of 16 bits; d(8 + 8 p)/d logit = 8 p (1 - p), for two samples
        slope = 2 * 8 * p * (1 - p)
        assert selector.linear.bias.grad.tolist() == pytest.approx([-slope, slope])
        assert (selector.linear.weight.grad[1] > 0).all(), "a cost on bits lowers the logit of 16"


def test_edges_and_spread_decide() -> None:
    selector = BitSelector(1, 1, (8, 16))
    with torch.no_grad():
        selector.linear.weight.copy_(torch.tensor([[-1.0, -1, -1], [1, 1, 1]]))
        selector.linear.bias.copy_(torch.tensor([1.0, -1]))
    smooth, rough = torch.zeros(1, 1, 4, 4), 10 * torch.rand(1, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    assert selector(sobel_density(smooth), smooth).item() == 8
    assert selector(sobel_density(rough), smooth).item() == 16
    assert selector(sobel_density(smooth), rough).item() == 16


def test_the_features_get_no_gradient_from_the_selector() -> None:
    density, features = a_complexity()
    features.requires_grad_()
    BitSelector(4, 16, (8, 16))(density, features).sum().backward()
    assert features.grad is None
