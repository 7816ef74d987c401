"""Uniform quantization with a straight-through gradient: a grid of equal steps, and no more.

Paper: Shen et al., Med-DANet V2, WACV 2024, arXiv 2310.18656 (weights); the gradient is that of Bengio et al.,
arXiv 1308.3432. Written from published facts alone.

Departures and inferences
  * `clip_sigmas`, an option: the paper's grid ends at the largest weight, which leaves few weights a level at 2 bits.
  * Activations, which the paper leaves alone, have a grid between running means of the smallest and the largest value
    of a batch (decay 0.9, inferred); beyond it the gradient is 0. 0 is always a level, because convolutions pad with
    it (inferred).

Symbols: b bits, m max |w|, q = 2^(b-1) - 1, l and u the ends of a range.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from leanseg.quantization.packing import QuantizedTensor

RANGE_DECAY = 0.9


def round_through(x: Float[Tensor, "*shape"], step: Float[Tensor, "*#shape"]) -> Float[Tensor, "*shape"]:
    """The nearest multiple of `step`, exactly a whole number times `step`; the gradient for x is the identity."""
    scaled = x / step
    return (scaled.round().detach() + (scaled - scaled.detach())) * step


def weight_axes(weight: Tensor, per_channel: bool) -> tuple[int, ...]:
    """The axes that share one range: all, or all but the first, which is that of the output channels."""
    return tuple(range(1 if per_channel and weight.ndim > 1 else 0, weight.ndim))


def largest_weight(weight: Float[Tensor, "*shape"], per_channel: bool) -> Float[Tensor, "*#shape"]:
    """max |w| of the tensor or of each channel; a channel of zeros takes that of the tensor, so that it has a grid."""
    m = weight.abs().amax(dim=weight_axes(weight, per_channel), keepdim=True)
    return torch.where(m > 0, m, weight.abs().max())


def follow_range(x: Tensor, lower: Tensor, upper: Tensor, is_first: bool) -> None:
    """Move `lower` and `upper` (scalars, in place) towards the ends of a batch; the first batch sets them."""
    low, high = x.detach().float().aminmax()
    share = 1.0 if is_first else 1 - RANGE_DECAY
    with torch.no_grad():
        lower.lerp_(low, share)
        upper.lerp_(high, share)


class UniformWeights(nn.Module):
    """round(w q / m) m / q, of the present weights in each call.

    Args:
        clip_sigmas: m is no more than |mean| and so many standard deviations; None: max |w|.
    """

    def __init__(self, bits: int, per_channel: bool, clip_sigmas: float | None = None) -> None:
        super().__init__()
        self.bits, self.per_channel, self.clip_sigmas = bits, per_channel, clip_sigmas

    def step(self, weight: Float[Tensor, "*shape"]) -> Float[Tensor, "*#shape"]:
        """m / q: one value, or one for each output channel."""
        weight = weight.detach()
        m = largest_weight(weight, self.per_channel)
        if self.clip_sigmas is not None:
            axes = weight_axes(weight, self.per_channel)
            spread = weight.std(dim=axes, keepdim=True, correction=0)
            m = torch.minimum(m, torch.where(spread > 0, weight.mean(axes, True).abs() + self.clip_sigmas * spread, m))
        step: Tensor = m / (2 ** (self.bits - 1) - 1)
        return step

    def forward(self, weight: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        step = self.step(weight)
        q = 2 ** (self.bits - 1) - 1
        return round_through(torch.minimum(torch.maximum(weight, -q * step), q * step), step)

    def codes(self, weight: Float[Tensor, "*shape"]) -> QuantizedTensor:
        """What `forward` gives, as codes."""
        step, q = self.step(weight), 2 ** (self.bits - 1) - 1
        codes = ((weight.detach() / step).round().clamp(-q, q) + q).cpu().numpy().astype(np.uint8)
        scale = step.cpu().numpy()
        return QuantizedTensor(codes, self.bits, scale, np.zeros_like(scale), zero=q)


class UniformInputs(nn.Module):
    """Activations on a grid of 2^b levels between running ends of their range, which follow while training."""

    lower: Tensor
    upper: Tensor
    seen: Tensor

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = bits
        self.register_buffer("lower", torch.tensor(0.0))
        self.register_buffer("upper", torch.tensor(1.0))
        self.register_buffer("seen", torch.tensor(0))
        """Batches so far."""

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        if self.training:
            follow_range(x, self.lower, self.upper, is_first=not self.seen)
            self.seen += 1
        lowest, step = self._grid()
        return round_through(x.clamp(lowest * step, (lowest + 2**self.bits - 1) * step), step)

    def _grid(self) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """The lowest level, in steps, and the step; new tensors, because the next batch moves the buffers."""
        lower, upper = self.lower.clamp(max=0), self.upper.clamp(min=0)
        step = (upper - lower).clamp(min=1e-6) / (2**self.bits - 1)
        return (lower / step).round(), step

    def grid(self) -> tuple[float, float]:
        """The lowest level and the step."""
        lowest, step = self._grid()
        return float(lowest * step), float(step)
