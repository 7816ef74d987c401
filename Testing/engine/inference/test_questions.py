from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from leanseg.inference.questions import next_question

UNIT = (1.0, 1.0, 1.0)


@dataclass
class Map:
    probability: NDArray[np.float32]
    uncertainty: NDArray[np.float32]


def open_at(*places: tuple[int, int], p: float = 0.5, u: float = 1.0, size: int = 50) -> Map:
    """No tumor for certain, but for squares of 5 x 5 pixels; half a smoothing square is 1 pixel at 50."""
    probability, uncertainty = np.zeros((size, size), np.float32), np.zeros((size, size), np.float32)
    for j, i in places:
        probability[j - 2 : j + 3, i - 2 : i + 3] = p
        uncertainty[j - 2 : j + 3, i - 2 : i + 3] = u
    return Map(probability, uncertainty)


def test_it_asks_where_the_answer_is_open() -> None:
    question = next_question({4: open_at((10, 20))}, [], UNIT)
    assert question is not None
    k, j, i = question.kji
    assert k == 4 and abs(j - 10) <= 1 and abs(i - 20) <= 1
    assert question.probability == 0.5
    assert question.why == "Slice 5: tumor with 50% here."  # people count from 1


def test_of_two_open_places_little_evidence_comes_first() -> None:
    both = open_at((10, 10))
    other = open_at((40, 40), u=0.2)
    question = next_question(
        {0: Map(both.probability + other.probability, both.uncertainty + other.uncertainty)}, [], UNIT
    )
    assert question is not None and question.kji[1] < 20


def test_it_does_not_ask_again_where_it_asked_or_a_click_was_made() -> None:
    proposals = {0: open_at((10, 10), (40, 40)), 3: open_at((25, 25), p=0.4)}
    asked: list[tuple[float, float, float]] = []
    for _ in range(40):
        question = next_question(proposals, asked, (100.0, 1.0, 1.0))
        if question is None:
            break
        assert all(question.kji[0] != a[0] or np.hypot(*np.subtract(question.kji, a)[1:]) >= 3 for a in asked)
        asked.append(question.kji)
    else:
        pytest.fail("it never stops asking")
    assert {a[0] for a in asked} == {0, 3}
    assert [a[0] for a in asked[:2]] == [0, 0], "most uncertain first"


def test_neighboring_slices_count_as_near_in_mm() -> None:
    proposals = {0: open_at((10, 10)), 1: open_at((10, 10))}
    first = next_question(proposals, [], UNIT)
    assert first is not None and first.kji[0] == 0
    near = next_question(proposals, [(0, 10, 10)], UNIT)
    far = next_question(proposals, [(0, 10, 10)], (5.0, 1.0, 1.0))  # the reach is 3 mm
    assert far is not None and far.kji == (1.0, *first.kji[1:])
    assert near is None or near.kji != far.kji


def test_it_is_the_same_each_time() -> None:
    generator = np.random.default_rng(0)
    noise = Map(generator.random((30, 40), dtype=np.float32), generator.random((30, 40), dtype=np.float32))
    assert next_question({0: noise, 1: noise}, [], UNIT) == next_question({1: noise, 0: noise}, [], UNIT)


def test_nothing_is_asked_where_all_is_certain_or_nothing_was_proposed() -> None:
    assert next_question({0: open_at()}, [], UNIT) is None
    assert next_question({0: open_at((10, 10), p=0.99)}, [], UNIT) is None
    assert next_question({}, [], UNIT) is None


def test_a_single_open_pixel_is_noise() -> None:
    proposal = open_at()
    proposal.probability[5, 5], proposal.uncertainty[5, 5] = 0.5, 1.0
    assert next_question({0: proposal}, [], UNIT) is None
