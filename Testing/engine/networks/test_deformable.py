"""3-D deformable convolution: what it is by hand, and both ways to sample."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from leanseg.networks.blocks.deformable import (
    TAPS,
    DeformableBottleneck,
    DeformableConv3d,
    Slices,
    sample,
)

CENTER = ((0, 0, 0),)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def layer(channels: int = 3, out: int = 5) -> DeformableConv3d:
    torch.manual_seed(0)
    return DeformableConv3d(channels, out)


def test_without_offsets_it_is_an_ordinary_convolution() -> None:
    x, deformable = random(2, 3, 5, 7, 6), layer()
    torch.testing.assert_close(deformable(x), F.conv3d(x, deformable.conv.weight, deformable.conv.bias, padding=1))


def test_the_bottleneck_without_offsets_is_the_ordinary_bottleneck() -> None:
    deformable, ordinary = (DeformableBottleneck(8, 4, deformable=way).eval() for way in (True, False))
    state = {key.replace("layers.3.conv.", "layers.3."): value for key, value in deformable.state_dict().items()}
    ordinary.load_state_dict({key: value for key, value in state.items() if ".offset." not in key})
    x = random(1, 8, 6, 6, 6)
    torch.testing.assert_close(deformable(x), ordinary(x), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(ordinary(x), x, atol=1e-3)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_an_offset_of_one_voxel_reads_the_next_voxel(axis: int) -> None:
    """With the same offset everywhere, as if the image were shifted, with 0 where it has no voxel."""
    x, deformable = random(1, 3, 5, 6, 7), layer()
    bias = torch.zeros(27, 3)
    bias[:, axis] = 1
    assert deformable.offset.bias is not None
    deformable.offset.bias.data.copy_(bias.flatten())
    padded = F.pad(x, (3, 3, 3, 3, 3, 3))
    shifted = padded.roll(-1, dims=2 + axis)
    whole = F.conv3d(shifted, deformable.conv.weight, deformable.conv.bias)[:, :, 2:-2, 2:-2, 2:-2]
    torch.testing.assert_close(deformable(x), whole, rtol=1e-4, atol=1e-5)


def sample_slices(x: Tensor, offsets: Tensor, taps: tuple[tuple[int, int, int], ...]) -> Tensor:
    """One slice after the other."""
    board = Slices(x)
    return torch.cat([board.sample(offsets[:, :, :, k : k + 1], taps, k) for k in range(x.shape[2])], dim=3)


@pytest.mark.parametrize("way", [sample, sample_slices])
def test_between_voxels_it_is_linear_and_outside_0(way: Callable[..., Tensor]) -> None:
    x = torch.arange(24.0).view(1, 1, 2, 3, 4) + 1  # 1 + 12 k + 4 j + i
    offsets = torch.zeros(1, 1, 3, 2, 3, 4)
    offsets[..., 0, 0, 0] = torch.tensor([0.5, 0.25, 0.75])[None, None]
    offsets[..., 1, 2, 3] = torch.tensor([0.5, 0.0, 0.0])[None, None]  # half beyond the last slice
    offsets[..., 1, 0, 0] = torch.tensor([9.0, -9.0, 0.0])[None, None]
    seen = way(x, offsets, CENTER)[0, 0, 0]
    assert seen[0, 0, 0].item() == pytest.approx(1 + 6 + 1 + 0.75)
    assert seen[1, 2, 3].item() == pytest.approx(24 / 2)
    assert seen[1, 0, 0].item() == 0
    assert seen[0, 1, 2].item() == pytest.approx(7)


@pytest.mark.parametrize("shape", [(6, 7, 9), (2, 2, 2), (5, 4, 1), (1, 3, 40), (33, 2, 3)])
def test_both_ways_to_sample_agree(shape: tuple[int, int, int]) -> None:
    """Far beyond the grid as well."""
    x, offsets = random(2, 3, *shape), random(2, 9, 3, *shape, seed=1)
    offsets[1] *= 5
    by_grid, by_slices = (way(x, offsets, TAPS[9:18]) for way in (sample, sample_slices))
    assert by_grid.shape == (2, 3, 9, *shape) and by_grid.abs().max() > 0.5
    torch.testing.assert_close(by_slices, by_grid, rtol=0, atol=1e-5)


@pytest.mark.parametrize("limit", [1, 3 * 2 * 27 * 3 * 30, 1 << 25])
def test_what_is_exported_computes_the_same(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one, three and all slices at a time."""
    x, deformable = random(2, 3, 7, 5, 6), layer()
    torch.nn.init.normal_(deformable.offset.weight, std=0.3, generator=torch.Generator().manual_seed(2))
    monkeypatch.setattr("leanseg.networks.blocks.deformable.SAMPLES_AT_ONCE_IN_GRAPH", limit)
    torch.testing.assert_close(deformable.by_slices(x), deformable.by_taps(x), rtol=1e-4, atol=1e-5)


def test_what_is_exported_never_holds_more_samples_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    x, deformable, sampled = random(1, 3, 7, 5, 6), layer(), []
    grid_sample = F.grid_sample

    def counting(*arguments: Tensor, **options: object) -> Tensor:
        sampled.append(grid_sample(*arguments, **options))  # type: ignore[arg-type]
        return sampled[-1]

    two_slices = 2 * (2 * 3) * 27 * (5 * 6)  # each channel, and that of the next slice
    monkeypatch.setattr("leanseg.networks.blocks.deformable.SAMPLES_AT_ONCE_IN_GRAPH", two_slices)
    monkeypatch.setattr(F, "grid_sample", counting)
    deformable.by_slices(x)
    assert [one.numel() for one in sampled] == [two_slices] * 3 + [two_slices // 2]


def test_offsets_learn_from_where_they_start() -> None:
    deformable = layer()
    deformable(random(1, 3, 6, 6, 6)).square().mean().backward()
    assert deformable.offset.weight.grad is not None and deformable.offset.weight.grad.any()


def test_offsets_turn_towards_what_is_sought() -> None:
    """A bright plane lies one slice further than where the truth says: the offsets find it."""
    x = torch.zeros(1, 1, 8, 8, 8)
    x[:, :, 4:6] = 1
    truth = torch.zeros(1, 1, 8, 8, 8)
    truth[:, :, 3:5] = 1
    deformable = layer(1, 1)
    deformable.conv.weight.data.zero_()
    deformable.conv.weight.data[0, 0, 1, 1, 1] = 1
    assert deformable.conv.bias is not None and deformable.offset.bias is not None
    deformable.conv.bias.data.zero_()
    optimizer = torch.optim.Adam([deformable.offset.bias], lr=0.1)
    losses = []
    for _ in range(25):
        loss = (deformable(x) - truth).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.1 * losses[0]
    assert deformable.offset.bias[3 * 13].item() == pytest.approx(1, abs=0.3)


def test_a_few_taps_at_a_time_give_what_all_give(monkeypatch: pytest.MonkeyPatch) -> None:
    x, deformable = random(1, 3, 4, 5, 6), layer()
    torch.nn.init.normal_(deformable.offset.weight, std=0.1, generator=torch.Generator().manual_seed(2))
    expected = deformable(x)
    for limit in (9 * x.numel(), 3 * x.numel(), 1):
        monkeypatch.setattr("leanseg.networks.blocks.deformable.SAMPLES_AT_ONCE", limit)
        torch.testing.assert_close(deformable(x), expected, rtol=1e-5, atol=1e-5)
