import json
from pathlib import Path

import pytest

from leanseg import demo
from leanseg.demo import run_demo
from leanseg.demo_references import SENTENCES, meant
from leanseg.phantom import ultrasound_phantom
from leanseg.prompts.directions import PictureFrame
from leanseg.prompts.referring import NO_OBJECT
from Testing.engine.referring_tiny import write_referring_bundle
from Testing.engine.test_demo import Page, quiet


def test_each_sentence_has_one_answer_in_the_scene_and_the_last_one_none() -> None:
    found = [meant(text, PictureFrame()) for text in SENTENCES]
    assert min(found[:-1]) > NO_OBJECT and found[-1] == NO_OBJECT and len({*found}) > 3
    mirrored = [meant(text, PictureFrame("R", "A", "I")) for text in SENTENCES[:1]]
    assert mirrored != found[:1], "left is the patient's, where the image says how it lies"


def test_the_page_shows_what_each_sentence_outlines_and_points_at(
    models_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_referring_bundle(models_folder / "refers")
    clip = ultrasound_phantom("benign", shape_ji=(64, 80))
    monkeypatch.setattr(demo, "_built_in_cases", lambda: [demo.DemoCase(clip.name, clip.image, clip.truth)])
    monkeypatch.setattr(demo, "_SCREENSHOTS", tmp_path / "none")
    page = Page(run_demo(tmp_path / "demo", quiet).read_text(encoding="utf-8"))
    pictures = [name for name in page.images if "refers_sentence" in name]
    assert len(pictures) == 2 * len(SENTENCES) and all((tmp_path / "demo" / name).is_file() for name in pictures)
    assert all(f"“{text}”" in page.words for text in SENTENCES)
    assert "There is no such object" in page.words and "what the words point at" in page.words
    reports = json.loads((tmp_path / "demo" / "report.json").read_text(encoding="utf-8"))
    (said,) = [report for report in reports if report["model"] == "refers"]
    assert [row["id"] for row in said["cases"]] == [*SENTENCES] and said["cases"][-1]["dice"] is None
