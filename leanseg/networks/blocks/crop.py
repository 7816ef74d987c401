"""Cutting a square out of a slice at a learned place, and putting a result back where it came from.

Paper: Shen et al., Med-DANet V2, WACV 2024, arXiv 2310.18656 (code under Apache-2.0, nothing taken from it). The
released code cuts at (row, column) and pastes at (column, row), which is right on the diagonal only; here the corner
is (row, column) in both directions.

A corner is the top left pixel of the crop, in pixels, and may be fractional: then both directions interpolate
bilinearly and are differentiable with respect to it.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


def _grid(
    rows: Float[Tensor, "batch h"], columns: Float[Tensor, "batch w"], height: int, width: int
) -> Float[Tensor, "batch h w 2"]:
    """Sampling grid for `grid_sample` from pixel coordinates in an image of this size."""
    y, x = (2 * rows + 1) / height - 1, (2 * columns + 1) / width - 1
    shape = (len(y), y.shape[1], x.shape[1])
    return torch.stack([x[:, None, :].expand(shape), y[:, :, None].expand(shape)], dim=3)


def crop_at(
    image: Float[Tensor, "batch channel height width"], corner: Float[Tensor, "batch 2"], size: int
) -> Float[Tensor, "batch channel size size"]:
    """The square of `size` pixels whose first pixel lies at `corner` = (row, column)."""
    height, width = image.shape[-2:]
    steps = torch.arange(size, device=image.device, dtype=torch.float32)
    grid = _grid(corner[:, :1] + steps, corner[:, 1:] + steps, height, width)
    return F.grid_sample(image.float(), grid, padding_mode="border", align_corners=False)


def paste_at(
    crop: Float[Tensor, "batch channel size size"], corner: Float[Tensor, "batch 2"], height: int, width: int
) -> Float[Tensor, "batch channel height width"]:
    """A canvas of zeros with `crop` at `corner` = (row, column): where `crop_at` took it from."""
    rows = torch.arange(height, device=crop.device, dtype=torch.float32) - corner[:, :1]
    columns = torch.arange(width, device=crop.device, dtype=torch.float32) - corner[:, 1:]
    grid = _grid(rows, columns, crop.shape[-2], crop.shape[-1])
    return F.grid_sample(crop.float(), grid, padding_mode="zeros", align_corners=False)


def cut(
    image: Float[Tensor, "batch channel height width"], corner: Int[Tensor, "batch 2"], size: int
) -> Float[Tensor, "batch channel size size"]:
    """`crop_at` whole pixels, without interpolation."""
    corners = corner.tolist()
    return torch.stack([im[:, r : r + size, c : c + size] for im, (r, c) in zip(image, corners, strict=True)])


def put(
    crop: Float[Tensor, "batch channel size size"], corner: Int[Tensor, "batch 2"], height: int, width: int
) -> Float[Tensor, "batch channel height width"]:
    """`paste_at` whole pixels, without interpolation."""
    size = crop.shape[-1]
    return torch.stack(
        [
            F.pad(one, (c, width - size - c, r, height - size - r))
            for one, (r, c) in zip(crop, corner.tolist(), strict=True)
        ]
    )
