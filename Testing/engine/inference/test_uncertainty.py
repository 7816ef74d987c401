import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from leanseg.inference.uncertainty import flip_variance, predictive_entropy

probability_arrays = hnp.arrays(np.float32, hnp.array_shapes(max_dims=3), elements=st.floats(0, 1, width=32))


@pytest.mark.parametrize(
    ("p", "bits"),
    [(0.5, 1.0), (0.25, 2 - 0.75 * np.log2(3)), (0.75, 2 - 0.75 * np.log2(3)), (0.125, 3 - 0.875 * np.log2(7))],
)
def test_entropy_by_hand(p: float, bits: float) -> None:
    assert predictive_entropy(np.array([p], np.float32))[0] == pytest.approx(bits, abs=1e-6)


def test_certainty_has_no_entropy() -> None:
    entropy = predictive_entropy(np.array([0, 1], np.float32))
    assert entropy.max() < 5e-6 and entropy.min() >= 0


@given(probability_arrays)
def test_entropy_is_symmetric_and_lies_in_0_to_1(p: np.ndarray) -> None:
    entropy = predictive_entropy(p)
    assert entropy.dtype == np.float32 and entropy.shape == p.shape
    assert entropy.min() >= 0 and entropy.max() <= 1
    np.testing.assert_allclose(entropy, predictive_entropy(1 - p), atol=1e-5)


def test_entropy_falls_from_the_middle_to_both_sides() -> None:
    entropy = predictive_entropy(np.linspace(0, 1, 101, dtype=np.float32))
    assert entropy.argmax() == 50 and np.all(np.diff(entropy[:51]) > 0) and np.all(np.diff(entropy[50:]) < 0)


def test_flip_variance_is_four_times_the_variance_of_the_two() -> None:
    p, mirrored = np.random.default_rng(0).random((2, 5, 6), dtype=np.float32)
    np.testing.assert_allclose(flip_variance(p, mirrored), 4 * np.var([p, mirrored], axis=0), atol=1e-6)


def test_flip_variance_is_0_in_agreement_and_1_in_contradiction() -> None:
    p = np.array([0, 0.3, 1], np.float32)
    assert np.array_equal(flip_variance(p, p), np.zeros(3))
    assert np.array_equal(flip_variance(np.array([0, 1], np.float32), np.array([1, 0], np.float32)), np.ones(2))
