"""Behaviors of soft quantization, from the formulas of the paper."""

import math

import pytest
import torch
from torch import Tensor, nn

from leanseg.quantization.config import MAX_ALPHA, QuantizationConfig
from leanseg.quantization.dsq import (
    OBSERVED_BATCHES,
    DSQInputs,
    DSQWeights,
    alphas,
    asymptotic,
    dsq,
    evolve_,
    kappa_of,
    soft_quantize,
)
from leanseg.quantization.layers import harden_, quantize_, quantized_layers, set_bits_
from Testing.engine.quantization.lesions import fit, lesions, points_of_dice, trained_network

ALL_BITS = range(1, 9)


def number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


LOWER, UPPER = number(-0.7), number(1.3)


def spread(count: int = 4001, beyond: float = 0.0) -> Tensor:
    return torch.linspace(-0.7 - beyond, 1.3 + beyond, count, dtype=torch.float64)


# ── the staircase ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_steep_staircase_is_rounding(bits: int) -> None:
    x, step = spread(), 2.0 / (2**bits - 1)
    middle = torch.floor((x + 0.7) / step) * step - 0.7 + step / 2
    far = (x - middle).abs() > 0.02 * step
    assert far.sum() > 3000
    rounded = torch.round((x + 0.7) / step) * step - 0.7
    steep = soft_quantize(x, LOWER, UPPER, number(1000), bits)
    torch.testing.assert_close(steep[far], rounded[far], rtol=0, atol=1e-6)


@pytest.mark.parametrize("bits", ALL_BITS)
def test_a_flat_staircase_is_the_identity(bits: int) -> None:
    x = spread()
    torch.testing.assert_close(soft_quantize(x, LOWER, UPPER, number(1e-4), bits), x, rtol=0, atol=1e-8)


@pytest.mark.parametrize("bits", ALL_BITS)
@pytest.mark.parametrize("kappa", [0.5, 3.0, 30.0])
def test_the_staircase_is_continuous_rises_and_keeps_its_levels(bits: int, kappa: float) -> None:
    n = 2**bits - 1
    levels = torch.linspace(-0.7, 1.3, n + 1, dtype=torch.float64)
    for side in (-1e-9, 0.0, 1e-9):
        at = soft_quantize(levels + side, LOWER, UPPER, number(kappa), bits)
        torch.testing.assert_close(at, levels, rtol=0, atol=1e-6)
    assert (soft_quantize(spread(beyond=0.5), LOWER, UPPER, number(kappa), bits).diff() >= -1e-12).all()


def test_values_beyond_the_range_are_clipped() -> None:
    x = torch.tensor([-5.0, -0.71, 1.31, 9.0], dtype=torch.float64)
    expected = torch.tensor([-0.7, -0.7, 1.3, 1.3], dtype=torch.float64)
    assert torch.equal(soft_quantize(x, LOWER, UPPER, number(3), 3), expected)


@pytest.mark.parametrize("alpha", [0.4, 0.2, 0.1, 1e-2, 1e-4])
def test_alpha_is_the_distance_from_the_hard_level(alpha: float) -> None:
    kappa = float(kappa_of(number(alpha)))
    assert 1 - math.tanh(kappa / 2) == pytest.approx(alpha, abs=1e-9)
    # just inside an interval tanh reaches 1 - alpha of what phi reaches: s = 1 / (1 - alpha)
    assert float(asymptotic(number(0.25), number(kappa))) == pytest.approx(math.tanh(kappa / 4) / (1 - alpha), abs=1e-9)


def test_2_bits_by_hand() -> None:
    # levels 0, 1, 2, 3; 0.5 is rounded up
    x = torch.tensor([-1.0, 0.2, 0.5, 1.49, 1.51, 2.7, 4.0])
    hard = dsq(x, torch.tensor(0.0), torch.tensor(3.0), torch.tensor(0.2), 2)
    assert hard.tolist() == [0, 0, 1, 1, 2, 3, 3]
    soft = soft_quantize(torch.tensor([1.75]), torch.tensor(0.0), torch.tensor(3.0), torch.tensor(2.0), 2)
    assert soft.item() == pytest.approx(1 + (math.tanh(0.5) / math.tanh(1) + 1) / 2)


# ── gradients ───────────────────────────────────────────────────────────────────────────────────────────────────────


def closed_forms(x: Tensor, lower: float, upper: float, alpha: float, bits: int) -> dict[str, Tensor]:
    """dQ_S / d(x, l, u, alpha) as the chain rule gives them by hand."""
    n = 2**bits - 1
    step, kappa, s = (upper - lower) / n, math.log(2 / alpha - 1), 1 / (1 - alpha)
    i = ((x - lower) / step).floor().clamp(0, n - 1)
    t = (x - lower) / step - i - 0.5
    tanh, sech2 = torch.tanh(kappa * t), 1 - torch.tanh(kappa * t) ** 2
    slope, place = s * kappa * sech2 / 2, (i + (s * tanh + 1) / 2) / n
    reach = (x - lower) / (step * n)
    is_below, is_above = (x < lower).double(), (x > upper).double()
    inside = 1 - is_below - is_above
    d_phi = s**2 * tanh - s * t * sech2 * 2 / (alpha * (2 - alpha))
    return {
        "x": inside * slope,
        "lower": is_below + inside * (1 - place + slope * (reach - 1)),
        "upper": is_above + inside * (place - slope * reach),
        "alpha": inside * step / 2 * d_phi,
    }


def points(bits: int) -> Tensor:
    """Inside and outside the range, away from borders, where finite differences would see two pieces."""
    x = torch.rand(200, generator=torch.Generator().manual_seed(bits), dtype=torch.float64) * 3 - 1.2
    position = (x + 0.7) / (2.0 / (2**bits - 1))
    return x[(position - position.round()).abs() > 0.01]


@pytest.mark.parametrize("alpha", [0.4, 0.2, 0.05])
@pytest.mark.parametrize("bits", ALL_BITS)
def test_gradients_are_the_closed_forms_and_the_finite_differences(bits: int, alpha: float) -> None:
    x = points(bits)
    assert ((x > -0.7) & (x < 1.3)).sum() > 50 and (x < -0.7).any() and (x > 1.3).any()
    values = {"x": x, "lower": LOWER.expand_as(x), "upper": UPPER.expand_as(x), "alpha": number(alpha).expand_as(x)}

    def staircase(of: dict[str, Tensor]) -> Tensor:
        return soft_quantize(of["x"], of["lower"], of["upper"], kappa_of(of["alpha"]), bits)

    leaves = {name: value.clone().requires_grad_() for name, value in values.items()}
    by_autograd = dict(zip(leaves, torch.autograd.grad(staircase(leaves).sum(), list(leaves.values())), strict=True))
    by_hand, h = closed_forms(x, -0.7, 1.3, alpha, bits), 1e-6
    for name in values:
        up, down = ({**values, name: values[name] + sign * h} for sign in (1, -1))
        differences = (staircase(up) - staircase(down)) / (2 * h)
        torch.testing.assert_close(by_autograd[name], by_hand[name], rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(by_autograd[name], differences, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bits", ALL_BITS)
def test_the_hard_forward_has_few_values_and_the_soft_gradient(bits: int) -> None:
    x = torch.randn(5000, generator=torch.Generator().manual_seed(0)).requires_grad_()
    lower, upper, alpha = (torch.tensor(v, requires_grad=True) for v in (-1.0, 1.2, 0.3))
    hard = dsq(x, lower, upper, alpha, bits)
    assert len(hard.unique()) == 2**bits
    grads = torch.autograd.grad(hard.sum(), [x, lower, upper, alpha])
    soft = torch.autograd.grad(soft_quantize(x, lower, upper, kappa_of(alpha), bits).sum(), [x, lower, upper, alpha])
    for one, other in zip(grads, soft, strict=True):
        torch.testing.assert_close(one, other)
    inside = (x > -1) & (x < 1.2)
    assert (grads[0][inside] != 0).all() and (grads[0][~inside] == 0).all()


def test_above_the_range_the_gradient_goes_to_its_end() -> None:
    lower, upper = torch.tensor(-1.0, requires_grad=True), torch.tensor(1.0, requires_grad=True)
    for x, expected in (2.0, (0, 1)), (-2.0, (1, 0)):
        out = dsq(torch.tensor([x]), lower, upper, torch.tensor(0.2), 4).sum()
        assert tuple(g.item() for g in torch.autograd.grad(out, [lower, upper])) == expected


def test_ends_that_crossed_leave_finite_numbers() -> None:
    x = torch.linspace(-2, 2, 9).requires_grad_()
    lower, upper = torch.tensor(0.5, requires_grad=True), torch.tensor(-0.5, requires_grad=True)
    out = dsq(x, lower, upper, torch.tensor(0.2), 4)
    assert torch.isfinite(out).all()
    assert all(torch.isfinite(g).all() for g in torch.autograd.grad(out.sum(), [x, lower, upper]))


# ── layers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def some_weights() -> Tensor:
    return torch.randn(6, 4, 3, 3, generator=torch.Generator().manual_seed(0)) * torch.arange(1, 7).view(-1, 1, 1, 1)


@pytest.mark.parametrize("per_channel", [False, True])
def test_ranges_begin_at_2_6_standard_deviations(per_channel: bool) -> None:
    weight = some_weights()
    quantizer = DSQWeights(weight, 4, per_channel, None, 0.2)
    assert quantizer.lower.shape == ((6, 1, 1, 1) if per_channel else (1, 1, 1, 1))
    part = weight[2] if per_channel else weight
    mean, sigma = part.mean().item(), part.std(correction=0).item()
    row = 2 if per_channel else 0
    assert quantizer.lower[row].item() == pytest.approx(mean - 2.6 * sigma, rel=1e-5)
    assert quantizer.upper[row].item() == pytest.approx(mean + 2.6 * sigma, rel=1e-5)
    assert quantizer.alpha().item() == pytest.approx(0.2)


def test_a_channel_without_spread_begins_with_the_range_of_the_tensor() -> None:
    weight = some_weights()
    weight[1] = 0.25
    quantizer = DSQWeights(weight, 4, True, None, 0.2)
    width = (quantizer.upper - quantizer.lower).flatten()
    assert width[1].item() == pytest.approx(2 * 2.6 * weight.std(correction=0).item(), rel=1e-5)
    assert torch.isfinite(quantizer(weight)).all()


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("bits", ALL_BITS)
def test_each_range_has_at_most_2_to_the_b_values(bits: int, per_channel: bool) -> None:
    weight = some_weights()
    quantized = DSQWeights(weight, bits, per_channel, None, 0.2)(weight).detach()
    assert len(quantized.unique()) <= 2**bits * (6 if per_channel else 1)
    assert all(len(channel.unique()) <= 2**bits for channel in quantized)
    if bits < 3:
        assert max(len(channel.unique()) for channel in quantized) == 2**bits


def test_another_bit_width_is_another_number_of_levels() -> None:
    network = quantize_(
        nn.Sequential(*(nn.Conv2d(16, 16, 3) for _ in range(3))), QuantizationConfig(bits=8, clip_sigmas=1.5)
    )
    ((_, layer),) = quantized_layers(network)
    weight = torch.linspace(-1, 1, 23040).view(160, 16, 3, 3)
    counts = []
    for bits in (8, 4, 2, 1):
        set_bits_(network, bits)
        counts.append(len(layer.weights(weight).unique()))  # type: ignore[operator]
    assert counts == [256, 16, 4, 2]


def test_activations_follow_the_first_batches_and_then_learn() -> None:
    quantizer = DSQInputs(4, 0.2)
    quantizer(torch.tensor([0.0, 2.0]))
    assert quantizer.upper.item() == 2
    quantizer(torch.tensor([0.5, 4.0]))
    assert quantizer.upper.item() == pytest.approx(0.9 * 2 + 0.1 * 4)
    assert quantizer.lower.item() == pytest.approx(0.1 * 0.5)
    for _ in range(OBSERVED_BATCHES):
        quantizer(torch.tensor([0.0, 2.0]))
    before = quantizer.upper.item()
    out = quantizer(torch.tensor([0.0, 100.0]))
    assert quantizer.upper.item() == before
    out.sum().backward()
    assert quantizer.upper.grad == 1 and quantizer.alpha.a.grad is not None


@pytest.mark.parametrize("is_negative", [False, True])
def test_what_was_never_negative_keeps_its_zero(is_negative: bool) -> None:
    quantizer = DSQInputs(2, 0.2)
    quantizer(torch.tensor([-1.0 if is_negative else 0.0, 3.0]))
    with torch.no_grad():
        quantizer.lower.add_(0.25)
    quantizer.eval()
    assert quantizer(torch.tensor([-9.0])).item() == (-0.75 if is_negative else 0)


def test_evaluation_leaves_the_ranges_alone() -> None:
    quantizer = DSQInputs(4, 0.2).eval()
    before = {name: value.clone() for name, value in quantizer.state_dict().items()}
    quantizer(torch.tensor([-5.0, 5.0]))
    assert all(torch.equal(value, before[name]) for name, value in quantizer.state_dict().items())


# ── training ────────────────────────────────────────────────────────────────────────────────────────────────────────


def quantized(seed: int, method: str, bits: int) -> nn.Module:
    network = quantize_(trained_network(seed), QuantizationConfig(method, bits, activation_bits=bits))
    return fit(network, seed, 5, 3e-3, lambda epoch: evolve_(network, epoch / 4))


def test_alpha_evolves_layer_by_layer() -> None:
    network = quantized(0, "dsq", 4)
    ends = torch.stack(list(alphas(network).values())).detach()
    assert len(ends) > 10 and ((ends > 0) & (ends <= MAX_ALPHA)).all()
    assert ends.mean() < 0.2
    assert len(ends.unique()) > len(ends) / 2


def test_the_pull_lowers_alpha() -> None:
    quantizer = DSQInputs(4, 0.2)
    optimizer = torch.optim.SGD(quantizer.parameters(), lr=10.0)
    for _ in range(20):
        optimizer.zero_grad()
        torch.stack([alpha.square() for alpha in alphas(quantizer).values()]).sum().backward()
        optimizer.step()
    assert 0 < quantizer.alpha().item() < 0.15


def test_4_bits_cost_little_and_2_bits_cost_less_than_with_plain_rounding() -> None:
    seeds = (0, 1, 2)
    whole = [points_of_dice(trained_network(seed)) for seed in seeds]
    assert min(whole) > 85, "the task is learned"
    for seed in seeds:
        assert points_of_dice(quantized(seed, "dsq", 4)) > whole[seed] - 2
    soft = [points_of_dice(quantized(seed, "dsq", 2)) for seed in seeds]
    plain = [points_of_dice(quantized(seed, "uniform", 2)) for seed in seeds]
    assert sum(soft) > sum(plain), f"{soft} against {plain}"


def test_8_then_4_then_2_bits_start_better_than_2_bits_at_once() -> None:
    at_once = quantize_(trained_network(), QuantizationConfig("dsq", 2, activation_bits=2))
    in_turn = quantize_(trained_network(), QuantizationConfig("dsq", 8, activation_bits=8))
    for bits in (8, 4, 2):
        set_bits_(in_turn, bits, activation_bits=bits)
        if bits > 2:
            fit(in_turn, 0, 2, 3e-3)
    at_once.train()(lesions(48, 0)[0])  # it must see activations once
    assert points_of_dice(in_turn) > points_of_dice(at_once)


@pytest.mark.parametrize("activation_bits", [None, 4])
def test_the_deployed_network_gives_the_same_masks(activation_bits: int | None) -> None:
    network = quantize_(trained_network(), QuantizationConfig("dsq", 4, activation_bits, "channel"))
    fit(network, 0, 1, 1e-3)
    images = lesions(16, seed=7)[0]
    with torch.no_grad():
        before = network(images)
        after = harden_(network)(images)
    assert ((before > 0) == (after > 0)).float().mean() > 0.999
    torch.testing.assert_close(before, after, rtol=0, atol=1 / 255)
