"""The innermost loops of the narrow kernels, as LLVM instructions for Numba.

A tile is a few output channels by a few vectors of pixels, kept in registers. Lanes are pixels: an image with a border
of zeros lies flat in memory, so a tap of a convolution is the same vectors read from another address.

    dot     vpdpbusd      4 channels a lane, int32                                             needs VNNI
    bits    and, popcount 16 channels a lane and plane, counts in int16; 1 or 2 bits           needs AVX-512 BITALG
    tables  pshufb        2 channels a lane: a pair of inputs chooses one of 16 sums of products, int8; 1 or 2 bits
    pairs   pmaddubsw     4 channels in two lanes of int16, added up when these are full; at most 4 by 8 bits
    words   mul, add      1 channel a lane, int16; no special instructions: any CPU that LLVM knows
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from leanseg.quantization.narrow_gemm import NarrowFormat

I8, I16, I32, I64 = (ir.IntType(n) for n in (8, 16, 32, 64))
CHANNELS = {"dot": 4, "bits": 16, "tables": 2, "pairs": 4, "words": 1}
"""That one lane of inputs holds."""
BYTES = {"dot": 4, "bits": 2, "tables": 1, "pairs": 4, "words": 1}
"""Of one pixel in one group of channels, and of one plane of it for `bits`."""
_PSHUFB = {32: "llvm.x86.avx2.pshuf.b", 64: "llvm.x86.avx512.pshuf.b.512"}
_MADDUBS = {32: "llvm.x86.avx2.pmadd.ub.sw", 64: "llvm.x86.avx512.pmaddubs.w.512"}
_MADDWD = {32: "llvm.x86.avx2.pmadd.wd", 64: "llvm.x86.avx512.pmaddw.d.512"}
_DPBUSD = {32: "llvm.x86.avx512.vpdpbusd.256", 64: "llvm.x86.avx512.vpdpbusd.512"}


@dataclass(frozen=True)
class Tile:
    """Kind and size of a tile."""

    kind: str
    width: int
    """Bytes of a vector."""
    vectors: int = 2
    rows: int = 4
    """Output channels."""
    weight_planes: int = 1
    """Of `bits`."""
    input_planes: int = 1

    @property
    def lanes(self) -> int:
        """Pixels of a vector."""
        return self.width // 2 if self.kind == "words" else self.width // BYTES[self.kind]

    @property
    def pixels(self) -> int:
        return self.vectors * self.lanes

    @property
    def weight_bytes(self) -> int:
        """Of one output channel and one step."""
        return {"dot": 4, "pairs": 4, "tables": 1, "words": 2, "bits": 2 * self.weight_planes}[self.kind]


def safe_steps(kind: str, weight_bits: int, input_bits: int) -> int:
    """Steps that the accumulators of a kind of tile hold; 0: these bits are too many for it."""
    if kind == "dot":
        return 2**31 // (4 * 255 * 128)
    if kind in ("bits", "tables") and max(weight_bits, input_bits) > 2:
        return 0
    accumulator = "int8" if kind == "tables" else "int16"
    terms = {"words": 1, "pairs": 2, "tables": 2, "bits": CHANNELS["bits"]}[kind]
    return NarrowFormat(weight_bits, input_bits, accumulator, terms=terms).safe_chain


def pair_tables(weight_bits: int) -> NDArray[np.int8]:
    """(q_w0 + 2^b q_w1, 16): w0 a0 + w1 a1 for a0 + 4 a1 = 0 to 15, the sums that `tables` looks up."""
    codes = np.arange(4**weight_bits)
    half, n = 2 ** (weight_bits - 1), 2**weight_bits
    w0, w1 = (((c + half) % n - half)[:, np.newaxis] for c in (codes % n, codes // n))
    a = np.arange(16)[np.newaxis]
    return np.asarray(w0 * (a % 4) + w1 * (a // 4)).astype(np.int8)


class _Builder:
    """Emits one tile into a function that Numba compiles."""

    def __init__(self, tile: Tile, builder: ir.IRBuilder) -> None:
        self.tile, self.b = tile, builder
        self.accumulator = {
            "dot": ir.VectorType(I32, tile.width // 4),
            "bits": ir.VectorType(I16, tile.width // 2),
            "tables": ir.VectorType(I8, tile.width),
            "pairs": ir.VectorType(I16, tile.width // 2),
            "words": ir.VectorType(I16, tile.width // 2),
        }[tile.kind]
        self.planes = tile.weight_planes * tile.input_planes

    def emit(self, x: Any, offsets: Any, w: Any, steps: Any, longest: Any, out: Any, tables: Any, plane: Any) -> None:
        """out[row][pixel] += sum over steps; addresses are integers, `out` is int32."""
        b, tile, fn = self.b, self.tile, self.b.function
        entry = b.block
        chain, step, spill, done = (fn.append_basic_block(name) for name in ("chain", "step", "spill", "done"))
        b.branch(chain)
        b.position_at_end(chain)
        first = b.phi(I64)
        first.add_incoming(_i64(0), entry)
        end = b.add(first, longest)
        end = b.select(b.icmp_signed("<", end, steps), end, steps)
        b.branch(step)
        b.position_at_end(step)
        k = b.phi(I64)
        k.add_incoming(first, chain)
        old = [b.phi(self.accumulator) for _ in range(tile.rows * tile.vectors * self.planes)]
        for one in old:
            one.add_incoming(ir.Constant(self.accumulator, None), chain)
        at = b.add(x, b.load(b.gep(self._pointer(offsets, I64), [k])))
        new = self._step(old, at, b.add(w, b.mul(k, _i64(tile.rows * tile.weight_bytes))), tables, plane)
        following = b.add(k, _i64(1))
        k.add_incoming(following, step)
        for one, then in zip(old, new, strict=True):
            one.add_incoming(then, step)
        b.cbranch(b.icmp_signed("<", following, end), step, spill)
        b.position_at_end(spill)
        for n in range(tile.rows * tile.vectors):
            self._spill(new[n * self.planes : (n + 1) * self.planes], b.add(out, _i64(n * tile.lanes * 4)))
        first.add_incoming(end, spill)
        b.cbranch(b.icmp_signed("<", end, steps), chain, done)
        b.position_at_end(done)

    def _step(self, old: list[Any], at: Any, w: Any, tables: Any, plane: Any) -> list[Any]:
        b, tile = self.b, self.tile
        new: list[Any] = []
        size = tile.lanes * BYTES[tile.kind]
        seen = [
            [self._inputs(b.add(b.add(at, _i64(p * size)), b.mul(plane, _i64(j)))) for j in range(tile.input_planes)]
            for p in range(tile.vectors)
        ]
        for row in range(tile.rows):
            weights = self._weights(b.add(w, _i64(row * tile.weight_bytes)), tables)
            for p in range(tile.vectors):
                pairs = [(weight, a) for weight in weights for a in seen[p]]
                new += [self._product(old[len(new) + n], *pair) for n, pair in enumerate(pairs)]
        return new

    def _inputs(self, address: Any) -> Any:
        if self.tile.kind == "words":
            return self.b.zext(self._load(address, ir.VectorType(I8, self.tile.lanes)), self.accumulator)
        kind = I16 if self.tile.kind == "bits" else I8
        return self._load(address, ir.VectorType(kind, self.tile.width * 8 // kind.width))

    def _weights(self, address: Any, tables: Any) -> list[Any]:
        """One vector, or one for each plane, lowest bit first."""
        b, tile = self.b, self.tile
        if tile.kind == "tables":  # the weights are places in the tables, in bytes
            table = self._load(b.add(tables, b.zext(self._load(address, I8), I64)), ir.VectorType(I8, 16))
            return [self._spread(table, tile.width)]
        if tile.kind in ("dot", "pairs"):
            word = self._splat(self._load(address, I32), tile.width // 4)
            return [b.bitcast(word, ir.VectorType(I8, tile.width))]
        words = [self._load(b.add(address, _i64(2 * i)), I16) for i in range(tile.weight_planes)]
        return [self._splat(word, tile.width // 2) for word in words]

    def _product(self, old: Any, weight: Any, seen: Any) -> Any:
        b, tile, vector = self.b, self.tile, ir.VectorType(I8, self.tile.width)
        if tile.kind == "dot":
            return b.call(self._intrinsic(_DPBUSD[tile.width], self.accumulator, vector, 1), [old, seen, weight])
        if tile.kind == "bits":
            name = f"llvm.ctpop.v{tile.width // 2}i16"
            function = self._intrinsic(name, self.accumulator, self.accumulator, 0, inputs=1)
            return b.add(old, b.call(function, [b.and_(weight, seen)]))
        if tile.kind == "tables":
            return b.add(old, b.call(self._intrinsic(_PSHUFB[tile.width], vector, vector), [weight, seen]))
        if tile.kind == "pairs":
            function = self._intrinsic(_MADDUBS[tile.width], self.accumulator, vector)
            return b.add(old, b.call(function, [seen, weight]))
        return b.add(old, b.mul(weight, seen))

    def _spill(self, lanes: list[Any], address: Any) -> None:
        """Add full accumulators to int32 in memory."""
        b, tile, wide = self.b, self.tile, ir.VectorType(I32, self.tile.lanes)
        value = lanes[0]
        if tile.kind == "pairs":
            ones = ir.Constant(self.accumulator, [1] * self.accumulator.count)
            value = b.call(self._intrinsic(_MADDWD[tile.width], wide, self.accumulator), [value, ones])
        elif tile.kind == "bits":  # 2^(i + j) each; the highest plane of a two's complement counts negative
            value = ir.Constant(self.accumulator, None)
            for n, counts in enumerate(lanes):
                i, j = divmod(n, tile.input_planes)
                shifted = b.shl(counts, ir.Constant(self.accumulator, [i + j] * self.accumulator.count))
                value = b.sub(value, shifted) if i == tile.weight_planes - 1 else b.add(value, shifted)
        if value.type != wide:
            value = b.sext(value, wide)
        pointer = self._pointer(address, wide)
        b.store(b.add(self._load(address, wide), value), pointer).align = 4

    def _pointer(self, address: Any, kind: Any) -> Any:
        return self.b.inttoptr(address, kind.as_pointer())

    def _load(self, address: Any, kind: Any) -> Any:
        loaded = self.b.load(self._pointer(address, kind))
        loaded.align = 1
        return loaded

    def _splat(self, value: Any, count: int) -> Any:
        vector = ir.VectorType(value.type, count)
        first = self.b.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(I32, 0))
        return self.b.shuffle_vector(
            first, ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(I32, count), None)
        )

    def _spread(self, table: Any, width: int) -> Any:
        order = ir.Constant(ir.VectorType(I32, width), [n % 16 for n in range(width)])
        return self.b.shuffle_vector(table, ir.Constant(table.type, ir.Undefined), order)

    def _intrinsic(self, name: str, result: Any, argument: Any, leading: int = 0, inputs: int = 2) -> Any:
        """Declared once a module; `leading` accumulators come before the `inputs`."""
        known = self.b.module.globals
        if name not in known:
            kinds = [result] * leading + [argument] * inputs
            return ir.Function(self.b.module, ir.FunctionType(result, kinds), name)
        return known[name]


def _i64(value: int) -> ir.Constant:
    return ir.Constant(I64, value)


def compiled_tile(tile: Tile) -> Callable[..., None]:
    """For use in functions that Numba compiles: `(x, offsets, w, steps, chain, out, tables, plane)`, int64.

    x        address of the first pixel of the tile in the first group of channels
    offsets  address of int64: where each step reads, in bytes from x
    w        address of the weights of the first row, [step][row] of `weight_bytes`
    chain    steps after which the accumulators are added to `out`
    out      address of int32 [row][pixel], added to
    tables   address of `pair_tables`
    plane    bytes from one plane of bits to the next
    """
    from numba import types
    from numba.extending import intrinsic

    def typed(_: Any, x: Any, offsets: Any, w: Any, steps: Any, chain: Any, out: Any, tables: Any, plane: Any) -> Any:
        def generate(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
            _Builder(tile, builder).emit(*arguments)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 8), generate

    return intrinsic(typed)  # type: ignore[no-any-return]
