"""Incremental Network Quantization (INQ): weights become powers of two in portions, the largest first.

Papers: Zhou et al., Incremental Network Quantization, ICLR 2017, arXiv 1702.03044 (the method); Xu et al., Quantization
of Fully Convolutional Networks for Accurate Biomedical Image Segmentation, CVPR 2018, arXiv 1803.04907 (its use against
over-fitting, with 5 to 7 bits; suggestive annotation, the other half of that paper, has another home). Written from the
published formulas alone.

For the weights W of a layer, once, before anything is quantized:

    s = max |W|    n1 = floor(log2(4 s / 3))    n2 = n1 + 1 - 2^(b-2)    code book {0, +-2^n2, ..., +-2^n1}
    w -> sign(w) beta for (alpha + beta) / 2 <= |w| < 3 beta / 2, with alpha < beta neighbors in the book, 0 included
    w -> 0 below that

Then for each portion: the largest of the weights that are left join the quantized ones (pruning-inspired partition),
are rounded, and stay so; the others are trained on.

Departures and inferences
  * The quantized weights are kept as integer codes beside the parameter and take its place in the layer. So nothing
    that an optimizer does to the parameter, momentum and weight decay included, reaches them, and a running mean of
    the weights holds them exactly.
  * A weight that grew beyond 3/2 2^n1 while it was trained becomes 2^n1, not 0.
  * In a run of so many epochs the last portion is quantized before the last epoch, in which norms and biases go on.
  * With a book for each channel, a channel of zeros takes the book of the tensor.

Symbols: top = 2^n1; code k: 0, or +-(1 + n1 - n) for +-2^n.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from leanseg.quantization.packing import QuantizedTensor
from leanseg.quantization.uniform import largest_weight


def magnitudes(bits: int) -> int:
    """How many powers of two a code book of so many bits (2 or more) has: 2^(bits - 2)."""
    return int(2 ** (bits - 2))


def top_of(largest: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """2^n1, the largest power of two of the book, for s = max |W|."""
    _, exponent = np.frexp(4 * largest.double().cpu().numpy() / 3)
    return torch.from_numpy(np.asarray(np.ldexp(1.0, exponent - 1))).to(largest)


def codebook(top: float, bits: int) -> list[float]:
    """All values that a weight can take, ascending."""
    powers = [top * 2.0**-n for n in range(magnitudes(bits))]
    return [*(-p for p in powers), 0.0, *reversed(powers)]


def encode(weight: Float[Tensor, "*shape"], top: Float[Tensor, "*#shape"], bits: int) -> Int[Tensor, "*shape"]:
    """The code k of the nearest value of the book, by the rule above; int8."""
    relative = (weight / top).abs()
    mantissa, exponent = torch.frexp(relative)  # relative = mantissa 2^exponent, mantissa from 1/2 to below 1
    nearest = torch.where(mantissa < 0.75, exponent - 1, exponent)  # of 2^n and 2^(n+1) the border is 3/2 2^n
    k = (1 - nearest).clamp(1, magnitudes(bits))
    k = torch.where(relative < 2.0 ** -magnitudes(bits), 0, k)
    return (k * weight.sign()).to(torch.int8)


def decode(codes: Int[Tensor, "*shape"], top: Float[Tensor, "*#shape"], bits: int) -> Float[Tensor, "*shape"]:
    """The values of the codes, exactly powers of two."""
    book = torch.tensor(codebook(1.0, bits), dtype=top.dtype, device=top.device)
    count = magnitudes(bits)
    place = torch.where(codes > 0, 2 * count + 1 - codes.int(), torch.where(codes < 0, -codes.int() - 1, count))
    return book[place] * top


def partition(
    weight: Float[Tensor, "*shape"],
    is_fixed: Bool[Tensor, "*shape"],
    portion: float,
    generator: torch.Generator | None = None,
) -> Bool[Tensor, "*shape"]:
    """Which weights are quantized when `portion` of all are: those that were, and the largest of the others.

    `generator`: a random choice of the others instead (the paper's ablation).
    """
    rank = weight.detach().abs() if generator is None else torch.rand(weight.shape, generator=generator)
    rank = torch.where(is_fixed, torch.inf, rank.to(weight.device)).flatten()
    order = rank.argsort(descending=True, stable=True)
    chosen = torch.zeros_like(rank, dtype=torch.bool)
    chosen[order[: max(round(portion * rank.numel()), int(is_fixed.sum()))]] = True
    return chosen.view(weight.shape)


def round_starts(portions: tuple[float, ...], epochs: int) -> tuple[int, ...]:
    """The epoch, counted from 0, before which each portion is quantized: evenly apart, the last before the last."""
    gaps = max(len(portions) - 1, 1)
    return tuple(round((epochs - 1) * n / gaps) if len(portions) > 1 else 0 for n in range(len(portions)))


class INQWeights(nn.Module):
    """Quantizer of the weights of one layer; the code book is that of the weights it begins with."""

    codes_so_far: Tensor
    is_fixed: Tensor
    top: Tensor

    def __init__(self, weight: Float[Tensor, "*shape"], bits: int, per_channel: bool) -> None:
        super().__init__()
        self.bits = bits
        weight = weight.detach()
        self.register_buffer("top", top_of(largest_weight(weight, per_channel)))
        self.register_buffer("codes_so_far", torch.zeros_like(weight, dtype=torch.int8))
        self.register_buffer("is_fixed", torch.zeros_like(weight, dtype=torch.bool))

    def forward(self, weight: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Quantized weights where they are fixed, else the parameter, which alone has a gradient."""
        return torch.where(self.is_fixed, decode(self.codes_so_far, self.top, self.bits), weight)

    @torch.no_grad()
    def fix_(self, weight: Float[Tensor, "*shape"], portion: float, generator: torch.Generator | None = None) -> None:
        """Quantize until `portion` of the weights, from 0 to 1, are; see `partition`."""
        chosen = partition(weight, self.is_fixed, portion, generator)
        self.codes_so_far.copy_(torch.where(chosen, self._all_codes(weight), 0))
        self.is_fixed.copy_(chosen)

    def _all_codes(self, weight: Float[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
        return torch.where(self.is_fixed, self.codes_so_far, encode(weight, self.top, self.bits))

    @torch.no_grad()
    def codes(self, weight: Float[Tensor, "*shape"]) -> QuantizedTensor:
        """All weights as codes; those that are not fixed yet are rounded."""
        zero = magnitudes(self.bits)
        codes = (self._all_codes(weight).int() + zero).cpu().numpy().astype(np.uint8)
        step = self.top.cpu().numpy()
        return QuantizedTensor(codes, self.bits, step, np.zeros_like(step), zero, "powers")
