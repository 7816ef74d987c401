import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from leanseg.losses.pne import PixelProjection, PNEConfig, draw, equal_contrast, on_grid, pne_loss


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ── the formula ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_by_hand() -> None:
    """P = (2 + 4) / 2 = 3, N = 1: -log(3 / 4)."""
    loss = equal_contrast(torch.tensor([[2.0, 4.0]]).log(), torch.tensor([[1.0]]).log())
    assert loss.item() == pytest.approx(math.log(4 / 3))


def test_swapping_positives_and_negatives_mirrors_the_loss() -> None:
    """L(s) = log(1 + exp(-s)) with s = log P - log N; the other way round it is L(-s), so that L(s) - L(-s) = -s."""
    positives, negatives = random(5, 7), random(5, 3, seed=1)
    s = positives.exp().mean(dim=1).log() - negatives.exp().mean(dim=1).log()
    torch.testing.assert_close(equal_contrast(positives, negatives), (1 + (-s).exp()).log())
    torch.testing.assert_close(equal_contrast(negatives, positives), (1 + s.exp()).log())


@pytest.mark.parametrize("times", [2, 5])
def test_the_numbers_of_pairs_do_not_count(times: int) -> None:
    positives, negatives = random(5, 7), random(5, 3, seed=1)
    expected = equal_contrast(positives, negatives)
    torch.testing.assert_close(equal_contrast(positives.repeat(1, times), negatives), expected)
    torch.testing.assert_close(equal_contrast(positives, negatives.repeat(1, times)), expected)


def test_it_vanishes_for_an_anchor_that_is_its_positives_and_is_log_2_for_one_between() -> None:
    tau = PNEConfig().temperature
    assert equal_contrast(torch.full((1, 4), 1 / tau), torch.full((1, 4), -1 / tau)).item() < 1e-8
    between = random(1, 6)
    assert equal_contrast(between, between).item() == pytest.approx(math.log(2))


def test_the_gradient_pulls_and_pushes_with_equal_weight_at_balance() -> None:
    """Where P = N: -1/2 of the softmax-weighted mean positive, + 1/2 of the mean negative, over tau."""
    tau, anchor = 0.5, torch.zeros(1, 3, requires_grad=True)  # at 0 every exp is 1, so P = N, and the means are plain
    positives, negatives = random(4, 3), random(6, 3, seed=1)
    equal_contrast(anchor @ positives.T / tau, anchor @ negatives.T / tau).sum().backward()
    expected = (negatives.mean(dim=0) - positives.mean(dim=0)) / 2 / tau
    assert anchor.grad is not None
    torch.testing.assert_close(anchor.grad[0], expected)


# ── what is drawn ───────────────────────────────────────────────────────────────────────────────────────────────────

LABELS = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 1, 0])
PREDICTED = torch.tensor([0, 0, 1, 0, 1, 0, 0, 1, 1, 0])


def test_anchors_are_wrong_positives_right_and_negatives_right_of_another_class() -> None:
    zero, one = draw(LABELS, PREDICTED, PNEConfig(), generator())
    assert set(zero.anchors.tolist()) == {2} and set(one.anchors.tolist()) == {5, 6}
    assert set(zero.positives.tolist()) <= {0, 1, 3, 9} and set(zero.negatives.tolist()) == {4, 7, 8}
    assert set(one.positives.tolist()) == {4, 7, 8} and set(one.negatives.tolist()) <= {0, 1, 3, 9}
    assert all(len(each.positives) == len(each.negatives) == 3 for each in (zero, one)), "as many of both"
    assert zero.are_hard and one.are_hard


def test_no_more_are_drawn_than_asked_for_and_others_by_another_seed() -> None:
    labels, predicted = LABELS.repeat(50), PREDICTED.repeat(50)
    config = PNEConfig(anchors=20, pairs=30)
    first, again, other = (draw(labels, predicted, config, generator(seed)) for seed in (3, 3, 4))
    assert all((len(each.anchors), len(each.positives), len(each.negatives)) == (20, 30, 30) for each in first)
    assert all(torch.equal(a, b) for x, y in zip(first, again, strict=True) for a, b in zip(x[:3], y[:3], strict=True))
    assert not torch.equal(first[0].anchors, other[0].anchors)


def test_ignored_pixels_are_never_drawn() -> None:
    labels = LABELS.clone()
    ignored = {2, 4, 9}
    labels[list(ignored)] = -1
    for seed in range(10):
        for each in draw(labels, PREDICTED, PNEConfig(), generator(seed)):
            assert not ignored & {int(n) for part in each[:3] for n in part}


def test_a_class_without_hard_pixels_has_the_mean_of_its_positives_for_an_anchor() -> None:
    predicted = PREDICTED.clone()
    predicted[2] = 0  # class 0 is all right
    zero, one = draw(LABELS, predicted, PNEConfig(), generator())
    assert not zero.are_hard and torch.equal(zero.anchors, zero.positives)
    assert one.are_hard
    features = random(10, 4)

    def project(x: Tensor) -> Tensor:
        return F.normalize(x, dim=1)

    as_image = features.T.reshape(1, 4, 2, 5)
    loss = pne_loss(as_image, LABELS.view(1, 2, 5), predicted.view(1, 2, 5), project, PNEConfig(), generator())
    unit = project(features)
    anchor = F.normalize(unit[zero.positives].mean(dim=0, keepdim=True), dim=1)
    by_hand = [
        equal_contrast(a @ unit[each.positives].T / 0.1, a @ unit[each.negatives].T / 0.1).mean()
        for a, each in ((anchor, zero), (unit[one.anchors], one))
    ]
    torch.testing.assert_close(loss, (by_hand[0] + by_hand[1]) / 2)


def test_labels_are_taken_from_the_nearest_pixels() -> None:
    labels = torch.arange(36).view(1, 6, 6)
    assert on_grid(labels, (2, 3)).tolist() == [[[7, 9, 11], [25, 27, 29]]]
    assert on_grid(labels, (6, 6)) is labels


# ── the whole loss ──────────────────────────────────────────────────────────────────────────────────────────────────


def loss_of(labels: Tensor, predicted: Tensor, **options: object) -> tuple[Tensor, Tensor, PixelProjection]:
    features = random(2, 6, 8, 8).requires_grad_()
    torch.manual_seed(0)
    project = PixelProjection(6, 16)
    config = PNEConfig(**options)  # type: ignore[arg-type]
    return pne_loss(features, labels, predicted, project, config, generator()), features, project


def two_classes() -> tuple[Tensor, Tensor]:
    labels = (random(2, 16, 16, seed=2) > 0).long()
    return labels, torch.where(random(2, 16, 16, seed=3) > 0.8, 1 - labels, labels)


@pytest.mark.parametrize("case", ["no hard pixel", "one class", "all ignored", "only ignored wrong", "nothing right"])
def test_without_pairs_it_is_zero_and_has_a_gradient(case: str) -> None:
    labels, predicted = two_classes()
    if case == "no hard pixel":
        predicted = labels
    elif case == "one class":
        labels = torch.zeros_like(labels)
    elif case == "all ignored":
        labels = torch.full_like(labels, -1)
    elif case == "only ignored wrong":
        labels = torch.where(labels == predicted, labels, -1)
    else:
        predicted = 1 - labels
    loss, features, _ = loss_of(labels, predicted)
    loss.backward()
    assert loss.item() == 0 and features.grad is not None and not features.grad.any()


def test_gradient_reaches_features_and_projection_but_positives_and_negatives_rest() -> None:
    labels, predicted = two_classes()
    hard = on_grid(labels, (8, 8)) != on_grid(predicted, (8, 8))
    for detach, rest in ((True, True), (False, False)):
        torch.manual_seed(0)
        loss, features, project = loss_of(labels, predicted, detach_pairs=detach)
        project.eval()  # batch norm of a batch would carry a gradient to every pixel
        loss = pne_loss(features, labels, predicted, project, PNEConfig(detach_pairs=detach), generator())
        loss.backward()
        assert features.grad is not None and loss.isfinite()
        moved = features.grad.abs().sum(dim=1) > 0
        assert moved[hard].all() and moved[~hard].any().item() is not rest
        assert all(p.grad is not None and p.grad.any() for p in project.parameters())


def test_steps_down_the_loss_make_hard_pixels_like_those_of_their_class() -> None:
    labels, predicted = two_classes()
    features = random(2, 6, 16, 16).requires_grad_()
    optimizer = torch.optim.SGD([features], lr=200.0)
    losses = []
    for step in range(20):
        loss = pne_loss(features, labels, predicted, lambda x: F.normalize(x, dim=1), PNEConfig(), generator(step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, "temperature, width, anchors and pairs must be positive"),
        ({"weight": -1.0}, "weight 0 or more"),
        ({"warmup": 1.0}, "warmup is a fraction from 0 to below 1; got 1.0"),
    ],
)
def test_values_that_make_no_sense_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PNEConfig(**options)  # type: ignore[arg-type]
