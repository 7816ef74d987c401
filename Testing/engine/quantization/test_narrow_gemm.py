"""The reference of narrow products: exact up to the safe chain, and what does not fit is refused, never wrapped."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leanseg.errors import UnknownNameError
from leanseg.quantization.narrow_gemm import (
    NarrowFormat,
    narrow_convolution,
    narrow_matmul,
    requantize,
    unfold,
    without_zero_points,
)

# bits, accumulator, chain, of the paper's signed by signed codes: -2^(b-1) squared into 127 or 32767
SIGNED_CHAINS = [(2, "int8", 31), (3, "int8", 7), (4, "int8", 1), (2, "int16", 8191), (3, "int16", 2047)]
SIGNED_CHAINS += [(4, "int16", 511)]


@pytest.mark.parametrize(("bits", "accumulator", "chain"), SIGNED_CHAINS)
def test_safe_chains_are_those_worked_out_by_hand(bits: int, accumulator: str, chain: int) -> None:
    assert NarrowFormat(bits, bits, accumulator, signed_inputs=True).safe_chain == chain


def test_136_pairs_of_unsigned_by_signed_4_bits_fit_int16() -> None:
    """2 x 15 x 8 = 240 a pair; 136 x 240 = 32640, and 32768 is the end."""
    assert NarrowFormat(4, 4, terms=2).safe_chain == 136
    assert NarrowFormat(8, 8, terms=2).safe_chain == 0, "one pair of 8 bits may be 2 x 255 x 128"


@pytest.mark.parametrize(("bits", "accumulator", "chain"), SIGNED_CHAINS)
def test_the_safe_chain_is_exact_and_one_more_step_overflows(bits: int, accumulator: str, chain: int) -> None:
    form = NarrowFormat(bits, bits, accumulator, signed_inputs=True)
    worst = np.full((1, 2 * chain + 2), -(2 ** (bits - 1)))
    exact = (worst.astype(np.int64) @ worst.T.astype(np.int64)).astype(np.int32)
    assert np.array_equal(narrow_matmul(worst, worst.T, form), exact)
    with pytest.raises(OverflowError, match=rf"{accumulator} overflowed at step {chain + 1} .*{chain} steps are safe"):
        narrow_matmul(worst, worst.T, form, chain + 1)


@pytest.mark.parametrize("terms", [1, 2])
@pytest.mark.parametrize(("weight_bits", "input_bits"), [(1, 2), (2, 2), (3, 4), (4, 4)])
def test_unsigned_inputs_overflow_just_beyond_the_chain_too(weight_bits: int, input_bits: int, terms: int) -> None:
    form = NarrowFormat(weight_bits, input_bits, terms=terms)
    k = (form.safe_chain + 1) * terms
    weights, inputs = np.full((1, k), form.weight_range[0]), np.full((k, 1), form.input_range[1])
    assert narrow_matmul(weights, inputs, form)[0, 0] == k * form.weight_range[0] * form.input_range[1]
    with pytest.raises(OverflowError, match="Use a shorter chain"):
        narrow_matmul(weights, inputs, form, form.safe_chain + 1)


@given(
    st.integers(1, 4),
    st.integers(1, 4),
    st.booleans(),
    st.integers(0, 40),
    st.integers(0, 5),
    st.integers(0, 2**32 - 1),
)
@settings(deadline=None, max_examples=60)
def test_equals_the_int64_product(w: int, a: int, signed: bool, k: int, n: int, seed: int) -> None:
    form, draw = NarrowFormat(w, a, "int16", signed_inputs=signed, terms=1 + seed % 2), np.random.default_rng(seed)
    (low, high), (lowest, largest) = form.weight_range, form.input_range
    weights, inputs = draw.integers(low, high + 1, (3, k)), draw.integers(lowest, largest + 1, (k, n))
    assert np.array_equal(narrow_matmul(weights, inputs, form), weights @ inputs)


def test_zero_points_are_taken_off_exactly() -> None:
    draw = np.random.default_rng(0)
    weights, inputs = draw.integers(-8, 8, (3, 50)), draw.integers(0, 16, (50, 4))
    sums = narrow_matmul(weights, inputs, NarrowFormat(4, 4))
    wanted = (weights - 3) @ (inputs - 7)
    assert np.array_equal(without_zero_points(sums, weights, inputs, 3, 7), wanted)


@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (7, 10)])
@pytest.mark.parametrize("kernel", [1, 3])
def test_a_convolution_is_that_of_the_values_with_zeros_around(kernel: int, shape: tuple[int, int]) -> None:
    """Against a loop over taps, on values: code minus zero point, zero outside."""
    draw = np.random.default_rng(1)
    weights, inputs = draw.integers(-8, 8, (4, 3, kernel, kernel)), draw.integers(0, 16, (3, *shape))
    found = narrow_convolution(weights, inputs, NarrowFormat(4, 4), zero_w=-1, zero_a=5)
    values = np.pad(inputs - 5, [(0, 0), (kernel // 2,) * 2, (kernel // 2,) * 2])
    wanted = np.zeros((4, *shape), np.int64)
    for j in range(kernel):
        for i in range(kernel):
            tap = values[:, j : j + shape[0], i : i + shape[1]]
            wanted += np.einsum("oc,cji->oji", weights[:, :, j, i] + 1, tap)
    assert np.array_equal(found, wanted)


def test_unfold_puts_the_taps_of_a_channel_beside_each_other() -> None:
    assert unfold(np.arange(4).reshape(1, 2, 2), 3, outside=9)[:, 0].tolist() == [9, 9, 9, 9, 0, 1, 9, 2, 3]


def test_requantized_codes_by_hand() -> None:
    """0.5 y + 1, halves to even, between 0 and 3."""
    sums = np.array([[-9, 0, 1, 3, 9]], np.int32)
    one, half = np.ones(1, np.float32), np.full(1, 0.5, np.float32)
    assert requantize(sums, half, one, 2).tolist() == [[0, 1, 2, 2, 3]]


def test_wrong_codes_shapes_and_names_are_told_in_a_line() -> None:
    form, zeros = NarrowFormat(2, 2), np.zeros((2, 3), int)
    with pytest.raises(ValueError, match=r"Weights must lie from -2 to 1; got 0 to 2\. Choose more bits"):
        narrow_matmul(np.array([[0, 1, 2]] * 2), zeros.T, form)
    with pytest.raises(ValueError, match="Inputs must be whole numbers; got float64"):
        narrow_matmul(zeros, zeros.T.astype(float), form)
    with pytest.raises(ValueError, match=r"got \(2, 3\) and \(2, 3\)"):
        narrow_matmul(zeros, zeros, form)
    with pytest.raises(ValueError, match="int8 holds no product of 8 by 8 bits"):
        narrow_matmul(zeros, zeros.T, NarrowFormat(8, 8, "int8"))
    with pytest.raises(ValueError, match="odd kernel"):
        narrow_convolution(np.zeros((1, 1, 2, 2), int), np.zeros((1, 4, 4), int), form)
    with pytest.raises(UnknownNameError, match="Did you mean 'int16'"):
        NarrowFormat(2, 2, "int12")
