"""The loops around the tiles: which thread computes what, and how its sums become the codes of the next layer."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numba
import numpy as np

from leanseg.quantization.narrow_tiles import BYTES, Tile, compiled_tile

BLOCK = 16
"""Output channels that one thread computes for a piece of the image: a whole group of every kind."""
TILE_ROWS = 4


@lru_cache(maxsize=64)
def compiled_loops(tile: Tile) -> tuple[Callable[..., None], Callable[..., None]]:
    """What gives sums, and what gives packed codes for the next layer.

    Both take `(x, offsets, w, tables, how)`: what `compiled_tile` wants, and (plane, chain, BLOCK). BLOCK comes as a
    value because loops of a known length are unrolled, and compile for minutes.
    """
    compute, pixels, unit = compiled_tile(tile), tile.pixels, BYTES[tile.kind]
    write = _writer(tile)
    zero, whole = np.float32(0), np.float32(1.5 * 2**23)  # what is added to it and taken off is rounded, halves to even

    def block(x: Any, offsets: Any, w: Any, tables: Any, how: Any, number: Any, piece: Any) -> Any:
        """int32 [row][pixel] of a block of output channels."""
        plane, chain, size = how
        total = np.zeros(size * pixels, np.int32)
        for n in range(size // TILE_ROWS):
            compute(
                np.int64(x.ctypes.data) + np.int64(piece * pixels * unit),
                np.int64(offsets.ctypes.data),
                np.int64(w.ctypes.data) + np.int64((number * size + n * TILE_ROWS) * w.shape[1]),
                np.int64(offsets.size),
                np.int64(chain),
                np.int64(total.ctypes.data) + np.int64(n * TILE_ROWS * pixels * 4),
                np.int64(tables.ctypes.data),
                np.int64(plane),
            )
        return total

    block = numba.njit(block)

    def sums_of_block(x: Any, offsets: Any, w: Any, tables: Any, how: Any, out: Any, number: Any, piece: Any) -> None:
        total = block(x, offsets, w, tables, how, number, piece)
        for o in range(how[2]):
            out[number * how[2] + o, piece * pixels : (piece + 1) * pixels] = total[o * pixels : (o + 1) * pixels]

    def codes_of_block(
        x: Any, offsets: Any, w: Any, tables: Any, how: Any, scales: Any, inside: Any, place: Any, out: Any,
        number: Any, piece: Any,
    ) -> None:  # fmt: skip
        size, (pixels_inside, first, top, depth, length) = how[2], place
        total = block(x, offsets, w, tables, how, number, piece)
        codes, seen = np.empty(size * pixels, np.uint8), inside[piece * pixels : (piece + 1) * pixels]
        for o in range(size):
            scale, offset = scales[0, number * size + o], scales[1, number * size + o]
            row, sum_of = codes[o * pixels : (o + 1) * pixels], total[o * pixels : (o + 1) * pixels]
            for p in range(pixels):
                y = np.float32(sum_of[p]) * scale + offset
                y = y if y > zero else zero
                y = y if y < top else top
                row[p] = np.uint8(np.int32((y + whole) - whole)) & seen[p]
        count = min(pixels, pixels_inside - piece * pixels)
        write(codes, out, first + piece * pixels, count, size, number, length, depth)

    sums_of_block, codes_of_block = numba.njit(sums_of_block), numba.njit(codes_of_block)

    def sums(x: Any, offsets: Any, w: Any, tables: Any, how: Any, out: Any) -> None:
        pieces = out.shape[1] // pixels
        for job in numba.prange(out.shape[0] // how[2] * pieces):
            sums_of_block(x, offsets, w, tables, how, out, job // pieces, job % pieces)

    def codes(
        x: Any, offsets: Any, w: Any, tables: Any, how: Any, scales: Any, inside: Any, place: Any, out: Any
    ) -> None:
        pieces = inside.size // pixels
        for job in numba.prange(scales.shape[1] // how[2] * pieces):
            codes_of_block(x, offsets, w, tables, how, scales, inside, place, out, job // pieces, job % pieces)

    return numba.njit(sums, parallel=True), numba.njit(codes, parallel=True)


def _writer(tile: Tile) -> Callable[..., None]:
    """Codes [row][pixel] of a block into what the next layer reads: `length` pixels a group, `depth` planes of bits."""
    pixels = tile.pixels

    none = np.uint16(0)

    def bits(c: Any, out: Any, start: Any, count: Any, size: Any, number: Any, length: Any, depth: Any) -> None:
        words = out.view(np.uint16)
        for j in range(depth):
            first = (number * depth + j) * length + start
            to = words[first : first + count]
            bit = np.uint8(1 << j)
            for o in range(size):
                one = np.uint16(1 << o)
                row = c[o * pixels : (o + 1) * pixels]
                for p in range(count):
                    to[p] |= one if row[p] & bit else none

    def tables(c: Any, out: Any, start: Any, count: Any, size: Any, number: Any, length: Any, depth: Any) -> None:
        for n in range(size // 2):
            first = (number * (size // 2) + n) * length + start
            to, low, high = out[first : first + count], c[2 * n * pixels :], c[(2 * n + 1) * pixels :]
            for p in range(count):
                to[p] = low[p] | high[p] << 2

    def groups(c: Any, out: Any, start: Any, count: Any, size: Any, number: Any, length: Any, depth: Any) -> None:
        for n in range(size // 4):
            first = (number * (size // 4) + n) * length + start
            to, rows = out[4 * first : 4 * (first + count)].view(np.uint32), c[4 * n * pixels : 4 * (n + 1) * pixels]
            a, b, d, e = rows[:pixels], rows[pixels:], rows[2 * pixels :], rows[3 * pixels :]
            for p in range(count):
                to[p] = np.uint32(a[p]) | np.uint32(b[p]) << 8 | np.uint32(d[p]) << 16 | np.uint32(e[p]) << 24

    def words(c: Any, out: Any, start: Any, count: Any, size: Any, number: Any, length: Any, depth: Any) -> None:
        for o in range(size):
            first = (number * size + o) * length + start
            out[first : first + count] = c[o * pixels : o * pixels + count]

    kinds = {"bits": bits, "tables": tables, "dot": groups, "pairs": groups, "words": words}
    compiled: Callable[..., None] = numba.njit(kinds[tile.kind])
    return compiled
