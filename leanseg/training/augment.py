"""Random transforms of a batch of gray images and their masks, with an explicit generator.

Order: geometry (flip, rotation, scale, aspect, shift, small elastic), then intensities (gamma, contrast,
speckle, blur, shadow). Geometry is returned as a sampling grid, so that anything else on the image's grid, such as a
teacher's logits, can be moved along.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class AugmentConfig:
    """Strengths; each is the half-width of a uniform draw unless said otherwise. All zero: no change."""

    flip_probability: float = 0.5
    """Left-right only: in ultrasound the transducer is always at the top."""
    rotation_degrees: float = 15.0
    log_scale: float = 0.223
    """ln 1.25: magnification between 0.8 and 1.25"""
    log_aspect: float = 0.15
    shift: float = 0.08
    """Fraction of the side."""
    elastic: float = 0.03
    """Displacement, fraction of the side, of a 6 x 6 grid of control points."""
    log_gamma: float = 0.4
    contrast: float = 0.2
    speckle: float = 0.15
    """Largest standard deviation of the multiplicative noise."""
    blur_probability: float = 0.15
    shadow_probability: float = 0.2
    """An acoustic shadow: a darker column below a random depth."""


@dataclass(frozen=True)
class SequenceAugmentConfig:
    """For MRI sequences as channels, z-scored, 0 outside the brain; takes the place of the ultrasound intensities."""

    gain: float = 0.1
    """Half-width of the factor around 1, drawn for each slice and sequence (BraTS pipeline of TransBTS)."""
    offset: float = 0.1
    """Half-width of the summand, in standard deviations, likewise."""
    noise: float = 0.1
    """Largest standard deviation of added noise."""
    drop_probability: float = 0.25
    """Of each sequence, that it is set to 0 as if the patient did not have it; one at least is kept."""


def _uniform(shape: tuple[int, ...], generator: Generator, low: float = -1.0, high: float = 1.0) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator)


def random_grid(
    batch: int, height: int, width: int, config: AugmentConfig, generator: Generator
) -> Float[Tensor, "batch height width 2"]:
    """Sampling grid for `move`, in the normalized coordinates of `grid_sample` (align_corners=False)."""
    angle = _uniform((batch,), generator) * math.radians(config.rotation_degrees)
    scale = torch.exp(-_uniform((batch,), generator) * config.log_scale)
    aspect = torch.exp(_uniform((batch,), generator) * config.log_aspect)
    shift = 2 * _uniform((batch, 2), generator) * config.shift
    flip = torch.where(torch.rand(batch, generator=generator) < config.flip_probability, -1.0, 1.0)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    ratio = height / width  # rotate in pixels, not in normalized units
    row_x = torch.stack([flip * cos * aspect, -sin * ratio, shift[:, 0]], dim=1)
    row_y = torch.stack([flip * sin * aspect / ratio, cos, shift[:, 1]], dim=1)
    grid = F.affine_grid(torch.stack([row_x, row_y], dim=1), [batch, 1, height, width], align_corners=False)
    if config.elastic:
        control = 2 * config.elastic * _uniform((batch, 2, 6, 6), generator)
        bend = F.interpolate(control, size=(height, width), mode="bicubic", align_corners=True)
        grid = grid + bend.permute(0, 2, 3, 1)
    return grid


def move(
    images: Float[Tensor, "batch channel h w"], grid: Float[Tensor, "batch height width 2"], mode: str = "bilinear"
) -> Float[Tensor, "batch channel h w"]:
    """Sample on the grid, resized to the images' own resolution; outside is 0."""
    if images.shape[-2:] != grid.shape[1:3]:
        grid = F.interpolate(grid.permute(0, 3, 1, 2), size=images.shape[-2:], mode="area").permute(0, 2, 3, 1)
    return F.grid_sample(images, grid, mode=mode, padding_mode="zeros", align_corners=False)


def random_intensity(
    images: Float[Tensor, "batch 1 height width"], config: AugmentConfig, generator: Generator
) -> Float[Tensor, "batch 1 height width"]:
    """Images in [0, 1] -> images in [0, 1]."""
    batch, _, height, width = images.shape
    column = (batch, 1, 1, 1)
    images = images.clamp(0, 1) ** torch.exp(_uniform(column, generator) * config.log_gamma)
    images = (
        images * (1 + _uniform(column, generator) * config.contrast) + _uniform(column, generator) * config.contrast / 2
    )
    deviation = config.speckle * torch.rand(column, generator=generator)
    images = images * (1 + deviation * torch.randn(images.shape, generator=generator))
    if config.shadow_probability:
        x = torch.linspace(-1, 1, width).view(1, 1, 1, -1)
        y = torch.linspace(-1, 1, height).view(1, 1, -1, 1)
        half_width = _uniform(column, generator, 0.05, 0.25)
        beam = torch.sigmoid((half_width - (x - _uniform(column, generator)).abs()) / 0.04)
        below = torch.sigmoid((y - _uniform(column, generator, -0.6, 0.6)) / 0.1)
        use = torch.rand(column, generator=generator) < config.shadow_probability
        images = images * (1 - use * _uniform(column, generator, 0.3, 0.8) * beam * below)
    if config.blur_probability:
        use = torch.rand(column, generator=generator) < config.blur_probability
        images = torch.where(use, F.avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False), images)
    return images.clamp(0, 1)


def random_sequences(
    images: Float[Tensor, "batch sequence height width"], config: SequenceAugmentConfig, generator: Generator
) -> Float[Tensor, "batch sequence height width"]:
    """Other intensities inside the brain, and some sequences missing."""
    batch, sequences = images.shape[:2]
    each = (batch, sequences, 1, 1)
    brain = (images != 0).any(dim=1, keepdim=True)
    gain, offset = 1 + _uniform(each, generator) * config.gain, _uniform(each, generator) * config.offset
    deviation = config.noise * torch.rand((batch, 1, 1, 1), generator=generator)
    changed = images * gain + offset + deviation * torch.randn(images.shape, generator=generator)
    draw = torch.rand(each, generator=generator)
    present = (images != 0).flatten(2).any(dim=2)[..., None, None]  # one that is missing cannot be the one to keep
    kept = (draw >= config.drop_probability) | (draw == torch.where(present, draw, -1.0).amax(dim=1, keepdim=True))
    return changed * (brain & kept & present)
