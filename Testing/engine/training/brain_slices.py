"""Slices of a simulated brain with four sequences, small enough to train on in seconds."""

import torch
from torch import Tensor

from leanseg.training.objectives import Batch

SIDE = 32


def brain_slices(number: int, seed: int = 0, tumor_share: float = 0.45) -> tuple[Tensor, Tensor]:
    """Images (number, 4, 32, 32) and masks of WT, TC and ET (number, 3, 32, 32).

    A brain on zero background; a tumor is edema (bright in sequences 0 and 3) around an enhancing shell (bright in 1)
    around necrosis (dark in 1). The same seed gives the same slices.
    """
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(*(torch.arange(SIDE, dtype=torch.float32),) * 2, indexing="ij")
    images, masks = [], []
    for n in range(number):
        row, column, radius = torch.rand(3, generator=generator).tolist()
        distance = ((y - 11 - 10 * row) ** 2 + (x - 11 - 10 * column) ** 2).sqrt()
        has_tumor = n < round(tumor_share * number)
        size = (5 + 3 * radius) if has_tumor else 0.0
        whole, core, necrosis = distance < size, distance < 0.65 * size, distance < 0.35 * size
        enhancing = core & ~necrosis
        brain = ((y - 15.5) / 14) ** 2 + ((x - 15.5) / 13) ** 2 < 1
        image = 0.3 * torch.randn(4, SIDE, SIDE, generator=generator)
        image[[0, 3]] += 2.0 * (whole & ~core)
        image[1] += 2.5 * enhancing - 1.0 * necrosis
        images.append(image * brain)
        masks.append((torch.stack([whole, core, enhancing]) & brain).float())
    order = torch.randperm(number, generator=generator)
    return torch.stack(images)[order], torch.stack(masks)[order]


def batch_of(images: Tensor, targets: Tensor, indices: Tensor | None = None) -> Batch:
    """Some of the slices, or all, un-augmented."""
    chosen = torch.arange(len(images)) if indices is None else indices
    has_tumor = targets[chosen].flatten(1).any(dim=1).long()
    grid = torch.zeros(len(chosen), SIDE, SIDE, 2)
    return Batch(images[chosen], targets[chosen], has_tumor, chosen, grid)
