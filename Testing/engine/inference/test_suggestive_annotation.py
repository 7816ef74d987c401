"""Uncertainty, likeness and greedy cover, against hand-made cases and brute force (arXiv 1803.04907)."""

import itertools
import math

import numpy as np
import pytest

from leanseg.inference.suggestive_annotation import (
    cosine_similarity,
    greedy_cover,
    image_uncertainty,
    most_uncertain,
    pairwise_disagreement,
    picture_descriptor,
    representativeness,
    suggest,
)
from Testing.engine.tiny import ellipse


def test_members_that_agree_are_certain() -> None:
    one = np.random.default_rng(0).random((1, 1, 8, 8), dtype=np.float32)
    assert image_uncertainty(np.repeat(one, 4, axis=0)) == 0


def test_uncertainty_is_the_mean_standard_deviation_over_members() -> None:
    maps = np.zeros((2, 1, 2, 2), np.float32)
    maps[0, 0, 0, 0] = 1.0  # standard deviation 1/2 in one of four pixels
    maps[:, 0, 1, 1] = (0.2, 0.6)  # and 0.2 in another
    assert image_uncertainty(maps) == pytest.approx((0.5 + 0.2) / 4)


def test_pixels_outside_the_image_do_not_count() -> None:
    maps = np.zeros((2, 1, 2, 2), np.float32)
    maps[0, 0, 0, 0] = 1.0
    inside = np.array([[True, False], [False, False]])
    assert image_uncertainty(maps, inside) == pytest.approx(0.5)
    assert image_uncertainty(maps, ~inside) == 0


def test_one_model_alone_is_asked_for_its_entropy() -> None:
    assert image_uncertainty(np.full((1, 1, 4, 4), 0.5, np.float32)) == pytest.approx(1)
    assert image_uncertainty(np.ones((1, 1, 4, 4), np.float32)) == pytest.approx(0, abs=1e-4)


def test_members_that_differ_in_the_outline_are_uncertain_near_it() -> None:
    radii = (0.26, 0.29, 0.32, 0.35)
    maps = np.stack([ellipse((64, 64), (r, r))[None] for r in radii]).astype(np.float32)
    band = ellipse((64, 64), (0.38, 0.38)) & ~ellipse((64, 64), (0.24, 0.24))
    assert image_uncertainty(maps, band) > 0.2
    assert image_uncertainty(maps, ~band) == 0


def test_disagreement_is_over_all_pairs() -> None:
    maps = np.array([0.0, 0.5, 1.0], np.float32).reshape(3, 1, 1)
    assert pairwise_disagreement(maps) == pytest.approx((0.5 + 1.0 + 0.5) / 3)


def test_cosine_does_not_depend_on_scale_and_is_one_for_identical_images() -> None:
    rows = np.random.default_rng(0).random((3, 5))
    similarity = cosine_similarity(np.concatenate([rows, 7 * rows[:1], rows[:1]]))
    np.testing.assert_allclose(np.diag(similarity), 1)
    np.testing.assert_allclose(similarity[0, 3:], 1)
    expected = rows[0] @ rows[1] / math.sqrt((rows[0] @ rows[0]) * (rows[1] @ rows[1]))
    assert similarity[0, 1] == pytest.approx(expected) and similarity[0, 1] < 0.999


def test_descriptors_of_nothing_are_alike_and_opposites_are_not() -> None:
    similarity = cosine_similarity(np.array([[0.0, 0], [0, 0], [1, 0], [-1, 0]]))
    np.testing.assert_array_equal(similarity, [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


def test_a_picture_is_described_alike_whatever_its_contrast() -> None:
    image = np.random.default_rng(0).random((40, 56), dtype=np.float32)
    described = picture_descriptor(image)
    assert described.shape == (256,) and described.std() == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(picture_descriptor(0.5 * image + 0.2), described, atol=1e-3)
    np.testing.assert_array_equal(picture_descriptor(image), described)
    assert not picture_descriptor(np.full((40, 56), 0.3, np.float32)).any()


@pytest.mark.parametrize("seed", range(6))
def test_greedy_cover_comes_near_the_best_and_never_falls(seed: int) -> None:
    generator = np.random.default_rng(seed)
    similarity = cosine_similarity(generator.random((30, 6)) ** 4)
    candidates = [int(n) for n in generator.permutation(30)[:12]]
    chosen = greedy_cover(similarity, candidates, 4)
    indices = [index for index, _ in chosen]
    assert len(set(indices)) == 4 and set(indices) <= set(candidates)
    values = [representativeness(similarity, indices[:n]) for n in range(5)]
    np.testing.assert_allclose(np.diff(values), [gain for _, gain in chosen])
    assert (np.diff(values) >= 0).all()
    best = max(representativeness(similarity, subset) for subset in itertools.combinations(candidates, 4))
    assert best >= values[-1] >= (1 - 1 / math.e) * best


def test_greedy_cover_takes_the_largest_gain_first() -> None:
    groups = np.repeat(np.eye(3), (5, 3, 1), axis=0)  # of five, three and one image that are all alike
    chosen = greedy_cover(cosine_similarity(groups), range(9), 9)
    assert [gain for _, gain in chosen] == pytest.approx([5, 3, 1]), "what is left adds nothing and is not chosen"


def test_a_duplicate_is_not_chosen_twice_and_says_so() -> None:
    descriptors = np.random.default_rng(0).random((6, 4))
    descriptors[4] = descriptors[1]
    ranking = suggest([0.9, 0.8, 0.7, 0.6, 0.8, 0.5], descriptors, k=6, candidates=6)
    chosen = [choice.index for choice in ranking.chosen]
    assert sorted(chosen) == [0, 1, 2, 3, 5]
    assert [(one.index, one.reason) for one in ranking.others] == [
        (4, f"Looks the same as suggestion {1 + chosen.index(1)}.")
    ]


def test_only_the_most_uncertain_are_candidates() -> None:
    generator = np.random.default_rng(1)
    uncertainty = generator.random(40)
    ranking = suggest(uncertainty.tolist(), generator.random((40, 8)))
    top = set(np.argsort(uncertainty)[-16:].tolist())
    chosen = [choice.index for choice in ranking.chosen]
    assert len(chosen) == len(set(chosen)) == 8 and set(chosen) <= top
    assert sorted(chosen + [choice.index for choice in ranking.others]) == list(range(40))
    others = [choice.uncertainty for choice in ranking.others]
    assert others == sorted(others, reverse=True)


def test_copies_do_not_crowd_out_what_differs() -> None:
    descriptors = np.concatenate([np.repeat(np.eye(3)[:1], 10, axis=0), np.eye(3)[1:]])
    ranking = suggest([0.9] * 10 + [0.2, 0.1], descriptors, k=3, candidates=3)
    assert [choice.index for choice in ranking.chosen] == [0, 10, 11]
    assert {one.reason for one in ranking.others} == {"Looks the same as suggestion 1."}


def test_coverage_is_a_part_of_all_images() -> None:
    groups = np.repeat(np.eye(2), (3, 1), axis=0)
    first, second = suggest([0.4, 0.3, 0.2, 0.1], groups, k=4, candidates=4).chosen
    assert (first.index, first.gain, first.covered) == (0, 0.75, 0.75)
    assert (second.index, second.gain, second.covered) == (3, 0.25, 1.0)
    assert first.reason == "Number 1 of 4 by uncertainty; stands for 2 others best."


def test_equals_keep_their_order() -> None:
    assert most_uncertain(np.array([0.1, 0.5, 0.5, 0.2])) == [1, 2, 3, 0]


def test_one_image_is_its_own_suggestion() -> None:
    ranking = suggest([0.3], np.zeros((1, 4)))
    assert [choice.index for choice in ranking.chosen] == [0] and ranking.others == ()
    assert ranking.chosen[0].covered == 1
