"""`leanseg segment` on images that can be segmented."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from leanseg.weights.bundle import Bundle
from Testing.engine.commands.command_line import (
    ELLIPSE,
    GRAY,
    REPORT_KEYS,
    Captured,
    contents,
    leanseg_main,
    mask_of,
    tilted_volume,
    written,
)
from Testing.engine.files.dicom_files import dicom, save
from Testing.engine.tiny import dice, ellipse


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


def test_two_lesions_are_counted_and_the_largest_is_measured(
    models_folder: Path, tmp_path: Path, out: Path, all_outputs: list[object], capfd: Captured
) -> None:
    two = ellipse((64, 64), (0.2, 0.15), (0.5, 0.25)) | ellipse((64, 64), (0.12, 0.1), (0.5, 0.75))
    source = written(np.where(two, 20, 200).astype(np.uint8), tmp_path / "two.png")
    assert leanseg_main("segment", "tiny", source, *all_outputs) == 0
    left = mask_of(out / "mask.seg.nrrd")[0, :, :32].sum()
    assert capfd.readouterr().out.startswith(f"2 lesions; largest: area {left:.1f} px^2, axes ")
    measured = json.loads((out / "r.json").read_text(encoding="utf-8"))["cases"][0]["measurements"]
    assert [m["component"] for m in measured] == [1, 2] and measured[0]["area"] == left > measured[1]["area"] > 0


def test_the_report_has_exactly_the_fixed_keys(
    image: Path, tiny_bundle: Bundle, out: Path, all_outputs: list[object]
) -> None:
    assert leanseg_main("segment", "tiny", image, *all_outputs) == 0
    report = json.loads((out / "r.json").read_text(encoding="utf-8"))
    assert list(report) == REPORT_KEYS
    assert list(report["seconds"]) == ["load", "first", "per_slice", "total"]
    assert 0 < report["seconds"]["first"] <= report["seconds"]["total"]
    assert (report["model"], report["checksum"]) == ("tiny", tiny_bundle.card.graphs["fp32"].sha256)
    assert (report["device"], report["precision"], report["mean"]) == ("cpu", "fp32", {})
    (case,) = report["cases"]
    assert list(case) == ["id", "measurements"] and case["id"] == "image.png"
    (measured,) = case["measurements"]
    assert list(measured) == ["slice", "component", "unit", "area", "long_axis", "short_axis", "depth_width_ratio"]
    assert measured["area"] == mask_of(out / "mask.seg.nrrd").sum()


@pytest.mark.parametrize(("kind", "gmacs"), [("entropy", 1.0), ("flip_variance", 2.0)])
def test_the_report_counts_every_slice_and_pass(
    models_folder: Path, tmp_path: Path, out: Path, all_outputs: list[object], kind: str, gmacs: float
) -> None:
    sitk.WriteImage(tilted_volume(), str(tmp_path / "volume.nrrd"))
    assert leanseg_main("segment", "tiny", tmp_path / "volume.nrrd", *all_outputs, "--uncertainty-kind", kind) == 0
    assert json.loads((out / "r.json").read_text())["gmacs"] == gmacs
    values = sitk.GetArrayFromImage(sitk.ReadImage(str(out / "u.nrrd")))
    assert bool(values.max() < 1e-6) == (kind == "flip_variance"), "the volume is symmetric"
