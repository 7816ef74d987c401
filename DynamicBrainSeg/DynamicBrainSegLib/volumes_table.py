"""Volumes of the regions in ml, as they are now; and as a CSV file."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from DynamicBrainSegLib.region_segments import RegionOrigin, editedRegions, writtenRegions
from leanseg.slicer_bridge.nodes import localToWorld
from leanseg.slicer_bridge.placement import LABELMAP, arrayOf

CSV_COLUMNS = (
    "image",
    "segment",
    "region",
    "volume_ml",
    "origin",
    "model",
    "precision",
    "sequences",
    "cost_bias",
    "date",
)


@dataclass(frozen=True)
class RegionVolume:
    """One row."""

    segment: str
    """Name"""
    ml: float
    """In the world: a parent transform that scales counts"""
    isCorrected: bool
    """Somebody has changed the segment since the model made it"""
    origin: RegionOrigin


def regionVolumes(segmentationNode: Any) -> list[RegionVolume]:
    """Of every segment that this module has written, as it is now.

    :raises IncompatibleInputError: the segmentation is under a non-linear transform.
    """
    toWorld = abs(float(np.linalg.det(localToWorld(segmentationNode)[:3, :3])))
    segmentation, edited = segmentationNode.GetSegmentation(), editedRegions(segmentationNode)
    return [
        RegionVolume(
            segmentation.GetSegment(name).GetName(),
            _mm3(segmentation.GetSegment(name)) * toWorld / 1000,
            name in edited,
            origin,
        )
        for name, origin in writtenRegions(segmentationNode).items()
    ]


def writeCsv(volumes: list[RegionVolume], image: str, path: Path) -> None:
    """One line a segment. The date is that of writing, ISO 8601.

    `origin` is `model` where the segment is as it was written, `corrected` where it was changed since then.

    :raises OutputError: the file cannot be written; what was there stays.
    """
    from leanseg.beside import written_beside

    date = datetime.now().astimezone().isoformat(timespec="seconds")
    with written_beside(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(CSV_COLUMNS)
        for row in volumes:
            kind, by = "corrected" if row.isCorrected else "model", row.origin
            made = (by.model, by.precision, by.sequences, f"{by.costBias:g}", date)
            writer.writerow((image, row.segment, by.region, f"{row.ml:.3f}", kind, *made))


def _mm3(segment: Any) -> float:
    labelmap = segment.GetRepresentation(LABELMAP)
    if labelmap is None or labelmap.GetNumberOfPoints() == 0:
        return 0.0
    voxels = int(np.count_nonzero(arrayOf(labelmap) == segment.GetLabelValue()))
    return voxels * float(np.prod(labelmap.GetSpacing()))
