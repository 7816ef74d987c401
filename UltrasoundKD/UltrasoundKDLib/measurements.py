"""Sizes of the lesions of a segment, frame by frame: the table, and its CSV file."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import qt
from slicer.i18n import tr as _

from leanseg.slicer_bridge.nodes import localToWorld

if TYPE_CHECKING:
    from leanseg.processing.measure import LesionMeasurement
    from UltrasoundKDLib.accepted_results import Origin

CSV_COLUMNS = ("image", "segment", "frame", "lesion", "area_{unit}2", "long_axis_{unit}", "short_axis_{unit}")
CSV_COLUMNS += ("depth_width_ratio", "origin", "model", "precision", "threshold", "date")


@dataclass(frozen=True)
class Measurements:
    """Sizes of the lesions of one segment, and all that a file of them must say."""

    rows: list[LesionMeasurement] = field(default_factory=list)
    origins: Mapping[int, Origin] = field(default_factory=dict)
    """By index of the frame"""
    image: str = ""
    segment: str = ""


def measureFrames(masks: Mapping[int, np.ndarray], frames: Any) -> list[LesionMeasurement]:
    """Each lesion of each (j, i) mask; `slice` is the index of the frame. World lengths: a parent transform counts.

    Units are mm, or px where the pixels are exactly 1 x 1 mm: Slicer assumes that where a file states no spacing, and
    no ultrasound image has it. The step between frames says nothing: it may be a time.
    """
    from leanseg.processing.measure import measure_slice

    toWorld = localToWorld(frames.volumeNode)[:3, :3]
    measured = []
    for index, mask in sorted(masks.items()):
        geometry = frames.geometry(index)
        di, dj, _dk = np.linalg.norm(toWorld @ geometry.ijk_to_ras[:3, :3], axis=0)
        isCalibrated = tuple(np.linalg.norm(geometry.ijk_to_ras[:3, :2], axis=0)) != (1, 1)
        spacing, unit = ((float(dj), float(di)), "mm") if isCalibrated else ((1.0, 1.0), "px")
        measured += measure_slice(mask, spacing, index, unit)
    return measured


def writeCsv(measured: Measurements, path: Path) -> None:
    """One line a lesion; frames are counted from 1, as in the panel. The date is that of writing, ISO 8601.

    `origin` is `model` where the lesions of a frame are as a model's result was accepted, `corrected` where they were
    changed since then, and `other` where no result was accepted since the scene was opened: then no model is named.

    :raises OutputError: the file cannot be written; what was there stays.
    """
    from leanseg.beside import written_beside

    unit = measured.rows[0].unit if measured.rows else "mm"
    date = datetime.now().astimezone().isoformat(timespec="seconds")
    with written_beside(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(column.format(unit=unit) for column in CSV_COLUMNS)
        for row in measured.rows:
            origin = measured.origins[row.slice]
            sizes = (f"{size:.4f}" for size in (row.area, row.long_axis, row.short_axis, row.depth_width_ratio))
            threshold = "" if origin.threshold is None else f"{origin.threshold:.2f}"
            place = (measured.image, measured.segment, row.slice + 1, row.component)
            writer.writerow((*place, *sizes, origin.kind, origin.model, origin.precision, threshold, date))


class MeasurementsTable:
    """Fills the table of the panel; a click on a row calls `onFrame(index)`."""

    def __init__(self, tableWidget: Any, onFrame: Callable[[int], None]) -> None:
        self.rows: list[LesionMeasurement] = []
        self._table = tableWidget
        self._onFrame = onFrame
        self._table.setColumnCount(6)
        self._table.horizontalHeader().setSectionResizeMode(qt.QHeaderView.Stretch)
        self._table.verticalHeader().hide()
        self._table.connect("cellClicked(int,int)", self._clicked)
        self.show([])

    def show(self, rows: list[LesionMeasurement]) -> None:
        """Replace what is shown."""
        self.rows = rows
        unit = rows[0].unit if rows else "mm"
        self._table.setHorizontalHeaderLabels(
            [
                _("Frame"),
                _("Lesion"),
                _("Area\n({unit}²)").format(unit=unit),
                _("Long\n({unit})").format(unit=unit),
                _("Short\n({unit})").format(unit=unit),
                _("Depth/\nwidth"),
            ]
        )
        self._table.setRowCount(len(rows))
        for number, row in enumerate(rows):
            texts = (str(row.slice + 1), str(row.component), f"{row.area:.1f}", f"{row.long_axis:.1f}")
            for column, text in enumerate((*texts, f"{row.short_axis:.1f}", f"{row.depth_width_ratio:.2f}")):
                item = qt.QTableWidgetItem(text)
                item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
                self._table.setItem(number, column, item)

    def _clicked(self, row: int, _column: int) -> None:
        self._onFrame(self.rows[row].slice)
