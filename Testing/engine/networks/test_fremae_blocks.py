import pytest
import torch
from torch import Tensor

from leanseg.networks.blocks.fremae import BilateralDecoder, FrequencyMapping


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pyramid(channels: tuple[int, ...], size: tuple[int, ...]) -> list[Tensor]:
    return [noise(2, c, *(n // 2**level for n in size), seed=level) for level, c in enumerate(channels)]


@pytest.mark.parametrize("size", [(8, 8), (4, 8, 6)])
def test_with_w_1_and_b_0_frequencies_are_mapped_to_magnitude_plus_input(size: tuple[int, ...]) -> None:
    x = noise(2, 3, *size)
    torch.testing.assert_close(FrequencyMapping(3, 1, size, bias=0.0).filtered(x), x.abs() + x)


def test_b_of_1_adds_an_impulse_to_the_first_pixel() -> None:
    """The sum of 64 orthonormal waves of height 1/8."""
    x = torch.ones(1, 1, 8, 8)
    changed = (FrequencyMapping(1, 1, (8, 8)).filtered(x) - 2 * x).detach()
    assert changed[0, 0, 0, 0] == pytest.approx(8, abs=1e-5) and changed.flatten()[1:].abs().max() < 1e-5


def test_w_weighs_frequencies_of_each_channel() -> None:
    """Without the mean of the second channel, and nothing else of it."""
    mapping, x = FrequencyMapping(2, 1, (8, 8), bias=0.0), noise(1, 2, 8, 8)
    mapping.weight.data[1] = 0
    mapping.weight.data[1, 0, 0] = 1
    with torch.no_grad():
        y = mapping.filtered(x)
    torch.testing.assert_close(y[:, 0], x[:, 0].abs() + x[:, 0])
    torch.testing.assert_close(y[:, 1], x[:, 1].mean().abs() + x[:, 1])


@pytest.mark.parametrize(
    ("channels", "size", "in_channels"),
    [((48, 48, 96, 192), (128, 128), 4), ((8, 16, 32), (32, 96), 1), ((8, 16), (16, 8, 24), 4)],
)
def test_outputs_have_the_image_and_a_quarter_of_it(
    channels: tuple[int, ...], size: tuple[int, ...], in_channels: int
) -> None:
    """The first is Swin UNETR of the paper: 4 x 128 x 128 and 4 x 32 x 32."""
    decoder = BilateralDecoder(channels, in_channels, size, low_channels=32, bias=1.0)
    with torch.no_grad():
        details, rest = decoder(pyramid(channels, size))
    assert details.shape == (2, in_channels, *size)
    assert rest.shape == (2, in_channels, *(n // 4 for n in size))


@pytest.mark.parametrize("which", [0, 1])
def test_each_output_depends_on_every_level(which: int) -> None:
    decoder = BilateralDecoder((4, 8, 8, 16), 1, (32, 32), 8, 0.0)
    levels = [level.requires_grad_() for level in pyramid((4, 8, 8, 16), (32, 32))]
    decoder(levels)[which].square().sum().backward()
    assert all(level.grad is not None and level.grad.any() for level in levels)
