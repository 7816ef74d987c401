from pathlib import Path
from typing import Any

from leanseg.summaries import brain_warnings, region_summary
from Testing.engine.tiny import CARD

NOTES: dict[str, Any] = {
    **{"slices": 10, "decisions": {"skip": 6, "crop_64": 3, "whole": 1}, "gmacs": 5.25, "bit_weighted_gmacs": 2.5},
    **{"deciding_gmacs": 0.125, "seconds": {"decide": 0.5, "segment": 1.25}, "missing": [], "brain_ml": 1400.0},
}
OUTPUT = Path("out.seg.nrrd")


def test_volumes_decisions_and_cost_are_told() -> None:
    text = region_summary({"WT": 40.04, "TC": 10.0, "ET": 0.0}, NOTES, OUTPUT)
    assert text.splitlines() == [
        "WT 40.0 ml, TC 10.0 ml, ET 0.0 ml. Written: out.seg.nrrd",
        "10 slices: 6 skip, 3 crop_64, 1 whole. 5.25 GMACs (2.50 weighted by bits; 0.12 to decide); "
        "decide 0.50 s, segment 1.25 s.",
    ]


def test_windows_decide_nothing() -> None:
    text = region_summary({"WT": 1.0, "TC": 0.0, "ET": 0.0}, {"windows": 8, "gmacs": 1920.0, "missing": []}, OUTPUT)
    assert text == "WT 1.0 ml, TC 0.0 ml, ET 0.0 ml. Written: out.seg.nrrd\n8 windows: 1920.00 GMACs."


def test_nothing_found_is_told() -> None:
    text = region_summary({"WT": 0.0, "TC": 0.0, "ET": 0.0}, NOTES, OUTPUT)
    assert text.startswith("No tumor found; the segments are empty. Written: out.seg.nrrd\n")


def test_a_complete_brain_needs_no_warning() -> None:
    assert brain_warnings(NOTES, CARD) == []


def test_missing_sequences_are_told() -> None:
    (only,) = brain_warnings({**NOTES, "missing": ["t1", "t2"]}, CARD)
    assert only == "without t1, t2; tiny does without, but finds less."
