"""The command line as a person or a script meets it: what it prints, writes and returns."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

import leanseg
from leanseg import commands, demo, doctor
from leanseg.__main__ import main
from leanseg.catalog import SYSTEMS
from leanseg.files.images import read_image
from leanseg.inference.slicewise import SlicewiseEngine
from leanseg.phantom import Phantom
from leanseg.weights.bundle import Bundle, read_bundle
from Testing.engine.files.dicom_files import dicom, save
from Testing.engine.tiny import dark_is_lesion, dark_on_bright, dice, ellipse, write_tiny_bundle

REPORT_KEYS = [
    *("model", "checksum", "versions", "device", "precision", "seconds"),
    *("peak_rss_mb", "gmacs", "mean", "cases"),
]
VERBS = ("models", "systems", "segment", "evaluate", "train", "export", "demo", "doctor")
ELLIPSE = ellipse((48, 64))
GRAY: NDArray[np.uint8] = np.where(ELLIPSE, 20, 200).astype(np.uint8)

Captured = pytest.CaptureFixture[str]


def leanseg_main(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def one_line(capfd: Captured, *arguments: object) -> str:
    """Run what must fail; returns the message. Nothing is printed but `leanseg: ` and one line on standard error."""
    code = leanseg_main(*arguments)
    out, err = capfd.readouterr()
    assert (code, out) == (1, "")
    assert re.fullmatch(r"leanseg: [^\n]{10,}\n", err), err
    assert "Traceback" not in err
    return err.removeprefix("leanseg: ").rstrip("\n")


def written(array: NDArray[Any], path: Path, *, color: bool = False, spacing: tuple[float, ...] = ()) -> Path:
    image = sitk.GetImageFromArray(array, isVector=color)
    if spacing:
        image.SetSpacing(spacing)
    sitk.WriteImage(image, str(path))
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def mask_of(path: Path) -> NDArray[np.bool_]:
    return np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(str(path))) == 1)


def python(code: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """A fresh Python without warnings, from another folder than the repository."""
    repository = Path(__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, "-W", "error", *code.split(" ", 1), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(repository)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.fixture
def image(models_folder: Path, tmp_path: Path) -> Path:
    return written(GRAY, tmp_path / "image.png")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder with results of yesterday."""
    folder = tmp_path / "out"
    folder.mkdir()
    for name in ("mask.seg.nrrd", "u.nrrd", "r.json"):
        (folder / name).write_text("of yesterday")
    return folder


@pytest.fixture
def all_outputs(out: Path) -> list[object]:
    return ["-o", out / "mask.seg.nrrd", "--uncertainty", out / "u.nrrd", "--report", out / "r.json"]


# ── segment ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_segment_writes_the_mask_and_says_its_sizes(image: Path, tmp_path: Path, capfd: Captured) -> None:
    output = tmp_path / "mask.seg.nrrd"
    assert leanseg_main("segment", "tiny", image, "-o", output) == 0
    out, err = capfd.readouterr()
    mask = mask_of(output)[0]
    assert dice(mask, ELLIPSE) > 0.9 and err == ""
    assert out.startswith(f"Lesion: area {mask.sum():.1f} px^2, axes ") and out.endswith(f"Written: {output}\n")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["image.png", "mask.seg.nrrd", "models"]


def test_existing_outputs_are_replaced(image: Path, out: Path, all_outputs: list[object]) -> None:
    assert leanseg_main("segment", "tiny", image, *all_outputs) == 0
    assert sorted(contents(out)) == ["mask.seg.nrrd", "r.json", "u.nrrd"]
    assert all(data != b"of yesterday" for data in contents(out).values())


def test_segment_finds_no_lesion_in_a_bright_image(models_folder: Path, tmp_path: Path, capfd: Captured) -> None:
    image = np.full((48, 64), 200, np.uint8)
    image[20, 20] = 0
    output = tmp_path / "mask.seg.nrrd"
    assert leanseg_main("segment", "tiny", written(image, tmp_path / "bright.png"), "-o", output) == 0
    assert capfd.readouterr().out == f"No lesion found; the segment in {output} is empty.\n"
    assert not mask_of(output).any()


def tilted_volume() -> sitk.Image:
    """4 x 40 x 50 voxels of 0.4 x 0.5 x 3 mm, oblique, far from the origin; the lesion is in slices 1 and 2."""
    mask = np.zeros((4, 40, 50), bool)
    mask[1], mask[2] = ellipse((40, 50)), ellipse((40, 50), (0.4, 0.4))
    volume = sitk.GetImageFromArray(dark_on_bright(mask, "int16").array[0])
    volume.SetSpacing((0.4, 0.5, 3.0))
    volume.SetOrigin((-120.5, 33.25, 700.0))
    volume.SetDirection((0.8, 0.0, 0.6, 0.0, 1.0, 0.0, -0.6, 0.0, 0.8))
    return volume


@pytest.mark.parametrize("suffix", ["nii.gz", "nrrd", "mha"])
def test_a_volume_is_segmented_slice_by_slice_on_its_own_geometry(
    models_folder: Path, tmp_path: Path, capfd: Captured, suffix: str
) -> None:
    source, output = tmp_path / f"volume.{suffix}", tmp_path / "mask.seg.nrrd"
    uncertainty = tmp_path / f"u.{suffix}"
    sitk.WriteImage(tilted_volume(), str(source))
    assert leanseg_main("segment", "tiny", source, "-o", output, "--uncertainty", uncertainty) == 0
    mask = mask_of(output)
    assert [bool(k.any()) for k in mask] == [False, True, True, False]
    assert dice(mask[1], ellipse((40, 50))) > 0.9 and dice(mask[2], ellipse((40, 50), (0.4, 0.4))) > 0.9
    assert re.match(r"Lesion in 2 slices; largest in slice 2: area \d+\.\d mm\^2", capfd.readouterr().out)
    wanted = sitk.ReadImage(str(source))
    for path in (output, uncertainty):
        got = sitk.ReadImage(str(path))
        assert got.GetSize() == wanted.GetSize()
        np.testing.assert_allclose(got.GetSpacing(), wanted.GetSpacing(), rtol=1e-5)
        np.testing.assert_allclose(got.GetOrigin(), wanted.GetOrigin(), rtol=1e-5)
        np.testing.assert_allclose(got.GetDirection(), wanted.GetDirection(), atol=1e-5)
    values = sitk.GetArrayFromImage(sitk.ReadImage(str(uncertainty)))
    assert values.dtype == np.float32 and 0 <= values.min() < 0.01 and 0.5 < values.max() <= 1


def test_a_clip_is_segmented_frame_by_frame(models_folder: Path, tmp_path: Path, capfd: Captured) -> None:
    source = save(dicom(np.stack([GRAY] * 3)), tmp_path / "clip.dcm")
    assert leanseg_main("segment", "tiny", source, "-o", tmp_path / "mask.seg.nrrd") == 0
    assert "Lesion in 3 slices" in capfd.readouterr().out
    mask = mask_of(tmp_path / "mask.seg.nrrd")
    assert mask.shape == (3, 48, 64) and all(dice(frame, ELLIPSE) > 0.9 for frame in mask)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "uint16", "int16", "int32", "int64", "float32", "float64"])
@pytest.mark.parametrize("suffix", ["nrrd", "mha"])
def test_every_type_of_gray_works(models_folder: Path, tmp_path: Path, dtype: str, suffix: str) -> None:
    bright = {"bool": 1, "uint8": 200, "int8": 100, "uint16": 60_000, "int16": 30_000}.get(dtype, 90_000)
    array = np.where(ELLIPSE, 0, bright).astype("uint8" if dtype == "bool" else dtype)
    source = written(array, tmp_path / f"image.{suffix}")
    assert leanseg_main("segment", "tiny", source, "-o", tmp_path / "mask.seg.nrrd") == 0
    assert dice(mask_of(tmp_path / "mask.seg.nrrd")[0], ELLIPSE) > 0.9


def test_a_16_bit_png_works(models_folder: Path, tmp_path: Path) -> None:
    source = written(GRAY.astype(np.uint16) * 256, tmp_path / "image.png")
    assert leanseg_main("segment", "tiny", source, "-o", tmp_path / "mask.seg.nrrd") == 0
    assert dice(mask_of(tmp_path / "mask.seg.nrrd")[0], ELLIPSE) > 0.9


def test_gray_stored_as_color_works(models_folder: Path, tmp_path: Path) -> None:
    source = written(np.repeat(GRAY[..., np.newaxis], 3, axis=-1), tmp_path / "image.png", color=True)
    assert leanseg_main("segment", "tiny", source, "-o", tmp_path / "mask.seg.nrrd") == 0
    assert dice(mask_of(tmp_path / "mask.seg.nrrd")[0], ELLIPSE) > 0.9


def test_the_name_of_the_input_may_be_given(image: Path, tmp_path: Path) -> None:
    assert leanseg_main("segment", "tiny", f"ultrasound={image}", "-o", tmp_path / "mask.seg.nrrd") == 0


def test_a_file_with_an_equals_sign_is_a_file(image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image.rename(tmp_path / "a=b.png")
    monkeypatch.chdir(tmp_path)
    assert leanseg_main("segment", "tiny", "a=b.png", "-o", "mask.seg.nrrd") == 0


def test_threshold_and_largest_component_change_the_mask(models_folder: Path, tmp_path: Path) -> None:
    two = ellipse((64, 64), (0.2, 0.15), (0.5, 0.25)) | ellipse((64, 64), (0.12, 0.1), (0.5, 0.75))
    source = written(np.where(two, 20, 200).astype(np.uint8), tmp_path / "two.png")
    counts = []
    for options in ([], ["--threshold", 0.001], ["--largest-component"]):
        output = tmp_path / "mask.seg.nrrd"
        assert leanseg_main("segment", "tiny", source, "-o", output, *options) == 0
        counts.append((mask_of(output)[0, :, :32].sum(), mask_of(output)[0, :, 32:].sum()))
    plain, low, largest = counts
    assert low[0] > plain[0] > 0 and low[1] > plain[1] > 0
    assert largest == (plain[0], 0)


def test_the_report_has_exactly_the_fixed_keys(
    image: Path, tiny_bundle: Bundle, out: Path, all_outputs: list[object]
) -> None:
    assert leanseg_main("segment", "tiny", image, *all_outputs) == 0
    report = json.loads((out / "r.json").read_text(encoding="utf-8"))
    assert list(report) == REPORT_KEYS
    assert list(report["seconds"]) == ["load", "first", "per_slice", "total"]
    assert 0 < report["seconds"]["first"] <= report["seconds"]["total"]
    assert (report["model"], report["checksum"]) == ("tiny", tiny_bundle.checksum)
    assert (report["device"], report["precision"], report["mean"]) == ("cpu", "fp32", {})
    (case,) = report["cases"]
    assert list(case) == ["id", "measurements"] and case["id"] == "image.png"
    (measured,) = case["measurements"]
    assert list(measured) == ["slice", "unit", "area", "long_axis", "short_axis", "depth_width_ratio"]
    assert measured["area"] == mask_of(out / "mask.seg.nrrd").sum()


@pytest.mark.parametrize(("kind", "gmacs"), [("entropy", 1.0), ("flip_variance", 2.0)])
def test_the_report_counts_every_slice_and_pass(
    models_folder: Path, tmp_path: Path, out: Path, all_outputs: list[object], kind: str, gmacs: float
) -> None:
    sitk.WriteImage(tilted_volume(), str(tmp_path / "volume.nrrd"))
    assert leanseg_main("segment", "tiny", tmp_path / "volume.nrrd", *all_outputs, "--uncertainty-kind", kind) == 0
    assert json.loads((out / "r.json").read_text())["gmacs"] == gmacs
    values = sitk.GetArrayFromImage(sitk.ReadImage(str(out / "u.nrrd")))
    assert (values.max() < 1e-6) is (kind == "flip_variance"), "the phantom is symmetric"


# ── what cannot be segmented ──────────────────────────────────────────────────────────────────────────────────────


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
    import struct
    import zlib

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
    "infinite": (lambda folder: written(one_bad_voxel(np.inf), folder / "inf.mha"), "1 values that are NaN or infinite"),
    "1 x 1": (lambda folder: written(GRAY[:1, :1], folder / "dot.png"), "1 x 1 pixels; at least 16 x 16"),
    "huge png": (lambda folder: huge_png(folder / "huge.png"), "400 million values"),
    "huge mha": (lambda folder: huge_mha(folder / "huge.mha"), "400 million values"),
    "huge nrrd": (lambda folder: huge_nrrd(folder / "huge.nrrd"), "400 million values"),
    "photograph": (lambda folder: written(photograph(), folder / "photo.png", color=True), "vivid color"),
    "Doppler": (lambda folder: written(doppler(), folder / "doppler.png", color=True), "so it is Doppler"),
    "Doppler dcm": (lambda folder: save(dicom(doppler(), "RGB"), folder / "doppler.dcm"), "so it is Doppler"),
    "complex numbers": (lambda folder: written(GRAY.astype(np.complex64), folder / "c.mha"), "real numbers are needed"),
    "two channels": (lambda folder: written(photograph()[..., :2], folder / "two.nrrd", color=True), "2 channels"),
    "four axes": (lambda folder: written(np.stack([[GRAY] * 2] * 2), folder / "four.nrrd"), "4 axes"),
    "no contrast": (lambda folder: written(0 * GRAY + 7, folder / "flat.png"), "every value is 7"),
    "cut png": (lambda folder: truncated(written(photograph(), folder / "cut.png", color=True), 0.6), "damaged"),
    "cut mha": (lambda folder: truncated(written(GRAY, folder / "cut.mha"), 0.6), "ends before its last pixel"),
    "cut dcm": (lambda folder: truncated(save(dicom(GRAY), folder / "cut.dcm"), 0.6), "damaged or incomplete"),
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


def damage_graph(bundle: Bundle) -> None:
    (bundle.folder / "tiny_fp32.onnx").write_bytes(b"damaged")


def remove_graph(bundle: Bundle) -> None:
    (bundle.folder / "tiny_fp32.onnx").unlink()


def edit_card(bundle: Bundle, **changes: Any) -> None:
    path = bundle.folder / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


BAD_BUNDLES: dict[str, tuple[Callable[[Bundle], object], str]] = {
    "damaged graph": (damage_graph, "tiny_fp32.onnx is damaged: its SHA-256 differs"),
    "missing graph": (remove_graph, "lacks tiny_fp32.onnx"),
    "graph of garbage": (lambda b: write_tiny_bundle(b.folder, {"fp32": b"garbage"}), "cannot read the graph"),
    "graph without probabilities": (
        lambda b: write_tiny_bundle(b.folder, {"fp32": dark_is_lesion(output="logits")}),
        "gives logits; `probabilities` is needed",
    ),
    "card that is not JSON": (lambda b: (b.folder / "card.json").write_text("{"), "card of tiny is damaged"),
    "card that lacks a key": (lambda b: (b.folder / "card.json").write_text("{}"), "card of tiny lacks"),
    "card that is not text": (lambda b: (b.folder / "card.json").write_bytes(b"\xff"), "is not a bundle"),
    "newer": (lambda b: edit_card(b, format=2), "card format 2; this LeanSeg reads up to 1. Update LeanSeg"),
    "another engine": (lambda b: edit_card(b, engine="question_answering"), "needs the engine 'question_answering'"),
    "another size": (lambda b: edit_card(b, preprocessing={"size_ji": [32, 32]}), "does not take image"),
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
        (KeyboardInterrupt(), "Interrupted; nothing half-written was left."),
        (MemoryError(), "There is not enough memory"),
        (OSError(5, "Input/output error", "disk"), "OSError: .*Input/output error"),
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
    assert re.search(message, said) or "could not be written (Input/output error)" in said
    assert len(calls) == (3 if where == "in the third slice" else 4)
    assert contents(out) == before


INTERRUPTIBLE = """-c
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
    program, code = INTERRUPTIBLE.split("\n", 1)
    with python(f"{program} {code}", "segment", "tiny", image, *all_outputs) as process:
        assert process.stdout is not None and process.stdout.readline() == "started\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (1, "leanseg: Interrupted; nothing half-written was left.\n")
    assert contents(out) == before


# ── lists ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_models_as_json_have_exactly_the_fixed_keys(models_folder: Path, capfd: Captured) -> None:
    bundle = write_tiny_bundle(models_folder / "two", {"fp32": dark_is_lesion(), "int8": b"small"}, id="two")
    assert leanseg_main("models", "--json") == 0
    tiny, two = json.loads(capfd.readouterr().out)
    assert list(tiny) == [
        *("id", "system", "module", "task", "inputs", "labels", "precisions", "bytes", "sha256", "license")
    ]
    assert tiny["id"] == "tiny" and tiny["module"] == "UltrasoundKD" and tiny["labels"] == ["Breast lesion"]
    assert two["precisions"] == ["fp32", "int8"]
    assert (two["bytes"], two["sha256"]) == (5, bundle.card.graphs["int8"].sha256), "of the smallest"


def test_models_as_a_table_fit_their_names(models_folder: Path, capfd: Captured) -> None:
    write_tiny_bundle(models_folder / "two", id="two", task="[bold] claims")
    assert leanseg_main("models") == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].split() == ["id", "task", "precisions", "size", "license"]
    assert [line.split()[0] for line in lines[1:]] == ["tiny", "two"]
    assert "[bold] claims" in lines[2] and "fp32" in lines[1] and "0.0 MB" in lines[1]


def test_models_leave_out_what_is_damaged_and_take_what_is_of_an_unknown_system(
    models_folder: Path, capfd: Captured
) -> None:
    (models_folder / "damaged").mkdir()
    (models_folder / "damaged" / "card.json").write_text("{")
    write_tiny_bundle(models_folder / "own", id="own", system="my_own_network")
    assert leanseg_main("models", "--json") == 0
    rows = json.loads(capfd.readouterr().out)
    assert [(row["id"], row["module"]) for row in rows] == [("own", ""), ("tiny", "UltrasoundKD")]


def test_without_models_the_list_is_empty_and_says_what_to_do(
    models_folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: Captured
) -> None:
    monkeypatch.setenv("LEANSEG_MODELS", str(models_folder / "empty"))
    assert leanseg_main("models", "--json") == 0
    assert json.loads(capfd.readouterr().out) == []
    assert leanseg_main("models") == 0
    assert "set LEANSEG_MODELS" in capfd.readouterr().out


def test_systems_as_json_have_exactly_the_fixed_keys(capfd: Captured) -> None:
    assert leanseg_main("systems", "--json") == 0
    rows = json.loads(capfd.readouterr().out)
    for row in rows:
        assert list(row) == ["id", "title", "paper", "home", "tests", "recipe", "models", "module", "state"]
        assert row["state"] in ("works", "planned")
    assert [row["id"] for row in rows] == [system.id for system in SYSTEMS]
    assert "t2kd_busi" in rows[0]["models"] and "t2kd_student" in rows[0]["recipe"]


def test_systems_as_a_table_name_every_one(capfd: Captured) -> None:
    assert leanseg_main("systems") == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [[system.id, system.state] for system in SYSTEMS]


# ── evaluate, train, export ───────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def data(models_folder: Path, tmp_path: Path) -> Path:
    """A folder with a BUSI of six images, two in each split."""
    busi = tmp_path / "data" / "busi"
    rows = ["file,cls,dup_group,split"]
    for n, split in enumerate(["train", "train", "val", "val", "test", "test"]):
        kind = ("benign", "malignant")[n % 2]
        truth = ellipse((40 + n, 48), (0.3, 0.25 + 0.01 * n))
        for part, array in (("images", dark_on_bright(truth[np.newaxis]).array[0, 0]), ("masks", truth * np.uint8(255))):
            (busi / part).mkdir(parents=True, exist_ok=True)
            written(array, busi / part / f"{kind}_{n}.png")
        rows.append(f"{kind}_{n}.png,{kind},,{split}")
    (busi / "index.csv").write_text("\n".join(rows))
    return busi.parent


def evaluate(data: Path, *options: object) -> list[object]:
    return ["evaluate", "tiny", "--dataset", "busi", "--root", data / "busi", *options]


def test_evaluate_prints_means_and_writes_the_fixed_keys(data: Path, tmp_path: Path, capfd: Captured) -> None:
    assert leanseg_main(*evaluate(data, "--json", tmp_path / "r.json")) == 0
    out, err = capfd.readouterr()
    report = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert list(report) == REPORT_KEYS and err == ""
    assert [case["id"] for case in report["cases"]] == ["benign_4", "malignant_5"]
    for key in ("dice", "iou", "hd95_mm", "recall", "precision"):
        assert list(report["mean"][key]) == ["mean", "n"]
    dices = [case["dice"] for case in report["cases"]]
    assert min(dices) > 0.9 and report["mean"]["dice"] == {"mean": pytest.approx(np.mean(dices)), "n": 2}
    assert re.search(rf"^dice +{np.mean(dices):.4f} +2$", out, re.MULTILINE)
    assert re.search(r"^tiny fp32: \d+\.\d ms a slice, load \d+\.\d\d s$", out, re.MULTILINE)


def test_evaluate_takes_every_split(data: Path, tmp_path: Path) -> None:
    assert leanseg_main(*evaluate(data, "--split", "all", "--json", tmp_path / "r.json")) == 0
    assert len(json.loads((tmp_path / "r.json").read_text())["cases"]) == 6


def test_evaluate_records_into_the_card(data: Path, tiny_bundle: Bundle) -> None:
    assert leanseg_main(*evaluate(data, "--record")) == 0
    recorded = read_bundle(tiny_bundle.folder).card.metrics["busi:test:fp32"]
    assert recorded["command"] == "leanseg evaluate tiny --dataset busi --split test --precision fp32"
    assert recorded["dice"]["n"] == 2 and recorded["dice"]["mean"] > 0.9


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--dataset", "bussi", "no data set named 'bussi'. Did you mean 'busi'"),
        ("--split", "tset", "no split of busi named 'tset'. Did you mean 'test'"),
        ("--root", "nowhere", "nowhere has no index.csv. Give the folder of the data set"),
        ("--json", "nowhere/r.json", "The folder nowhere does not exist"),
        ("--json", "r.txt", "does not end with .json"),
    ],
)
def test_evaluate_with_what_does_not_exist_is_one_line(
    data: Path, capfd: Captured, option: str, value: str, message: str
) -> None:
    assert message in one_line(capfd, *evaluate(data, option, value))


def test_a_results_file_that_cannot_be_written_is_told_before_the_work(
    data: Path, tmp_path: Path, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SlicewiseEngine, "predict", lambda *arguments: pytest.fail("it began to work"))
    assert "does not exist" in one_line(capfd, *evaluate(data, "--json", tmp_path / "nowhere" / "r.json"))


@pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning")  # torch's own, in torch.onnx
def test_train_export_and_segment_follow_each_other(data: Path, image: Path, tmp_path: Path, capfd: Captured) -> None:
    run, bundle = tmp_path / "runs" / "one epoch", tmp_path / "exported" / "model"
    settings = ("config.widths=[4,8]", "preprocessing.size_ji=[32,32]", "optimizer.epochs=1", "optimizer.batch_size=2")
    options = [word for setting in settings for word in ("--set", setting)]
    assert leanseg_main("train", "t2kd_student_alone", "--data", data, "--out", run, *options) == 0
    assert capfd.readouterr().out == f"Trained: {run}. Next: leanseg export '{run}' -o BUNDLE\n"
    assert leanseg_main("export", run, "-o", bundle, "--data", data) == 0
    out = capfd.readouterr().out
    assert re.search(r"^fp32: model_fp32.onnx, 0\.\d\d MB$", out, re.MULTILINE)
    assert re.search(r"^int8: model_int8.onnx, 0\.\d\d MB$", out, re.MULTILINE)
    assert out.endswith(f"Bundle: {bundle}\n")
    assert leanseg_main("segment", bundle, image, "-o", tmp_path / "mask.seg.nrrd") == 0
    assert read_image(tmp_path / "mask.seg.nrrd").geometry.shape == (1, 48, 64)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "t2kd_studnet"], "no recipe named 't2kd_studnet'. Did you mean 't2kd_student'"),
        (["train", "t2kd_student_alone"], "Set LEANSEG_DATA to it, or give --data DIR"),
        (["train", "t2kd_student_alone", "--data", "nowhere"], "nowhere.busi has no index.csv"),
        (["train", "t2kd_student_alone", "--set", "optimizer.epoch=3"], "Did you mean 'epochs'"),
        (["train", "t2kd_student_alone", "--set", "optimizer.epochs=many"], "must be int; got 'many'"),
        (["train", "t2kd_student_alone", "--set", "epochs"], "--set needs key=value; got 'epochs'"),
        (["export", "nowhere", "-o", "bundle", "--data", "."], "nowhere"),
    ],
)
def test_train_and_export_with_what_does_not_exist_are_one_line(
    models_folder: Path,
    tmp_path: Path,
    capfd: Captured,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    before = contents(tmp_path)
    assert re.search(message, one_line(capfd, *arguments))
    assert contents(tmp_path) == before


WITHOUT_TORCH = "-c import sys; sys.modules['torch'] = None; from leanseg.__main__ import main; sys.exit(main())"


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "t2kd_student"],
        ["export", "run", "-o", "bundle"],
        ["evaluate", "tiny", "--dataset", "busi", "--root", "."],
    ],
)
def test_without_torch_the_make_floor_says_what_to_install(models_folder: Path, arguments: list[str]) -> None:
    with python(WITHOUT_TORCH, *arguments) as process:
        out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (1, "")
    verb = arguments[0]
    assert err == f"leanseg: `leanseg {verb}` needs torch, which is not installed. Run: pip install 'leanseg[train]'.\n"


def test_without_torch_an_image_is_segmented(image: Path, tmp_path: Path) -> None:
    with python(WITHOUT_TORCH, "segment", "tiny", image, "-o", tmp_path / "mask.seg.nrrd") as process:
        out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "") and out.startswith("Lesion: area")


# ── demo, doctor ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_demo_writes_a_page(
    models_folder: Path, tmp_path: Path, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Phantom("ellipse", dark_on_bright(ELLIPSE[np.newaxis]), ELLIPSE[np.newaxis])
    monkeypatch.setattr(demo, "_built_in_cases", lambda: [case])
    assert leanseg_main("demo", "-o", tmp_path / "demo") == 0
    assert capfd.readouterr() == (f"Open {tmp_path / 'demo' / 'index.html'} in a browser.\n", "")
    assert (tmp_path / "demo" / "index.html").is_file()


def test_demo_into_what_is_no_folder_is_one_line(image: Path, tmp_path: Path, capfd: Captured) -> None:
    before = contents(tmp_path)
    for folder in (image, image / "demo"):
        assert "Choose another folder with -o" in one_line(capfd, "demo", "-o", folder)
    assert contents(tmp_path) == before


def test_doctor_prints_what_to_do_word_for_word(
    models_folder: Path, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_package", lambda name, advice: [name, "missing", advice])
    damage_graph(read_bundle(models_folder / "tiny"))
    assert leanseg_main("doctor") == 0
    words = " ".join(capfd.readouterr().out.split())
    assert "torch missing only to train: pip install 'leanseg[train]'" in words, "[train] is no markup"
    assert "model tiny cannot be used" in words and "SHA-256 differs" in words


# ── usage ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: VERB"),
        (["segmnet"], "invalid choice: 'segmnet'"),
        (["segment", "tiny", "image.png"], "required: -o/--output"),
        (["segment", "tiny", "-o", "mask.seg.nrrd"], "required: INPUT"),
        (["segment", "tiny", "a.png", "-o", "m.seg.nrrd", "--device", "gpu"], "invalid choice: 'gpu'"),
        (["segment", "tiny", "a.png", "-o", "m.seg.nrrd", "--precision", "int4"], "invalid choice: 'int4'"),
        (["segment", "tiny", "a.png", "-o", "m.seg.nrrd", "--threshold", "1"], "between 0 and 1 is needed; got '1'"),
        (["segment", "tiny", "a.png", "-o", "m.seg.nrrd", "--threshold", "nan"], "between 0 and 1 is needed"),
        (["segment", "tiny", "a.png", "-o", "m.seg.nrrd", "--threshold", "half"], "is needed; got 'half'"),
        (["evaluate", "tiny", "--dataset", "busi"], "required: --root"),
        (["export", "run"], "required: -o/--output"),
        (["models", "--yaml"], "unrecognized arguments: --yaml"),
    ],
)
def test_wrong_usage_exits_with_2_and_says_what_is_wrong(arguments: list[str], message: str, capfd: Captured) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    out, err = capfd.readouterr()
    assert (caught.value.code, out) == (2, "") and message in err and err.startswith("usage: leanseg")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str, capfd: Captured) -> None:
    with pytest.raises(SystemExit) as caught:
        main([verb, "--help"])
    assert caught.value.code == 0 and f"usage: leanseg {verb}" in capfd.readouterr().out
    assert callable(getattr(commands, verb))


def test_it_runs_as_a_module_and_knows_its_version() -> None:
    with python("-m leanseg", "--version") as process:
        out, err = process.communicate(timeout=120)
    assert (process.returncode, out, err) == (0, f"leanseg {leanseg.__version__}\n", "")


def test_the_module_returns_the_code_of_an_error(models_folder: Path, tmp_path: Path) -> None:
    with python("-m leanseg", "segment", "tiny", tmp_path / "nowhere.png", "-o", tmp_path / "m.seg.nrrd") as process:
        out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (1, "")
    assert re.fullmatch(r"leanseg: There is no file [^\n]+nowhere.png[^\n]+\n", err)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")
def test_a_reader_that_goes_away_is_no_traceback() -> None:
    with python("-m leanseg", "systems", "--json") as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()  # as `| head` does
        err = process.stderr.read()
    assert (process.returncode, err) == (1, "")


def test_the_progress_bar_shows_names_with_brackets(monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    with commands._progress_bar("demo") as progress:
        assert progress(1, 2, "case [/b] of [red]") is not False
    assert "case [/b] of [red]" in terminal.getvalue()
