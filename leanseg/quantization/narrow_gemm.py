"""Products of codes of few bits in narrow accumulators: what the compiled kernels must equal, bit for bit.

Paper: Gong et al., Differentiable Soft Quantization, ICCV 2019, arXiv 1908.05033, its part on deployment: products of
few bits leave head-room in a narrow lane, so a chain of them is added up there and only the sum is widened. Written
from published facts alone. NumPy alone.

Departures and inferences
  * The paper accumulates in int8 and int16 lanes of NEON. Here the lanes are those of `narrow_tiles` (inferred).
  * Inputs are unsigned by default, as they are after ReLU; `signed_inputs` gives the paper's signed by signed.

Symbols: q_w, q_a codes of weights and inputs; z_w, z_a their zero points; K products a sum; y the sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leanseg.errors import UnknownNameError
from leanseg.quantization.config import check_bits

ACCUMULATOR_BITS = {"int8": 8, "int16": 16}
_Codes = NDArray[Any]
_Sums = NDArray[np.int32]


@dataclass(frozen=True)
class NarrowFormat:
    """What is multiplied, and in what it is added up."""

    weight_bits: int
    """Of two's complement: -2^(b-1) to 2^(b-1) - 1."""
    input_bits: int
    """Unsigned, 0 to 2^b - 1, unless `signed_inputs`."""
    accumulator: str = "int16"
    signed_inputs: bool = False
    terms: int = 1
    """Products that one instruction adds up before they reach the lane: 2 for `maddubs` and for tables of pairs."""

    def __post_init__(self) -> None:
        check_bits("weight_bits", self.weight_bits)
        check_bits("input_bits", self.input_bits)
        if self.accumulator not in ACCUMULATOR_BITS:
            raise UnknownNameError("accumulator", self.accumulator, tuple(ACCUMULATOR_BITS))
        if self.terms < 1:
            raise ValueError(f"terms must be 1 or more; got {self.terms}.")

    @property
    def weight_range(self) -> tuple[int, int]:
        return -(2 ** (self.weight_bits - 1)), 2 ** (self.weight_bits - 1) - 1

    @property
    def input_range(self) -> tuple[int, int]:
        if self.signed_inputs:
            return -(2 ** (self.input_bits - 1)), 2 ** (self.input_bits - 1) - 1
        return 0, 2**self.input_bits - 1

    @property
    def lane_range(self) -> tuple[int, int]:
        half = int(2 ** (ACCUMULATOR_BITS[self.accumulator] - 1))
        return -half, half - 1

    @property
    def safe_chain(self) -> int:
        """Steps, of `terms` products each, that fit the lane whatever the codes are; 0: not even one does."""
        products = [w * a for w in self.weight_range for a in self.input_range]
        low, high = self.lane_range
        fits = [high // (self.terms * p) for p in products if p > 0]
        fits += [low // (self.terms * p) for p in products if p < 0]
        return min(fits)


def check_codes(what: str, codes: _Codes, allowed: tuple[int, int]) -> None:
    """Raises:
    ValueError: codes that are no whole numbers, or outside the range of their bits.
    """
    if codes.dtype.kind not in "iu":
        raise ValueError(f"{what} must be whole numbers; got {codes.dtype.name}. Give the codes, not the values.")
    if codes.size and not allowed[0] <= int(codes.min()) <= int(codes.max()) <= allowed[1]:
        raise ValueError(
            f"{what} must lie from {allowed[0]} to {allowed[1]}; got {int(codes.min())} to {int(codes.max())}. "
            "Choose more bits, or subtract the zero point."
        )


def narrow_matmul(weights: _Codes, inputs: _Codes, form: NarrowFormat, chain: int | None = None) -> _Sums:
    """y = q_w q_a, (n, K) by (K, m), added up in narrow lanes that are emptied into int32 every `chain` steps.

    `chain` None is the longest safe one. A longer one is tried, and every step is checked.

    Raises:
        ValueError: codes outside their range, shapes that do not fit, or a chain that no lane holds.
        OverflowError: a lane did not hold its sum: in a chain that is longer than the safe one, or in int32.
    """
    check_codes("Weights", weights, form.weight_range)
    check_codes("Inputs", inputs, form.input_range)
    if weights.ndim != 2 or inputs.ndim != 2 or weights.shape[1] != inputs.shape[0]:
        raise ValueError(f"Weights (n, K) and inputs (K, m) are needed; got {weights.shape} and {inputs.shape}.")
    chain = form.safe_chain if chain is None else chain
    if chain < 1:
        raise ValueError(
            f"{form.accumulator} holds no product of {form.weight_bits} by {form.input_bits} bits, {form.terms} at a "
            "time. Use int16, or fewer bits."
        )
    low, high = form.lane_range
    total = np.zeros((weights.shape[0], inputs.shape[1]), np.int64)
    lane = np.zeros_like(total)
    for step, first in enumerate(range(0, weights.shape[1], form.terms)):
        part = slice(first, first + form.terms)
        lane += weights[:, part].astype(np.int64) @ inputs[part].astype(np.int64)
        if lane.size and not low <= lane.min() <= lane.max() <= high:
            raise OverflowError(
                f"{form.accumulator} overflowed at step {step % chain + 1} of a chain of {chain}; {form.safe_chain} "
                f"steps are safe for {form.weight_bits} by {form.input_bits} bits. Use a shorter chain."
            )
        if step % chain == chain - 1:
            total += lane
            lane[:] = 0
    total += lane
    if total.size and not -(2**31) <= total.min() <= total.max() < 2**31:
        raise OverflowError(f"A sum of {weights.shape[1]} products does not fit int32. Split it.")
    return np.asarray(total, np.int32)


def without_zero_points(sums: _Sums, weights: _Codes, inputs: _Codes, zero_w: int, zero_a: int) -> _Sums:
    """sum (q_w - z_w)(q_a - z_a) from y = sum q_w q_a: y - z_w sum q_a - z_a sum q_w + K z_w z_a."""
    of_inputs = inputs.sum(axis=0, dtype=np.int64)[np.newaxis]
    of_weights = weights.sum(axis=1, dtype=np.int64)[:, np.newaxis]
    k = weights.shape[1]
    return np.asarray(sums - zero_w * of_inputs - zero_a * of_weights + k * zero_w * zero_a, np.int32)


def unfold(inputs: _Codes, kernel: int, outside: int = 0) -> _Codes:
    """(channel, j, i) as (channel * kernel * kernel, j * i): what each output of a convolution sees.

    `kernel` is odd; around the image lie codes `outside`, so that the grid is kept.
    """
    margin = kernel // 2
    padded = np.pad(inputs, [(0, 0), (margin, margin), (margin, margin)], constant_values=outside)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(1, 2))
    return windows.transpose(0, 3, 4, 1, 2).reshape(inputs.shape[0] * kernel * kernel, -1)


def narrow_convolution(
    weights: _Codes, inputs: _Codes, form: NarrowFormat, chain: int | None = None, zero_w: int = 0, zero_a: int = 0
) -> _Sums:
    """Weights (out, in, kernel, kernel) over inputs (in, j, i), the grid kept: int32 (out, j, i).

    What lies outside the image has the value zero, whose code is `zero_a`. Raises as `narrow_matmul`.
    """
    if weights.ndim != 4 or weights.shape[2] != weights.shape[3] or weights.shape[2] % 2 == 0:
        raise ValueError(f"Weights (out, in, kernel, kernel) with an odd kernel are needed; got {weights.shape}.")
    if inputs.ndim != 3 or inputs.shape[0] != weights.shape[1]:
        raise ValueError(f"Inputs ({weights.shape[1]}, j, i) are needed; got {inputs.shape}.")
    flat, seen = weights.reshape(weights.shape[0], -1), unfold(inputs, weights.shape[2], zero_a)
    sums = narrow_matmul(flat, seen, form, chain)
    return without_zero_points(sums, flat, seen, zero_w, zero_a).reshape(-1, *inputs.shape[1:])


def requantize(
    sums: _Sums, scale: NDArray[np.float32], offset: NDArray[np.float32], output_bits: int
) -> NDArray[np.uint8]:
    """Codes of the next layer, round(scale y + offset) between 0 and 2^b - 1: one scale and offset a channel.

    In float32, halves to even. The lower bound is the ReLU.
    """
    shape = (-1, *[1] * (sums.ndim - 1))
    y = sums.astype(np.float32) * scale.astype(np.float32).reshape(shape) + offset.astype(np.float32).reshape(shape)
    largest = 2 ** check_bits("output_bits", output_bits) - 1
    return np.asarray(np.clip(np.rint(y), 0, largest), np.uint8)
