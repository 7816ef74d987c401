"""Which patches or words are hidden: those that agree most with the other modality, least, or any.

Paper: CM-MaskSD (Wang et al., IEEE TMM 2024, arXiv 2305.11481). That masking is guided by the correlation of the two
modalities is the paper's; ratio, spread and that the choice is a draw are inferred.

A draw without replacement with probabilities softmax(c / spread) is the largest of c / spread + Gumbel noise (Kool et
al., ICML 2019, arXiv 1903.06059).
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

SELECTIONS = ("high", "low", "random")
_NEVER = -1e9


def correlation(
    tokens: Float[Tensor, "batch token joint"], other: Float[Tensor, "batch joint"]
) -> Float[Tensor, "batch token"]:
    """Cosine of each token with the other modality, float32; 0 for a token of zeros."""
    return torch.cosine_similarity(tokens.float(), other.float()[:, None], dim=2, eps=1e-6)


def hidden_tokens(
    correlation: Float[Tensor, "batch token"],
    allowed: Bool[Tensor, "batch token"],
    ratio: float,
    selection: str,
    generator: torch.Generator,
    spread: float = 0.1,
) -> Bool[Tensor, "batch token"]:
    """Chooses ceil(ratio * n) of the n allowed tokens of each sample, by `selection`, one of SELECTIONS.

    Raises:
        ValueError: another selection.
    """
    if selection not in SELECTIONS:
        raise ValueError(f"selection must be one of {', '.join(SELECTIONS)}; got {selection!r}.")
    sign = {"high": 1.0, "low": -1.0, "random": 0.0}[selection]
    uniform = torch.rand(correlation.shape, generator=generator, device=generator.device).clamp(1e-12, 1 - 1e-7)
    gumbel = -(-uniform.log()).log().to(correlation.device)
    score = (sign / spread * correlation.detach() + gumbel).masked_fill(~allowed, _NEVER)
    number = (ratio * allowed.sum(dim=1) - 1e-5).ceil().clamp(min=0)  # 0.1 * 30 is a little more than 3
    rank = score.argsort(dim=1, descending=True).argsort(dim=1)
    return (rank < number[:, None]) & allowed
