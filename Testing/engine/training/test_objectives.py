import pytest
import torch
from torch import nn

from leanseg.errors import UnknownNameError
from leanseg.losses.overlap import DiceBCELoss
from leanseg.losses.weight_balance import WeightBalanceLoss
from leanseg.training.loss_recipe import LossConfig
from leanseg.training.objectives import LOSSES, Batch, Supervised, build_loss, decide


@pytest.fixture
def a_batch() -> Batch:
    images = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return Batch(images, (images > 0.7).float(), torch.tensor([1, 2]), torch.arange(2), torch.zeros(2, 8, 8, 2))


def test_supervised_is_the_loss_between_logits_and_targets(a_batch: Batch) -> None:
    loss, parts = Supervised(DiceBCELoss())(nn.Identity(), a_batch)
    torch.testing.assert_close(loss, DiceBCELoss()(a_batch.images, a_batch.targets))
    assert parts == {}


def test_logits_of_half_precision_meet_the_loss_in_single(a_batch: Batch) -> None:
    seen = []

    def loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        seen.append(logits.dtype)
        return logits.mean()

    Supervised(loss)(nn.Identity().bfloat16(), Batch(a_batch.images.bfloat16(), *list(vars(a_batch).values())[1:]))
    assert seen == [torch.float32]


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_built_with_its_defaults(name: str) -> None:
    assert build_loss(LossConfig(name)) == LOSSES[name]()


def test_options_of_a_recipe_reach_the_loss_and_lists_become_tuples() -> None:
    config = LossConfig("weight_balance", {"beta_range": [0.5, 0.9], "small_area": 0.1})
    assert build_loss(config) == WeightBalanceLoss(beta_range=(0.5, 0.9), small_area=0.1)


def test_a_loss_that_does_not_exist_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"no loss named 'dice_bec'\. Did you mean 'dice_bce'\?"):
        build_loss(LossConfig("dice_bec"))


def test_an_option_that_does_not_exist_suggests_the_nearest() -> None:
    with pytest.raises(
        UnknownNameError, match=r"no key in options of weight_balance named 'smal_area'\. Did you mean 'small_area'"
    ):
        build_loss(LossConfig("weight_balance", {"smal_area": 0.1}))


def test_one_logit_is_decided_at_zero_and_four_classes_by_the_largest_as_nested_regions() -> None:
    assert decide(torch.tensor([-0.1, 0.1]).view(1, 1, 1, 2)).flatten().tolist() == [False, True]
    winners = torch.eye(4).T.reshape(1, 4, 1, 4)  # pixel n is class n: background, necrosis, edema, enhancing
    whole, core, enhancing = decide(winners)[0, :, 0].tolist()
    assert whole == [False, True, True, True]
    assert core == [False, True, False, True]
    assert enhancing == [False, False, False, True]
