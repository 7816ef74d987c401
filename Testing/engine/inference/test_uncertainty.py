import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from leanseg.inference.uncertainty import flip_variance, nested_entropy, predictive_entropy

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


def test_entropy_of_one_region_is_that_of_a_binary_prediction() -> None:
    p = np.linspace(0, 1, 101, dtype=np.float32)
    np.testing.assert_allclose(nested_entropy(p[np.newaxis]), predictive_entropy(p), atol=1e-5)


@pytest.mark.parametrize(
    ("regions", "entropy"),
    [
        ((0.75, 0.5, 0.25), 1.0),  # outside, edema, necrosis, enhancing: a quarter each
        ((0.5, 0.5, 0.0), 0.5),  # outside or necrosis
        ((1.0, 0.5, 0.5), 0.5),  # edema or enhancing
        ((0.5, 0.25, 0.25), 0.75),  # a half, a quarter, nothing, a quarter: 1.5 of 2 bits
        ((0.0, 0.0, 0.0), 0.0),
        ((1.0, 1.0, 1.0), 0.0),
        ((1.0, 1.0, 0.0), 0.0),
    ],
)
def test_entropy_of_nested_regions_by_hand(regions: tuple[float, ...], entropy: float) -> None:
    assert nested_entropy(np.array(regions, np.float32)) == pytest.approx(entropy, abs=1e-6)


def test_a_region_counts_no_more_than_the_one_that_holds_it() -> None:
    broken, mended = np.array([0.5, 0.9, 0.7], np.float32), np.array([0.5, 0.5, 0.5], np.float32)
    assert nested_entropy(broken) == nested_entropy(mended) == pytest.approx(0.5, abs=1e-6)


@given(hnp.arrays(np.float32, (3, 5), elements=st.floats(0, 1, width=32)))
def test_entropy_of_nested_regions_lies_in_0_to_1(p: np.ndarray) -> None:
    entropy = nested_entropy(p)
    assert entropy.dtype == np.float32 and entropy.shape == (5,)
    assert entropy.min() >= 0 and entropy.max() <= 1
