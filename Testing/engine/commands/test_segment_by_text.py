"""`leanseg segment MODEL IMAGE --prompt TEXT`."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.engine.commands.command_line import REPORT_KEYS, Captured, leanseg_main, mask_of, one_line, written
from Testing.engine.text_tiny import write_text_bundle
from Testing.engine.tiny import dice, ellipse

LEFT = ellipse((64, 64), (0.12, 0.12), (0.3, 0.25))
RIGHT = ellipse((64, 64), (0.1, 0.1), (0.7, 0.75))


@pytest.fixture
def two(models_folder: Path, tmp_path: Path) -> Path:
    write_text_bundle(models_folder / "told")
    return written(np.where(LEFT | RIGHT, 20, 200).astype(np.uint8), tmp_path / "two.png")


def test_the_prompt_decides_and_the_report_says_it(two: Path, out: Path, capfd: Captured) -> None:
    outputs = ("-o", out / "m.seg.nrrd", "--uncertainty", out / "u.nrrd", "--report", out / "r.json")
    assert leanseg_main("segment", "told", two, "--prompt", "the mass on the left", *outputs) == 0
    printed, err = capfd.readouterr()
    assert printed.startswith("Lesion: area ") and err == ""
    assert dice(mask_of(out / "m.seg.nrrd")[0], LEFT) > 0.9
    report = json.loads((out / "r.json").read_text(encoding="utf-8"))
    assert list(report) == REPORT_KEYS
    (case,) = report["cases"]
    assert (case["prompt"], case["understood"], case["absent"]) == ("the mass on the left", "left", {})
    assert len(case["measurements"]) == 1
    values = sitk.GetArrayFromImage(sitk.ReadImage(str(out / "u.nrrd")))
    assert values.shape == (1, 64, 64) and 0 <= values.min() < values.max() <= 1


def test_why_nothing_was_found_is_told(two: Path, tmp_path: Path, capfd: Captured) -> None:
    output = tmp_path / "mask.seg.nrrd"
    assert leanseg_main("segment", "told", two, "--prompt", "lower left blob, brzl", "-o", output) == 0
    printed, err = capfd.readouterr()
    assert printed == f"No lesion found; the segment in {output} is empty.\n" and not mask_of(output).any()
    assert '"brzl"' in err
    assert "note: The prompt says lower left; what looks like a tumor lies" in err


def test_without_a_prompt_any_tumor_is_looked_for_and_that_is_said(two: Path, tmp_path: Path, capfd: Captured) -> None:
    output = tmp_path / "mask.seg.nrrd"
    assert leanseg_main("segment", "told", two, "-o", output) == 0
    assert dice(mask_of(output)[0], LEFT | RIGHT) > 0.9
    assert "any tumor is looked for" in capfd.readouterr().err


def test_a_volume_of_a_patient_hears_the_patients_left(two: Path, tmp_path: Path, capfd: Captured) -> None:
    """i runs to the patient's left, as in nearly every file: what is on the picture's right is the patient's left."""
    noise = np.random.default_rng(0).random((3, 64, 64), dtype=np.float32)
    volume = sitk.GetImageFromArray(np.where(LEFT | RIGHT, 0, 0.8 + 0.2 * noise).astype(np.float32))
    sitk.WriteImage(volume, str(tmp_path / "mri.nii.gz"))
    output = tmp_path / "mask.seg.nrrd"
    assert leanseg_main("segment", "told", tmp_path / "mri.nii.gz", "--prompt", "left MRI", "-o", output) == 0
    assert all(dice(mask, RIGHT) > 0.85 for mask in mask_of(output))
    assert capfd.readouterr().err == ""


def test_what_does_not_go_together_is_refused(two: Path, tmp_path: Path, capfd: Captured) -> None:
    output = ("-o", tmp_path / "mask.seg.nrrd")
    assert "tiny takes no text; leave --prompt away" in one_line(
        capfd, "segment", "tiny", two, *output, "--prompt", "x"
    )
    said = one_line(
        capfd,
        "segment",
        "told",
        two,
        *output,
        "--uncertainty",
        tmp_path / "u.nrrd",
        "--uncertainty-kind",
        "flip_variance",
    )
    assert "told says itself how uncertain it is" in said
    assert "told takes one image, no brain" in one_line(capfd, "segment", "told", two, *output, "--strip-skull")
