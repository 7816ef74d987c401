"""3-D deformable convolution by trilinear sampling, and the bottleneck that TransBTSV2 has on its skip connections.

Papers: Dai et al., Deformable convolutional networks, ICCV 2017, arXiv 1703.06211; Li et al., TransBTSV2, arXiv
2201.12785, for the bottleneck. torch has no 3-D deformable convolution and no code of the bottleneck was released; this
file was written from the formula y(p) = sum over n of W_n x(p + p_n + o_n(p)), p_n being the 27 taps of a kernel of 3.

Outside the grid x is 0, as around an ordinary convolution.

There are two ways to compute it, equal to 1e-4. In torch, `grid_sample` in 3-D, a few taps at a time. In an exported
graph, a few slices at a time: OpenVINO refuses a GridSample in 3-D, so the slices lie side by side in one picture,
each with its next one as further channels, and a GridSample in 2-D reads both at once. Neither needs more memory than
`SAMPLES_AT_ONCE` and `SAMPLES_AT_ONCE_IN_GRAPH` values of all taps, whatever the size of the grid.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

TAPS = tuple((k, j, i) for k in (-1, 0, 1) for j in (-1, 0, 1) for i in (-1, 0, 1))
"""p_n, in the order of a kernel's weights."""
SAMPLES_AT_ONCE = 1 << 27
"""Values of all taps that are sampled together, 512 MiB; fewer taps at once where the grid is larger."""
SAMPLES_AT_ONCE_IN_GRAPH = 1 << 25
"""Likewise, in an exported graph: fewer slices at once. It is faster with less, until there are too many nodes."""


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
        return self.by_slices(x) if torch.compiler.is_exporting() else self.by_taps(x)

    def by_taps(self, x: Float[Tensor, "batch channel k j i"]) -> Float[Tensor, "batch out k j i"]:
        """As torch computes it, with gradients."""
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

    def by_slices(self, x: Float[Tensor, "batch channel k j i"]) -> Float[Tensor, "batch out k j i"]:
        """The same in operators that runtimes compute fast."""
        x = x.float()
        board = Slices(x)
        padded = F.pad(x, (0, 0, 0, 0, 1, 1))
        weight, bias = self.conv.weight.flatten(1), self.conv.bias
        assert bias is not None
        depth = x.shape[2]
        together = max(1, SAMPLES_AT_ONCE_IN_GRAPH * depth // (2 * len(TAPS) * x[:1].numel()))
        results = []
        for first in range(0, depth, together):
            slab = padded[:, :, first : min(first + together, depth) + 2]
            offsets = F.conv3d(slab, self.offset.weight, self.offset.bias, padding=(0, 1, 1)).unflatten(1, (-1, 3))
            seen = board.sample(offsets, TAPS, first)
            summed = weight @ seen.flatten(1, 2).flatten(2)  # a 1 x 1 x 1 convolution that copies nothing
            results.append((summed + bias[:, None]).unflatten(2, tuple(offsets.shape[3:])))
        return torch.cat(results, dim=2)


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
    """x(p + p_n + o_n(p)), linear between voxels, 0 outside; float32, as bfloat16 has no tenths of a voxel at 128.

    By torch's own, with taps in the place of a batch.
    """
    x, offsets = x.float(), offsets.float()
    grid = [
        (2 * (offsets[:, :, n] + place) + 1) / x.shape[2 + n] - 1  # -1 and 1 are the borders of the grid
        for n, place in enumerate(_places(x.shape[2:], taps, x.device))
    ]
    repeated = x[:, None].expand(-1, len(taps), *x.shape[1:]).flatten(0, 1)
    grid_ijk = torch.stack(grid[::-1], dim=-1).flatten(0, 1)
    seen = F.grid_sample(repeated, grid_ijk, padding_mode="zeros", align_corners=False)
    values: Tensor = seen.unflatten(0, (len(x), len(taps))).transpose(1, 2)
    return values


class Slices:
    """All slices of a volume side by side in one picture, (batch, 2 channel, row, column): its own channels, then those
    of the next slice at the same place. Zeros around each, so that a place beyond the border reads 0.
    """

    def __init__(self, x: Float[Tensor, "batch channel k j i"]) -> None:
        self.shape = tuple(x.shape[2:])
        depth, height, width = (n + 2 for n in self.shape)
        # as square as can be: coordinates are fractions of the side, and have 24 bits
        self.columns = min(max(1, round(math.sqrt(depth * height / width))), depth)
        rows = -(-depth // self.columns)
        padded = F.pad(x, (1, 1, 1, 1, 1, rows * self.columns - depth + 2))
        both = torch.cat([padded[:, :, :-1], padded[:, :, 1:]], dim=1)
        tiles = both.unflatten(2, (rows, self.columns)).transpose(3, 4)
        self.picture = tiles.flatten(4, 5).flatten(2, 3)

    def sample(
        self, offsets: Float[Tensor, "batch tap 3 slab j i"], taps: tuple[tuple[int, int, int], ...], first: int
    ) -> Float[Tensor, "batch channel tap slab j i"]:
        """As `sample`, of the slices from `first` on for which there are offsets."""
        batch, number, _, slab, height, width = offsets.shape
        k, j, i = (
            (offsets[:, :, n] + (place + 1)).clamp(0.0, float(self.shape[n] + 1))
            for n, place in enumerate(_places((slab, height, width), taps, offsets.device, first))
        )
        below = k.floor()
        row_of_tiles = ((below + 0.5) * (1 / self.columns)).floor()
        sides = self.picture.shape[2:]
        row = row_of_tiles * (self.shape[1] + 2) + j
        column = (below - row_of_tiles * self.columns) * (self.shape[2] + 2) + i
        places = torch.stack(
            [(at.flatten(1) * (2 / (side - 1)) - 1) for at, side in ((column, sides[1]), (row, sides[0]))], dim=1
        )
        grid = places.transpose(1, 2).unflatten(1, (number * slab * height, width))
        seen = F.grid_sample(self.picture, grid, padding_mode="zeros", align_corners=True)
        near, far = seen.view(batch, 2, -1, number, slab, height, width).unbind(1)
        result: Tensor = near + (k - below)[:, None] * (far - near)
        return result


def _places(
    shape: tuple[int, ...], taps: tuple[tuple[int, int, int], ...], device: torch.device, first: int = 0
) -> list[Tensor]:
    """p + p_n along k, j and i, in voxels: (tap, k, 1, 1), (tap, 1, j, 1) and (tap, 1, 1, i); slices from `first`."""
    shifts = torch.tensor(taps, dtype=torch.float32, device=device)
    result = []
    for n in range(3):
        along = [1, 1, 1]
        along[n] = shape[n]
        p = torch.arange(shape[n], dtype=torch.float32, device=device).view(along) + (first if n == 0 else 0)
        result.append(p + shifts[:, n].view(-1, 1, 1, 1))
    return result
