"""A rough brain mask for heads with skull, by threshold, distance and connection; no learned model.

Rough means: fluid around the brain, meninges, eye muscles or the upper neck may stay, and a rim of cortex may be lost.
It was tried on simulated heads only. Where a tool made for it is at hand, use that one. The idea (break the bridges
between brain and scalp by an erosion, keep what is in the middle, grow it back) is the usual one of morphological skull
stripping; the rule that chooses threshold and erosion is this project's.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from leanseg.errors import IncompatibleInputError
from leanseg.processing.brain import check_sequences
from leanseg.processing.grid import Resample
from leanseg.processing.plausibility import looks_stripped
from leanseg.processing.rigid_registration import as_image
from leanseg.volume import Volume, VolumeGeometry

Mask = NDArray[np.bool_]

_WORK_MM = 2.0
_THRESHOLDS = (0.2, 0.3, 0.4, 0.6, 0.8, 1.0)
"""Times Otsu's, which alone loses gray matter; bone is darker. The lowest that parts brain and scalp is taken."""
_EROSIONS_MM = (2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
_SCALP_MM = 5.0  # this near to the surface of the head there is no brain
_MAX_SCALP = 0.01  # share of the kept part that may be so near; more means that a bridge still holds
_HOLE_ML = 0.5
_CLOSING_MM = 8.0  # fills sulci and ventricles
_MIN_SHARE, _MAX_SHARE = 0.03, 0.75  # of the head


def strip(sequences: Mapping[str, Volume]) -> dict[str, Volume]:
    """The sequences with 0 outside a rough brain mask: the majority of the masks of all of them.

    Sequences that are all stripped already come back as they are.

    Args:
        sequences: (1, k, j, i) each, on one grid.

    Raises:
        IncompatibleInputError: as `brain.check_sequences`, or no brain found in any of them.
    """
    check_sequences(sequences, tuple(sequences))
    if all(looks_stripped(volume) for volume in sequences.values()):
        return dict(sequences)
    masks, failures = [], []
    for name, volume in sequences.items():
        if volume.array.min() == volume.array.max():
            continue  # counts as missing
        try:
            masks.append(rough_brain_mask(volume))
        except IncompatibleInputError as error:
            failures.append(f"{name}: {error}")
    if not masks:
        raise IncompatibleInputError(
            failures[0] if failures else "Every value is the same. Choose images with contrast."
        )
    mask = 2 * np.sum(masks, axis=0, dtype=np.int32) >= len(masks)
    return {name: v.with_array(np.where(mask, v.array, np.zeros((), v.array.dtype))) for name, v in sequences.items()}


def rough_brain_mask(volume: Volume) -> Mask:
    """(k, j, i): where the brain is, roughly. Of a stripped brain: what is above 0.

    Args:
        volume: (1, k, j, i), a head with skull, of any MRI sequence.

    Raises:
        IncompatibleInputError: nothing like a brain inside a head.
    """
    if looks_stripped(volume):
        return np.asarray(volume.array[0] > 0)
    work = _at_work_resolution(volume)
    values, geometry = work.array[0], work.geometry
    otsu = _otsu(np.minimum(values, np.percentile(values, 99)))
    head = _filled(_closed(np.asarray(values > otsu), geometry, _CLOSING_MM))
    depth = _depth(head, geometry)
    for threshold in otsu * np.array(_THRESHOLDS):
        brain = _brain_above(threshold, work, depth)
        if brain is not None and _MIN_SHARE <= np.count_nonzero(brain) / np.count_nonzero(head) <= _MAX_SHARE:
            break
    else:
        raise IncompatibleInputError(
            "No brain was found inside a head. Strip the skull with a tool made for it, and set the rest to 0."
        )
    fraction = Resample(geometry, volume.geometry.shape).apply(Volume(brain[np.newaxis].astype(np.float32), geometry))
    return np.asarray(fraction.array[0] >= 0.5)


def _brain_above(threshold: float, work: Volume, depth: NDArray[np.float32]) -> Mask | None:
    """With the smallest erosion that parts brain from scalp; None if none does."""
    geometry = work.geometry
    tissue = _without_small_holes(np.asarray(work.array[0] > threshold), geometry)
    inside = _depth(tissue, geometry)
    for erosion_mm in _EROSIONS_MM:
        core = _deepest_component(inside > erosion_mm, depth)
        if not core.any():
            return None
        if np.mean(depth[core] < _SCALP_MM) <= _MAX_SCALP:
            brain = _grown(core, geometry, erosion_mm + _WORK_MM) & tissue & (depth > _SCALP_MM)
            return _filled(_closed(brain, geometry, _CLOSING_MM))
    return None


def _at_work_resolution(volume: Volume) -> Volume:
    shape = [
        min(n, max(1, round(n * mm / _WORK_MM)))
        for n, mm in zip(volume.geometry.shape, volume.geometry.spacing_kji_mm, strict=True)
    ]
    return Resample(volume.geometry, (shape[0], shape[1], shape[2])).apply(volume)


def _otsu(values: NDArray[np.generic]) -> float:
    """Threshold between two classes of values (Otsu 1979)."""
    counts, edges = np.histogram(values, 256)
    centers = (edges[:-1] + edges[1:]) / 2
    below, total = np.cumsum(counts), counts.sum()
    sums = np.cumsum(counts * centers)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (sums[-1] * below / total - sums) ** 2 / (below * (total - below))
    return float(edges[1 + int(np.nanargmax(between[:-1]))])


def _depth(mask: Mask, geometry: VolumeGeometry) -> NDArray[np.float32]:
    """(k, j, i), mm: distance to the nearest voxel outside the mask; negative outside, to the nearest inside."""
    import SimpleITK as sitk  # here, so that importing leanseg stays fast

    def beyond(part: Mask) -> NDArray[np.float32]:
        """Distance to the nearest voxel of a part, 0 inside it. (Signed, ITK's is off by a voxel on one side.)"""
        image = sitk.Cast(as_image(part.astype(np.float32), geometry), sitk.sitkUInt8)
        distance = sitk.SignedMaurerDistanceMap(image, squaredDistance=False, useImageSpacing=True)
        return np.asarray(np.maximum(sitk.GetArrayFromImage(distance), 0), dtype=np.float32)

    if mask.all() or not mask.any():
        return np.full(mask.shape, np.inf if mask.all() else -np.inf, np.float32)
    return np.asarray(beyond(~mask) - beyond(mask))


def _grown(mask: Mask, geometry: VolumeGeometry, mm: float) -> Mask:
    return np.asarray(_depth(mask, geometry) > -mm) if mask.any() else mask


def _closed(mask: Mask, geometry: VolumeGeometry, mm: float) -> Mask:
    return np.asarray(_depth(_grown(mask, geometry, mm), geometry) > mm)


def _without_small_holes(mask: Mask, geometry: VolumeGeometry) -> Mask:
    """Vessels and small sulci would let the erosion in."""
    labels, sizes = _components(~mask)
    return np.asarray(mask | (sizes * np.prod(geometry.spacing_kji_mm) < 1000 * _HOLE_ML)[labels])


def _filled(mask: Mask) -> Mask:
    """Without holes in any slice, so that a slab open above and below is filled too."""
    import SimpleITK as sitk

    return np.stack(
        [sitk.GetArrayFromImage(sitk.BinaryFillhole(sitk.GetImageFromArray(one.astype(np.uint8)))) > 0 for one in mask]
    )


def _deepest_component(mask: Mask, depth: NDArray[np.float32]) -> Mask:
    """The connected part with the largest sum of depths below the surface of the head."""
    labels, _ = _components(mask)
    sums = np.bincount(labels.ravel(), weights=np.maximum(depth, 0).ravel())
    sums[0] = 0
    return np.asarray((labels == int(np.argmax(sums))) & mask)


def _components(mask: Mask) -> tuple[NDArray[np.integer], NDArray[np.int64]]:
    """(k, j, i) numbers of the connected parts, 0 outside; and the voxels of each number."""
    import SimpleITK as sitk

    labels = sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8))))
    return labels, np.bincount(labels.ravel())
