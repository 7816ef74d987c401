"""Uncertainty of a binary prediction. One definition each; all in [0, 1]."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


def predictive_entropy(probabilities: Float32) -> Float32:
    """H(p) = -p log2 p - (1 - p) log2 (1 - p), in bits: 1 at p = 0.5, 0 at 0 and 1. Any shape."""
    p = np.clip(probabilities.astype(np.float64), 1e-7, 1 - 1e-7)
    entropy = -p * np.log2(p) - (1 - p) * np.log2(1 - p)
    return np.asarray(np.clip(entropy, 0, 1), dtype=np.float32)


def flip_variance(probabilities: Float32, flipped_back: Float32) -> Float32:
    """4 times the variance over {image, mirrored image}: (p1 - p2)^2. 1 where the two contradict entirely."""
    return np.asarray((probabilities - flipped_back) ** 2, dtype=np.float32)
