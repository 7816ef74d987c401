"""Where on its grid a stage sees what it was told of: the lesson that teaches words about places. Ours.

Loss = cross-entropy + (1 - Dice) of the places, each a cell of the grid, mean over images and stages. A cell is right
if any part of the target lies in it.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def places_loss(places: Sequence[Tensor], targets: Float[Tensor, "batch 1 height width"]) -> Float[Tensor, ""]:
    """`places`: of each stage (batch, grid, grid) logits; 0 without any."""
    total = torch.zeros((), device=targets.device)
    for logits in places:
        logits = logits.float()
        cells = F.adaptive_max_pool2d(targets, list(logits.shape[1:]))[:, 0]
        probability = logits.sigmoid()
        overlap, sizes = (one.sum(dim=(1, 2)) for one in (probability * cells, probability + cells))
        dice = (2 * overlap + 1) / (sizes + 1)
        total = total + F.binary_cross_entropy_with_logits(logits, cells) + (1 - dice).mean()
    return total / max(len(places), 1)
