"""`leanseg segment` on what cannot be done: one line, exit 1, and no file has changed."""

import os
import re
import signal
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from leanseg.inference.slicewise import SlicewiseEngine
from leanseg.weights.bundle import Bundle
from Testing.engine.commands.command_line import (
    GRAY,
    Captured,
    contents,
    damage_graph,
    edit_card,
    one_line,
    python,
    tilted_volume,
    written,
)
from Testing.engine.files.dicom_files import dicom, save
from Testing.engine.tiny import dark_is_lesion, write_tiny_bundle


def one_bad_voxel(value: float) -> NDArray[np.float32]:
    array = GRAY.astype(np.float32)
    array[3, 4] = value
    return array


def photograph() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def doppler() -> NDArray[np.uint8]:
    frame = np.repeat(GRAY[..., np.newaxis], 3, axis=-1)
    frame[10:20, 10:30] = (220, 30, 30)
    return frame


def truncated(path: Path, keep: float) -> Path:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    return path


def huge_png(path: Path) -> Path:
    """The first kilobyte of a PNG whose header states 20000 x 20000 pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    path.write_bytes(start + b"\0\0\4\0IDAT" + b"\0" * 1024)
    return path


def huge_mha(path: Path) -> Path:
    path.write_bytes(
        b"ObjectType = Image\nNDims = 2\nDimSize = 20000 20000\nElementType = MET_UCHAR\n"
        b"ElementSpacing = 1 1\nElementDataFile = LOCAL\n" + b"\0" * 1000
    )
    return path


def huge_nrrd(path: Path) -> Path:
    """With all of its 400 MB, none of which lie on the disk."""
    header = b"NRRD0004\ntype: uchar\ndimension: 2\nsizes: 20000 20000\nencoding: raw\n\n"
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + 20_000 * 20_000)
    return path


def text(path: Path, words: str = "dear diary\n") -> Path:
    path.write_text(words)
    return path


BAD_INPUTS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing file": (lambda folder: folder / "nowhere.png", "There is no file .*nowhere.png"),
    "below a file": (lambda folder: text(folder / "a.txt") / "b.png", "There is no file"),
    "folder": (lambda folder: folder, "is a folder; one image file is needed"),
    "text": (lambda folder: text(folder / "diary.txt"), "not an image that LeanSeg reads"),
    "text named png": (lambda folder: text(folder / "diary.png"), "not an image|damaged"),
    "text named dcm": (lambda folder: text(folder / "diary.dcm"), "not a DICOM file"),
    "text named nrrd": (lambda folder: text(folder / "diary.nrrd"), "damaged|not an image"),
    "text named nii.gz": (lambda folder: text(folder / "diary.nii.gz"), "damaged|not an image"),
    "zero bytes": (lambda folder: text(folder / "empty.png", ""), "is empty"),
    "zero bytes dcm": (lambda folder: text(folder / "empty.dcm", ""), "is empty"),
    "all zero": (lambda folder: written(0 * GRAY, folder / "zero.png"), "every value is 0"),
    "NaN": (lambda folder: written(one_bad_voxel(np.nan), folder / "nan.nrrd"), "1 values that are NaN or infinite"),
    "infinite": (lambda folder: written(one_bad_voxel(np.inf), folder / "inf.mha"), "1 values .* NaN or infinite"),
    "1 x 1": (lambda folder: written(GRAY[:1, :1], folder / "dot.png"), "1 x 1 pixels; at least 16 x 16"),
    "huge png": (lambda folder: huge_png(folder / "huge.png"), "400 million values"),
    "huge mha": (lambda folder: huge_mha(folder / "huge.mha"), "400 million values"),
    "huge nrrd": (lambda folder: huge_nrrd(folder / "huge.nrrd"), "400 million values"),
    "photograph": (lambda folder: written(photograph(), folder / "photo.png", color=True), "or a photograph"),
    "Doppler": (lambda folder: written(doppler(), folder / "doppler.png", color=True), "so it is Doppler"),
    "Doppler dcm": (lambda folder: save(dicom(doppler(), "RGB"), folder / "doppler.dcm"), "so it is Doppler"),
    "complex numbers": (lambda folder: written(GRAY.astype(np.complex64), folder / "c.nii"), "real numbers are needed"),
    "two channels": (lambda folder: written(photograph()[..., :2], folder / "two.nrrd", color=True), "2 channels"),
    "four axes": (lambda folder: written(np.stack([[GRAY] * 2] * 2), folder / "four.nrrd"), "4 axes"),
    "no contrast": (lambda folder: written(0 * GRAY + 7, folder / "flat.png"), "every value is 7"),
    "cut png": (lambda folder: truncated(written(photograph(), folder / "cut.png", color=True), 0.6), "damaged"),
    "cut mha": (lambda folder: truncated(written(GRAY, folder / "cut.mha"), 0.6), "ends before its last pixel"),
    "cut dcm": (lambda folder: truncated(save(dicom(GRAY), folder / "cut.dcm"), 0.6), "ends before its last pixel"),
    "cut dcm header": (lambda folder: truncated(save(dicom(GRAY), folder / "cut.dcm"), 0.08), "DICOM"),
}


@pytest.mark.parametrize("name", BAD_INPUTS)
def test_a_bad_input_is_one_line_and_changes_no_file(
    models_folder: Path, tmp_path: Path, out: Path, all_outputs: list[object], capfd: Captured, name: str
) -> None:
    make, message = BAD_INPUTS[name]
    source = make(tmp_path)
    before = contents(out)
    assert re.search(message, one_line(capfd, "segment", "tiny", source, *all_outputs))
    assert contents(out) == before


def remove_graph(bundle: Bundle) -> None:
    (bundle.folder / "tiny_fp32.onnx").unlink()


BAD_BUNDLES: dict[str, tuple[Callable[[Bundle], object], str]] = {
    "damaged graph": (damage_graph, "tiny_fp32.onnx is damaged: its SHA-256 differs"),
    "missing graph": (remove_graph, "lacks tiny_fp32.onnx"),
    "graph of garbage": (lambda b: write_tiny_bundle(b.folder, {"fp32": b"garbage"}), "cannot read the graph"),
    "graph without probabilities": (
        lambda b: write_tiny_bundle(b.folder, {"fp32": dark_is_lesion(output="logits")}),
        "gives logits; `probabilities` is needed",
    ),
    "card that is not JSON": (lambda b: (b.folder / "card.json").write_text("{"), "card of tiny is damaged"),
    "card that lacks a key": (
        lambda b: (b.folder / "card.json").write_text("{}"),
        "card of tiny cannot be used: card lacks",
    ),
    "card that is not text": (lambda b: (b.folder / "card.json").write_bytes(b"\xff"), "is not a bundle"),
    "newer": (lambda b: edit_card(b, format=4), "card format 4; this LeanSeg reads up to 3. Update LeanSeg"),
    "another engine": (lambda b: edit_card(b, engine="mind_reading"), "needs the engine 'mind_reading'"),
    "another size": (
        lambda b: edit_card(b, preprocessing={"size_ji": [32, 32], "percentiles": [0.5, 99.5]}),
        "does not take image",
    ),
    "renamed": (lambda b: (b.folder / "card.json").unlink(), "There is no model named 'tiny'"),
}


@pytest.mark.parametrize("name", BAD_BUNDLES)
def test_a_bad_bundle_is_one_line_and_changes_no_file(
    image: Path, tiny_bundle: Bundle, out: Path, all_outputs: list[object], capfd: Captured, name: str
) -> None:
    damage, message = BAD_BUNDLES[name]
    damage(tiny_bundle)
    before = contents(out)
    assert re.search(message, one_line(capfd, "segment", "tiny", image, *all_outputs))
    assert contents(out) == before


@pytest.mark.parametrize(
    ("option", "name", "message"),
    [
        ("-o", "mask.nrrd", "does not end with .seg.nrrd"),
        ("-o", ".seg.nrrd", "does not end with .seg.nrrd"),
        ("-o", "missing/mask.seg.nrrd", "missing does not exist"),
        ("-o", "u.nrrd/mask.seg.nrrd", "u.nrrd is not a folder"),
        ("-o", "folder.seg.nrrd", "is a folder; a file name is needed"),
        ("--uncertainty", "u.png", "does not end with .nrrd or .nii.gz"),
        ("--uncertainty", "other.seg.nrrd", "would open as a segmentation"),
        ("--uncertainty", "missing/u.nrrd", "missing does not exist"),
        ("--report", "r.txt", "does not end with .json"),
        ("--report", "mask.seg.nrrd/r.json", "mask.seg.nrrd is not a folder"),
    ],
)
def test_an_output_that_cannot_be_written_is_one_line_and_changes_no_file(
    image: Path, out: Path, all_outputs: list[object], capfd: Captured, option: str, name: str, message: str
) -> None:
    (out / "folder.seg.nrrd").mkdir()
    all_outputs[all_outputs.index(option) + 1] = out / name
    before = contents(out)
    assert message in one_line(capfd, "segment", "tiny", image, *all_outputs)
    assert contents(out) == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_protected_folder_is_one_line(image: Path, out: Path, all_outputs: list[object], capfd: Captured) -> None:
    out.chmod(0o500)
    assert "is not writable" in one_line(capfd, "segment", "tiny", image, *all_outputs)


@pytest.mark.parametrize("option", ["-o", "--uncertainty"])
def test_the_input_is_never_overwritten(
    models_folder: Path, tmp_path: Path, out: Path, all_outputs: list[object], capfd: Captured, option: str
) -> None:
    source = written(GRAY, tmp_path / ("scan.seg.nrrd" if option == "-o" else "scan.nrrd"))
    before = source.read_bytes()
    all_outputs[all_outputs.index(option) + 1] = out / ".." / source.name
    assert "is the input; it would be overwritten" in one_line(capfd, "segment", "tiny", source, *all_outputs)
    assert source.read_bytes() == before


def test_inputs_of_another_number_or_kind_are_refused(image: Path, tmp_path: Path, capfd: Captured) -> None:
    output = ["-o", tmp_path / "mask.seg.nrrd"]
    assert "takes one image; got 2" in one_line(capfd, "segment", "tiny", image, image, *output)
    assert "takes no text" in one_line(capfd, "segment", "tiny", image, *output, "--prompt", "left breast")
    told = one_line(capfd, "segment", "tiny", f"flair={image}", *output)
    assert told == "There is no input of tiny named 'flair'. Known: ultrasound."
    assert "Did you mean 'tiny'" in one_line(capfd, "segment", "tinny", image, *output)
    assert "no int8 graph" in one_line(capfd, "segment", "tiny", image, *output, "--precision", "int8")
    assert not (tmp_path / "mask.seg.nrrd").exists()


def test_a_message_stays_on_one_line_even_if_the_name_of_the_file_does_not(
    models_folder: Path, tmp_path: Path, capfd: Captured
) -> None:
    assert "two lines.png" in one_line(capfd, "segment", "tiny", tmp_path / "two\nlines.png", "-o", "mask.seg.nrrd")


@pytest.mark.parametrize(
    ("interruption", "message"),
    [
        (KeyboardInterrupt(), r"Interrupted\. Nothing half-written was left\."),
        (MemoryError(), "There is not enough memory"),
        (OSError(5, "Input/output error", "disk"), "Input/output error"),
    ],
)
@pytest.mark.parametrize("where", ["in the third slice", "while the first file is written"])
def test_an_interruption_is_one_line_and_changes_no_file(
    models_folder: Path,
    tmp_path: Path,
    out: Path,
    all_outputs: list[object],
    capfd: Captured,
    monkeypatch: pytest.MonkeyPatch,
    interruption: BaseException,
    message: str,
    where: str,
) -> None:
    sitk.WriteImage(tilted_volume(), str(tmp_path / "volume.nrrd"))
    calls = []
    probabilities = SlicewiseEngine._probabilities

    def interrupted(*arguments: Any) -> Any:
        calls.append(arguments)
        if where != "in the third slice":
            return probabilities(*arguments)
        if len(calls) == 3:
            raise interruption
        return probabilities(*arguments)

    def never(*arguments: Any) -> None:
        raise interruption

    monkeypatch.setattr(SlicewiseEngine, "_probabilities", interrupted)
    if where != "in the third slice":
        monkeypatch.setattr("leanseg.files.seg_nrrd.os.replace", never)
    before = contents(out)
    said = one_line(capfd, "segment", "tiny", tmp_path / "volume.nrrd", *all_outputs)
    assert re.search(message, said)
    assert len(calls) == (3 if where == "in the third slice" else 4)
    assert contents(out) == before


INTERRUPTIBLE = """
import signal, sys, time
import leanseg.inference.slicewise as slicewise
from leanseg.__main__ import main

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
def slow(self, image):
    print("started", flush=True)
    time.sleep(60)
slicewise.SlicewiseEngine._probabilities = slow
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_control_c_is_one_line_and_changes_no_file(image: Path, out: Path, all_outputs: list[object]) -> None:
    before = contents(out)
    with python("-c", INTERRUPTIBLE, "segment", "tiny", image, *all_outputs) as process:
        assert process.stdout is not None and process.stdout.readline() == "started\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (1, "leanseg: Interrupted. Nothing half-written was left.\n")
    assert contents(out) == before
