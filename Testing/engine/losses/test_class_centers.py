import math

import pytest
import torch

from leanseg.losses.class_centers import ClassGuidanceConfig, InterClassLoss, attention_loss, attention_target

EVERY = torch.ones(1, 3, dtype=torch.bool)


def spread(by: float, labels: int = 3) -> torch.Tensor:
    """Centers at 0, by, 2 by, ... on a line."""
    return by * torch.arange(float(labels)).view(1, labels, 1).expand(1, labels, 2) / math.sqrt(2)


def test_the_target_is_every_eighth_voxel_as_one_hot() -> None:
    classes = torch.zeros(1, 16, 8, 8, dtype=torch.long)
    classes[0, 8] = 2
    classes[0, 1:8] = 3  # lies between
    target = attention_target(classes, 4, 8)
    assert target.shape == (1, 4, 2, 1, 1) and target.flatten(2)[0].T.tolist() == [[1, 0, 0, 0], [0, 0, 1, 0]]


def test_the_attention_loss_is_the_mean_square() -> None:
    assert float(attention_loss(torch.full((1, 2, 1, 1, 1), 3.0), torch.tensor([[[[[1.0]]], [[[0.0]]]]]))) == 6.5


def test_more_classes_than_labels_are_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match=r"the truth has class 4, the network 3 labels\. Set out_channels") as caught:
        attention_target(torch.full((1, 8, 8, 8), 4), 3, 8)
    assert "\n" not in str(caught.value)


def test_the_distance_by_hand() -> None:
    """Of 0, 1 and 2 the squares are 1, 1 and 4, each pair twice: D = sqrt(12)."""
    assert float(InterClassLoss()(spread(1), EVERY)) == pytest.approx(10 * math.log(1 + 100 / math.sqrt(12)))


def test_the_loss_falls_as_centers_separate_and_stays_above_0() -> None:
    losses = [float(InterClassLoss()(spread(by), EVERY)) for by in (0.1, 1, 10, 100, 1e4)]
    assert losses == sorted(losses, reverse=True) and len(set(losses)) == 5
    assert 0 < losses[-1] < 0.1


def test_an_absent_class_does_not_count_unless_as_released() -> None:
    centers = torch.tensor([[[3.0, 0.0], [0.0, 4.0], [0.0, 0.0]]])
    present = torch.tensor([[True, True, False]])
    ours, released = (float(InterClassLoss(way)(centers, present)) for way in (False, True))
    assert ours == pytest.approx(10 * math.log(1 + 100 / math.sqrt(2 * 25)))
    assert released == pytest.approx(10 * math.log(1 + 100 / math.sqrt(2 * (25 + 9 + 16))))


def test_the_loss_does_not_depend_on_the_size_of_the_batch_unless_as_released() -> None:
    two, both = spread(1).repeat(2, 1, 1), EVERY.repeat(2, 1)
    assert float(InterClassLoss()(two, both)) == pytest.approx(float(InterClassLoss()(spread(1), EVERY)))
    assert float(InterClassLoss(True)(two, both)) == pytest.approx(10 * math.log(1 + 100 / (2 * math.sqrt(12))))


def test_images_with_one_class_are_left_out_and_alone_give_0() -> None:
    one = torch.tensor([[True, False, False]])
    mixed = InterClassLoss()(spread(1).repeat(2, 1, 1), torch.cat([EVERY, one]))
    assert float(mixed) == pytest.approx(float(InterClassLoss()(spread(1), EVERY)))
    centers = spread(1).requires_grad_()
    loss = InterClassLoss()(centers, one)
    loss.backward()
    assert loss.item() == 0 and centers.grad is not None and not centers.grad.any()


@pytest.mark.parametrize("as_released", [False, True])
def test_equal_centers_have_a_finite_gradient(as_released: bool) -> None:
    centers = spread(0).clone().requires_grad_()
    InterClassLoss(as_released)(centers, EVERY).backward()
    assert centers.grad is not None and centers.grad.isfinite().all()


@pytest.mark.parametrize("values", [{"attention_weight": -1.0}, {"distance_from": 1.1}])
def test_a_config_that_makes_no_sense_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="got"):
        ClassGuidanceConfig(**values)
