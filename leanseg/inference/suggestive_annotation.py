"""Suggestive annotation: which images to annotate next, so that few annotations teach a network much.

Papers: Yang et al., Suggestive Annotation, MICCAI 2017 (the method); Xu et al., Quantization of Fully Convolutional
Networks for Accurate Biomedical Image Segmentation, CVPR 2018, arXiv 1803.04907 (with quantized networks, QSA; their
quantizer is `quantization/inq.py`, the loop that trains `training/suggestive.py`). Written from the published facts.

    uncertainty of an image    mean over its pixels of the standard deviation over the ensemble's probability maps
    candidates S_c             the K most uncertain images
    sim(I, J)                  cosine of the descriptors: spatial means of the deepest feature map, mean of the ensemble
    f(S, I) = max over J in S of sim(I, J)        F(S) = sum over all unannotated I of f(S, I)
    S_a                        k of S_c with large F, by greedy choice: at least 1 - 1/e of the best (maximum set cover)

Departures and inferences
  * K = 16 and k = 8 are recalled from the papers, not verified.
  * One network alone has no standard deviation; then the mean entropy of its own probabilities takes its place.
  * A network that gives no features is helped out by a small picture of the image itself, see `picture_descriptor`.
    Its cosine can be negative; that counts as 0, as does f of the empty set. Features after a ReLU have none.
  * Of images that look the same one is a candidate, so that copies do not crowd out what differs, and none is chosen
    that adds nothing to F. So fewer than k may result.
  * Only pixels of the image count, not those that were padded to fit it to the network.

Symbols: n images, d numbers of a descriptor, m members of the ensemble.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from leanseg.inference.uncertainty import predictive_entropy
from leanseg.processing.grid import Resample
from leanseg.volume import Volume, VolumeGeometry

SUGGESTIONS = 8
CANDIDATES = 16
PICTURE_SIDE = 16
_FLAT = 1e-4  # contrast of a picture, of 0 to 1, below which it has none
_NOTHING = 1e-6
"""A gain below this, as a part of one image, is rounding."""

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Choice:
    """A suggestion: which image, and why."""

    index: int
    uncertainty: float
    gain: float
    """By how much it raised F, as a part of the images that are covered: 0 to 1."""
    covered: float
    """F after it was chosen, likewise."""
    reason: str


@dataclass(frozen=True)
class Ranking:
    """All images: those to annotate, in this order, and the others."""

    chosen: tuple[Choice, ...]
    others: tuple[Choice, ...]
    """By uncertainty; nothing is gained by them, and F is that of all that were chosen."""


def image_uncertainty(maps: Float32, inside: NDArray[np.bool_] | None = None) -> float:
    """How uncertain an ensemble is of an image, 0 or more.

    Args:
        maps: (member, label, j, i) probabilities
        inside: (j, i), pixels that count; None: all
    """
    each = maps.std(axis=0, dtype=np.float64) if len(maps) > 1 else predictive_entropy(maps[0])
    return float(each[:, inside].mean() if inside is not None else each.mean())


def pairwise_disagreement(maps: Float32) -> float:
    """Mean |p_a - p_b| over all pairs of members and all pixels of (member, ...) probabilities."""
    pairs = [(a, b) for n, a in enumerate(maps) for b in maps[n + 1 :]]
    return float(np.mean([np.abs(a - b).mean(dtype=np.float64) for a, b in pairs]))


def picture_descriptor(image: Float32) -> Float32:
    """(j, i) -> (256,): it at 16 x 16 pixels, less their mean, by their standard deviation."""
    small = resized(image, (PICTURE_SIDE, PICTURE_SIDE)).astype(np.float64)
    small = small - small.mean()
    spread = float(small.std())
    return np.asarray(small.ravel() / spread if spread > _FLAT else np.zeros(small.size), dtype=np.float32)


def resized(image: Float32, size_ji: tuple[int, int]) -> Float32:
    """(j, i) -> `size_ji`, linearly; what becomes smaller is smoothed."""
    whole = Volume(image[np.newaxis, np.newaxis], VolumeGeometry((1, *image.shape)))
    return np.asarray(Resample(whole.geometry, (1, *size_ji)).apply(whole).array[0, 0], dtype=np.float32)


def cosine_similarity(descriptors: NDArray[np.floating]) -> Float64:
    """(n, d) -> (n, n), from 0 to 1, negative ones as 0. Zeros are like zeros, and like nothing else."""
    rows = descriptors.astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1)
    is_zero = lengths == 0
    rows = rows / np.where(is_zero, 1, lengths)[:, None]
    similarity = np.where(np.outer(is_zero, is_zero), 1.0, np.clip(rows @ rows.T, 0, 1))
    np.fill_diagonal(similarity, 1)
    return np.asarray(similarity)


def representativeness(similarity: Float64, chosen: Sequence[int]) -> float:
    """F of some of the images, given the similarity (n, n) of all."""
    return float(similarity[list(chosen)].max(axis=0, initial=0).sum())


def greedy_cover(similarity: Float64, candidates: Sequence[int], k: int) -> list[tuple[int, float]]:
    """At most k of the candidates, in the order of choice, and by how much each raised F.

    Of equal gains the earlier candidate wins. It ends early where nothing more is gained.
    """
    best = np.zeros(len(similarity))
    left = list(candidates)
    chosen: list[tuple[int, float]] = []
    while left and len(chosen) < k:
        gains = np.maximum(similarity[left] - best, 0).sum(axis=1)
        n = int(np.argmax(gains > gains.max() - _NOTHING))
        if gains[n] < _NOTHING:
            break
        chosen.append((left[n], float(gains[n])))
        best = np.maximum(best, similarity[left.pop(n)])
    return chosen


def most_uncertain(uncertainty: Float64) -> list[int]:
    """Indices, the most uncertain first; of equals the earlier."""
    return [int(n) for n in np.argsort(-uncertainty, kind="stable")]


def candidates_of(order: Sequence[int], similarity: Float64, number: int) -> list[int]:
    """The first `number` of `order` that do not look the same as one before."""
    found: list[int] = []
    for index in order:
        if len(found) == number:
            break
        if not found or similarity[index, found].max() <= 1 - _NOTHING:
            found.append(index)
    return found


def suggest(
    uncertainty: Sequence[float],
    descriptors: NDArray[np.floating],
    k: int = SUGGESTIONS,
    candidates: int = CANDIDATES,
) -> Ranking:
    """Which of the images to annotate next.

    Args:
        uncertainty: of each of the n images that are not annotated
        descriptors: (n, d)
        k: how many to choose
        candidates: K, among so many of the most uncertain
    """
    u, similarity = np.asarray(uncertainty, dtype=np.float64), cosine_similarity(descriptors)
    order = most_uncertain(u)
    among = candidates_of(order, similarity, candidates)
    place = {index: n + 1 for n, index in enumerate(order)}
    chosen: list[Choice] = []
    covered = 0.0
    greedy = greedy_cover(similarity, among, k)
    taken = [index for index, _ in greedy]
    nearest = similarity[taken].argmax(axis=0)[similarity[taken].max(axis=0) > 0]
    for n, (index, gain) in enumerate(greedy):
        covered += gain
        others_like = int((nearest == n).sum()) - 1
        reason = f"Number {place[index]} of {len(u)} by uncertainty; stands for {others_like} others best."
        chosen.append(Choice(index, float(u[index]), gain / len(u), covered / len(u), reason))
    others = tuple(
        Choice(n, float(u[n]), 0.0, covered / len(u), _why_not(n, place[n], similarity, taken, among))
        for n in order
        if n not in taken
    )
    return Ranking(tuple(chosen), others)


def _why_not(index: int, place: int, similarity: Float64, taken: Sequence[int], among: Sequence[int]) -> str:
    nearest = max(range(len(taken)), key=lambda n: float(similarity[index, taken[n]]))
    alike = float(similarity[index, taken[nearest]])
    if alike > 1 - _NOTHING:
        return f"Looks the same as suggestion {nearest + 1}."
    if index not in among:
        return f"Number {place} by uncertainty; the {len(among)} most uncertain are candidates."
    return f"Number {place} by uncertainty, but {alike:.0%} like suggestion {nearest + 1}."
