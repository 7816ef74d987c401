"""From probabilities on the model grid to labels on the grid of the image that came in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from leanseg.prediction import Prediction
from leanseg.processing.grid import Crop, GridTrace
from leanseg.segmentation import Segment, Segmentation
from leanseg.volume import Volume


@dataclass(frozen=True)
class PostprocessingConfig:
    """How probabilities become labels; a user may change any of these for one call."""

    threshold: float = 0.5
    min_peak_probability: float = 0.0
    """A component is dropped unless its most probable voxel reaches this."""
    min_area_fraction: float = 0.0
    """A component is dropped unless it covers this fraction of its slice."""
    largest_component: bool = False
    """Keep only the largest component of each slice; of equal ones, the first along j, then i."""

    def __post_init__(self) -> None:
        if not (0 < self.threshold < 1 and 0 <= self.min_peak_probability <= 1 and 0 <= self.min_area_fraction < 1):
            raise ValueError(f"thresholds and fractions lie between 0 and 1; got {self}.")


def restore(
    prediction: Prediction, trace: GridTrace, segments: tuple[Segment, ...], config: PostprocessingConfig
) -> Segmentation:
    """Undo the grid trace (linear), then decide the labels; where segments overlap the last one wins.

    Where the way to the model grid began with a crop, labels are decided inside it: outside, probabilities are 0.
    """
    first, inner = _split(trace, config)
    probabilities = _clipped(inner.restore(prediction.probabilities))
    labelmap = np.zeros(probabilities.geometry.shape, np.uint8)
    for channel, segment in zip(probabilities.array, segments, strict=True):
        np.putmask(labelmap, lesion_mask(channel, config), segment.value)
    labels = first.restore(Volume(labelmap[np.newaxis], probabilities.geometry))
    probabilities = first.restore(probabilities)
    uncertainty = first.restore(_clipped(inner.restore(prediction.uncertainty)))
    return Segmentation(
        np.asarray(labels.array[0], dtype=np.uint8),
        segments,
        probabilities.geometry,
        probabilities,
        uncertainty,
        prediction.notes,
    )


def _clipped(volume: Volume) -> Volume:
    """Interpolation may round beyond 0 and 1. A copy only where it did: a whole brain fills memory."""
    if volume.array.min() >= 0 and volume.array.max() <= 1:
        return volume
    return volume.with_array(np.clip(volume.array, 0, 1))


def _split(trace: GridTrace, config: PostprocessingConfig) -> tuple[GridTrace, GridTrace]:
    """A crop at the beginning, if what is decided inside it is what would be decided in the image; and all the rest."""
    begins = trace.steps[:1]
    if begins and isinstance(begins[0], Crop) and config.min_area_fraction == 0:  # a fraction is one of the image
        return GridTrace(begins), GridTrace(trace.steps[1:])
    return GridTrace(), trace


def lesion_mask(probabilities: NDArray[np.floating], config: PostprocessingConfig) -> NDArray[np.bool_]:
    """(k, j, i) probabilities -> mask; components are found in each slice for itself, 8-connected."""
    mask = np.asarray(probabilities >= config.threshold)
    if config.min_peak_probability > config.threshold or config.min_area_fraction > 0 or config.largest_component:
        for k in np.flatnonzero(mask.any(axis=(1, 2))):
            mask[k] = _kept_components(mask[k], probabilities[k], config)
    return mask


def _kept_components(
    mask: NDArray[np.bool_], probabilities: NDArray[np.floating], config: PostprocessingConfig
) -> NDArray[np.bool_]:
    import SimpleITK as sitk  # here, so that importing leanseg stays fast

    components = sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)), True))
    areas = np.bincount(components.ravel())
    peaks = np.zeros(areas.size)
    np.maximum.at(peaks, components[mask], probabilities[mask])  # a slow function: lesion pixels only
    keep = (peaks >= config.min_peak_probability) & (areas >= config.min_area_fraction * mask.size)
    keep[0] = False
    if config.largest_component and keep.any():
        keep &= np.arange(areas.size) == np.argmax(np.where(keep, areas, 0))
    return np.asarray(keep[components])
