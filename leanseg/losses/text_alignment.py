"""Pulls what a stage saw to what it was told about the same image, and away from what was told about others.

Paper: Zhong et al., TextBCS, arXiv 2603.11206, L_con. Written from published facts alone.

Departures and inferences: tau is learned for each stage, and lies in the network, whose visual vectors have the length
1 / tau. Images with the same prompt are not opposed to each other, nor is an image without prompt to anything. Images
that agree and images that differ are averaged apart, so that a large batch does not drown the few that agree.

Symbols: z_jk = cos(F_V of image j, F_L of image k) / tau.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

NOTHING_SAID = -1


class StageAlignmentLoss:
    """L_con = mean_j -log sigmoid(z_jj) + mean_jk -log(1 - sigmoid(z_jk)) of other prompts k, mean over the stages."""

    def __call__(
        self, vision: Sequence[Tensor], language: Sequence[Tensor], prompts: Int[Tensor, " batch"]
    ) -> Float[Tensor, ""]:
        """For the outputs of one forward pass.

        Args:
            vision, language: of each stage (batch, width), as in `TextBCSOutput`.
            prompts: a number for each image, equal for equal structured prompts; -1: nothing was said.
        """
        said = prompts != NOTHING_SAID
        same = torch.diag(said)
        other = said[:, None] & said[None, :] & (prompts[:, None] != prompts[None, :])
        total = torch.zeros((), device=prompts.device)
        for seen, told in zip(vision, language, strict=True):
            z = seen.float() @ told.float().T
            total = total + _mean(-F.logsigmoid(z), same) + _mean(-F.logsigmoid(-z), other)
        return total / max(len(vision), 1)


def _mean(values: Tensor, chosen: Tensor) -> Tensor:
    """Of the chosen values; 0 where none is chosen."""
    weights = chosen.to(values.dtype)
    return (values * weights).sum() / weights.sum().clamp(min=1)
