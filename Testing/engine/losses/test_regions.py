import math

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from leanseg.losses.regions import RegionLoss, SoftmaxDiceLoss, classes_of_regions, regions_of_classes

BACKGROUND, NECROSIS, EDEMA, ENHANCING = range(4)


def regions_of(labels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """(batch, h, w) class labels -> (batch, 3, h, w) masks of WT, TC and ET, written out."""
    whole = labels > 0
    core = (labels == NECROSIS) | (labels == ENHANCING)
    return torch.stack([whole, core, labels == ENHANCING], dim=1).to(dtype)


def a_case(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 4, (3, 4, 5), generator=generator)
    labels[2] = 0
    return torch.randn(3, 4, 4, 5, generator=generator, dtype=dtype), regions_of(labels, dtype)


def certain(labels: Tensor) -> Tensor:
    """Logits that leave no doubt."""
    return 1e4 * torch.nn.functional.one_hot(labels, 4).movedim(-1, 1).float()


LABELS = torch.tensor([[[0, 1, 2, 3], [0, 0, 2, 3]]])


# ── classes and regions ─────────────────────────────────────────────────────────────────────────────────────────────


def test_regions_are_sums_of_classes() -> None:
    p = torch.tensor([0.1, 0.2, 0.3, 0.4]).view(1, 4, 1, 1)
    assert regions_of_classes(p).flatten().tolist() == pytest.approx([0.9, 0.6, 0.4])  # p1+p2+p3, p1+p3, p3


def test_classes_come_back_from_their_regions() -> None:
    expected = torch.nn.functional.one_hot(LABELS, 4).movedim(-1, 1).float()
    assert torch.equal(classes_of_regions(regions_of(LABELS)), expected)
    assert torch.equal(regions_of_classes(expected), regions_of(LABELS))


# ── softmax Dice ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_softmax_dice_is_0_for_a_perfect_and_3_for_a_wrong_prediction() -> None:
    target = regions_of(LABELS)
    assert SoftmaxDiceLoss()(certain(LABELS), target).item() == pytest.approx(0, abs=2e-5)
    assert SoftmaxDiceLoss()(certain((LABELS + 1) % 4), target).item() == pytest.approx(3)


def test_softmax_dice_by_hand() -> None:
    # all p = 1/4 on 8 pixels: sum p_c = 2; 1 of class 1, 2 each of classes 2 and 3
    expected = (1 - 2 * 0.25 / 3) + 2 * (1 - 2 * 0.5 / 4)
    assert SoftmaxDiceLoss()(torch.zeros(1, 4, 2, 4), regions_of(LABELS)).item() == pytest.approx(expected, abs=1e-5)


def test_softmax_dice_sums_over_the_whole_batch() -> None:
    logits, target = a_case()
    apart = torch.stack([SoftmaxDiceLoss()(logits[n : n + 1], target[n : n + 1]) for n in range(3)]).mean()
    together = SoftmaxDiceLoss()(logits, target)
    assert not torch.allclose(together, apart, rtol=1e-2)
    one_wide_image = SoftmaxDiceLoss()(*(x.transpose(0, 1).flatten(1, 2)[None] for x in (logits, target)))
    torch.testing.assert_close(together, one_wide_image)


def test_a_class_that_the_batch_lacks_costs_1_and_has_no_gradient() -> None:
    logits = torch.zeros(1, 4, 2, 4, requires_grad=True)
    loss = SoftmaxDiceLoss()(logits, torch.zeros(1, 3, 2, 4))
    loss.backward()
    assert loss.item() == 3
    assert logits.grad is not None and not logits.grad.any()


# ── regions ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_region_loss_by_hand() -> None:
    # p = 1/4: sums over 8 pixels are 6, 4, 2 for WT, TC, ET; truth has 5, 3, 2 pixels
    dice = [(2 * 0.75 * 5 + 1) / (6 + 5 + 1), (2 * 0.5 * 3 + 1) / (4 + 3 + 1), (2 * 0.25 * 2 + 1) / (2 + 2 + 1)]
    expected = 1 - sum(dice) / 3 + 0.5 * math.log(4)
    loss = RegionLoss(cross_entropy_weight=0.5)(torch.zeros(1, 4, 2, 4), regions_of(LABELS))
    assert loss.item() == pytest.approx(expected)


def test_region_loss_is_0_for_a_perfect_prediction_also_of_nothing() -> None:
    for labels in (LABELS, torch.zeros_like(LABELS)):
        assert RegionLoss()(certain(labels), regions_of(labels)).item() == pytest.approx(0, abs=1e-6)


def test_edema_taken_for_necrosis_costs_the_core_and_not_the_whole_tumor() -> None:
    labels = torch.full((1, 4, 4), EDEMA)
    loss = RegionLoss(cross_entropy_weight=0.0)(certain(torch.full_like(labels, NECROSIS)), regions_of(labels))
    assert loss.item() == pytest.approx((0 + (1 - 1 / 17) + 0) / 3)


def test_dice_of_each_image_or_of_the_batch() -> None:
    logits, target = a_case()
    plain = RegionLoss(cross_entropy_weight=0.0)
    apart = torch.stack([plain(logits[n : n + 1], target[n : n + 1]) for n in range(3)]).mean()
    torch.testing.assert_close(RegionLoss(cross_entropy_weight=0.0, per_image=True)(logits, target), apart)
    assert not torch.allclose(plain(logits, target), apart, rtol=1e-2)


def test_a_missing_region_still_pushes_its_class_down() -> None:
    logits = torch.zeros(1, 4, 2, 4, requires_grad=True)
    RegionLoss(cross_entropy_weight=0.0)(logits, torch.zeros(1, 3, 2, 4)).backward()
    assert logits.grad is not None and (logits.grad[:, ENHANCING] > 0).all() and (logits.grad[:, BACKGROUND] < 0).all()


# ── both ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("loss", "tolerance"), [(SoftmaxDiceLoss(), 1e-6), (RegionLoss(), 0.02)])
def test_probabilities_give_what_their_logits_give(loss: SoftmaxDiceLoss | RegionLoss, tolerance: float) -> None:
    logits, target = a_case()
    torch.testing.assert_close(
        loss.of_probabilities(logits.softmax(dim=1), target), loss(logits, target), rtol=0, atol=tolerance
    )


@pytest.mark.parametrize("loss", [SoftmaxDiceLoss(), RegionLoss(), RegionLoss(per_image=True)])
def test_a_certain_mistake_has_a_finite_price_and_gradient(loss: SoftmaxDiceLoss | RegionLoss) -> None:
    target = regions_of(LABELS)
    skipped = certain(torch.zeros_like(LABELS)).softmax(dim=1).requires_grad_()
    price = loss.of_probabilities(skipped, target)
    price.backward()
    assert price.isfinite() and skipped.grad is not None and skipped.grad.isfinite().all() and skipped.grad.any()
    logits = certain(torch.zeros_like(LABELS)).requires_grad_()
    price = loss(logits, target)
    price.backward()
    assert price.isfinite() and logits.grad is not None and logits.grad.isfinite().all()


@pytest.mark.parametrize("loss", [SoftmaxDiceLoss(), RegionLoss(), RegionLoss(per_image=True)])
def test_gradient_is_the_numeric_one(loss: SoftmaxDiceLoss | RegionLoss) -> None:
    logits, target = a_case(torch.float64)
    assert gradcheck(loss, (logits.requires_grad_(), target))
    assert gradcheck(loss.of_probabilities, (logits.detach().softmax(dim=1).requires_grad_(), target))
