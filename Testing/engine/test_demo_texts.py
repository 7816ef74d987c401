import json
from pathlib import Path

import pytest
import SimpleITK as sitk

from leanseg import demo
from leanseg.demo import run_demo
from leanseg.phantom import ultrasound_phantom
from Testing.engine.test_demo import Page, quiet
from Testing.engine.text_tiny import write_text_bundle


@pytest.fixture
def page(models_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Page:
    """With a model for which dark is tumor: of a breast MRI that is air, skin and fat, never the bright tumor."""
    write_text_bundle(models_folder / "told")
    clip = ultrasound_phantom("benign", shape_ji=(64, 80))
    monkeypatch.setattr(demo, "_built_in_cases", lambda: [demo.DemoCase(clip.name, clip.image, clip.truth)])
    monkeypatch.setattr(demo, "_SCREENSHOTS", tmp_path / "none")
    return Page(run_demo(tmp_path / "demo", quiet).read_text(encoding="utf-8"))


def test_the_story_is_told_in_pictures(page: Page, tmp_path: Path) -> None:
    pictures = [name for name in page.images if "told_story" in name]
    assert len(pictures) >= 3
    for name in pictures:
        assert min(sitk.ReadImage(str(tmp_path / "demo" / name)).GetSize()) > 64
    assert "told: Dark is tumor where the words say" in page.words
    for words in ("“mass, right”", "where it is unsure", "“mass, lower left”", "Dice with the right one"):
        assert words in page.words


def test_questions_are_answered_by_the_truth_and_shown(page: Page, tmp_path: Path) -> None:
    reports = json.loads((tmp_path / "demo" / "report.json").read_text(encoding="utf-8"))
    (story,) = [report for report in reports if report["model"] == "told"]
    titles = [row["id"] for row in story["cases"]]
    answered = [title for title in titles if title.startswith("after answer")]
    assert answered and all(f"Question {n}: " in page.words for n in range(1, len(answered) + 1))
    assert all(f"The truth answers {title.split(': ')[1]}." in page.words for title in answered)
    assert all(0 <= row["dice"] <= 1 for row in story["cases"])
