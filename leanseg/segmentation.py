"""Segment and Segmentation: the result, on the grid of the image that came in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leanseg.errors import IncompatibleInputError, UnknownNameError
from leanseg.volume import Volume, VolumeGeometry


@dataclass(frozen=True)
class Segment:
    """One structure of a segmentation."""

    id: str
    """Stable name for programs, e.g. `lesion`."""
    name: str
    """What a person reads."""
    value: int
    """Of its voxels in the labelmap, >= 1."""
    color_rgb: tuple[float, float, float]
    """In [0, 1]."""
    terminology: str = ""
    """Slicer's serialized entry: context~category~type~modifier~region context~region~modifier."""

    def __post_init__(self) -> None:
        if not 1 <= self.value <= 255:
            raise ValueError(f"a segment's value is 1 to 255; got {self.value}.")
        if not all(0 <= part <= 1 for part in self.color_rgb):
            raise ValueError(f"a color has parts from 0 to 1; got {self.color_rgb}.")


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Labels, probabilities and uncertainty, all on `geometry`."""

    labelmap: NDArray[np.uint8]
    """(k, j, i)"""
    segments: tuple[Segment, ...]
    geometry: VolumeGeometry
    probabilities: Volume
    """(segment, k, j, i), float32 in [0, 1]"""
    uncertainty: Volume
    """(1, k, j, i), float32 in [0, 1]"""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """What the engine said of this run, as plain values; see `Prediction.notes`."""

    def __post_init__(self) -> None:
        if self.labelmap.shape != self.geometry.shape:
            raise IncompatibleInputError(
                f"The labelmap is {self.labelmap.shape} on a geometry of {self.geometry.shape}; they must agree."
            )

    def mask(self, segment_id: str) -> NDArray[np.bool_]:
        """(k, j, i) of one segment; raises UnknownNameError where there is none of this id."""
        values = {segment.id: segment.value for segment in self.segments}
        if segment_id not in values:
            raise UnknownNameError("segment", segment_id, values)
        return np.asarray(self.labelmap == values[segment_id])

    def nested_masks(self) -> list[NDArray[np.bool_]]:
        """(k, j, i) of each segment with all later ones, which lie inside it: from ED, NCR and ET to WT, TC and ET."""
        masks = [self.labelmap == segment.value for segment in self.segments]
        for outer in range(len(masks) - 2, -1, -1):
            masks[outer] = masks[outer] | masks[outer + 1]
        return masks
