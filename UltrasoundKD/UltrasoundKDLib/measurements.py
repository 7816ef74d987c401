"""Sizes of the lesions of a segment, frame by frame: the table, and its CSV file."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import qt
from slicer.i18n import tr as _

from leanseg.slicer_bridge.nodes import localToWorld

if TYPE_CHECKING:
    from leanseg.processing.measure import LesionMeasurement

CSV_COLUMNS = ("frame", "lesion", "unit", "area", "long_axis", "short_axis", "depth_width_ratio")


def measureFrames(masks: Mapping[int, np.ndarray], frames: Any) -> list[LesionMeasurement]:
    """Each lesion of each (j, i) mask; `slice` is the index of the frame. World lengths: a parent transform counts.

    Units are mm, or px where the image states no spacing.
    """
    from leanseg.processing.measure import measure_slice

    toWorld = localToWorld(frames.volumeNode)[:3, :3]
    measured = []
    for index, mask in sorted(masks.items()):
        geometry = frames.geometry(index)
        di, dj, _dk = np.linalg.norm(toWorld @ geometry.ijk_to_ras[:3, :3], axis=0)
        spacing, unit = ((float(dj), float(di)), "mm") if geometry.is_calibrated else ((1.0, 1.0), "px")
        measured += measure_slice(mask, spacing, index, unit)
    return measured


def writeCsv(rows: list[LesionMeasurement], path: Path) -> None:
    """One line a lesion; frames are counted from 1, as in the panel.

    :raises OutputError: the file cannot be written; what was there stays.
    """
    from leanseg.beside import written_beside

    with written_beside(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(CSV_COLUMNS)
        for row in rows:
            sizes = (row.area, row.long_axis, row.short_axis, row.depth_width_ratio)
            writer.writerow((row.slice + 1, row.component, row.unit, *(f"{size:.4f}" for size in sizes)))


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
