import math

import pytest
import torch

from leanseg.losses.frequency import focal_frequency_loss, focal_weights, low_pass, spectrum


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [(128, 128), (32, 48), (16, 24, 32), (15, 20)])
def test_the_bands_part_the_spectrum_and_the_mean_is_low_alone(size: tuple[int, ...]) -> None:
    """An image of nothing but its mean is low, and nothing of it is high."""
    low = low_pass(size, half_width=5)
    high = ~low
    assert low.sum() == 10 ** len(size) and low.sum() + high.sum() == math.prod(size)
    flat = torch.ones(1, 1, *size)
    assert (spectrum(flat) * low).abs().sum() == pytest.approx(math.sqrt(math.prod(size)), rel=1e-5)
    assert (spectrum(flat) * high).abs().sum() == pytest.approx(0, abs=1e-3)


def test_the_band_is_the_papers_square_of_20() -> None:
    low = low_pass((128, 128), 10)
    assert low[54:74, 54:74].all() and low.sum() == 400
    assert low_pass((12, 64), 10).sum() == 12 * 20, "an axis that is shorter is low altogether"


def test_details_are_high_and_slow_waves_are_low() -> None:
    x = torch.arange(64.0)
    for frequency, is_low in ((3, True), (25, False)):
        wave = torch.cos(2 * math.pi * frequency * x / 64).expand(1, 1, 64, 64)
        energy = spectrum(wave).abs().square()
        band = low_pass((64, 64), 10) if is_low else ~low_pass((64, 64), 10)
        assert (energy * band).sum() / energy.sum() == pytest.approx(1, abs=1e-5)


def test_only_the_grid_is_shifted() -> None:
    """Batch and channels keep their order; the release shifts them too."""
    images = noise(3, 4, 8, 8)
    alone = spectrum(images[:1, :1])
    torch.testing.assert_close(spectrum(images)[:1, :1], alone)


def test_a_perfect_prediction_costs_nothing_and_its_gradient_is_0() -> None:
    image = noise(2, 3, 16, 16)
    prediction = image.clone().requires_grad_()
    loss = focal_frequency_loss(prediction, image, ~low_pass((16, 16), 3))
    loss.backward()
    assert loss.item() == 0 and prediction.grad is not None and not prediction.grad.any()


def test_by_hand() -> None:
    """Images of one pixel: d = 3 in one channel, so that its weight is 1 and the loss 9; mean with a channel of 0."""
    target = torch.zeros(1, 2, 1, 1)
    prediction = torch.tensor([3.0, 0.0]).view(1, 2, 1, 1)
    assert focal_frequency_loss(prediction, target, torch.ones(1, 1, dtype=torch.bool)).item() == pytest.approx(4.5)
    weights = focal_weights(torch.tensor([0.0, 1.0, 3.0]).view(1, 1, 3, 1)).flatten()
    torch.testing.assert_close(weights, torch.tensor([0.0, 0.5, 1.0]))  # log 1, log 2, log 4


def test_weights_are_of_each_image_and_channel_within_0_and_1_and_without_gradient() -> None:
    distance = noise(2, 3, 8, 8).abs().requires_grad_()
    weights = focal_weights(distance)
    assert not weights.requires_grad
    assert weights.min() >= 0 and torch.equal(weights.flatten(2).amax(dim=2), torch.ones(2, 3))
    assert torch.equal(focal_weights(torch.zeros(1, 1, 4, 4)), torch.zeros(1, 1, 4, 4)), "not 0 / 0"


def test_what_is_outside_of_the_band_does_not_count() -> None:
    image, low = noise(1, 1, 32, 32), low_pass((32, 32), 4)
    assert focal_frequency_loss(image + 5, image, ~low).item() == pytest.approx(0, abs=1e-9)
    assert focal_frequency_loss(image + 5, image, low).item() > 1
