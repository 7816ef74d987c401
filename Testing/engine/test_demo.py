import html
import json
import shlex
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from leanseg import demo
from leanseg.__main__ import main
from leanseg.demo import DemoCase, run_demo
from leanseg.errors import BundleError, InferenceCancelled, LeanSegError, OutputError
from leanseg.phantom import ultrasound_phantom
from leanseg.segmentation import Segment
from Testing.engine.dynamic_networks import write_dynamic_bundle
from Testing.engine.text_tiny import write_text_bundle
from Testing.engine.tiny import dark_on_bright, ellipse, write_tiny_bundle

SMALL = (64, 80)
SCREENSHOTS = demo._SCREENSHOTS


@pytest.fixture(autouse=True)
def without_screenshots(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The pictures of the cases alone."""
    monkeypatch.setattr(demo, "_SCREENSHOTS", tmp_path / "none")


def quiet(done: int, total: int, what: str) -> None:
    pass


class Page(HTMLParser):
    """Links of a page; an element that is not closed is an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.images: list[str] = []
        self.links: list[str] = []
        self.words = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "img":
            self.images.append(str(values["src"]))
            assert values["alt"]
        elif tag != "meta":
            self._open.append(tag)
        if tag == "a":
            self.links.append(str(values["href"]))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.fixture
def small_cases(monkeypatch: pytest.MonkeyPatch) -> list[DemoCase]:
    """Instead of the built-in cases, which take seconds: one to predict by hand, one clip, one without lesion."""
    image = dark_on_bright(ellipse(SMALL)[np.newaxis])
    clip = ultrasound_phantom("benign", frames=2, shape_ji=SMALL)
    cases = [
        DemoCase("dark & <round>", image, ellipse(SMALL)[np.newaxis]),
        DemoCase(clip.name, clip.image, clip.truth),
        DemoCase("nothing there", dark_on_bright(_one_dark_pixel()), np.zeros((1, *SMALL), bool)),
    ]
    monkeypatch.setattr(demo, "_built_in_cases", lambda: cases)
    return cases


def _one_dark_pixel() -> np.ndarray:
    mask = np.zeros((1, *SMALL), bool)
    mask[0, 30, 30] = True
    return mask


def test_the_page_shows_every_case_with_pictures_and_files(
    models_folder: Path, small_cases: list[DemoCase], tmp_path: Path
) -> None:
    steps: list[tuple[int, int]] = []
    folder = tmp_path / "new" / "demo"
    written = run_demo(folder, lambda done, total, what: steps.append((done, total)))
    assert written == folder / "index.html"
    page = Page(written.read_text(encoding="utf-8"))
    assert len(page.images) == len(set(page.images)) == 4 * len(small_cases)
    for source in page.images:
        assert min(sitk.ReadImage(str(folder / source)).GetSize()) == 64
    assert len(page.links) == len(small_cases) and all(link.endswith(".seg.nrrd") for link in page.links)
    for link, case in zip(page.links, small_cases, strict=True):
        assert sitk.ReadImage(str(folder / link)).GetSize()[::-1] == case.truth.shape
        assert (folder / link.replace(".seg.nrrd", ".uncertainty.nrrd")).is_file()
        assert case.name in page.words
    assert "Research only; not for clinical use." in page.words
    assert "No lesion there, none drawn." in page.words and "a frame." in page.words
    assert steps == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_the_page_shows_the_slicer_module_where_its_pictures_are(
    models_folder: Path, small_cases: list[DemoCase], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "_SCREENSHOTS", SCREENSHOTS)
    folder = run_demo(tmp_path, quiet).parent
    page = Page((folder / "index.html").read_text(encoding="utf-8"))
    screens = [source for source in page.images if "ultrasound_kd" in source]
    assert len(screens) == 5 and "In 3D Slicer" in page.words
    for source in screens:
        assert sitk.ReadImage(str(folder / source)).GetSize()[0] > 1000


def test_the_report_of_the_demo_has_what_the_page_says(
    models_folder: Path, small_cases: list[DemoCase], tmp_path: Path
) -> None:
    page = run_demo(tmp_path / "demo", quiet).read_text(encoding="utf-8")
    (report,) = json.loads((tmp_path / "demo" / "report.json").read_text(encoding="utf-8"))
    assert report["model"] == "tiny" and report["gmacs"] == 0.333 and report["seconds"]["total"] > 0
    ellipse_row, clip, empty = report["cases"]
    assert ellipse_row["dice"] > 0.9 and f"Dice {100 * ellipse_row['dice']:.1f} %" in page
    (measured,) = ellipse_row["measurements"]
    assert f"Area {measured['area']:.0f} mm²" in page and f"depth/width {measured['depth_width_ratio']:.2f}" in page
    assert {m["slice"] for m in clip["measurements"]} <= {0, 1}
    assert (empty["dice"], empty["measurements"]) == (None, [])


def test_the_mask_on_the_page_is_the_ellipse(models_folder: Path, small_cases: list[DemoCase], tmp_path: Path) -> None:
    run_demo(tmp_path / "demo", quiet)
    picture = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "demo/pictures/tiny_dark_round_mask.png")))
    is_outline = (picture == (90, 230, 120)).all(axis=-1)
    inside, around = ellipse(SMALL, (0.22, 0.22)), ellipse(SMALL, (0.35, 0.35))
    assert is_outline.sum() > 50 and not (is_outline & (inside | ~around)).any()


def test_two_lesions_are_counted_and_the_largest_is_measured(
    models_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = ellipse(SMALL, (0.2, 0.15), (0.5, 0.25)) | ellipse(SMALL, (0.12, 0.1), (0.5, 0.75))
    monkeypatch.setattr(
        demo, "_built_in_cases", lambda: [DemoCase("two", dark_on_bright(two[np.newaxis]), two[np.newaxis])]
    )
    page = run_demo(tmp_path / "demo", quiet).read_text(encoding="utf-8")
    (report,) = json.loads((tmp_path / "demo" / "report.json").read_text(encoding="utf-8"))
    largest, other = report["cases"][0]["measurements"]
    assert (largest["component"], other["component"]) == (1, 2) and largest["area"] > other["area"]
    assert f"2 lesions; largest: area {largest['area']:.0f} mm²" in page


def test_an_interrupted_page_leaves_the_old_one(
    models_folder: Path, small_cases: list[DemoCase], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = run_demo(tmp_path / "demo", quiet)
    before = page.read_bytes()

    def interrupted(path: Path, text: str, encoding: str) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", interrupted)
    monkeypatch.setattr(demo, "write_json", lambda values, path: None)
    with pytest.raises(KeyboardInterrupt):
        run_demo(tmp_path / "demo", quiet)
    assert page.read_bytes() == before and not list((tmp_path / "demo").glob(".*"))


def test_every_model_has_its_section_whatever_its_folder_and_label_are_called(
    models_folder: Path, small_cases: list[DemoCase], tmp_path: Path
) -> None:
    label = Segment("mass", "Mass", 3, (1, 0, 0), "")
    write_tiny_bundle(models_folder / "other-folder", id="second", title="Second <best>", labels=(label,))
    page = Page(run_demo(tmp_path / "demo", quiet).read_text(encoding="utf-8"))
    assert "second: Second <best>" in page.words and "tiny: Dark is lesion" in page.words
    assert len(page.images) == 2 * 4 * len(small_cases)


def test_the_built_in_cases_are_every_kind_and_a_clip() -> None:
    cases = demo._built_in_cases()
    assert [case.truth.any() for case in cases] == [True, True, False, True]
    assert cases[-1].truth.shape[0] > 1 and len({case.name for case in cases}) == len(cases)


def test_real_cases_are_shown_where_the_data_is(
    models_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert demo._real_cases() == []
    monkeypatch.setenv("LEANSEG_DATA", str(tmp_path))
    assert demo._real_cases() == []
    busi = tmp_path / "busi"
    truth = ellipse(SMALL)
    for part, array in (("images", dark_on_bright(truth[np.newaxis]).array[0, 0]), ("masks", truth * np.uint8(255))):
        (busi / part).mkdir(parents=True)
        for name in ("benign_1", "benign_2", "normal_1"):
            sitk.WriteImage(sitk.GetImageFromArray(array), str(busi / part / f"{name}.png"))
    rows = ("benign_1.png,benign,,train", "benign_2.png,benign,,test", "normal_1.png,normal,,test")
    (busi / "index.csv").write_text("\n".join(["file,cls,dup_group,split", *rows]))
    cases = demo._real_cases()
    assert [case.name for case in cases] == ["busi normal_1", "busi benign_2"]
    assert np.array_equal(cases[0].truth[0], truth)


def test_without_a_model_it_says_where_to_put_one(models_folder: Path, tmp_path: Path) -> None:
    (models_folder / "tiny" / "card.json").unlink()
    with pytest.raises(LeanSegError, match=r"no ultrasound model to show\. Put one into .* or set LEANSEG_MODELS"):
        run_demo(tmp_path / "demo", quiet)
    assert not (tmp_path / "demo").exists()


def test_a_folder_that_cannot_be_written_is_named(
    models_folder: Path, small_cases: list[DemoCase], tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    for folder in (file, file / "below"):
        with pytest.raises(OutputError, match=r"file.* cannot be written: .*Choose another folder with -o"):
            run_demo(folder, quiet)
    assert file.read_text() == "mine"


def test_it_can_be_cancelled(models_folder: Path, small_cases: list[DemoCase], tmp_path: Path) -> None:
    with pytest.raises(InferenceCancelled):
        run_demo(tmp_path / "demo", lambda done, total, what: done < 1)
    assert not (tmp_path / "demo" / "index.html").exists()


def test_a_damaged_model_is_named(models_folder: Path, small_cases: list[DemoCase], tmp_path: Path) -> None:
    (models_folder / "tiny" / "tiny_fp32.onnx").write_bytes(b"damaged")
    with pytest.raises(BundleError, match=r"tiny_fp32\.onnx is damaged"):
        run_demo(tmp_path / "demo", quiet)


def test_a_model_that_decides_shows_a_brain(models_folder: Path, small_cases: list[DemoCase], tmp_path: Path) -> None:
    write_tiny_bundle(models_folder / "tiny")
    write_dynamic_bundle(models_folder / "brains")
    page = Page(run_demo(tmp_path / "demo", quiet).read_text(encoding="utf-8"))
    pictures = [name for name in page.images if "brain" in name]
    titles = ("image", "regions", "truth", "uncertainty", "work_in_each_slice")
    assert pictures == [f"pictures/brains_brain_{title}.png" for title in titles]
    assert all((tmp_path / "demo" / name).is_file() for name in pictures)
    assert sitk.ReadImage(str(tmp_path / "demo" / "brains_brain.seg.nrrd")).GetSize() == (149, 185, 69)
    (report,) = (one for one in json.loads((tmp_path / "demo" / "report.json").read_text()) if one["model"] == "brains")
    (case,) = report["cases"]
    assert set(case["volumes_ml"]) == {"WT", "TC", "ET"} and sum(case["decisions"].values()) == case["slices"]
    width = sitk.ReadImage(str(tmp_path / "demo" / pictures[-1])).GetWidth()
    assert width == 6 * case["slices"], "one bar a slice"


def test_the_cases_are_files_and_the_page_says_what_to_type(
    models_folder: Path, small_cases: list[DemoCase], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dynamic_bundle(models_folder / "brains")
    write_text_bundle(models_folder / "told")
    folder = tmp_path / "demo"
    page = run_demo(folder, quiet).read_text(encoding="utf-8")
    typed = [
        shlex.split(line) for line in html.unescape(page.partition("<pre>")[2].partition("</pre>")[0]).splitlines()
    ]
    started = [sys.executable, "-m", "leanseg", "segment"]
    assert [words[:5] for words in typed] == [[*started, model] for model in ("tiny", "brains", "told")]
    monkeypatch.chdir(folder)
    for words in typed:
        assert main(words[3:]) == 0
    assert {path.name for path in folder.glob("*.seg.nrrd")} >= {f"{m}.seg.nrrd" for m in ("tiny", "brains", "told")}


def test_a_file_in_the_place_of_the_inputs_is_one_line(
    models_folder: Path, small_cases: list[DemoCase], tmp_path: Path
) -> None:
    (tmp_path / "inputs").write_text("mine")
    with pytest.raises(OutputError, match=r"inputs cannot be made: .* Choose another folder\."):
        run_demo(tmp_path, quiet)
    assert (tmp_path / "inputs").read_text() == "mine"


def test_data_that_are_nowhere_are_told_and_nothing_is_run(
    models_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEANSEG_DATA", str(tmp_path / "none"))
    monkeypatch.setattr(demo, "_run", lambda *_: pytest.fail("a case was run"))
    with pytest.raises(LeanSegError, match=r"LEANSEG_DATA names .*none, which is no folder\. Correct it"):
        run_demo(tmp_path / "demo", quiet)
