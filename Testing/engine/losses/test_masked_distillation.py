import math

import pytest
import torch
from torch import Tensor

from leanseg.losses.masked_distillation import MaskedDistillationLoss, self_distillation


def logit(probability: float) -> Tensor:
    return torch.full((1, 1, 2, 2), math.log(probability / (1 - probability)))


def test_divergence_by_hand() -> None:
    """p = 3/4 of the main branch, q = 1/4 of the masked one: 3/4 log 3 + 1/4 log 1/3."""
    expected = 0.5 * math.log(3)
    assert self_distillation(logit(0.25), logit(0.75)).item() == pytest.approx(expected, abs=1e-6)
    assert self_distillation(logit(0.5), logit(0.75)).item() == pytest.approx(
        0.75 * math.log(1.5) + 0.25 * math.log(0.5), abs=1e-6
    )


def test_divergence_is_0_where_the_logits_agree_and_positive_elsewhere() -> None:
    generator = torch.Generator().manual_seed(0)
    main = 3 * torch.randn(4, 1, 8, 8, generator=generator)
    assert self_distillation(main.clone(), main).item() == pytest.approx(0, abs=1e-6)
    for scale in (0.1, 1.0, 5.0):
        other = main + scale * torch.randn(main.shape, generator=generator)
        assert self_distillation(other, main).item() > 1e-4


def test_the_main_branch_learns_nothing_from_the_masked_ones() -> None:
    main, masked = (torch.zeros(1, 1, 2, 2, requires_grad=True) for _ in range(2))
    self_distillation(masked + 1, main).backward()
    assert main.grad is None
    assert masked.grad is not None and masked.grad.abs().min() > 0


def test_the_whole_loss_by_hand() -> None:
    """All logits 0, half of four pixels are target: S = log 2 + 1 - (2 * 1 + 1) / (2 + 2 + 1)."""
    zeros, target = torch.zeros(1, 1, 2, 2), torch.tensor([[[[1.0, 1.0], [0.0, 0.0]]]])
    segmentation = math.log(2) + 0.4
    loss = MaskedDistillationLoss()
    assert loss(zeros, (), target).item() == pytest.approx(segmentation)
    assert loss(zeros, (zeros, zeros), target).item() == pytest.approx(segmentation + 2 * 0.5 * segmentation)
    exists = torch.zeros(1)
    assert loss(zeros, (), target, exists).item() == pytest.approx(segmentation + 0.5 * math.log(2))
    agreed = MaskedDistillationLoss(masked_weight=0.0)(logit(0.75), (logit(0.25),), target)
    alone = loss(logit(0.75), (), target)
    assert (agreed - alone).item() == pytest.approx(0.5 * math.log(3), abs=1e-6), "lambda is 1"


def test_an_empty_target_says_that_the_object_does_not_exist() -> None:
    empty, quiet = torch.zeros(2, 1, 4, 4), torch.full((2, 1, 4, 4), -20.0)
    loss = MaskedDistillationLoss()
    assert loss(quiet, (), empty, torch.full((2,), -20.0)).item() == pytest.approx(0, abs=1e-4)
    assert loss(quiet, (), empty, torch.full((2,), 20.0)).item() > 5


def test_the_correlation_is_taught_where_the_object_is_only_if_asked_for() -> None:
    target = torch.zeros(1, 1, 8, 8)
    target[0, 0, 1, 6] = 1.0
    right, logits = torch.tensor([[[-1.0, 1.0], [-1.0, -1.0]]]), torch.zeros(1, 1, 8, 8)
    alone = MaskedDistillationLoss()(logits, (), target)
    assert MaskedDistillationLoss()(logits, (), target, None, -right).item() == alone.item()
    taught = MaskedDistillationLoss(correlation_weight=0.5)
    assert taught(logits, (), target, None, right).item() == pytest.approx(alone.item(), abs=1e-4)
    assert taught(logits, (), target, None, -right).item() > alone.item() + 5


def test_weights_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match=r"weights must be 0 or more"):
        MaskedDistillationLoss(masked_weight=-1.0)
    with pytest.raises(ValueError, match=r"temperature positive"):
        MaskedDistillationLoss(temperature=0.0)
