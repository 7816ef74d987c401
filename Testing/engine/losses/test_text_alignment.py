import math

import pytest
import torch

from leanseg.losses.text_alignment import NOTHING_SAID, StageAlignmentLoss

AXES = torch.eye(3)


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def test_the_loss_of_two_images_by_hand() -> None:
    vision = 2 * AXES[:2]  # tau = 1/2
    language = torch.stack([AXES[0], AXES[0]])
    # z = [[2, 2], [0, 0]]: positives z_00 = 2 and z_11 = 0, negatives z_01 = 2 and z_10 = 0
    expected = (softplus(-2) + softplus(0)) / 2 + (softplus(2) + softplus(0)) / 2
    loss = StageAlignmentLoss()([vision], [language], torch.tensor([4, 7]))
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_stages_are_averaged() -> None:
    prompts = torch.tensor([0, 1])
    stages = [(AXES[:2], AXES[:2]), (AXES[:2], AXES[[1, 0]])]
    apart = [StageAlignmentLoss()([v], [t], prompts) for v, t in stages]
    together = StageAlignmentLoss()([v for v, _ in stages], [t for _, t in stages], prompts)
    assert together.item() == pytest.approx((apart[0].item() + apart[1].item()) / 2, abs=1e-6)
    assert apart[0] < apart[1]


def test_the_same_prompt_is_no_opposite() -> None:
    vision, language = 5 * AXES, AXES[[0, 0, 2]]
    differ = StageAlignmentLoss()([vision], [language], torch.tensor([0, 1, 2]))
    same = StageAlignmentLoss()([vision], [language], torch.tensor([3, 3, 2]))
    # z_01 = 5 is what the first and second image would pay for; of the other four negatives each is ln 2
    assert differ.item() - same.item() == pytest.approx((softplus(5) + 5 * softplus(0)) / 6 - softplus(0), abs=1e-5)


def test_images_without_prompt_count_nowhere() -> None:
    vision, language = (torch.randn(3, 4, generator=torch.Generator().manual_seed(n)) for n in (0, 1))
    two = StageAlignmentLoss()([vision[:2]], [language[:2]], torch.tensor([0, 1]))
    three = StageAlignmentLoss()([vision], [language], torch.tensor([0, 1, NOTHING_SAID]))
    torch.testing.assert_close(two, three)


def test_without_any_prompt_the_loss_is_0() -> None:
    assert StageAlignmentLoss()([AXES], [AXES], torch.full((3,), NOTHING_SAID)) == 0
    assert StageAlignmentLoss()([], [], torch.tensor([0, 1])) == 0


def test_gradients_stay_finite_where_nothing_is_said() -> None:
    vision = (100 * AXES).requires_grad_()
    StageAlignmentLoss()([vision], [torch.zeros(3, 3)], torch.tensor([0, 1, NOTHING_SAID])).backward()
    assert vision.grad is not None and vision.grad.isfinite().all()
