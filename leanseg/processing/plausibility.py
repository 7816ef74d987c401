"""What should make a person look again: sequences that are not what they are called, or not brains without skull."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from leanseg.processing.brain import MAX_BRAIN_ML, SEQUENCES
from leanseg.volume import Volume

_MAX_POINTS = 50_000
_MIN_POINTS = 1_000  # with fewer, the statistics below are chance
_MAX_LABELS = 16
_FULL = 0.9  # share of voxels above 0 that a box around a brain does not reach: background and skull are there
_BELOW_0 = 0.05

# Which of two has the longer tail towards bright values: cerebrospinal fluid in T2, what takes up contrast in T1ce.
_BRIGHTER_TAIL = (("flair", "t2"), ("t1", "t1ce"), ("t1", "t2"))
_MIN_SKEW = -0.3
_MIN_LIKENESS = -0.05

Points = dict[str, NDArray[np.float64]]


def sequence_label(name: str) -> str:
    """What a person calls a sequence: FLAIR, T1ce, T1, T2. Another name stays as it is."""
    return dict(zip(SEQUENCES, ("FLAIR", "T1ce", "T1", "T2"), strict=True)).get(name, name)


def sequence_warnings(sequences: Mapping[str, Volume]) -> list[str]:
    """One line for each thing that looks wrong; none of them is certain, so nothing is refused.

    Tried, for images (1, k, j, i) on any grids, best before they are resampled: constant; a label map (at most 16 whole
    values); values below 0; skull or background (more than 2200 ml above 0, or above 0 almost everywhere); names that
    are exchanged. Two rules of this project find exchanged names where all of the sequences are above 0:

    - differences of the scaled values (median 0, interquartile range 1) are skewed: T2 - FLAIR, T2 - T1 and T1ce - T1
      towards the bright;
    - T1 and T1ce are more alike (rank correlation) than either is like another sequence.

    On 16 cases of BraTS 2018, which the limits were also chosen with (`benchmarks/exchanged_sequences.py`): no false
    alarm for any subset of two to four sequences; with all four, 96 of 96 exchanges of two found, 84 of them with one
    suspicion. Without both T1 and T1ce, only FLAIR with T2 and T1 with T2 are found. Heads with skull are not judged.
    """
    warnings, gray = [], {}
    for name, volume in sequences.items():
        if (complaint := _complaint(sequence_label(name), volume)) is not None:
            warnings.append(complaint)
        else:
            gray[name] = volume
    with_skull = [name for name, volume in gray.items() if not looks_stripped(volume)]
    if with_skull:
        warnings.append(
            f"{_labels(with_skull)}: above 0 in more than a brain. The models were trained on brains without skull "
            "and background: set the rest to 0, or have the skull stripped roughly."
        )
    elif (exchanged := _exchanged(gray)) is not None:
        warnings.append(exchanged)
    return warnings


def _complaint(name: str, volume: Volume) -> str | None:
    """Of an image that is no gray image."""
    values = volume.array[0]
    low, high = values.min(), values.max()
    if low == high:
        return f"{name} has one value only ({low:g}) and counts as missing."
    if is_label_map(values):
        return f"{name} has few, whole values, as a label map has. Choose the gray image."
    # A scanner or a resampling filter leaves some; the smallest value may be that of the background.
    below = np.count_nonzero((values < 0) & (values > low)) / values.size if low < 0 else 0.0
    if below > _BELOW_0:
        return (
            f"{name} is below 0 in {100 * below:.0f} % of its voxels, as after a normalization; only what is above 0 "
            "counts as brain. Choose the image before it, background 0."
        )
    return None


def is_label_map(values: NDArray[np.generic]) -> bool:
    """Whether an array holds at most 16 different values, all whole."""
    if np.unique(values.ravel()[:: 1 + values.size // 20_000]).size > _MAX_LABELS:
        return False
    found = np.unique(values)
    return found.size <= _MAX_LABELS and bool(np.all(found == np.round(found)))


def looks_stripped(volume: Volume) -> bool:
    """False where more than a brain is above 0."""
    above = np.count_nonzero(volume.array[0] > 0)
    voxel_ml = float(np.prod(volume.geometry.spacing_kji_mm)) / 1000
    return bool(above * voxel_ml <= MAX_BRAIN_ML and above <= _FULL * volume.array[0].size)


def _exchanged(sequences: Mapping[str, Volume]) -> str | None:
    points = common_points(sequences)
    if points is None or not contradictions(points):
        return None
    suspects = [
        (a, b) for a, b in combinations(points, 2) if not contradictions({**points, a: points[b], b: points[a]})
    ]
    if suspects:
        pairs = ", or ".join(f"{sequence_label(a)} and {sequence_label(b)}" for a, b in suspects)
        return f"{pairs} look exchanged. Compare the images with their names."
    return f"{_labels(points)}: at least one does not look like its name. Compare the images with their names."


def _labels(names: Iterable[str]) -> str:
    return ", ".join(map(sequence_label, names))


def common_points(sequences: Mapping[str, Volume]) -> Points | None:
    """Values of each sequence at the same places, where all are above 0; None where there are too few."""
    if len(sequences) < 2:
        return None
    (first, reference), *others = sequences.items()
    inside = np.flatnonzero(reference.array[0] > 0)
    inside = inside[:: 1 + inside.size // _MAX_POINTS]
    k, j, i = np.unravel_index(inside, reference.geometry.shape)
    places = reference.geometry.ras_of(np.stack([i, j, k], axis=-1))
    points = {first: reference.array[0].ravel()[inside].astype(np.float64)}
    points |= {name: _nearest(volume, places) for name, volume in others}
    common = np.all([values > 0 for values in points.values()], axis=0)
    if np.count_nonzero(common) < _MIN_POINTS:
        return None
    return {name: values[common] for name, values in points.items()}


def _nearest(volume: Volume, places_ras_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) values of the voxels that hold the places (n, 3); 0 outside."""
    inverse = np.linalg.inv(volume.geometry.ijk_to_ras)
    kji = np.rint(places_ras_mm @ inverse[:3, :3].T + inverse[:3, 3])[:, ::-1].astype(np.int64)
    within = np.all((kji >= 0) & (kji < np.array(volume.geometry.shape)), axis=1)
    values = np.zeros(len(kji), np.float64)
    values[within] = volume.array[0][tuple(kji[within].T)]
    return values


def contradictions(points: Points) -> int:
    """How many of the two rules' comparisons speak against the names."""
    number = 0
    for dark, bright in _BRIGHTER_TAIL:
        if dark in points and bright in points:
            number += _skewness(_scaled(points[bright]) - _scaled(points[dark])) < _MIN_SKEW
    if "t1" in points and "t1ce" in points:
        ranks = {name: _ranks(values) for name, values in points.items()}
        alike = np.corrcoef(ranks["t1"], ranks["t1ce"])[0, 1]
        for other in set(points) - {"t1", "t1ce"}:
            for name in ("t1", "t1ce"):
                number += bool(alike - np.corrcoef(ranks[name], ranks[other])[0, 1] < _MIN_LIKENESS)
    return number


def _scaled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    low, middle, high = np.percentile(values, (25, 50, 75))
    return np.asarray((values - middle) / max(high - low, 1e-9))


def _skewness(values: NDArray[np.float64]) -> float:
    centered = values - values.mean()
    return float((centered**3).mean() / max((centered**2).mean(), 1e-12) ** 1.5)


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Equal values share their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - counts / 2)[inverse])
