import math

import pytest
import torch
from monai.losses import DiceLoss
from torch import Tensor
from torch.autograd import gradcheck
from torch.nn import functional as F

from leanseg.losses.overlap import DiceBCELoss, soft_dice


def random_logits_and_masks(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 1, 4, 5, generator=generator, dtype=dtype)
    masks = (torch.rand(3, 1, 4, 5, generator=generator) < 0.4).to(dtype)
    masks[2] = 0
    return logits, masks


def test_dice_by_hand() -> None:
    # p = (1/2, 3/4), y = (0, 1): overlap 3/4, total 5/4 + 1
    logits = torch.tensor([0.0, math.log(3)]).view(1, 1, 1, 2)
    target = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)
    assert soft_dice(logits, target, smooth=0.0).item() == pytest.approx(2 * 0.75 / 2.25)
    assert soft_dice(logits, target).item() == pytest.approx((2 * 0.75 + 1) / (2.25 + 1))


def test_dice_is_one_value_for_each_image() -> None:
    logits, masks = random_logits_and_masks()
    together = soft_dice(logits, masks)
    assert together.shape == (3,)
    torch.testing.assert_close(together[1:2], soft_dice(logits[1:2], masks[1:2]))


@pytest.mark.parametrize("smooth", [1.0, 0.01])
def test_dice_is_monais(smooth: float) -> None:
    logits, masks = random_logits_and_masks()
    monai = DiceLoss(sigmoid=True, smooth_nr=smooth, smooth_dr=smooth, reduction="none")
    torch.testing.assert_close(1 - soft_dice(logits, masks, smooth), monai(logits, masks).flatten())


def test_dice_of_an_empty_target_rewards_saying_nothing() -> None:
    empty = torch.zeros(1, 1, 4, 4)
    certain_of_nothing, certain_of_all = (soft_dice(torch.full_like(empty, z), empty).item() for z in (-1e4, 1e4))
    assert certain_of_nothing == pytest.approx(1)
    assert certain_of_all == pytest.approx(1 / 17)


def test_loss_is_cross_entropy_plus_one_minus_dice() -> None:
    logits, masks = random_logits_and_masks()
    expected = 0.3 * F.binary_cross_entropy_with_logits(logits, masks) + 1 - soft_dice(logits, masks).mean()
    torch.testing.assert_close(DiceBCELoss(bce_weight=0.3)(logits, masks), expected)


def test_loss_by_hand() -> None:
    # p = 1/2 everywhere, one of two pixels is lesion: BCE = ln 2, Dice = (1 + 1) / (2 + 1)
    logits, target = torch.zeros(1, 1, 1, 2), torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)
    assert DiceBCELoss()(logits, target).item() == pytest.approx(math.log(2) + 1 / 3)


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_loss_and_gradient_are_finite_for_empty_targets_and_extreme_logits(scale: float) -> None:
    logits = (scale * random_logits_and_masks()[0]).requires_grad_()
    loss = DiceBCELoss()(logits, torch.zeros_like(logits))
    loss.backward()
    assert loss.isfinite() and logits.grad is not None and logits.grad.isfinite().all()


def test_gradient_is_the_numeric_one() -> None:
    logits, masks = random_logits_and_masks(torch.float64)
    assert gradcheck(DiceBCELoss(), (logits.requires_grad_(), masks))
