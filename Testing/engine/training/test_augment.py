import math
from dataclasses import replace

import pytest
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from leanseg.training.augment import (
    AugmentConfig,
    SequenceAugmentConfig,
    move,
    random_grid,
    random_intensity,
    random_sequences,
)

STRONG = AugmentConfig(
    rotation_degrees=45.0,
    log_scale=0.5,
    shift=0.2,
    elastic=0.1,
    log_gamma=1.0,
    contrast=1.0,
    speckle=1.0,
    blur_probability=0.5,
    shadow_probability=0.9,
)


def seeded(seed: int) -> Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(6, 1, 24, 40, generator=seeded(0))


def smooth_images(batch: int, height: int, width: int) -> Tensor:
    coarse = torch.rand(batch, 1, 5, 5, generator=seeded(0))
    return F.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=True).clamp(0, 1)


def in_pixels(grid: Tensor) -> Tensor:
    """Normalized sampling coordinates -> (..., 2) pixel coordinates x, y; 0 is the center of the first pixel."""
    height, width = grid.shape[1:3]
    return (grid + 1) / 2 * torch.tensor([width, height]) - 0.5


def pixel_centers(height: int, width: int) -> Tensor:
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([x, y], dim=-1).float()


def linear_part(grid: Tensor) -> Tensor:
    """(batch, 2, 2): where one step in x and one step in y of the result lead in the source, in pixels."""
    points = in_pixels(grid)
    return torch.stack([points[:, 0, 1] - points[:, 0, 0], points[:, 1, 0] - points[:, 0, 0]], dim=-1)


def angles_of(matrix: Tensor) -> Tensor:
    return torch.atan2(matrix[:, 1, 0], matrix[:, 0, 0])


# ── geometry ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_zero_strength_changes_nothing(images: Tensor, no_augmentation: AugmentConfig) -> None:
    grid = random_grid(6, 24, 40, no_augmentation, seeded(1))
    torch.testing.assert_close(in_pixels(grid), pixel_centers(24, 40).expand(6, -1, -1, -1), rtol=0, atol=1e-4)
    torch.testing.assert_close(move(images, grid), images, rtol=0, atol=1e-4)
    assert torch.equal(random_intensity(images, no_augmentation, seeded(1)), images)


def test_the_generator_alone_decides(images: Tensor) -> None:
    results = []
    for seed, global_seed in [(1, 0), (1, 5), (2, 0)]:
        torch.manual_seed(global_seed)
        generator = seeded(seed)
        grid = random_grid(6, 24, 40, STRONG, generator)
        results.append(random_intensity(move(images, grid), STRONG, generator))
    assert torch.equal(results[0], results[1])
    assert not torch.allclose(results[0], results[2], atol=0.1)
    assert not torch.allclose(results[0][0], results[0][1], atol=0.1), "each image has its own draw"


def test_a_flip_mirrors_left_and_right_exactly(images: Tensor, no_augmentation: AugmentConfig) -> None:
    grid = random_grid(6, 24, 40, replace(no_augmentation, flip_probability=1.0), seeded(1))
    torch.testing.assert_close(move(images, grid), images.flip(-1), rtol=0, atol=1e-4)


def test_about_half_of_the_images_are_flipped_and_none_upside_down(no_augmentation: AugmentConfig) -> None:
    config = replace(AugmentConfig(), elastic=0.0)
    determinants = torch.linalg.det(linear_part(random_grid(400, 24, 40, config, seeded(1))))
    assert 0.4 < (determinants < 0).float().mean() < 0.6
    down = linear_part(random_grid(400, 24, 40, config, seeded(1)))[:, 1, 1]
    assert (down > 0).all(), "the transducer stays at the top"


@pytest.mark.parametrize(("height", "width"), [(32, 32), (24, 40), (40, 24)])
def test_a_rotation_is_rigid_about_the_center_in_pixels(
    height: int, width: int, no_augmentation: AugmentConfig
) -> None:
    grid = random_grid(8, height, width, replace(no_augmentation, rotation_degrees=30.0), seeded(1))
    angles = angles_of(linear_part(grid))
    center = torch.tensor([(width - 1) / 2, (height - 1) / 2])
    rotation = torch.stack(
        [torch.stack([angles.cos(), -angles.sin()], -1), torch.stack([angles.sin(), angles.cos()], -1)], -2
    )
    expected = torch.einsum("bij,hwj->bhwi", rotation, pixel_centers(height, width) - center) + center
    torch.testing.assert_close(in_pixels(grid), expected, rtol=0, atol=1e-2)
    assert angles.abs().max() <= math.radians(30) and angles.abs().max() > math.radians(10)


def test_a_blob_moves_to_where_the_rotation_takes_it(no_augmentation: AugmentConfig) -> None:
    height, width = 48, 64
    centers = pixel_centers(height, width)
    blob = torch.exp(-((centers - torch.tensor([44.0, 30.0])) ** 2).sum(-1) / (2 * 2.5**2))
    grid = random_grid(8, height, width, replace(no_augmentation, rotation_degrees=30.0), seeded(1))
    moved = move(blob.expand(8, 1, -1, -1), grid)[:, 0]
    found = torch.einsum("bhw,hwi->bi", moved, centers) / moved.sum((1, 2))[:, None]
    angles = -angles_of(linear_part(grid))  # the grid leads from the result to the source; the blob goes the other way
    x, y = 44 - 31.5, 30 - 23.5
    expected = torch.stack([x * angles.cos() - y * angles.sin(), x * angles.sin() + y * angles.cos()], -1)
    torch.testing.assert_close(found, expected + torch.tensor([31.5, 23.5]), rtol=0, atol=0.1)


def test_scale_is_the_same_along_both_axes_and_bounded(no_augmentation: AugmentConfig) -> None:
    matrices = linear_part(random_grid(100, 24, 40, replace(no_augmentation, log_scale=0.2), seeded(1)))
    torch.testing.assert_close(matrices[:, 0, 0], matrices[:, 1, 1])
    logs = matrices[:, 0, 0].log()
    assert logs.abs().max() <= 0.2 + 1e-4 and logs.max() > 0.15 and logs.min() < -0.15


def test_aspect_stretches_the_width_alone(no_augmentation: AugmentConfig) -> None:
    matrices = linear_part(random_grid(100, 24, 40, replace(no_augmentation, log_aspect=0.1), seeded(1)))
    torch.testing.assert_close(matrices[:, 1, 1], torch.ones(100))
    assert matrices[:, 0, 0].log().abs().max() <= 0.1 + 1e-4 and matrices[:, 0, 0].std() > 0.03


def test_shift_is_a_fraction_of_the_side(no_augmentation: AugmentConfig) -> None:
    grid = random_grid(200, 24, 40, replace(no_augmentation, shift=0.1), seeded(1))
    shifts = in_pixels(grid) - pixel_centers(24, 40)
    torch.testing.assert_close(shifts, shifts[:, :1, :1].expand_as(shifts), rtol=0, atol=1e-3)
    assert 3.8 < shifts[..., 0].abs().max() <= 4 + 1e-3
    assert 2.2 < shifts[..., 1].abs().max() <= 2.4 + 1e-3


def test_elastic_bends_smoothly_by_a_fraction_of_the_side(no_augmentation: AugmentConfig) -> None:
    grid = random_grid(50, 64, 64, replace(no_augmentation, elastic=0.05), seeded(1))
    bend = in_pixels(grid) - pixel_centers(64, 64)
    assert 0.8 * 3.2 < bend.abs().max() < 1.5 * 3.2  # bicubic interpolation overshoots its control points
    assert (bend[:, :, 1:] - bend[:, :, :-1]).abs().max() < 1, "no fold: neighbors stay in order"
    assert bend.std(dim=(1, 2)).min() > 0.3


def test_outside_is_black(no_augmentation: AugmentConfig) -> None:
    grid = random_grid(20, 24, 40, replace(no_augmentation, shift=0.4), seeded(1))
    moved = move(torch.ones(20, 1, 24, 40), grid)[:, 0]
    outside = ((in_pixels(grid) < -1) | (in_pixels(grid) > torch.tensor([40, 24]))).any(-1)
    assert outside.any() and (moved[outside] == 0).all()
    assert moved.amax() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_a_mask_moves_with_its_image(seed: int) -> None:
    masks = (smooth_images(6, 32, 48) > 0.5).float()
    grid = random_grid(6, 32, 48, STRONG, seeded(seed))
    both = move(torch.cat([masks, masks, 1 - masks], dim=1), grid)
    assert torch.equal(both[:, 0], both[:, 1])
    assert torch.equal(move(masks, grid)[:, 0], both[:, 0])
    assert not torch.allclose(both[:, :1], masks, atol=0.5)
    inside = move(torch.ones_like(masks), grid)[:, 0]
    torch.testing.assert_close(both[:, 0] + both[:, 2], inside, rtol=0, atol=1e-5)


@pytest.mark.parametrize("factor", [2, 4])
def test_a_map_of_lower_resolution_moves_by_the_same_geometry(factor: int) -> None:
    fine = smooth_images(6, 64, 64)
    grid = random_grid(6, 64, 64, AugmentConfig(), seeded(1))
    expected = F.avg_pool2d(move(fine, grid), factor)
    moved = move(F.avg_pool2d(fine, factor), grid)
    assert moved.shape == expected.shape
    inside = F.avg_pool2d(move(torch.ones_like(fine), grid), factor) > 0.99
    inside = F.avg_pool2d(inside.float(), 3, stride=1, padding=1) > 0.99  # away from the border of the image
    assert inside.float().mean() > 0.4
    error = (moved - expected).abs()[inside]
    assert error.mean() < 0.01 and error.max() < 0.06
    assert (F.avg_pool2d(fine, factor) - expected).abs()[inside].mean() > 0.05, "the geometry must matter here"


def test_a_map_of_lower_resolution_stays_under_the_identity_and_flips_with_the_image(
    images: Tensor, no_augmentation: AugmentConfig
) -> None:
    coarse = F.avg_pool2d(images, 4)
    same = random_grid(6, 24, 40, no_augmentation, seeded(1))
    flip = random_grid(6, 24, 40, replace(no_augmentation, flip_probability=1.0), seeded(1))
    torch.testing.assert_close(move(coarse, same), coarse, rtol=0, atol=1e-4)
    torch.testing.assert_close(move(coarse, flip), coarse.flip(-1), rtol=0, atol=1e-4)


# ── intensities ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("config", [AugmentConfig(), STRONG], ids=["default", "strong"])
@pytest.mark.parametrize("seed", range(3))
def test_intensities_stay_in_0_to_1(config: AugmentConfig, seed: int, images: Tensor) -> None:
    result = random_intensity(2 * images - 0.5, config, seeded(seed))
    assert result.shape == images.shape and result.isfinite().all()
    assert result.min() >= 0 and result.max() <= 1
    assert result.std() > 0.05


def test_gamma_keeps_black_white_and_the_order_between(no_augmentation: AugmentConfig) -> None:
    ramp = torch.linspace(0, 1, 9).view(1, 1, 1, 9).expand(20, 1, 1, 9)
    result = random_intensity(ramp, replace(no_augmentation, log_gamma=0.5), seeded(1))
    assert (result[..., 0] == 0).all() and (result[..., -1] == 1).all()
    assert (result.diff(dim=-1) > 0).all()
    gammas = (result[..., 4].log() / math.log(0.5)).flatten()
    assert gammas.log().abs().max() <= 0.5 + 1e-4 and gammas.log().std() > 0.1
    torch.testing.assert_close(result[..., 2].flatten(), 0.25**gammas)


def test_contrast_is_one_line_for_each_image(no_augmentation: AugmentConfig) -> None:
    ramp = torch.linspace(0.3, 0.6, 7).view(1, 1, 1, 7).expand(50, 1, 1, 7)
    result = random_intensity(ramp, replace(no_augmentation, contrast=0.2), seeded(1))
    slopes = (result.diff(dim=-1) / 0.05).squeeze()
    torch.testing.assert_close(slopes, slopes[:, :1].expand(-1, 6), rtol=0, atol=1e-4)
    offsets = result[:, 0, 0, 0] - 0.3 * slopes[:, 0]
    assert (slopes - 1).abs().max() <= 0.2 + 1e-4 and (slopes[:, 0] - 1).std() > 0.05
    assert offsets.abs().max() <= 0.1 + 1e-4 and offsets.std() > 0.03


def test_speckle_grows_with_brightness_and_keeps_the_mean(no_augmentation: AugmentConfig) -> None:
    halves = torch.zeros(40, 1, 32, 32)
    halves[..., 16:, :] = 0.3
    halves[..., 24:, :] = 0.6
    result = random_intensity(halves, replace(no_augmentation, speckle=0.2), seeded(1))
    assert (result[..., :16, :] == 0).all()
    dim, bright = result[..., 16:24, :], result[..., 24:, :]
    assert bright.std() / dim.std() == pytest.approx(2, rel=0.1)
    assert bright.mean() == pytest.approx(0.6, abs=0.01)
    deviations = bright.std(dim=(1, 2, 3)) / 0.6
    assert deviations.max() < 0.22 and deviations.min() < 0.05 and deviations.max() > 0.15


def test_blur_smooths_some_images_and_leaves_a_flat_one_alone(images: Tensor, no_augmentation: AugmentConfig) -> None:
    config = replace(no_augmentation, blur_probability=0.5)
    many = images[:1].expand(100, -1, -1, -1)
    blurred = random_intensity(many, config, seeded(1)).std(dim=(1, 2, 3)) < 0.6 * images[0].std()
    assert 0.35 < blurred.float().mean() < 0.65
    flat = torch.full((20, 1, 8, 8), 0.4)
    torch.testing.assert_close(random_intensity(flat, config, seeded(1)), flat)


def test_a_shadow_darkens_a_column_below_some_depth(no_augmentation: AugmentConfig) -> None:
    flat = torch.full((50, 1, 64, 64), 0.5)
    result = random_intensity(flat, replace(no_augmentation, shadow_probability=1.0), seeded(1))
    assert (result <= flat).all()
    top, bottom = result[:, 0, 0], result[:, 0, -1]
    assert (top >= bottom - 1e-6).all(), "no brighter below"
    assert top.min() > 0.48, "the transducer's side is open"
    depth = 1 - bottom.min(dim=1).values / 0.5
    assert depth.max() < 0.81 and (depth > 0.2).float().mean() > 0.8  # some beams lie at the border
    narrow = (bottom < 0.45).sum(dim=1)
    assert narrow.max() < 32, "the shadow is a beam, not the whole image"


def test_shadows_fall_on_the_stated_share_of_images(no_augmentation: AugmentConfig) -> None:
    flat = torch.full((400, 1, 16, 16), 0.5)
    result = random_intensity(flat, replace(no_augmentation, shadow_probability=0.3), seeded(1))
    changed = (result != flat).flatten(1).any(1).float().mean()
    assert 0.22 < changed < 0.38


def brains(batch: int = 64) -> Tensor:
    """Four sequences of value 1, 2, 3, 4 in the middle, 0 outside."""
    images = torch.zeros(batch, 4, 8, 8)
    images[:, :, 2:6, 2:6] = torch.arange(1.0, 5.0).view(1, 4, 1, 1)
    return images


def test_sequences_stay_within_gain_and_offset_and_outside_stays_zero() -> None:
    config = SequenceAugmentConfig(gain=0.1, offset=0.05, noise=0.0, drop_probability=0.0)
    changed = random_sequences(brains(), config, torch.Generator().manual_seed(0))
    factor = changed[:, 0, 2:6, 2:6]
    assert factor.min() >= 0.85 and factor.max() <= 1.15 and factor.std() > 0.02
    assert factor.flatten(1).std(dim=1).max() < 1e-6  # one draw for each slice and sequence
    assert changed[brains() == 0].abs().max() == 0


def test_sequences_are_dropped_as_often_as_asked_but_never_all() -> None:
    config = SequenceAugmentConfig(drop_probability=0.5)
    kept = random_sequences(brains(4000), config, torch.Generator().manual_seed(0)).flatten(2).any(dim=2)
    assert kept.any(dim=1).all()
    # 0.5, and in 1 of 16 slices, where all four would go, one of the four stays: 0.5 + 1/16 * 1/4
    assert abs(float(kept.float().mean()) - 0.5156) < 0.015
    all_go = SequenceAugmentConfig(drop_probability=1.0)
    assert (random_sequences(brains(), all_go, torch.Generator()).flatten(2).any(dim=2).sum(dim=1) == 1).all()


def test_a_missing_sequence_is_never_the_one_that_is_kept() -> None:
    images = brains()
    images[:, :3] = 0
    changed = random_sequences(images, SequenceAugmentConfig(drop_probability=1.0), torch.Generator().manual_seed(1))
    assert changed[:, :3].abs().max() == 0 and changed[:, 3].flatten(1).any(dim=1).all()
