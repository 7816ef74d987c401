import math

import numpy as np
import pytest

from leanseg.training.pixel_statistics import PixelStatistics, auroc


@pytest.mark.parametrize(
    ("errors", "correct", "expected"),
    [
        ([0, 0, 4], [5, 5, 0], 1.0),
        ([4, 0, 0], [0, 5, 5], 0.0),
        ([2, 2], [2, 2], 0.5),
        ([1, 1], [3, 1], (0.5 * 3 + 3 + 0.5) / 8),
    ],
)
def test_auroc_counts_pairs_and_half_of_ties(errors: list[int], correct: list[int], expected: float) -> None:
    assert auroc(np.array(errors), np.array(correct)) == pytest.approx(expected)


def test_without_errors_there_is_no_auroc() -> None:
    assert math.isnan(auroc(np.array([0, 0]), np.array([1, 2])))


def test_pixels_of_all_pictures_count_together() -> None:
    statistics = PixelStatistics()
    truth = np.array([[True, False], [False, False]])
    probability = np.array([[0.9, 0.8], [0.1, 0.1]], np.float32)  # one error, at 0.8
    vacuity = np.array([[0.1, 0.9], [0.2, 0.1]], np.float32)
    statistics.add(probability, vacuity, truth)
    statistics.add(probability, vacuity, truth)
    figures = statistics.summary()
    assert figures["error_auroc_vacuity"] == {"mean": 1.0, "n": 2}
    assert figures["error_auroc_entropy"]["mean"] == 1.0, "0.8 has the largest entropy"
    # Bins of 1/15: 0.9 and 0.8 lie alone, 0.1 and 0.1 together.
    assert figures["ece"]["mean"] == pytest.approx((0.1 + 0.8 + 0.2) / 4, abs=1e-6)
