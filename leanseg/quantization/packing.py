"""Weights of few bits on disk: codes at b / 32 of float32, and the scales that turn them into weights.

NumPy alone: whoever runs a model reads this, whoever trains one writes it.

    magic "LSQ1" · length of the header, uint32 · header, deflated JSON · the tensors of the header, one after the other

All numbers are little-endian. The header lists the tensors by name. Codes follow each other as bits, lowest first, with
no gap between them: 8 / b a byte where b divides 8. What is not quantized is stored as it is.
"""

import json
import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leanseg.beside import written_beside
from leanseg.errors import UnreadableFileError
from leanseg.quantization.config import check_bits

MAGIC = b"LSQ1"
KINDS = ("linear", "powers")
INT8_LARGEST = 127
_PLAIN = {"float32": "<f4", "float16": "<f2", "int64": "<i8", "bool": "?"}
_Array = NDArray[Any]


@dataclass(frozen=True)
class Int8Form:
    """The same weights as whole numbers of 8 bits: `scale codes + rest`."""

    codes: NDArray[np.int8]
    """In the shape of the weights, its first axis that of the output channels."""
    scale: NDArray[np.float32]
    """One value for each output channel."""
    rest: NDArray[np.float32] | None
    """One value for each output channel, where no scale alone gives the weights."""


@dataclass(frozen=True)
class QuantizedTensor:
    """Codes of b bits, and what they stand for.

    linear  lower + step (code - zero)                                      uniform and soft quantization
    powers  0 for k = 0, else sign(k) step 2^(1 - |k|), k = code - zero     powers of two; step is the largest
    """

    codes: NDArray[np.uint8]
    """In the shape of the weights, 0 to 2^bits - 1."""
    bits: int
    step: NDArray[np.float32]
    """One value, or one for each output channel; broadcasts against `codes`."""
    lower: NDArray[np.float32]
    """In the shape of `step`."""
    zero: int = 0
    kind: str = "linear"

    def __post_init__(self) -> None:
        check_bits("bits of codes", self.bits)
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}; got {self.kind!r}.")
        if self.codes.size and int(self.codes.max()) >= 2**self.bits:
            raise ValueError(f"Codes of {self.bits} bits are below {2**self.bits}; got {int(self.codes.max())}.")

    def values(self) -> NDArray[np.float32]:
        """The weights, exactly those that the quantized layer computes with."""
        k = self.codes.astype(np.int16) - self.zero
        if self.kind == "linear":
            return self.lower + self.step * k.astype(np.float32)
        magnitude = np.ldexp(np.float32(1), 1 - np.abs(k).astype(np.int32))
        return np.sign(k).astype(np.float32) * self.step * magnitude.astype(np.float32)

    @property
    def needs_rest(self) -> bool:
        """Whether `int8` has a rest: learned ranges that are not symmetric, or 256 levels of one that is."""
        return self.kind == "linear" and bool(self.lower.any()) and not self._is_symmetric

    def int8(self) -> Int8Form:
        """These weights for kernels of 8 bits; exact, but for powers of two, which are rounded to 1/127 of the largest.

        Levels that lie symmetrically about 0 are odd multiples of half a step. Of others the middle level is the rest.
        """
        k = self.codes.astype(np.int16) - self.zero
        rest = None
        scale: NDArray[np.floating[Any]] = self.step
        if self.kind == "powers":
            values = self.values()
            largest = np.abs(values).max(axis=tuple(range(1, values.ndim)), initial=0, keepdims=True)
            scale = np.where(largest > 0, largest, 1) / np.float32(INT8_LARGEST)
            k = np.rint(values / scale)
        elif self._is_symmetric:
            k, scale = 2 * k - (2**self.bits - 1), self.step / 2
        elif self.needs_rest:
            middle = 2 ** (self.bits - 1)
            k, rest = k - middle, self._of_channels(self.lower + middle * self.step)
        return Int8Form(k.astype(np.int8), self._of_channels(scale), rest)

    @property
    def _is_symmetric(self) -> bool:
        """lower = -upper, but for rounding, in levels that 8 bits hold twice as fine."""
        top = 2**self.bits - 1
        return (
            top <= INT8_LARGEST and not self.zero and np.allclose(-2 * self.lower, top * self.step, rtol=1e-6, atol=0)
        )

    def _of_channels(self, value: NDArray[Any]) -> NDArray[np.float32]:
        return np.broadcast_to(value.reshape(-1), self.codes.shape[:1]).astype(np.float32)


def pack(codes: NDArray[np.uint8], bits: int) -> bytes:
    """Codes below 2^bits, in any shape, as ceil(size * bits / 8) bytes.

    Raises:
        ValueError: bits that are not 1 to 8, or a code that does not fit.
    """
    check_bits("bits of codes", bits)
    if codes.size and int(codes.max()) >= 2**bits:
        raise ValueError(f"Codes of {bits} bits are below {2**bits}; got {int(codes.max())}.")
    each = np.unpackbits(codes.reshape(-1, 1), axis=1, count=bits, bitorder="little")
    return np.packbits(each, bitorder="little").tobytes()


def unpack(packed: bytes, bits: int, count: int) -> NDArray[np.uint8]:
    """`count` codes; the reverse of `pack`.

    Raises:
        ValueError: bits that are not 1 to 8, or not the bytes that so many codes take.
    """
    check_bits("bits of codes", bits)
    needed = -(-count * bits // 8)
    if len(packed) != needed:
        raise ValueError(f"{count} codes of {bits} bits take {needed} bytes; got {len(packed)}.")
    each = np.unpackbits(np.frombuffer(packed, np.uint8), count=count * bits, bitorder="little")
    return np.packbits(each.reshape(count, bits), axis=1, bitorder="little")[:, 0]


# ── files ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def packed_bytes(tensors: Mapping[str, QuantizedTensor | _Array]) -> bytes:
    """Quantized tensors packed, and arrays of float32, float16, int64 or bool as they are.

    Raises:
        ValueError: an array of another type.
    """
    entries, parts = [], []
    for name, tensor in tensors.items():
        if isinstance(tensor, QuantizedTensor):
            scales = np.stack(np.broadcast_arrays(tensor.lower, tensor.step)).astype("<f4")
            entry = {"kind": tensor.kind, "bits": tensor.bits, "zero": tensor.zero, "scales": list(scales.shape)}
            parts += [scales.tobytes(), pack(tensor.codes, tensor.bits)]
            shape = tensor.codes.shape
        else:
            if tensor.dtype.name not in _PLAIN:
                raise ValueError(f"{name} is {tensor.dtype.name}; packed files hold {', '.join(_PLAIN)}.")
            entry = {"kind": tensor.dtype.name}
            parts.append(tensor.astype(_PLAIN[tensor.dtype.name]).tobytes())
            shape = tensor.shape
        entries.append({"name": name, "shape": list(shape), **entry})
    header = zlib.compress(json.dumps(entries, separators=(",", ":")).encode("utf-8"), 9)
    return b"".join([MAGIC, len(header).to_bytes(4, "little"), header, *parts])


def write_packed(tensors: Mapping[str, QuantizedTensor | _Array], path: Path) -> None:
    """Write `packed_bytes`; raises as that, and OutputError where the file cannot be written."""
    data = packed_bytes(tensors)
    with written_beside(path) as beside:
        beside.write_bytes(data)


def read_packed(path: Path, bits: int | None = None) -> dict[str, QuantizedTensor | _Array]:
    """What `write_packed` wrote; `bits` says how many each code must have, by the card for instance.

    Raises:
        UnreadableFileError: no such file, not of this kind, cut short, damaged, or of other bits.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableFileError(f"{path} cannot be read ({error.strerror}). Restore the bundle.") from error
    return unpacked(data, path, bits)


def unpacked(data: bytes, path: Path, bits: int | None = None) -> dict[str, QuantizedTensor | _Array]:
    """The reverse of `packed_bytes`; errors name `path`, where the bytes are from. Raises as `read_packed`."""
    if data[: len(MAGIC)] != MAGIC:
        raise UnreadableFileError(f"{path} holds no packed weights: it does not begin with LSQ1. Restore the bundle.")
    try:
        tensors = dict(_tensors(data))
    except (ValueError, KeyError, TypeError, zlib.error) as error:  # JSON and Unicode errors are ValueErrors
        raise UnreadableFileError(f"{path} is cut short or damaged ({error}). Restore the bundle.") from error
    for name, tensor in tensors.items():
        if bits is not None and isinstance(tensor, QuantizedTensor) and tensor.bits != bits:
            raise UnreadableFileError(
                f"{path} holds codes of {tensor.bits} bits ({name}); {bits} are expected. Restore the bundle."
            )
    return tensors


def _tensors(data: bytes) -> Iterator[tuple[str, QuantizedTensor | _Array]]:
    """Raises ValueError, KeyError, TypeError or zlib.error where the bytes are not those of the header."""
    start = len(MAGIC) + 4
    end = start + int.from_bytes(data[len(MAGIC) : start], "little")
    entries = json.loads(zlib.decompress(data[start:end]).decode("utf-8"))
    bytes_left = _Reader(data, end)
    for entry in entries:
        shape, kind = tuple(entry["shape"]), entry["kind"]
        if kind in _PLAIN:
            dtype = np.dtype(_PLAIN[kind])
            plain = np.frombuffer(bytes_left.take(math.prod(shape) * dtype.itemsize), dtype)
            yield entry["name"], plain.reshape(shape).astype(dtype.newbyteorder("="))
            continue
        bits, scale_shape = check_bits("bits of codes", entry["bits"]), tuple(entry["scales"])
        raw = np.frombuffer(bytes_left.take(4 * math.prod(scale_shape)), "<f4")
        lower, step = raw.reshape(scale_shape).astype(np.float32)
        codes = unpack(bytes_left.take(-(-math.prod(shape) * bits // 8)), bits, math.prod(shape)).reshape(shape)
        yield entry["name"], QuantizedTensor(codes, bits, step, lower, entry["zero"], kind)
    bytes_left.finish()


class _Reader:
    """Takes bytes one after the other, and never fewer than asked for."""

    def __init__(self, data: bytes, start: int) -> None:
        self._data, self._at = data, start

    def take(self, count: int) -> bytes:
        end = self._at + count
        if count < 0 or end > len(self._data):
            raise ValueError(f"{end} bytes are needed, {len(self._data)} are there")
        part, self._at = self._data[self._at : end], end
        return part

    def finish(self) -> None:
        if self._at != len(self._data):
            raise ValueError(f"{len(self._data) - self._at} bytes are left over")
