import math

import pytest
import torch

from leanseg.losses.places import places_loss


def test_by_hand() -> None:
    """A target in one pixel of the upper right of four cells, and logits that say 1/2 everywhere."""
    target = torch.zeros(1, 1, 8, 8)
    target[0, 0, 1, 6] = 1.0
    undecided = torch.zeros(1, 2, 2)
    # cross-entropy log 2; Dice of four halves against one cell: (2 / 2 + 1) / (2 + 1 + 1) = 1/2
    assert places_loss([undecided], target).item() == pytest.approx(math.log(2) + 0.5)
    assert places_loss([undecided, undecided], target).item() == pytest.approx(math.log(2) + 0.5), "mean over stages"
    right = torch.tensor([[[-20.0, 20.0], [-20.0, -20.0]]])
    assert places_loss([right], target).item() == pytest.approx(0, abs=1e-5)
    assert places_loss([-right], target).item() > 20


def test_nothing_there_is_a_target_too() -> None:
    empty = torch.zeros(2, 1, 8, 8)
    assert places_loss([torch.full((2, 4, 4), -20.0)], empty).item() == pytest.approx(0, abs=1e-4)
    assert places_loss([torch.full((2, 4, 4), 20.0)], empty).item() > 20


def test_without_stages_it_is_0() -> None:
    assert places_loss([], torch.ones(1, 1, 8, 8)).item() == 0
