import math

import pytest
import torch
from torch import Tensor

from leanseg.losses.evidential import (
    EvidentialLoss,
    dirichlet,
    divergence_from_ignorance,
    evidence,
    integrated_cross_entropy,
)


def pixel(*values: float) -> Tensor:
    """(1, class, 1, 1)"""
    return torch.tensor(values).view(1, -1, 1, 1)


FIRST = pixel(1.0, 0.0)


# ── the distribution ────────────────────────────────────────────────────────────────────────────────────────────────


def test_beliefs_and_vacuity_sum_to_1() -> None:
    logits = 8 * torch.randn(3, 2, 16, 16, generator=torch.Generator().manual_seed(0))
    alpha, probability, belief, vacuity = dirichlet(logits)
    assert (alpha >= 1).all() and (vacuity > 0).all() and (vacuity <= 1).all() and (evidence(logits) >= 0).all()
    one = torch.ones(3, 16, 16)
    torch.testing.assert_close(belief.sum(dim=1) + vacuity[:, 0], one, rtol=0, atol=1e-6)
    torch.testing.assert_close(probability.sum(dim=1), one, rtol=0, atol=1e-6)


def test_zero_logits_leave_a_vacuity_of_0_5906() -> None:
    # evidence ln 2 for each of two classes: 2 / (2 + 2 ln 2)
    assert dirichlet(torch.zeros(1, 2, 1, 1)).vacuity.item() == pytest.approx(1 / (1 + math.log(2)), abs=1e-6)


def test_nothing_is_known_without_evidence() -> None:
    result = dirichlet(torch.full((1, 2, 1, 1), -1e4))
    assert result.vacuity.item() == 1 and result.probability.flatten().tolist() == [0.5, 0.5]


def test_evidence_of_8_to_0_makes_a_probability_of_0_9_and_a_vacuity_of_0_2() -> None:
    logits = pixel(math.log(math.expm1(8.0)), -1e4)
    alpha, probability, belief, vacuity = (part.flatten().tolist() for part in dirichlet(logits))
    assert alpha == pytest.approx([9, 1], rel=1e-5) and probability == pytest.approx([0.9, 0.1], rel=1e-5)
    assert belief == pytest.approx([0.8, 0.0], rel=1e-5) and vacuity == pytest.approx([0.2], rel=1e-5)


# ── the terms of the loss ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("alpha", "expected"), [((1.0, 1.0), 1.0), ((10.0, 1.0), 0.1), ((1.0, 2.0), 1.5)])
def test_integrated_cross_entropy_in_closed_form(alpha: tuple[float, float], expected: float) -> None:
    # digamma(n + 1) - digamma(n) = 1 / n; for (1, 2): digamma(3) - digamma(1) = 1 + 1 / 2
    assert integrated_cross_entropy(pixel(*alpha), FIRST).item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("alpha", [(1.0, 1.0), (4.0, 2.5), (1.5, 6.0)])
def test_integrated_cross_entropy_is_the_mean_over_the_distribution(alpha: tuple[float, float]) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        samples = torch.distributions.Dirichlet(torch.tensor(alpha, dtype=torch.float64)).sample((400_000,))
    expected = -samples[:, 0].log().mean().item()
    assert integrated_cross_entropy(pixel(*alpha), FIRST).item() == pytest.approx(expected, rel=0.01)


def test_evidence_for_the_right_class_alone_does_not_diverge() -> None:
    for alpha in (1.0, 2.0, 50.0):
        assert divergence_from_ignorance(pixel(alpha, 1.0), FIRST).item() == pytest.approx(0, abs=1e-6)


def test_divergence_grows_with_evidence_for_the_wrong_class() -> None:
    values = [divergence_from_ignorance(pixel(7.0, wrong), FIRST).item() for wrong in (1.0, 1.5, 2.0, 5.0, 50.0)]
    assert values == sorted(values) and len(set(values)) == len(values)
    # KL(Dir(1, 2) || Dir(1, 1)): the density is 2 x, and the integral of 2 x ln(2 x) from 0 to 1 is ln 2 - 1/2
    assert values[2] == pytest.approx(math.log(2) - 0.5, abs=1e-6)


def test_the_weight_of_the_divergence_is_ramped() -> None:
    loss = EvidentialLoss(ice_weight=1e-3, kl_weight=5e-7, ramp_epochs=100, reduction="sum")
    assert [loss.kl_weight_at(epoch) for epoch in (0, 50, 100, 170)] == pytest.approx([0, 2.5e-7, 5e-7, 5e-7])
    assert EvidentialLoss(ramp_epochs=0).kl_weight_at(0) == 0.025


# ── the loss ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_loss_of_a_picture_without_evidence_by_hand() -> None:
    logits = torch.full((1, 2, 2, 2), -1e4)  # alpha (1, 1), probability 1/2, no divergence
    target = torch.tensor([[1.0, 0.0], [0.0, 0.0]])[None, None]
    dice = 1 - (2 * 0.5 + 1) / (2 + 1 + 1)
    assert EvidentialLoss()(logits, target, 100).item() == pytest.approx(dice + 1.0, abs=1e-5)
    summed = EvidentialLoss(ice_weight=1e-3, kl_weight=5e-7, reduction="sum")
    assert summed(logits, target, 100).item() == pytest.approx(dice + 4e-3, abs=1e-5)


def test_the_divergence_counts_by_its_weight() -> None:
    logits = torch.cat([torch.full((1, 1, 2, 2), -1e4), torch.full((1, 1, 2, 2), math.log(math.expm1(1.0)))], dim=1)
    target = torch.zeros(1, 1, 2, 2)  # alpha (1, 2), the tumor is wrong everywhere
    late, early = (EvidentialLoss(kl_weight=0.5, ramp_epochs=10)(logits, target, epoch).item() for epoch in (10, 0))
    assert late - early == pytest.approx(0.5 * (math.log(2) - 0.5), abs=1e-5)


def test_the_loss_of_a_batch_is_the_mean_over_its_images() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(3, 2, 8, 8, generator=generator)
    target = (torch.rand(3, 1, 8, 8, generator=generator) < 0.3).float()
    each = EvidentialLoss().of_images(logits, target, 20)
    alone = torch.stack([EvidentialLoss()(logits[n : n + 1], target[n : n + 1], 20) for n in range(3)])
    torch.testing.assert_close(each, alone)
    torch.testing.assert_close(EvidentialLoss()(logits, target, 20), each.mean())


def test_half_precision_logits_give_the_loss_in_float32() -> None:
    logits = torch.randn(2, 2, 8, 8, generator=torch.Generator().manual_seed(2)).bfloat16().requires_grad_()
    target = torch.ones(2, 1, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        loss = EvidentialLoss()(logits, target, 50)
    loss.backward()
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, EvidentialLoss()(logits.float(), target, 50))
    assert logits.grad is not None and logits.grad.isfinite().all() and logits.grad.any()


def test_large_logits_keep_loss_and_gradient_finite() -> None:
    logits = torch.tensor([1e4, -1e4]).view(1, 2, 1, 1).requires_grad_()
    for target in (torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)):
        loss = EvidentialLoss()(logits, target, 100)
        (gradient,) = torch.autograd.grad(loss, logits)
        assert loss.isfinite() and gradient.isfinite().all()


def test_an_unknown_reduction_is_refused() -> None:
    with pytest.raises(ValueError, match=r"one of mean, sum; got 'median'"):
        EvidentialLoss(reduction="median")
