"""Convolutions of codes of few bits, compiled for this CPU; equal to `narrow_gemm` bit for bit.

    layer = NarrowConvolution(weights, weight_bits=4, input_bits=4)          codes, two's complement
    sums = layer(inputs)                                                     int32, the grid kept, zeros outside

Layers in a row hand on packed codes: `layer.pack`, `layer.requantized` for each, `layer.unpack`. Compiling takes some
seconds at the first call. Threads are Numba's (`numba.set_num_threads`); one call at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leanseg.errors import LeanSegError, MissingDependencyError, UnknownNameError
from leanseg.quantization.config import check_bits
from leanseg.quantization.narrow_gemm import NarrowFormat, check_codes

try:
    import numba
    from llvmlite import binding

    from leanseg.quantization.narrow_loops import BLOCK, TILE_ROWS, compiled_loops
    from leanseg.quantization.narrow_tiles import BYTES, CHANNELS, Tile, pair_tables, safe_steps
except ImportError as error:
    raise MissingDependencyError("Kernels for few bits need Numba. Run: pip install numba.") from error

KERNELS: dict[str, tuple[str, int, tuple[str, ...]]] = {
    "bits_512": ("bits", 64, ("avx512bw", "avx512bitalg")),
    "tables_512": ("tables", 64, ("avx512bw",)),
    "dot_512": ("dot", 64, ("avx512bw", "avx512vnni")),
    "tables_256": ("tables", 32, ("avx2",)),
    "pairs_512": ("pairs", 64, ("avx512bw",)),
    "pairs_256": ("pairs", 32, ("avx2",)),
    "words": ("words", 16, ()),
}
"""By name: kind of tile, bytes of a vector, what the CPU must have. The fastest first (docs/adr/0009)."""
_SMALL_IMAGE = 4
"""With fewer vectors than this many tiles, tiles are one vector wide, so that threads share the work."""


def cpu_features() -> frozenset[str]:
    """What Numba compiles for: this CPU, or what NUMBA_CPU_FEATURES says."""
    named = numba.config.CPU_FEATURES
    if named is None:
        return frozenset(name for name, has in binding.get_host_cpu_features().items() if has)
    return frozenset(name[1:] for name in named.split(",") if name.startswith("+"))


def usable_kernels(weight_bits: int, input_bits: int) -> list[str]:
    """Names of the kernels that this CPU has and these bits fit, the fastest first."""
    check_bits("weight_bits", weight_bits)
    check_bits("input_bits", input_bits)
    return [
        name
        for name, (kind, _, needed) in KERNELS.items()
        if cpu_features().issuperset(needed) and safe_steps(kind, weight_bits, input_bits)
    ]


class NarrowConvolution:
    """A convolution of 1 x 1 or 3 x 3, stride 1, the grid kept. What lies outside the image is code 0."""

    def __init__(self, weights: NDArray[Any], weight_bits: int, input_bits: int, kernel: str | None = None) -> None:
        """`weights` (out, in, j, i): -2^(b-1) to 2^(b-1) - 1. `kernel`: of `usable_kernels`; None: the first.

        Raises:
            UnknownNameError: no such kernel for these bits on this CPU.
            ValueError: codes outside their range, or another size.
        """
        names = usable_kernels(weight_bits, input_bits)
        self.kernel = kernel or names[0]
        if self.kernel not in names:
            raise UnknownNameError(f"kernel for {weight_bits} by {input_bits} bits here", self.kernel, tuple(names))
        form = NarrowFormat(weight_bits, input_bits)
        check_codes("Weights", weights, form.weight_range)
        if weights.ndim != 4 or weights.shape[2:] not in ((1, 1), (3, 3)):
            raise ValueError(f"Weights (out, in, 1, 1) or (out, in, 3, 3) are needed; got {weights.shape}.")
        self.weight_bits, self.input_bits, self._input_range = weight_bits, input_bits, form.input_range
        self.out_channels, self.in_channels, self.size = weights.shape[:3]
        self.kind = KERNELS[self.kernel][0]
        self.chain = safe_steps(self.kind, weight_bits, input_bits)
        self._weights = self._packed_weights(weights.astype(np.int8))
        self._tables = pair_tables(weight_bits) if self.kind == "tables" else np.zeros((1, 16), np.int8)

    def __call__(self, inputs: NDArray[np.uint8]) -> NDArray[np.int32]:
        """int32 (out, j, i) of codes (in, j, i).

        Raises:
            ValueError: codes outside their range, or another number of channels.
        """
        packed = self.pack(inputs)
        height, width = inputs.shape[1:]
        plan = self._plan(height, width)
        sums = np.empty((len(self._weights), plan.pieces * plan.tile.pixels), np.int32)
        how = plan.plane, self.chain, BLOCK
        compiled_loops(plan.tile)[0](packed, plan.offsets, self._weights, self._tables, how, sums)
        flat = sums[: self.out_channels, : height * (width + 2)]
        return np.ascontiguousarray(flat.reshape(-1, height, width + 2)[:, :, :width])

    def requantized(
        self,
        packed: NDArray[np.uint8],
        shape_ji: tuple[int, int],
        scale: NDArray[np.float32],
        offset: NDArray[np.float32],
        following: NarrowConvolution,
    ) -> NDArray[np.uint8]:
        """`narrow_gemm.requantize` of the sums of packed codes, packed for the layer that follows.

        Raises:
            LeanSegError: that layer has another kind of kernel, or other channels.
        """
        if following.kind != self.kind or following.in_channels != self.out_channels:
            raise LeanSegError(
                f"{self.kernel} with {self.out_channels} outputs cannot hand codes to {following.kernel} with "
                f"{following.in_channels} inputs. Give both layers one kernel."
            )
        plan, target = self._plan(*shape_ji), following._plan(*shape_ji).empty()
        scales = np.zeros((2, len(self._weights)), np.float32)
        scales[:, : self.out_channels] = scale, offset
        height, row = shape_ji[0], shape_ji[1] + 2
        inside = np.zeros(plan.pieces * plan.tile.pixels, np.uint8)
        inside[: height * row].reshape(height, row)[:, : shape_ji[1]] = 255
        place = height * row, row + 1, np.float32(2**following.input_bits - 1), target.shape[1], target.shape[2]
        how, out = (plan.plane, self.chain, BLOCK), target.reshape(-1)
        loop = compiled_loops(plan.tile)[1]
        loop(packed, plan.offsets, self._weights, self._tables, how, scales, inside, place, out)
        return out

    def pack(self, inputs: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Codes (in, j, i) as this layer reads them; raises as `__call__`."""
        if inputs.ndim != 3 or inputs.shape[0] != self.in_channels:
            raise ValueError(f"Inputs ({self.in_channels}, j, i) are needed; got {inputs.shape}.")
        check_codes("Inputs", inputs, self._input_range)
        channels, height, width = inputs.shape
        codes = np.zeros((_blocks(channels) * BLOCK, height + 2, width + 2), np.uint8)
        codes[:channels, 1:-1, 1:-1] = inputs
        packed = self._plan(height, width).empty()
        flat = codes.reshape(len(packed), CHANNELS[self.kind], -1)
        packed[:, :, : flat.shape[2]] = _grouped(flat, self.kind, self.input_bits)
        return packed.reshape(-1)

    def unpack(self, packed: NDArray[np.uint8], shape_ji: tuple[int, int]) -> NDArray[np.uint8]:
        """The reverse of `pack`."""
        height, width = shape_ji
        groups = packed.reshape(self._plan(height, width).empty().shape)[:, :, : (height + 2) * (width + 2)]
        codes = _ungrouped(groups, self.kind).reshape(-1, height + 2, width + 2)
        return np.ascontiguousarray(codes[: self.in_channels, 1:-1, 1:-1])

    def _plan(self, height: int, width: int) -> _Plan:
        return _planned(self.kernel, self.weight_bits, self.input_bits, self.in_channels, self.size, (height, width))

    def _packed_weights(self, weights: NDArray[np.int8]) -> NDArray[np.uint8]:
        """(out, step, byte), rows of a tile beside each other in memory: see `compiled_tile`."""
        channels, rows = CHANNELS[self.kind], TILE_ROWS
        groups, taps = -(-self.in_channels // channels), self.size**2
        padded = np.zeros((_blocks(self.out_channels) * BLOCK, groups * channels, taps), np.int8)
        padded[: self.out_channels, : self.in_channels] = weights.reshape(self.out_channels, self.in_channels, taps)
        grouped = padded.reshape(-1, groups, channels, taps).transpose(0, 1, 3, 2).reshape(-1, groups * taps, channels)
        unsigned = grouped.astype(np.int32) & (2**self.weight_bits - 1)
        if self.kind == "tables":
            packed = ((unsigned[..., :1] + 2**self.weight_bits * unsigned[..., 1:]) * 16).astype(np.uint8)
        elif self.kind == "bits":
            packed = _bit_words(unsigned, self.weight_bits).view(np.uint8)
        else:
            packed = grouped.astype("<i2" if self.kind == "words" else np.int8).view(np.uint8)
        tiled = packed.reshape(-1, rows, groups * taps, packed.shape[-1]).transpose(0, 2, 1, 3)
        return np.ascontiguousarray(tiled).reshape(len(padded), -1)


# ── where codes lie ─────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Plan:
    """How a layer reads an image of one size: it lies flat, with a border of zeros, rows of width + 2."""

    tile: Tile
    offsets: NDArray[np.int64]
    pieces: int
    """Tiles side by side that cover the image."""
    shape: tuple[int, int, int, int]
    """Of packed codes: group of channels, plane of bits, pixel, byte."""

    @property
    def plane(self) -> int:
        return self.shape[2] * self.shape[3]

    def empty(self) -> NDArray[np.uint8]:
        return np.zeros(self.shape, np.uint8)


@lru_cache(maxsize=256)
def _planned(
    kernel: str, weight_bits: int, input_bits: int, channels: int, size: int, shape_ji: tuple[int, int]
) -> _Plan:
    kind, width, _ = KERNELS[kernel]
    flat, row = shape_ji[0] * (shape_ji[1] + 2), shape_ji[1] + 2
    planes = input_bits if kind == "bits" else 1
    tile = Tile(kind, width, 1 if kind == "bits" else 2, TILE_ROWS, weight_bits if kind == "bits" else 1, planes)
    if flat < _SMALL_IMAGE * tile.pixels:
        tile = replace(tile, vectors=1)
    pieces = -(-flat // tile.pixels)
    shape = (_blocks(channels) * BLOCK // CHANNELS[kind], planes, pieces * tile.pixels + 2 * row + 2, BYTES[kind])
    taps = range(3) if size == 3 else range(1, 2)
    groups = range(-(-channels // CHANNELS[kind]))
    offsets = [((g * planes * shape[2]) + j * row + i) * shape[3] for g in groups for j in taps for i in taps]
    return _Plan(tile, np.array(offsets, np.int64), pieces, shape)


def _blocks(channels: int) -> int:
    return -(-channels // BLOCK)


def _bit_words(codes: NDArray[Any], bits: int) -> NDArray[np.uint16]:
    """The planes of 16 codes on the last axis, lowest first."""
    planes = [((codes >> i & 1) << np.arange(16)).sum(axis=-1) for i in range(bits)]
    return np.asarray(np.ascontiguousarray(np.stack(planes, axis=-1), "<u2"))


def _grouped(flat: NDArray[np.uint8], kind: str, bits: int) -> NDArray[np.uint8]:
    """(group, channel, pixel) as (group, plane, pixel, byte)."""
    if kind == "tables":
        return np.asarray((flat[:, 0] | flat[:, 1] << 2)[:, np.newaxis, :, np.newaxis], np.uint8)
    if kind == "bits":
        words = _bit_words(flat.transpose(0, 2, 1).astype(np.int32), bits)
        return np.ascontiguousarray(words.transpose(0, 2, 1))[..., np.newaxis].view(np.uint8)
    return flat.transpose(0, 2, 1)[:, np.newaxis]


def _ungrouped(packed: NDArray[np.uint8], kind: str) -> NDArray[np.uint8]:
    """(group, plane, pixel, byte) as (group, channel, pixel)."""
    if kind == "tables":
        return np.stack([packed[:, 0, :, 0] & 3, packed[:, 0, :, 0] >> 2], axis=1)
    if kind == "bits":
        words = np.ascontiguousarray(packed).view("<u2")[..., 0]
        bits = (words[:, :, np.newaxis] >> np.arange(16)[:, np.newaxis] & 1) << np.arange(words.shape[1])[:, None, None]
        return np.asarray(bits.sum(axis=1), np.uint8)
    return packed[:, 0].transpose(0, 2, 1)
