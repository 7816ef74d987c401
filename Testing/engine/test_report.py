import json
import time
from pathlib import Path

import pytest

from leanseg.api import load_engine
from leanseg.errors import OutputError
from leanseg.report import Stopwatch, peak_rss_mb, run_report, write_json
from leanseg.weights.bundle import Bundle

KEYS = ["model", "checksum", "versions", "device", "precision", "seconds", "peak_rss_mb", "gmacs", "mean", "cases"]


class Clock:
    """`time.perf_counter` that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", clock)
    return clock


def test_the_stopwatch_tells_load_first_per_slice_and_total(clock: Clock) -> None:
    watch = Stopwatch()
    clock.now += 3
    watch.loaded()
    clock.now += 2
    watch.image_done(4)
    clock.now += 50  # reading the truth
    watch.begin_image()
    clock.now += 1
    watch.image_done(2)
    assert watch.seconds() == {"load": 3, "first": 2, "per_slice": 0.5, "total": 56}


def test_before_any_image_the_stopwatch_says_0(clock: Clock) -> None:
    watch = Stopwatch()
    clock.now += 1
    assert watch.seconds() == {"load": 0, "first": 0, "per_slice": 0, "total": 1}


def test_the_report_has_exactly_the_fixed_keys(tiny_bundle: Bundle) -> None:
    model = load_engine(str(tiny_bundle.folder))
    watch = Stopwatch()
    for slices in (3, 1):
        watch.image_done(slices)
    report = run_report(model, watch, [{"id": "a"}], {"dice": {"mean": 0.5, "n": 1}})
    assert list(report) == KEYS
    assert list(report["seconds"]) == ["load", "first", "per_slice", "total"]
    assert list(report["versions"]) == ["leanseg", "python", "numpy", "runtime"]
    assert (report["model"], report["device"], report["precision"]) == ("tiny", "cpu", "fp32")
    assert report["checksum"] == tiny_bundle.card.graphs["fp32"].sha256 and report["gmacs"] == pytest.approx(
        2 * tiny_bundle.card.gmacs
    )
    assert run_report(model, watch, [], gmacs=7.0)["gmacs"] == 7.0
    assert report["cases"] == [{"id": "a"}] and report["mean"] == {"dice": {"mean": 0.5, "n": 1}}
    assert run_report(model, Stopwatch(), [])["mean"] == {}


def test_peak_memory_is_plausible_and_only_grows() -> None:
    before = peak_rss_mb()
    if before is None:
        pytest.skip("Python cannot tell on this system")
    block = b"x" * 300_000_000
    after = peak_rss_mb()
    assert after is not None and 10 < before <= after and after >= len(block) / 1e6


def test_json_is_readable_and_has_null_for_what_is_not_finite(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_json({"nan": float("nan"), "in": [1.5, (float("inf"), None)], "é": "ü"}, path)
    assert json.loads(path.read_text(encoding="utf-8")) == {"nan": None, "in": [1.5, [None, None]], "é": "ü"}
    assert "ü" in path.read_text(encoding="utf-8")
    assert [p.name for p in tmp_path.iterdir()] == ["report.json"]


def test_json_that_cannot_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "file.json"
    file.write_text("mine")
    (tmp_path / "folder.json").mkdir()
    for path in (file / "below.json", tmp_path / "missing" / "report.json", tmp_path / "folder.json"):
        with pytest.raises(OutputError, match=r"cannot be written: .*choose another place"):
            write_json({}, path)
    with pytest.raises(TypeError):
        write_json({"what": object()}, file)
    assert file.read_text() == "mine" and sorted(p.name for p in tmp_path.iterdir()) == ["file.json", "folder.json"]
