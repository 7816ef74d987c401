"""Differentiable Soft Quantization (DSQ): a staircase of tanh pieces that becomes the hard one while training.

Paper: Gong et al., Differentiable Soft Quantization, ICCV 2019, arXiv 1908.05033. The authors' own code for it was not
read; this file was written from the published formulas.

A range [l, u] has n = 2^b - 1 intervals of the width Delta = (u - l) / n. With t = (x - m_i) / Delta in [-1/2, 1/2] the
position in interval i, whose middle is m_i:

    asymptotic function  phi = s tanh(kappa t), s = 1 / tanh(kappa / 2)           phi is -1 and 1 at the borders
    soft quantizer       Q_S = l + Delta (i + (phi + 1) / 2), l below and u above the range
    hard quantizer       Q   = l + Delta (i + (sgn(phi) + 1) / 2)                 rounding to the nearest level
    evolution            alpha = 1 - tanh(kappa / 2), so s = 1 / (1 - alpha), kappa = ln(2 / alpha - 1)

The forward pass gives Q, the gradient is that of Q_S for x, l, u and alpha: sgn passes it straight through.

Departures and inferences
  * kappa = k Delta stands for the paper's k: it does not depend on the scale of x.
  * sgn(0) is 1, so that Q has no values between levels.
  * alpha = ceiling sigmoid(a) is learned, one a for each tensor; the ceiling goes from 0.5 to 0.125 in the course of
    training (inferred), so that the staircase hardens whatever the gradient says. An alpha that began at 0.2 then ends
    near 0.05; far below that there would be a gradient at the thresholds alone.
  * Ranges begin at mean -+ 2.6 sigma of the weights, and with the mean ends of the first 16 batches of activations
    (both inferred). An activation that was never negative there keeps l = 0.
  * A channel whose weights are all equal begins with the range of the tensor.
  * `symmetric`, an option: l = -u for weights, so that levels are odd multiples of Delta / 2 and INT8 needs no rest.
"""

import math

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from leanseg.quantization.config import MAX_ALPHA
from leanseg.quantization.packing import QuantizedTensor
from leanseg.quantization.uniform import follow_range, weight_axes

CLIP_SIGMAS = 2.6
LAST_CEILING = 0.125
OBSERVED_BATCHES = 16
_SMALLEST_STEP = 1e-8  # ends that crossed each other leave a range of nothing, not one upside down


def asymptotic(t: Float[Tensor, "*shape"], kappa: Float[Tensor, "*#shape"]) -> Float[Tensor, "*shape"]:
    """phi(t): -1 at t = -1/2, 1 at t = 1/2; a straight line for kappa -> 0, the sign of t for kappa -> infinity."""
    phi: Tensor = torch.tanh(kappa * t) / torch.tanh(kappa / 2)
    return phi


def kappa_of(alpha: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """kappa = ln(2 / alpha - 1) for alpha in (0, 1): 1 - tanh(kappa / 2) = alpha."""
    kappa: Tensor = torch.log(2 / alpha - 1)
    return kappa


def step_of(lower: Float[Tensor, "*range"], upper: Float[Tensor, "*range"], bits: int) -> Float[Tensor, "*range"]:
    """Delta, the distance of two levels."""
    step: Tensor = ((upper - lower) / (2**bits - 1)).clamp(min=_SMALLEST_STEP)
    return step


def soft_quantize(
    x: Float[Tensor, "*shape"],
    lower: Float[Tensor, "*#shape"],
    upper: Float[Tensor, "*#shape"],
    kappa: Float[Tensor, "*#shape"],
    bits: int,
) -> Float[Tensor, "*shape"]:
    """Q_S, differentiable for all that it is given."""
    step = step_of(lower, upper, bits)
    position = (x - lower) / step
    interval = position.detach().floor().clamp(0, 2**bits - 2)
    inside = lower + step * (interval + (asymptotic(position - interval - 0.5, kappa) + 1) / 2)
    return torch.where(x < lower, lower, torch.where(x > upper, upper, inside))


def hard_levels(
    x: Float[Tensor, "*shape"], lower: Float[Tensor, "*#shape"], step: Float[Tensor, "*#shape"], bits: int
) -> Float[Tensor, "*shape"]:
    """The number of the nearest level, 0 to 2^bits - 1."""
    return torch.floor((x - lower) / step + 0.5).clamp(0, 2**bits - 1)


def dsq(
    x: Float[Tensor, "*shape"],
    lower: Float[Tensor, "*#shape"],
    upper: Float[Tensor, "*#shape"],
    alpha: Float[Tensor, ""],
    bits: int,
) -> Float[Tensor, "*shape"]:
    """Q with the gradient of Q_S: at most 2^bits values in each range."""
    step = step_of(lower, upper, bits)
    hard = (lower + step * hard_levels(x, lower, step, bits)).detach()
    if not torch.is_grad_enabled():
        return hard
    soft = soft_quantize(x, lower, upper, kappa_of(alpha), bits)
    return hard + (soft - soft.detach())  # in this order it is exactly `hard`


class Alpha(nn.Module):
    """How soft one quantizer is: 0 < alpha < ceiling, learned."""

    ceiling: Tensor

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(math.log(alpha / (MAX_ALPHA - alpha))))
        self.register_buffer("ceiling", torch.tensor(MAX_ALPHA))

    def forward(self) -> Float[Tensor, ""]:
        return self.ceiling * torch.sigmoid(self.a)


def evolve_(network: nn.Module, progress: float) -> None:
    """Lower the ceiling of every alpha; `progress` goes from 0 to 1 in the course of training."""
    for module in network.modules():
        if isinstance(module, Alpha):
            module.ceiling.fill_(MAX_ALPHA + progress * (LAST_CEILING - MAX_ALPHA))


def alphas(network: nn.Module) -> dict[str, Tensor]:
    """alpha of every quantizer by its name, with gradient."""
    return {name: module() for name, module in network.named_modules() if isinstance(module, Alpha)}


class DSQWeights(nn.Module):
    """Quantizer of the weights of one layer; l, u and alpha are its parameters.

    Args:
        weight: those that it begins with, not all equal.
        per_channel: l and u of each output channel, not of the tensor; alpha is of the tensor in any case.
        symmetric: the range is moved so that its middle is 0.
    """

    def __init__(
        self,
        weight: Float[Tensor, "*shape"],
        bits: int,
        per_channel: bool,
        clip_sigmas: float | None,
        alpha: float,
        symmetric: bool = False,
    ) -> None:
        super().__init__()
        self.bits, self.symmetric = bits, symmetric
        weight, axes = weight.detach(), weight_axes(weight, per_channel)
        mean, spread = weight.mean(axes, keepdim=True), weight.std(axes, correction=0, keepdim=True)
        # one rounding error away from equal is equal
        has_spread = spread > 1e-6 * weight.abs().amax(axes, keepdim=True)
        mean = torch.where(has_spread, mean, weight.mean())
        half = (CLIP_SIGMAS if clip_sigmas is None else clip_sigmas) * torch.where(
            has_spread, spread, weight.std(correction=0)
        )
        self.lower, self.upper = nn.Parameter(mean - half), nn.Parameter(mean + half)
        self.alpha = Alpha(alpha)

    def ends(self) -> tuple[Float[Tensor, "*range"], Float[Tensor, "*range"]]:
        """l and u."""
        if not self.symmetric:
            return self.lower, self.upper
        half = (self.upper - self.lower) / 2
        return -half, half

    def forward(self, weight: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return dsq(weight, *self.ends(), self.alpha(), self.bits)

    @torch.no_grad()
    def codes(self, weight: Float[Tensor, "*shape"]) -> QuantizedTensor:
        """What `forward` gives, as codes."""
        lower, upper = self.ends()
        step = step_of(lower, upper, self.bits)
        codes = hard_levels(weight, lower, step, self.bits).cpu().numpy().astype(np.uint8)
        return QuantizedTensor(codes, self.bits, step.cpu().numpy(), lower.cpu().numpy())


class DSQInputs(nn.Module):
    """Quantizer of the input of one layer. The first batches in training mode set l and u; then they are learned."""

    seen: Int[Tensor, ""]
    has_negative: Tensor

    def __init__(self, bits: int, alpha: float) -> None:
        super().__init__()
        self.bits = bits
        self.lower, self.upper = nn.Parameter(torch.tensor(0.0)), nn.Parameter(torch.tensor(1.0))
        self.alpha = Alpha(alpha)
        self.register_buffer("seen", torch.tensor(0))
        """Batches so far, up to `OBSERVED_BATCHES`."""
        self.register_buffer("has_negative", torch.tensor(False))

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        if self.training and self.seen < OBSERVED_BATCHES:
            follow_range(x, self.lower.data, self.upper.data, is_first=not self.seen)
            self.has_negative |= x.detach().amin() < 0
            self.seen += 1
        return dsq(x, *self.ends(), self.alpha(), self.bits)

    def ends(self) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """l and u."""
        return torch.where(self.has_negative, self.lower, 0.0), self.upper

    @torch.no_grad()
    def grid(self) -> tuple[float, float]:
        """The lowest level and the step."""
        lower, upper = self.ends()
        return float(lower), float(step_of(lower, upper, self.bits))
