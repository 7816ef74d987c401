import pytest
import torch
from torch import Tensor

from leanseg.networks.blocks.crop import crop_at, cut, paste_at, put

HEIGHT, WIDTH, SIZE = 128, 96, 64
POSITIONS = [(0.25, 0.75), (0.0, 1.0), (1.0, 0.0), (0.0, 0.0), (1.0, 1.0)]


@pytest.fixture
def image() -> Tensor:
    return torch.rand(1, 2, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("position", POSITIONS)
def test_what_is_cut_is_pasted_where_it_was(image: Tensor, position: tuple[float, float]) -> None:
    """In the released code of Med-DANet V2 this holds on the diagonal only."""
    row, column = round(position[0] * (HEIGHT - SIZE)), round(position[1] * (WIDTH - SIZE))
    expected = torch.zeros_like(image)
    there = (slice(None), slice(None), slice(row, row + SIZE), slice(column, column + SIZE))
    expected[there] = image[there]
    corner = torch.tensor([[row, column]])
    torch.testing.assert_close(crop_at(image, corner.float(), SIZE), image[there], rtol=0, atol=2e-5)
    pasted = paste_at(crop_at(image, corner.float(), SIZE), corner.float(), HEIGHT, WIDTH)
    torch.testing.assert_close(pasted, expected, rtol=0, atol=5e-5)
    assert torch.equal(cut(image, corner, SIZE), image[there])
    assert torch.equal(put(cut(image, corner, SIZE), corner, HEIGHT, WIDTH), expected)


def test_every_sample_has_its_own_corner() -> None:
    images = torch.rand(3, 1, 16, 24, generator=torch.Generator().manual_seed(0))
    corners = torch.tensor([[0, 3], [8, 16], [5, 0]])
    crops = cut(images, corners, 8)
    torch.testing.assert_close(crop_at(images, corners.float(), 8), crops, rtol=0, atol=1e-5)
    assert torch.equal(crops[1, 0], images[1, 0, 8:, 16:])
    pasted = put(crops, corners, 16, 24)
    torch.testing.assert_close(paste_at(crops, corners.float(), 16, 24), pasted, rtol=0, atol=1e-5)
    assert torch.equal(pasted[2, 0, 5:13, :8], crops[2, 0]) and pasted[2].count_nonzero() == 64


def test_half_a_pixel_is_the_mean_of_two() -> None:
    image = torch.arange(6.0).view(1, 1, 1, 6).expand(1, 1, 4, 6) ** 2
    crop = crop_at(image, torch.tensor([[1.0, 2.5]]), 2)
    torch.testing.assert_close(crop, torch.tensor([[6.5, 12.5], [6.5, 12.5]]).view(1, 1, 2, 2))


def test_pasting_tells_the_corner_which_way_to_go() -> None:
    crop = torch.ones(1, 1, 4, 4)
    target = put(crop, torch.tensor([[6, 2]]), 12, 12)
    corner = torch.tensor([[4.5, 4.5]], requires_grad=True)
    (paste_at(crop, corner, 12, 12) - target).square().sum().backward()
    assert corner.grad is not None
    row, column = corner.grad[0].tolist()
    assert row < 0 < column, "down and to the left"
