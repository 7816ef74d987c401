"""Codes on disk: as small as their bits, the same when read, and one clear line when damaged."""

import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from leanseg.errors import LeanSegError, UnreadableFileError
from leanseg.quantization.packing import QuantizedTensor, pack, read_packed, unpack, write_packed
from Testing.engine.test_imports import WITHOUT_REFUSED, fresh_python


def some_codes(bits: int, *shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(bits).integers(0, 2**bits, shape, dtype=np.uint8)


def one() -> NDArray[np.float32]:
    return np.ones((1, 1), np.float32)


@pytest.fixture
def a_file(tmp_path: Path) -> Path:
    path = tmp_path / "weights.lsq"
    codes = QuantizedTensor(some_codes(4, 5, 7), 4, 0.5 * one(), -one())
    write_packed({"conv.weight": codes, "conv.bias": np.arange(5, dtype=np.float32)}, path)
    return path


@given(st.integers(1, 8), st.data())
def test_unpacking_is_the_reverse_of_packing(bits: int, data: st.DataObject) -> None:
    codes = np.array(data.draw(st.lists(st.integers(0, 2**bits - 1), max_size=40)), np.uint8)
    packed = pack(codes, bits)
    assert len(packed) == -(-len(codes) * bits // 8)
    assert np.array_equal(unpack(packed, bits, len(codes)), codes)


def test_codes_by_hand() -> None:
    # lowest bits first: 4 bits two a byte, 2 bits four a byte, 3 bits without gaps
    assert pack(np.array([0x1, 0xA, 0xF], np.uint8), 4) == bytes([0xA1, 0x0F])
    assert pack(np.array([3, 0, 1, 2], np.uint8), 2) == bytes([0b10_01_00_11])
    assert pack(np.array([0b101, 0b010, 0b111], np.uint8), 3) == bytes([0b11_010_101, 0b1])


@pytest.mark.parametrize("bits", range(1, 9))
def test_a_file_is_b_of_32_parts_of_fp32_and_its_scales(bits: int, tmp_path: Path) -> None:
    scales = np.ones((64, 1, 1, 1), np.float32)
    tensor = QuantizedTensor(some_codes(bits, 64, 64, 3, 3), bits, scales, scales)
    write_packed({"w": tensor}, tmp_path / "w.lsq")
    size = (tmp_path / "w.lsq").stat().st_size
    assert 0 < size - (64 * 64 * 9 * 4 * bits / 32 + 2 * 64 * 4) < 120  # the header


@pytest.mark.parametrize(("bits", "ratio"), [(5, 6.4), (7, 4.57)])
def test_5_bits_are_6_4_times_smaller(bits: int, ratio: float, tmp_path: Path) -> None:
    write_packed({"w": QuantizedTensor(some_codes(bits, 256, 256, 3, 3), bits, one(), one())}, tmp_path / "w.lsq")
    assert 256 * 256 * 9 * 4 / (tmp_path / "w.lsq").stat().st_size == pytest.approx(ratio, rel=0.01)


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    tensors: dict[str, Any] = {
        "a": QuantizedTensor(some_codes(3, 4, 5, 3), 3, np.float32([[[0.1]]]), np.float32([[[-0.3]]])),
        "b": QuantizedTensor(some_codes(3, 4, 5), 3, np.full((4, 1), 0.5, np.float32), np.zeros((4, 1), np.float32), 4),
        "c": QuantizedTensor(some_codes(4, 6), 4, one()[0], 0 * one()[0], 4, "powers"),
        "f": np.linspace(0, 1, 7, dtype=np.float32),
        "half": np.ones((2, 2), np.float16),
        "n": np.array(5),
        "yes": np.array(True),
        "empty": np.zeros((0, 3), np.float32),
    }
    write_packed(tensors, tmp_path / "w.lsq")
    back: dict[str, Any] = read_packed(tmp_path / "w.lsq")
    assert list(back) == list(tensors)
    for name, tensor in tensors.items():
        if isinstance(tensor, QuantizedTensor):
            assert (back[name].bits, back[name].kind, back[name].zero) == (tensor.bits, tensor.kind, tensor.zero)
            assert np.array_equal(back[name].codes, tensor.codes)
            assert np.array_equal(back[name].values(), tensor.values())
        else:
            assert back[name].dtype == tensor.dtype and np.array_equal(back[name], tensor)
            assert back[name].shape == tensor.shape


def test_values_by_hand() -> None:
    linear = QuantizedTensor(np.uint8([0, 1, 3]), 2, np.float32([0.5]), np.float32([-1]))
    assert linear.values().tolist() == [-1, -0.5, 0.5]
    symmetric = QuantizedTensor(np.uint8([0, 1, 2]), 2, np.float32([0.5]), np.float32([0]), zero=1)
    assert symmetric.values().tolist() == [-0.5, 0, 0.5]
    powers = QuantizedTensor(np.uint8([0, 1, 2, 3, 4]), 3, np.float32([0.25]), np.float32([0]), 2, "powers")
    assert powers.values().tolist() == [-0.125, -0.25, 0, 0.25, 0.125]
    assert powers.values().dtype == np.float32


# ── refusals ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_file_cut_short_anywhere_is_refused_in_one_line(a_file: Path) -> None:
    whole = a_file.read_bytes()
    for length in range(len(whole)):
        a_file.write_bytes(whole[:length])
        with pytest.raises(UnreadableFileError, match=r"weights\.lsq .*Restore the bundle\.$") as caught:
            read_packed(a_file)
        assert "\n" not in str(caught.value)


def test_how_much_is_missing_is_said(a_file: Path) -> None:
    whole = a_file.read_bytes()
    a_file.write_bytes(whole[:-3])
    with pytest.raises(UnreadableFileError, match=rf"{len(whole)} bytes are needed, {len(whole) - 3} are there"):
        read_packed(a_file)
    a_file.write_bytes(whole + b"x")
    with pytest.raises(UnreadableFileError, match="1 bytes are left over"):
        read_packed(a_file)


def test_other_bits_than_the_card_says_are_refused(a_file: Path) -> None:
    assert read_packed(a_file, bits=4)
    with pytest.raises(UnreadableFileError, match=r"holds codes of 4 bits \(conv\.weight\); 2 are expected\. Restore"):
        read_packed(a_file, bits=2)


@pytest.mark.parametrize(
    ("old", "new"),
    [(b'"bits":4', b'"bits":9'), (b'"shape"', b'"shake"'), (b"[5,7]", b"[5,-7]"), (b"linear", b"lunear")],
)
def test_a_header_that_does_not_fit_is_refused(a_file: Path, old: bytes, new: bytes) -> None:
    whole = a_file.read_bytes()
    end = 8 + int.from_bytes(whole[4:8], "little")
    header = zlib.decompress(whole[8:end])
    assert header.count(old) >= 1
    header = zlib.compress(header.replace(old, new))
    a_file.write_bytes(whole[:4] + len(header).to_bytes(4, "little") + header + whole[end:])
    with pytest.raises(UnreadableFileError, match=r"is cut short or damaged \(.*\)\. Restore the bundle\.$"):
        read_packed(a_file)


def test_another_file_and_no_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UnreadableFileError, match=r"card\.json holds no packed weights"):
        read_packed(tmp_path / "card.json")
    with pytest.raises(UnreadableFileError, match=r"nothing\.lsq cannot be read \(No such file"):
        read_packed(tmp_path / "nothing.lsq")


def test_what_cannot_be_packed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^Codes of 2 bits are below 4; got 5\.$"):
        pack(np.uint8([5]), 2)
    with pytest.raises(ValueError, match=r"^Codes of 2 bits are below 4; got 5\.$"):
        QuantizedTensor(np.uint8([5]), 2, one(), one())
    with pytest.raises(ValueError, match=r"^bits of codes must be a whole number from 1 to 8; got 9\."):
        unpack(b"", 9, 0)
    with pytest.raises(ValueError, match=r"^3 codes of 4 bits take 2 bytes; got 1\.$"):
        unpack(b"x", 4, 3)
    with pytest.raises(ValueError, match=r"^w is complex128; packed files hold float32"):
        write_packed({"w": np.ones(2, complex)}, tmp_path / "w.lsq")
    with pytest.raises(LeanSegError, match="cannot be written"):
        write_packed({}, tmp_path / "nowhere" / "w.lsq")


def test_packing_is_read_without_torch() -> None:
    done = fresh_python(WITHOUT_REFUSED, "leanseg.quantization.packing", "leanseg.quantization.config")
    assert done.returncode == 0, done.stderr


# ── whole numbers of 8 bits ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (6, 1, 1, 1)])
def test_levels_are_the_same_in_8_bits(bits: int, shape: tuple[int, ...]) -> None:
    step = np.linspace(0.1, 0.2, math.prod(shape), dtype=np.float32).reshape(shape)
    codes, top = some_codes(bits, 6, 4, 3, 3), 2**bits - 1
    middle = np.float32(2 ** (bits - 1) - 0.37)
    for lower, zero, needs_rest in (
        (0 * step, top // 2, False),  # uniform
        (-step * np.float32(top / 2), 0, bits == 8),  # symmetric; of 256 levels half a step is too fine
        (-step * middle, 0, True),  # learned
    ):
        tensor = QuantizedTensor(codes, bits, step, lower, zero)
        form = tensor.int8()
        assert form.codes.dtype == np.int8 and form.scale.shape == (6,) and (form.rest is not None) == needs_rest
        assert tensor.needs_rest == needs_rest
        rest = np.zeros(6) if form.rest is None else form.rest
        values = form.scale.reshape(6, 1, 1, 1) * form.codes + rest.reshape(6, 1, 1, 1)
        np.testing.assert_allclose(values, tensor.values(), rtol=0, atol=2e-6 * top * float(step.max()))


def test_powers_of_two_are_rounded_to_a_part_of_the_largest() -> None:
    codes = np.arange(17, dtype=np.uint8).reshape(1, 17).repeat(2, axis=0)  # 5 bits: 0 and +-2^0 ... 2^-7
    codes[1] = 8  # a channel of zeros
    tensor = QuantizedTensor(codes, 5, np.float32([[0.5]]), np.float32([[0]]), zero=8, kind="powers")
    form = tensor.int8()
    assert form.rest is None and form.codes[0].tolist()[8:13] == [0, 127, 64, 32, 16] and not form.codes[1].any()
    assert np.abs(form.scale[0] * form.codes[0] - tensor.values()[0]).max() <= 0.5 * 0.5 / 127


def test_names_take_little_room(tmp_path: Path) -> None:
    arrays = {f"decoder.{n}.gate.gating.1.running_mean": np.zeros(1, np.float32) for n in range(200)}
    write_packed(arrays, tmp_path / "w.lsq")
    assert (tmp_path / "w.lsq").stat().st_size < 200 * 4 + 2000
