"""Uncertainty of a prediction, of one label or of nested regions. One definition each; all in [0, 1]."""

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


def nested_entropy(probabilities: Float32) -> Float32:
    """Entropy of which of n nested regions a voxel belongs to; 1 where all n + 1 answers are equally probable.

    (n, ...) probabilities of regions, largest first (WT, TC, ET) -> (...). A voxel lies outside all with 1 - p_1, in
    the innermost with p_n, and between two with p_m - p_(m+1); a region cannot be more probable than one that holds
    it, so the smaller of both counts. H = -sum q log q / log(n + 1). For n = 1 this is `predictive_entropy`.
    """
    n = len(probabilities)
    entropy = np.zeros(probabilities.shape[1:], np.float32)
    outer = np.ones(probabilities.shape[1:], np.float32)
    for region in range(n + 1):
        inner = np.clip(probabilities[region], 0, outer) if region < n else np.float32(0)
        q = outer - inner
        entropy -= q * np.log(np.maximum(q, 1e-12))
        outer = np.asarray(inner, dtype=np.float32)
    return np.asarray(np.clip(entropy / np.log(n + 1), 0, 1), dtype=np.float32)
