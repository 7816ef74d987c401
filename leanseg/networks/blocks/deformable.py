"""3-D deformable convolution by trilinear sampling, and the bottleneck that TransBTSV2 has on its skip connections.

Papers: Dai et al., Deformable convolutional networks, ICCV 2017, arXiv 1703.06211; Li et al., TransBTSV2, arXiv
2201.12785, for the bottleneck. torch has no 3-D deformable convolution and no code of the bottleneck was released; this
file was written from the formula y(p) = sum over n of W_n x(p + p_n + o_n(p)), p_n being the 27 taps of a kernel of 3.

Outside the grid x is 0, as around an ordinary convolution. Taps are sampled a few at a time, so that memory is that of
`SAMPLES_AT_ONCE` values, whatever the size of the grid.

There are two ways to sample, equal to 1e-5: `grid_sample` in torch, and by 8 corners in an exported graph, because
OpenVINO refuses a GridSample of 3-D.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

TAPS = tuple((k, j, i) for k in (-1, 0, 1) for j in (-1, 0, 1) for i in (-1, 0, 1))
"""p_n, in the order of a kernel's weights."""
SAMPLES_AT_ONCE = 1 << 27
"""Values of all taps that are sampled together, 512 MiB; fewer taps at once where the grid is larger."""


class DeformableConv3d(nn.Module):
    """3 x 3 x 3 convolution whose taps move by the offsets o_n(p), in voxels along k, j, i, that a convolution gives.

    The offsets start at 0: an ordinary convolution.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.offset = nn.Conv3d(in_channels, 3 * len(TAPS), kernel_size=3, padding=1)
        nn.init.zeros_(self.offset.weight)
        nn.init.zeros_(self.offset.bias)  # type: ignore[arg-type]
        self.conv = nn.Conv3d(in_channels, out_channels, kernel_size=3, padding=1)  # only its weights are used

    def forward(self, x: Float[Tensor, "batch channel k j i"]) -> Float[Tensor, "batch out k j i"]:
        weight = self.conv.weight.flatten(2)
        result = None
        together = next((n for n in (27, 9, 3) if n * x.numel() <= SAMPLES_AT_ONCE), 1)
        for first in range(0, len(TAPS), together):
            part = slice(first, first + together)
            rows = slice(3 * part.start, 3 * part.stop)
            bias = None if self.offset.bias is None else self.offset.bias[rows]
            offsets = F.conv3d(x, self.offset.weight[rows], bias, padding=1).unflatten(1, (-1, 3))
            seen = sample(x, offsets, TAPS[part])
            kernel = weight[:, :, part].flatten(1)[..., None, None, None]
            added = F.conv3d(seen.flatten(1, 2), kernel, self.conv.bias if result is None else None)
            result = added if result is None else result + added
        assert result is not None
        return result


class DeformableBottleneck(nn.Module):
    """x + expand(deformable(reduce(x))); batch norm and ReLU after the first two."""

    def __init__(self, channels: int, ratio: int, deformable: bool) -> None:
        super().__init__()
        narrow = channels // ratio
        middle = DeformableConv3d(narrow, narrow) if deformable else nn.Conv3d(narrow, narrow, 3, padding=1)
        self.layers = nn.Sequential(
            *(nn.Conv3d(channels, narrow, kernel_size=1), nn.BatchNorm3d(narrow), nn.ReLU(inplace=True)),
            *(middle, nn.BatchNorm3d(narrow), nn.ReLU(inplace=True)),
            nn.Conv3d(narrow, channels, kernel_size=1),
        )

    def forward(self, x: Float[Tensor, "batch channel k j i"]) -> Float[Tensor, "batch channel k j i"]:
        result: Tensor = x + self.layers(x)
        return result


def sample(
    x: Float[Tensor, "batch channel k j i"],
    offsets: Float[Tensor, "batch tap 3 k j i"],
    taps: tuple[tuple[int, int, int], ...],
) -> Float[Tensor, "batch channel tap k j i"]:
    """x(p + p_n + o_n(p)), linear between voxels, 0 outside; float32, as bfloat16 has no tenths of a voxel at 128."""
    x, offsets = x.float(), offsets.float()
    return sample_by_corners(x, offsets, taps) if torch.compiler.is_exporting() else sample_by_grid(x, offsets, taps)


def sample_by_grid(
    x: Float[Tensor, "batch channel k j i"],
    offsets: Float[Tensor, "batch tap 3 k j i"],
    taps: tuple[tuple[int, int, int], ...],
) -> Float[Tensor, "batch channel tap k j i"]:
    """`sample` by torch's own, with taps in the place of a batch."""
    grid = [
        (2 * (offsets[:, :, n] + place) + 1) / x.shape[2 + n] - 1  # -1 and 1 are the borders of the grid
        for n, place in enumerate(_places(x, taps))
    ]
    repeated = x[:, None].expand(-1, len(taps), *x.shape[1:]).flatten(0, 1)
    grid_ijk = torch.stack(grid[::-1], dim=-1).flatten(0, 1)
    seen = F.grid_sample(repeated, grid_ijk, padding_mode="zeros", align_corners=False)
    values: Tensor = seen.unflatten(0, (len(x), len(taps))).transpose(1, 2)
    return values


def sample_by_corners(
    x: Float[Tensor, "batch channel k j i"],
    offsets: Float[Tensor, "batch tap 3 k j i"],
    taps: tuple[tuple[int, int, int], ...],
) -> Float[Tensor, "batch channel tap k j i"]:
    """`sample` by the 8 voxels around each place: in ONNX, Gather on a grid with zeros around it."""
    shape = x.shape[2:]
    voxels = F.pad(x, (1, 2) * 3).transpose(0, 1).flatten(1)
    strides = ((shape[1] + 3) * (shape[2] + 3), shape[2] + 3, 1)
    places = [
        (offsets[:, :, n] + (place + 1)).clamp(0.0, float(shape[n] + 1)) for n, place in enumerate(_places(x, taps))
    ]
    corners = [place.floor() for place in places]
    fk, fj, fi = (place - corner for place, corner in zip(places, corners, strict=True))
    k, j, i = (corner.int() * stride for corner, stride in zip(corners, strides, strict=True))
    index = k + j + i
    if len(x) > 1:
        first = torch.arange(len(x), dtype=torch.int32) * ((shape[0] + 3) * strides[0])
        index = index + first.view(-1, 1, 1, 1, 1)
    flat = index.flatten()

    def corner(shift: int) -> Tensor:
        values: Tensor = voxels[:, shift:].index_select(1, flat).unflatten(1, index.shape)
        return values

    def edge(shift: int) -> Tensor:
        near = corner(shift)
        return near + fi * (corner(shift + strides[2]) - near)

    def face(shift: int) -> Tensor:
        near = edge(shift)
        return near + fj * (edge(shift + strides[1]) - near)

    near = face(0)
    return (near + fk * (face(strides[0]) - near)).transpose(0, 1)


def _places(x: Tensor, taps: tuple[tuple[int, int, int], ...]) -> list[Tensor]:
    """p + p_n along k, j and i, in voxels: (tap, k, 1, 1), (tap, 1, j, 1) and (tap, 1, 1, i)."""
    shifts = torch.tensor(taps, dtype=torch.float32, device=x.device)
    result = []
    for n in range(3):
        along = [1, 1, 1]
        along[n] = x.shape[2 + n]
        p = torch.arange(along[n], dtype=torch.float32, device=x.device).view(along)
        result.append(p + shifts[:, n].view(-1, 1, 1, 1))
    return result
