"""Two precisions side by side: sizes from the cards, times in turn, and where they differ."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import leanseg
from leanseg.api import load_engine
from leanseg.errors import IncompatibleInputError, InferenceCancelled
from leanseg.inference.precision_comparison import CardDice, card_dice, disagreement
from leanseg.segmentation import Segment
from Testing.engine.tiny import CARD, dark_is_lesion, dark_on_bright, ellipse, write_tiny_bundle

METRICS = {"validation": {"command": "by hand", "n": 3, "fp32": {"dice": 0.8}, "int8": {"dice": 0.75}}}


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """`int8` of this bundle is less sure of what it sees."""
    graphs = {"fp32": dark_is_lesion(), "int8": dark_is_lesion(gain=10.0)}
    return str(write_tiny_bundle(tmp_path / "tiny", graphs, metrics=METRICS).folder)


def test_two_precisions_of_a_bundle_are_compared(folder: str) -> None:
    fp32, int8 = (load_engine(folder, precision=p) for p in ("fp32", "int8"))
    image = dark_on_bright(ellipse((48, 64))[np.newaxis])
    compared = leanseg.compare_precisions(fp32, int8, image, repeats=2)
    assert (compared.first.precision, compared.second.precision) == ("fp32", "int8")
    assert compared.first.bytes == fp32.card.graphs["fp32"].bytes
    assert compared.first.seconds > 0 < compared.second.seconds
    assert compared.dice_change == pytest.approx(-0.05)
    one, other = (leanseg.segment(image, model) for model in (fp32, int8))
    assert np.array_equal(compared.difference, other.probabilities.array - one.probabilities.array)
    assert np.array_equal(compared.disagreement > 0, one.labelmap != other.labelmap)
    assert compared.geometry == image.geometry and compared.disagreement.shape == image.geometry.shape
    assert 0 < np.abs(compared.difference).max() < 1


def test_a_model_agrees_with_itself(folder: str) -> None:
    compared = leanseg.compare_precisions(folder, folder, dark_on_bright(ellipse((48, 64))[np.newaxis]), repeats=1)
    assert not compared.disagreement.any() and not compared.difference.any() and compared.dice_change == 0


def test_what_differs_is_told_apart() -> None:
    first, second = np.uint8([[[0, 1, 0, 1, 2]]]), np.uint8([[[0, 0, 1, 1, 1]]])
    assert disagreement(first, second).tolist() == [[[0, 1, 2, 0, 3]]]


def test_runs_are_timed_in_turn_and_the_first_of_each_does_not_count(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # seconds of the runs: 9 and 9, then 1, 5, 2, 6, 4, 7
    durations = [9, 9, 1, 5, 2, 6, 4, 7]
    ticks = itertools.chain.from_iterable((10.0 * n, 10.0 * n + d) for n, d in enumerate(durations))
    monkeypatch.setattr("leanseg.inference.precision_comparison.time.perf_counter", lambda: next(ticks))
    models = [load_engine(folder, precision=p) for p in ("fp32", "int8")]
    seen: list[str] = []
    compared = leanseg.compare_precisions(
        *models,
        dark_on_bright(ellipse((48, 64))[np.newaxis]),
        repeats=3,
        progress=lambda _d, _t, what: seen.append(what),
    )
    assert (compared.first.seconds, compared.second.seconds) == (2, 6)
    assert seen == ["tiny fp32", "tiny int8"] * 4


def test_cancelling_ends_it(folder: str) -> None:
    with pytest.raises(InferenceCancelled):
        leanseg.compare_precisions(
            folder, folder, dark_on_bright(ellipse((48, 64))[np.newaxis]), progress=lambda done, _t, _w: done < 1
        )


@pytest.mark.parametrize("metrics", [{}, {"validation": {}}, {"validation": {"int8": {}}}, {"validation": "lost"}])
def test_a_card_without_figures_has_none(metrics: dict[str, object]) -> None:
    assert card_dice(replace(CARD, metrics=metrics), "int8") is None


def test_of_a_brain_the_dice_of_the_whole_tumor_counts_of_other_folds_where_all_cases_were_trained_on() -> None:
    exported = {"validation": {"int8": {"dice_WT": 0.8}}}
    folds = {"cross_validation": {"precision": "int8", "dice_WT": {"mean": 0.85, "sd": 0.05, "n": 16}}}
    known = {"validation": exported, "cross-validation": folds}
    for test, mean in (("validation", 0.8), ("cross-validation", 0.85)):
        card = replace(CARD, metrics=known[test])
        assert card_dice(card, "int8") == (test, "WT", mean)
        assert card_dice(card, "fp32") is None
    assert card_dice(replace(CARD, metrics={**exported, **folds}), "int8") == CardDice("validation", "WT", 0.8)


def test_figures_of_two_kinds_are_not_subtracted(folder: str) -> None:
    compared = leanseg.compare_precisions(folder, folder, dark_on_bright(ellipse((48, 64))[np.newaxis]), repeats=1)
    other = replace(compared.second, dice=CardDice("cross-validation", "WT", 0.9))
    assert compared.dice_change == 0 and replace(compared, second=other).dice_change is None


def test_models_of_other_labels_are_refused(folder: str, tmp_path: Path) -> None:
    labels = (Segment("cyst", "Cyst", 1, (0, 0, 1)),)
    other = str(write_tiny_bundle(tmp_path / "other" / "tiny", labels=labels).folder)
    image = dark_on_bright(ellipse((48, 64))[np.newaxis])
    with pytest.raises(IncompatibleInputError, match=r"outline other things\. Compare two models with the same labels"):
        leanseg.compare_precisions(folder, other, image)
    with pytest.raises(ValueError, match="repeats must be 1 or more; got 0"):
        leanseg.compare_precisions(folder, folder, image, repeats=0)
