from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from leanseg.summaries import brain_warnings, expected_loss, region_summary
from leanseg.weights.store import find_bundle
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
    assert only == "without t1, t2. The model does without, a little less exactly."


SEQUENCES = ("flair", "t1ce", "t1", "t2")
MEASURED = {
    **{"command": "leanseg evaluate ...", "flair t1ce t1 t2": {"dice_WT": 0.9, "dice_ET": 0.75, "n": 4}},
    **{"flair t1": {"dice_WT": 0.875, "dice_ET": 0.125, "n": 4}},
}
BRAIN_CARD = replace(CARD, inputs=SEQUENCES, metrics={"sequences": MEASURED})


def test_the_loss_without_a_sequence_is_what_the_card_has_measured() -> None:
    dice = "Dice measured so, and with all: WT 0.88 (0.90), ET 0.12 (0.75)."
    assert expected_loss(["t2", "t1ce"], BRAIN_CARD) == dice
    assert brain_warnings({**NOTES, "missing": ["t1ce", "t2"]}, BRAIN_CARD) == [f"without t1ce, t2. {dice}"]


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        (["t1ce", "flair"], "core, enhancing tumor and edema are rough guesses"),
        (["t1ce"], "tumor core and enhancing tumor are rough guesses"),
        (["flair"], "the edema to be less exact"),
        (["t1"], "a little less exactly"),
    ],
)
def test_where_nothing_was_measured_what_a_sequence_shows_is_told(missing: list[str], words: str) -> None:
    for card in (None, replace(CARD, inputs=SEQUENCES), BRAIN_CARD):
        assert words in expected_loss(missing, card)


def test_of_t1ce_alone_the_shipped_model_says_how_little_it_finds() -> None:
    card = find_bundle("med_danet_v2").card
    given, complete = (card.metrics["sequences"][names]["dice_WT"] for names in ("t1ce", " ".join(SEQUENCES)))
    assert given < 0.5 < complete
    (line,) = brain_warnings({**NOTES, "missing": ["flair", "t1", "t2"]}, card)
    assert f"WT {given:.2f} ({complete:.2f})" in line and "\n" not in line
