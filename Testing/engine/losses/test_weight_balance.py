import math

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck
from torch.nn import functional as F

from leanseg.losses.overlap import soft_dice
from leanseg.losses.weight_balance import WeightBalanceLoss

LN2 = math.log(2)


def lesion_of(pixels: int, height: int, width: int, dtype: torch.dtype = torch.float32) -> Tensor:
    target = torch.zeros(1, 1, height, width, dtype=dtype)
    target.view(-1)[:pixels] = 1
    return target


def gradient_norm_on_lesion(loss: object, logits: Tensor, target: Tensor) -> float:
    logits = logits.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(logits, target), logits)  # type: ignore[operator]
    return float(gradient[target > 0].norm())


# Where p = 1/2 everywhere, the cross-entropy is ln 2 and the Dice of n in N pixels is (n + 1) / (N / 2 + n + 1).
@pytest.mark.parametrize(
    ("pixels", "height", "width", "expected"),
    [
        # a = 1/4, beta = 3/4, gamma = 1
        pytest.param(1, 2, 2, LN2 * (0.75 + 3 * 0.25) / 4 + 1 - 2 / 4, id="large lesion"),
        # a = 0.025, beta = 0.975, gamma = 1.5
        pytest.param(1, 5, 8, 1.5 * LN2 * (0.975 + 39 * 0.025) / 40 + 1 - 2 / 22, id="lesion of half the small area"),
        # a = 0.01, beta = 0.98 (clipped from 0.99), gamma = 1.8
        pytest.param(1, 10, 10, 1.8 * LN2 * (0.98 + 99 * 0.02) / 100 + 1 - 2 / 52, id="beta is clipped from above"),
        # a = 0.75, beta = 0.5 (clipped from 0.25), gamma = 1
        pytest.param(3, 2, 2, LN2 * 0.5 + 1 - 4 / 6, id="beta is clipped from below"),
        # beta = 1/2, gamma = 1, no Dice
        pytest.param(0, 10, 10, LN2 * 0.5, id="no lesion"),
    ],
)
def test_loss_by_hand(pixels: int, height: int, width: int, expected: float) -> None:
    target = lesion_of(pixels, height, width)
    assert WeightBalanceLoss()(torch.zeros_like(target), target).item() == pytest.approx(expected, rel=1e-5)


def test_with_beta_one_half_and_gamma_one_it_is_half_cross_entropy_plus_dice_loss() -> None:
    logits = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    target = torch.cat([lesion_of(n, 8, 8) for n in (1, 2, 20, 64)])
    expected = 0.5 * F.binary_cross_entropy_with_logits(logits, target) + (1 - soft_dice(logits, target)).mean()
    plain = WeightBalanceLoss(beta_range=(0.5, 0.5), small_area=0.0)
    torch.testing.assert_close(plain(logits, target), expected)
    assert abs(WeightBalanceLoss()(logits, target) - expected) > 0.01


@pytest.mark.parametrize("loss", [WeightBalanceLoss(), WeightBalanceLoss((0.9, 0.9), small_area=0.0)])
def test_an_image_without_lesion_is_half_cross_entropy_whatever_the_balance(loss: WeightBalanceLoss) -> None:
    logits = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    target = torch.zeros_like(logits)
    torch.testing.assert_close(loss(logits, target), 0.5 * F.binary_cross_entropy_with_logits(logits, target))


@pytest.mark.parametrize("logit", [0.0, -4.0], ids=["undecided", "sees no lesion"])
def test_a_20_pixel_lesion_pulls_harder_than_under_cross_entropy(logit: float) -> None:
    target = lesion_of(20, 64, 64)
    logits = torch.full_like(target, logit)
    balanced = gradient_norm_on_lesion(WeightBalanceLoss(), logits, target)
    plain = gradient_norm_on_lesion(F.binary_cross_entropy_with_logits, logits, target)
    assert balanced > 3 * plain


def test_the_smaller_the_lesion_the_more_each_of_its_pixels_weighs() -> None:
    norms = []
    for pixels in (20, 60, 120, 204):  # all below 5 % of 64 x 64
        target = lesion_of(pixels, 64, 64)
        # The cross-entropy alone: the Dice term is measured elsewhere.
        loss = lambda z, y: WeightBalanceLoss()(z, y) + soft_dice(z, y).mean()  # noqa: E731
        norms.append(gradient_norm_on_lesion(loss, torch.zeros_like(target), target) / math.sqrt(pixels))
    assert norms == sorted(norms, reverse=True) and norms[0] > 1.5 * norms[-1]


def test_loss_is_the_mean_over_the_images_of_a_batch() -> None:
    logits = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    target = torch.cat([lesion_of(n, 8, 8) for n in (0, 1, 20)])
    loss = WeightBalanceLoss()
    alone = torch.stack([loss(logits[n : n + 1], target[n : n + 1]) for n in range(3)])
    torch.testing.assert_close(loss(logits, target), alone.mean())


@pytest.mark.parametrize("small_area", [0.0, 0.05])
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_loss_and_gradient_are_finite_for_empty_targets_and_extreme_logits(small_area: float, scale: float) -> None:
    logits = (scale * torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))).requires_grad_()
    loss = WeightBalanceLoss(small_area=small_area)(logits, torch.zeros(2, 1, 8, 8))
    loss.backward()
    assert loss.isfinite() and logits.grad is not None and logits.grad.isfinite().all()


def test_gradient_is_the_numeric_one() -> None:
    logits = torch.randn(2, 1, 4, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    target = torch.cat([lesion_of(n, 4, 8, torch.float64) for n in (1, 9)])
    assert gradcheck(WeightBalanceLoss(), (logits.requires_grad_(), target))
