"""Random patches of volumes, for networks that see three dimensions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor


@dataclass(frozen=True)
class PatchesConfig:
    """What a 3-D network sees of a volume in training."""

    size_kji: tuple[int, int, int] = (128, 128, 128)
    """Voxels of a patch, and of a window in use."""
    per_volume: int = 4
    """Patches of each volume in an epoch."""
    tumor_fraction: float = 0.67
    """Of the patches are laid around a random voxel of a random region of the tumor, the others anywhere."""
    overlap: float = 0.5
    """Of neighboring windows in use. While training, windows of the validation do not overlap more than they must."""

    def __post_init__(self) -> None:
        if min(self.size_kji) < 1 or self.per_volume < 1:
            raise ValueError(f"a patch has at least 1 voxel a side, a volume at least 1 patch; got {self}.")
        if not (0 <= self.tumor_fraction <= 1 and 0 <= self.overlap < 1):
            raise ValueError(f"tumor_fraction lies between 0 and 1, overlap from 0 to below 1; got {self}.")


def cut_patches(
    images: Tensor, targets: Tensor, volumes: Tensor, config: PatchesConfig, generator: Generator
) -> tuple[Tensor, Tensor]:
    """A random patch of each of some volumes: (batch, channel, *size_kji) and (batch, region, *size_kji), float32.

    Args:
        images: (volume, channel, k, j, i), nowhere smaller than a patch
        targets: (volume, region, k, j, i), 0 or 1
        volumes: (batch,), which volume each patch comes from
    """
    patches, masks = [], []
    for n in volumes.tolist():
        k, j, i = patch_box(targets[n], config, generator)
        patches.append(images[n, :, k, j, i].float())
        masks.append(targets[n, :, k, j, i].float())
    return torch.stack(patches), torch.stack(masks)


def patch_box(target: Tensor, config: PatchesConfig, generator: Generator) -> tuple[slice, slice, slice]:
    """Where a patch lies in a volume with the regions `target` (region, k, j, i); never beyond its border."""
    size = torch.tensor(config.size_kji)
    room = torch.tensor(target.shape[1:]) - size
    start = (torch.rand(3, generator=generator) * (room + 1)).long()
    wants_tumor = bool(torch.rand(1, generator=generator) < config.tumor_fraction)
    present = target.flatten(1).any(dim=1).nonzero().flatten()
    if wants_tumor and len(present):
        region = present[torch.randint(len(present), (1,), generator=generator)].item()
        voxels = target[int(region)].nonzero()
        center = voxels[int(torch.randint(len(voxels), (1,), generator=generator))]
        start = torch.minimum((center - size // 2).clamp(min=0), room)
    k, j, i = (slice(first, first + n) for first, n in zip(start.tolist(), config.size_kji, strict=True))
    return k, j, i
