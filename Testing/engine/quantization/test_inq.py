"""Behaviors of incremental quantization, from the rules of the paper."""

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from leanseg.quantization.config import PAPER_PORTIONS, QuantizationConfig
from leanseg.quantization.inq import INQWeights, codebook, decode, encode, partition, top_of
from leanseg.quantization.layers import fix_portion_, quantize_, quantized_layers
from Testing.engine.quantization.lesions import fit, points_of_dice, trained_network


def gaussian(count: int = 4000) -> Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(0)) * 0.1


def round_by_the_rule(weight: float, book: list[float]) -> float:
    """The paper's rule, spelled out over neighbors of the book."""
    magnitudes = sorted({abs(value) for value in book})
    for alpha, beta in itertools.pairwise(magnitudes):
        if (alpha + beta) / 2 <= abs(weight) < 3 * beta / 2:
            return math.copysign(beta, weight)
    return 0.0


@pytest.mark.parametrize("largest", [1.0, 0.75, 0.7499, 1.4999, 1.5, 0.013, 300.0, 2.0**-20])
def test_the_largest_power_is_the_papers(largest: float) -> None:
    expected = 2.0 ** math.floor(math.log2(4 * largest / 3))
    assert top_of(torch.tensor([largest], dtype=torch.float64)).item() == expected


@pytest.mark.parametrize(("bits", "values"), [(2, 3), (3, 5), (4, 9), (5, 17), (7, 65), (8, 129)])
def test_the_code_book_is_zero_and_powers_of_two(bits: int, values: int) -> None:
    book = codebook(0.5, bits)
    assert len(book) == values <= 2**bits and book == sorted(book) and 0.0 in book
    n1, n2 = -1, -1 + 1 - 2 ** (bits - 1) // 2
    assert [v for v in book if v > 0] == [2.0**n for n in range(n2, n1 + 1)]


@pytest.mark.parametrize("bits", range(2, 9))
def test_every_weight_is_rounded_by_the_rule(bits: int) -> None:
    weights = gaussian()
    top = top_of(weights.abs().max())
    book = codebook(top.item(), bits)
    rounded = decode(encode(weights, top, bits), top, bits)
    assert rounded.tolist() == [round_by_the_rule(w, book) for w in weights.tolist()]
    mantissas = torch.frexp(rounded[rounded != 0]).mantissa.abs()
    assert (mantissas == 0.5).all(), "powers of two, exactly"
    assert len(rounded.unique()) <= 2**bits
    largest = weights.abs().argmax()
    assert rounded[largest].abs() == top


def test_ties_by_hand() -> None:
    # 4 bits, largest power 1: 0, 1/8, 1/4, 1/2, 1; borders at 1/16, 3/16, 3/8, 3/4
    weights = torch.tensor([0.0, 0.0624, 0.0625, 0.1874, 0.1875, 0.375, -0.375, 0.7499, 0.75, 1.49, 1.5, -7.0])
    codes = encode(weights, torch.tensor(1.0), 4)
    rounded = [0, 0, 0.125, 0.125, 0.25, 0.5, -0.5, 0.5, 1, 1, 1, -1]
    assert decode(codes, torch.tensor(1.0), 4).tolist() == rounded
    assert codes.tolist() == [0, 0, 4, 4, 3, 2, -2, 2, 1, 1, 1, -1]


def test_a_book_for_each_channel() -> None:
    weight = torch.tensor([[0.9, -0.3], [0.09, 0.01], [0.0, 0.0]])
    quantizer = INQWeights(weight, 5, per_channel=True)
    assert quantizer.top.flatten().tolist() == [1.0, 2.0**-4, 1.0]
    quantizer.fix_(weight, 1.0)
    expected = [[1.0, -0.25], [2.0**-4 if 0.09 < 3 / 2 * 2**-4 else 2.0**-3, 2.0**-7], [0, 0]]
    assert quantizer(weight).tolist() == expected


# ── portions ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("portion", PAPER_PORTIONS)
def test_a_portion_takes_the_largest(portion: float) -> None:
    weight = gaussian(40)
    chosen = partition(weight, torch.zeros(40, dtype=torch.bool), portion)
    assert chosen.sum() == round(portion * 40)
    if portion < 1:
        assert weight[chosen].abs().min() >= weight[~chosen].abs().max()


def test_a_random_portion_is_another_one_and_repeats() -> None:
    weight, none = gaussian(40), torch.zeros(40, dtype=torch.bool)
    one, same, largest = (
        partition(weight, none, 0.5, generator)
        for generator in (torch.Generator().manual_seed(1), torch.Generator().manual_seed(1), None)
    )
    assert one.sum() == 20 and torch.equal(one, same) and not torch.equal(one, largest)


def test_what_is_quantized_stays_so_whatever_the_others_become() -> None:
    weight = gaussian(40)
    first = partition(weight, torch.zeros(40, dtype=torch.bool), 0.5)
    second = partition(torch.where(first, weight, 100.0), first, 0.75)
    assert (second | ~first).all() and second.sum() == 30
    assert torch.equal(partition(weight, second, 0.5), second), "a smaller portion takes nothing back"


def optimizers(network: nn.Module) -> list[torch.optim.Optimizer]:
    return [
        torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, weight_decay=0.1),
        torch.optim.AdamW(network.parameters(), lr=0.01, weight_decay=0.1),
    ]


@pytest.mark.parametrize("which", [0, 1], ids=["SGD with momentum", "AdamW"])
def test_retraining_moves_the_others_alone(which: int) -> None:
    torch.manual_seed(0)
    network = quantize_(
        nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1)), QuantizationConfig("inq", 5, skip=())
    )
    optimizer = optimizers(network)[which]
    x = torch.randn(32, 6)
    y = x.prod(dim=1, keepdim=True)

    def train() -> None:
        for _ in range(10):
            optimizer.zero_grad()
            (network(x) - y).square().mean().backward()
            optimizer.step()

    train()  # momentum of all weights is under way before the first are quantized
    layers = [layer for _, layer in quantized_layers(network)]
    for portion in PAPER_PORTIONS[:-1]:
        fix_portion_(network, portion)
        before = [layer.weights(layer.weight).detach().clone() for layer in layers]
        train()
        for layer, then in zip(layers, before, strict=True):
            assert isinstance(layer.weights, INQWeights)
            fixed, now = layer.weights.is_fixed, layer.weights(layer.weight).detach()
            assert fixed.sum() == round(portion * fixed.numel())
            assert torch.equal(now[fixed], then[fixed])
            assert (now[~fixed] != then[~fixed]).all()
            assert layer.weight.grad is not None and (layer.weight.grad[fixed] == 0).all()
    fix_portion_(network, 1.0)
    for layer in layers:
        assert isinstance(layer.weights, INQWeights)
        assert set(layer.weights(layer.weight).unique().tolist()) <= set(codebook(layer.weights.top.item(), 5))


def test_a_running_mean_of_the_weights_holds_the_same_codes() -> None:
    weight = gaussian(40)
    quantizer, mean = INQWeights(weight, 5, False), INQWeights(weight, 5, False)
    quantizer.fix_(weight, 1.0)
    state = mean.state_dict()
    for key, value in quantizer.state_dict().items():  # as the trainer does it
        _ = state[key].lerp_(value, 0.01) if value.is_floating_point() else state[key].copy_(value)
    assert torch.equal(mean(0.9 * weight), quantizer(weight))


def test_5_bits_in_portions_cost_little() -> None:
    whole = points_of_dice(trained_network())
    network = quantize_(trained_network(), QuantizationConfig("inq", 5))
    fit(network, 0, 4, 3e-3, lambda epoch: fix_portion_(network, PAPER_PORTIONS[epoch]))
    for _, layer in quantized_layers(network):
        assert isinstance(layer.weights, INQWeights) and layer.weights.is_fixed.all()
    assert points_of_dice(network) > whole - 2
