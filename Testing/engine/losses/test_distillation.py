import math

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from leanseg.losses.distillation import attention_map_loss, bottleneck_loss, softened_output_loss


def random_maps(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def pixels(*values: float) -> Tensor:
    """One image of one channel and one row."""
    return torch.tensor(values, dtype=torch.float32).view(1, 1, 1, -1)


ONE = torch.ones(1)
KL_THREE_QUARTERS_TO_HALF = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_output_loss_by_hand(temperature: float) -> None:
    # sigmoid(ln 3) = 3/4; one pixel differs, one does not
    student, teacher = pixels(0, 1), pixels(temperature * math.log(3), 1)
    loss = softened_output_loss(student, teacher, 0.5 * ONE, temperature)
    assert loss.item() == pytest.approx(temperature**2 * 0.5 * KL_THREE_QUARTERS_TO_HALF / 2, rel=1e-5)


def test_output_loss_vanishes_only_where_student_and_teacher_agree() -> None:
    logits = random_maps(0, 2, 1, 4, 4)
    weight = torch.tensor([0.9, 0.1])
    same = logits.clone().requires_grad_()
    loss = softened_output_loss(same, logits, weight)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert same.grad is not None and same.grad.abs().max() < 1e-6
    assert softened_output_loss(logits + 0.1, logits, weight) > 1e-4


def test_size_of_the_gradient_hardly_depends_on_the_temperature() -> None:
    teacher, start = random_maps(0, 2, 1, 8, 8), random_maps(1, 2, 1, 8, 8)
    norms = []
    for temperature in (1.0, 2.0, 4.0, 8.0):
        student = start.clone().requires_grad_()
        softened_output_loss(student, teacher, torch.ones(2), temperature).backward()
        assert student.grad is not None
        norms.append(float(student.grad.norm()))
    assert max(norms) < 1.35 * min(norms)  # without temperature^2 the ratio would be near 64


def test_gradient_of_the_output_loss_is_tau_times_the_difference_of_probabilities() -> None:
    teacher, student = random_maps(0, 1, 1, 2, 3), random_maps(1, 1, 1, 2, 3).requires_grad_()
    softened_output_loss(student, teacher, ONE, 3.0).backward()
    expected = 3 * (torch.sigmoid(student.detach() / 3) - torch.sigmoid(teacher / 3)) / 6
    torch.testing.assert_close(student.grad, expected)


def test_each_image_is_weighed_by_its_own_routing_weight() -> None:
    student, teacher = random_maps(0, 2, 1, 4, 4), random_maps(1, 2, 1, 4, 4)
    first, second = (softened_output_loss(student[n : n + 1], teacher[n : n + 1], ONE) for n in range(2))
    both = softened_output_loss(student, teacher, torch.tensor([0.9, 0.1]))
    torch.testing.assert_close(both, (0.9 * first + 0.1 * second) / 2)


def test_attention_loss_by_hand() -> None:
    # directions (0.6, 0.8) and (1, 0): 0.4^2 + 0.8^2; then (1, 0) and (0, 1): 2
    student = [pixels(0.3, 0.4), pixels(0.5, 0)]
    teacher = [pixels(0.7, 0), pixels(0, 0.2)]
    assert attention_map_loss(student, teacher, 0.5 * ONE).item() == pytest.approx(0.5 * (0.8 + 2))


def test_attention_loss_ignores_the_scale_of_a_map() -> None:
    student, teacher = random_maps(0, 2, 1, 4, 4).sigmoid(), random_maps(1, 2, 1, 4, 4).sigmoid()
    weight = torch.ones(2)
    assert attention_map_loss([0.1 * student], [student], weight).item() == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(
        attention_map_loss([0.1 * student], [teacher], weight), attention_map_loss([student], [teacher], weight)
    )


def test_attention_loss_needs_as_many_gates_of_both() -> None:
    with pytest.raises(ValueError, match="zip"):
        attention_map_loss([pixels(1, 2)], [pixels(1, 2), pixels(1, 2)], ONE)


def test_bottleneck_loss_by_hand_needs_no_adapter() -> None:
    # channel means (3, 4) -> (0.6, 0.8) and (2, 0) -> (1, 0)
    student = torch.tensor([[2.0, 8.0], [4.0, 0.0]]).view(1, 2, 1, 2)
    teacher = torch.tensor([[6.0, 3.0], [0.0, -3.0], [0.0, 0.0]]).view(1, 3, 1, 2)
    assert bottleneck_loss(student, teacher, 0.25 * ONE).item() == pytest.approx(0.25 * 0.8)


def test_losses_and_gradients_are_finite_for_maps_of_zeros_and_extreme_logits() -> None:
    zeros, teacher = torch.zeros(2, 1, 4, 4, requires_grad=True), random_maps(0, 2, 1, 4, 4)
    extreme = (1e4 * random_maps(1, 2, 1, 4, 4)).requires_grad_()
    weight = torch.ones(2)
    loss = (
        attention_map_loss([zeros], [teacher], weight)
        + bottleneck_loss(zeros, torch.zeros(2, 3, 4, 4), weight)
        + softened_output_loss(extreme, -1e4 * teacher, weight)
    )
    loss.backward()
    assert loss.isfinite()
    for leaf in (zeros, extreme):
        assert leaf.grad is not None and leaf.grad.isfinite().all()


def test_gradients_are_the_numeric_ones() -> None:
    double = torch.float64
    student = random_maps(0, 2, 1, 2, 3, dtype=double).requires_grad_()
    teacher = random_maps(1, 2, 1, 2, 3, dtype=double)
    features = random_maps(2, 2, 4, 2, 3, dtype=double).requires_grad_()
    weight = torch.tensor([0.9, 0.1], dtype=double)
    assert gradcheck(lambda s: softened_output_loss(s, teacher, weight), (student,))
    assert gradcheck(lambda s: attention_map_loss([s], [teacher], weight), (student,))
    assert gradcheck(lambda f: bottleneck_loss(f, teacher, weight), (features,))
