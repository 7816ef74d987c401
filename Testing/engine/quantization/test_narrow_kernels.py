"""Compiled narrow kernels: equal to the reference bit for bit, whatever the shape; every kernel that this CPU has."""

import importlib
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leanseg.errors import LeanSegError, MissingDependencyError, UnknownNameError
from leanseg.quantization.narrow_gemm import NarrowFormat, narrow_convolution, requantize

pytest.importorskip("numba")

from leanseg.quantization import narrow_kernels
from leanseg.quantization.narrow_kernels import KERNELS, NarrowConvolution, usable_kernels
from leanseg.quantization.narrow_tiles import pair_tables

CASES = [(name, bits, bits) for bits in (2, 4) for name in usable_kernels(bits, bits)]
CASES += [(name, 1, 2) for name in usable_kernels(1, 2) if name != "words"] + [("words", 3, 4)]


def codes_of(layer: tuple[int, int, int], shape: tuple[int, int], bits: tuple[int, int], seed: int):
    form, draw = NarrowFormat(*bits), np.random.default_rng(seed)
    out, channels, size = layer
    weights = draw.integers(form.weight_range[0], form.weight_range[1] + 1, (out, channels, size, size))
    return weights, draw.integers(0, 2 ** bits[1], (channels, *shape)).astype(np.uint8), form


@pytest.mark.parametrize(("kernel", "weight_bits", "input_bits"), CASES)
@given(
    layer=st.tuples(st.integers(1, 20), st.integers(1, 37), st.sampled_from([1, 3])),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    seed=st.integers(0, 2**32 - 1),
)
@settings(deadline=None, max_examples=8)
def test_sums_and_codes_equal_the_reference(
    kernel: str, weight_bits: int, input_bits: int, layer: tuple[int, int, int], shape: tuple[int, int], seed: int
) -> None:
    weights, inputs, form = codes_of(layer, shape, (weight_bits, input_bits), seed)
    wanted = narrow_convolution(weights, inputs, form)
    convolution = NarrowConvolution(weights, weight_bits, input_bits, kernel)
    assert np.array_equal(convolution(inputs), wanted)

    following = NarrowConvolution(np.zeros((3, layer[0], 1, 1), int), weight_bits, input_bits, kernel)
    draw = np.random.default_rng(seed)
    scale, offset = draw.random((2, layer[0]), np.float32)
    packed = convolution.requantized(convolution.pack(inputs), shape, scale / 10, offset, following)
    assert np.array_equal(following.unpack(packed, shape), requantize(wanted, scale / 10, offset, input_bits))


@pytest.mark.parametrize(("kernel", "weight_bits", "input_bits"), CASES)
def test_the_largest_sums_are_exact_and_a_longer_chain_is_not(kernel: str, weight_bits: int, input_bits: int) -> None:
    """All codes at the end of their range, and more steps than a chain has: the accumulators are full to the brim."""
    form = NarrowFormat(weight_bits, input_bits)
    per_step = {"dot": 4, "bits": 16, "tables": 2, "pairs": 4, "words": 1}[KERNELS[kernel][0]]
    convolution = NarrowConvolution(np.zeros((1, 1, 1, 1), int), weight_bits, input_bits, kernel)
    channels = per_step * min(convolution.chain + 1, 12000)
    weights = np.full((1, channels, 1, 1), form.weight_range[0])
    inputs = np.full((channels, 1, 1), form.input_range[1], np.uint8)
    convolution = NarrowConvolution(weights, weight_bits, input_bits, kernel)
    wanted = channels * form.weight_range[0] * form.input_range[1]
    assert convolution(inputs).tolist() == [[[wanted]]]
    if channels == per_step * (convolution.chain + 1):
        convolution.chain += 1
        assert convolution(inputs).tolist() != [[[wanted]]], "the safe chain is not the longest"


def test_packed_codes_come_back() -> None:
    for kernel in usable_kernels(2, 2):
        weights, inputs, _ = codes_of((1, 19, 3), (5, 6), (2, 2), 3)
        convolution = NarrowConvolution(weights, 2, 2, kernel)
        assert np.array_equal(convolution.unpack(convolution.pack(inputs), (5, 6)), inputs)


def test_tables_hold_the_sums_of_two_products() -> None:
    """Weights 1 and -2 have the codes 1 and 2; inputs 3 and 2 have the place 3 + 4 x 2."""
    assert pair_tables(2)[1 + 4 * 2, 3 + 4 * 2] == 1 * 3 - 2 * 2


def test_every_cpu_has_a_kernel_and_few_bits_have_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(narrow_kernels, "cpu_features", lambda: frozenset({"avx2"}))
    assert usable_kernels(2, 2) == ["tables_256", "pairs_256", "words"]
    assert usable_kernels(4, 4) == ["pairs_256", "words"] and usable_kernels(8, 8) == ["words"]
    monkeypatch.setattr(narrow_kernels, "cpu_features", frozenset)
    assert usable_kernels(1, 1) == ["words"]


def test_the_cpu_is_what_numba_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(narrow_kernels.numba.config, "CPU_FEATURES", "+avx2,+fma,-avx512f")
    assert narrow_kernels.cpu_features() == {"avx2", "fma"}


def test_wrong_input_is_told_in_a_line() -> None:
    weights, inputs, _ = codes_of((2, 3, 3), (4, 4), (4, 4), 0)
    layer = NarrowConvolution(weights, 4, 4, "words")
    with pytest.raises(UnknownNameError, match="kernel for 4 by 4 bits here named 'bits_512'"):
        NarrowConvolution(weights, 4, 4, "bits_512")
    with pytest.raises(ValueError, match=r"Weights must lie from -2 to 1; got .*Choose more bits"):
        NarrowConvolution(np.full((1, 1, 3, 3), -3), 2, 2)
    with pytest.raises(ValueError, match=r"\(out, in, 3, 3\) are needed; got \(2, 3, 5, 5\)"):
        NarrowConvolution(np.zeros((2, 3, 5, 5), int), 2, 2)
    with pytest.raises(ValueError, match=r"Inputs \(3, j, i\) are needed; got \(2, 4, 4\)"):
        layer(inputs[:2])
    with pytest.raises(ValueError, match="Inputs must lie from 0 to 15; got"):
        layer(inputs + np.uint8(16))
    other = NarrowConvolution(np.zeros((1, 5, 1, 1), int), 4, 4, "words")
    with pytest.raises(LeanSegError, match=r"words with 2 outputs .* words with 5 inputs\. Give both layers one"):
        layer.requantized(layer.pack(inputs), (4, 4), np.ones(2, np.float32), np.ones(2, np.float32), other)


def test_without_numba_a_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.delitem(sys.modules, "leanseg.quantization.narrow_kernels")
    with pytest.raises(MissingDependencyError, match=r"need Numba\. Run: pip install numba\."):
        importlib.import_module("leanseg.quantization.narrow_kernels")
