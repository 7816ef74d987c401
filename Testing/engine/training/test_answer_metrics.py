import math

import pytest

from leanseg.training.answer_metrics import accuracy, answer_figures, bleu_1
from leanseg.training.data.questions import normalized


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("The Right lung.", "right lung"),
        ("X-ray", "x ray"),
        (" two ", "2"),
        (3, "3"),
        ("5.6cm focal,  mass", "5 6cm focal mass"),
    ],
)
def test_answers_are_compared_without_case_punctuation_and_articles(answer: object, expected: str) -> None:
    assert normalized(answer) == expected


def test_accuracy_counts_equal_answers() -> None:
    assert accuracy(["Yes", "the left", "ct", "one"], ["yes", "left", "mri", "1"]) == 0.75
    assert math.isnan(accuracy([], []))


@pytest.mark.parametrize(
    ("said", "right", "expected"),
    [
        ("right lung", "right lung", 1.0),
        ("left lung", "right lung", 0.5),
        ("lung", "right lung", math.exp(1 - 2 / 1)),  # precision 1, too short
        ("right upper lung", "right lung", 2 / 3),
        ("lung lung", "right lung", 0.5),  # clipped: lung counts once
        ("mri", "ct", 0.0),
    ],
)
def test_bleu_1_is_clipped_precision_times_brevity(said: str, right: str, expected: float) -> None:
    assert bleu_1([said], [right]) == pytest.approx(expected)


def test_open_and_closed_questions_are_reported_apart() -> None:
    figures = answer_figures(["yes", "no", "ct", "axial"], ["yes", "yes", "ct", "axial"], [True, True, False, False])
    assert figures == {"open": 1.0, "closed": 0.5, "overall": 0.75, "bleu_1": 0.75}
    assert "open" not in answer_figures(["yes"], ["yes"], [True])
