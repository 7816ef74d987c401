"""`leanseg segment MODEL IMAGE --prompt SENTENCE` with a model that reads which of several objects is meant."""

import json
from pathlib import Path

import numpy as np
import pytest

from Testing.engine.commands.command_line import REPORT_KEYS, Captured, leanseg_main, mask_of, one_line, written
from Testing.engine.referring_tiny import write_referring_bundle
from Testing.engine.text_tiny import write_text_bundle
from Testing.engine.tiny import dice, ellipse

LEFT = ellipse((64, 64), (0.12, 0.12), (0.3, 0.25))
RIGHT = ellipse((64, 64), (0.1, 0.1), (0.7, 0.75))


@pytest.fixture
def two(models_folder: Path, tmp_path: Path) -> Path:
    write_referring_bundle(models_folder / "refers")
    write_text_bundle(models_folder / "told")
    return written(np.where(LEFT | RIGHT, 200, 20).astype(np.uint8), tmp_path / "two.png")


def test_the_sentence_decides_and_the_report_says_it(two: Path, out: Path, capfd: Captured) -> None:
    outputs = ("-o", out / "m.seg.nrrd", "--uncertainty", out / "u.nrrd", "--report", out / "r.json")
    assert leanseg_main("segment", "refers", two, "--prompt", "the leftmost one", *outputs) == 0
    printed, err = capfd.readouterr()
    assert printed.startswith("Lesion: area ") and err == ""
    assert dice(mask_of(out / "m.seg.nrrd")[0], LEFT) > 0.9
    report = json.loads((out / "r.json").read_text(encoding="utf-8"))
    assert list(report) == REPORT_KEYS
    (case,) = report["cases"]
    assert (case["prompt"], case["understood"], case["absent"]) == ("the leftmost one", "The leftmost one.", {})
    assert case["existence"][0] > 0.99


def test_why_nothing_was_found_is_told(two: Path, tmp_path: Path, capfd: Captured) -> None:
    output = tmp_path / "mask.seg.nrrd"
    assert leanseg_main("segment", "refers", two, "--prompt", "the fourth from the left", "-o", output) == 0
    printed, err = capfd.readouterr()
    assert printed == f"No lesion found; the segment in {output} is empty.\n" and not mask_of(output).any()
    assert "note: There is no such object (probability to exist 0.00; 0.50 is needed)." in err


def test_what_does_not_go_together_is_one_line(two: Path, tmp_path: Path, capfd: Captured) -> None:
    output = ("-o", tmp_path / "mask.seg.nrrd")
    for prompt, line in (
        ((), "Nothing is said"),
        (("--prompt", "not the leftmost"), "Negation"),
        (("--prompt", "the one with the largest below it"), '"with" makes the other object the one that is meant'),
        (("--prompt", "large round mass, upper left"), "One side is read"),
    ):
        assert line in one_line(capfd, "segment", "refers", two, *output, *prompt)
    assert "tiny takes no text; leave --prompt away" in one_line(
        capfd, "segment", "tiny", two, *output, "--prompt", "the leftmost one"
    )
    assert not (tmp_path / "mask.seg.nrrd").exists()


def test_a_model_of_descriptions_refuses_such_a_sentence_and_writes_nothing(
    two: Path, tmp_path: Path, capfd: Captured
) -> None:
    output = tmp_path / "mask.seg.nrrd"
    for prompt in ("second from the left", "the one with the largest below it"):
        line = one_line(capfd, "segment", "told", two, "--prompt", prompt, "-o", output)
        assert f'"{prompt}" tells one object from others' in line and "cm_mask_sd" in line
    assert not output.exists()
