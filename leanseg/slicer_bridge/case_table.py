"""The table of ranked images: thumbnail, name, uncertainty, coverage, and which are done."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import qt
from slicer.i18n import tr as _

from leanseg.errors import OutputError
from leanseg.slicer_bridge.case_pool import Thumbnail

ICON_SIDE = 44  # px
RANK, IMAGE, UNCERTAINTY, COVERAGE, DONE = range(5)


@dataclass(frozen=True)
class Row:
    """An image that was ranked or, where it has no rank, one that was not, and why."""

    case: str
    name: str
    reason: str
    rank: int = 0
    isSuggested: bool = False
    uncertainty: float = 0.0
    coverage: float = 0.0
    isDone: bool = False


class CaseTable:
    """Fills the table widget. `onOpen(case)`: somebody activates a row; `onSelected()`: another row is selected."""

    def __init__(self, tableWidget: Any, onOpen: Callable[[str], None], onSelected: Callable[[], None]) -> None:
        self.rows: list[Row] = []
        self._table = tableWidget
        self._onOpen = onOpen
        self._onSelected = onSelected
        self._icons: dict[str, Any] = {}
        self._gray = tableWidget.palette.color(qt.QPalette.Disabled, qt.QPalette.Text)
        table = tableWidget
        table.setColumnCount(5)
        table.setHorizontalHeaderLabels(["#", _("Image"), _("Uncertainty"), _("Coverage"), _("Done")])
        for column, text in (
            (RANK, _("Order in which to annotate: the suggestions, then the others by uncertainty")),
            (UNCERTAINTY, _("How unsure the models are, 0 to 1; of a volume in its most uncertain slice")),
            (COVERAGE, _("How much of all these images this one stands for, beside those above it")),
        ):
            table.horizontalHeaderItem(column).setToolTip(text)
        header = table.horizontalHeader()
        header.setSectionResizeMode(qt.QHeaderView.Fixed)  # not as wide as the reason why an image was skipped
        header.setSectionResizeMode(RANK, qt.QHeaderView.ResizeToContents)
        header.setSectionResizeMode(IMAGE, qt.QHeaderView.Stretch)
        for column in (UNCERTAINTY, COVERAGE, DONE):
            table.setColumnWidth(column, header.sectionSizeHint(column))
        table.setHorizontalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)
        table.verticalHeader().hide()
        table.setIconSize(qt.QSize(ICON_SIDE, ICON_SIDE))
        table.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
        table.setSelectionBehavior(qt.QAbstractItemView.SelectRows)
        table.setSelectionMode(qt.QAbstractItemView.SingleSelection)
        table.setTabKeyNavigation(False)
        table.connect("cellActivated(int,int)", self._activated)
        table.connect("itemSelectionChanged()", self._onSelected)

    def show(self, rows: list[Row]) -> None:
        """Replace what is shown; the selected image stays selected."""
        selected = self.selected
        self.rows = rows
        table = self._table
        wasBlocked = table.blockSignals(True)
        table.clearSpans()
        table.setRowCount(0)
        table.setRowCount(len(rows))
        for number, row in enumerate(rows):
            self._fill(number, row)
            if row.case == selected:
                table.selectRow(number)
        table.blockSignals(wasBlocked)

    @property
    def selected(self) -> str:
        """Id of the ranked image whose row is selected; empty where none is."""
        number = self._table.currentRow()
        isSelected = bool(self._table.selectedItems()) and 0 <= number < len(self.rows)
        return self.rows[number].case if isSelected and self.rows[number].rank else ""

    def select(self, case: str) -> None:
        """The row of an image; none where it is not among them."""
        self._table.clearSelection()
        for number, row in enumerate(self.rows):
            if row.case == case:
                self._table.selectRow(number)
                self._table.scrollToItem(self._table.item(number, IMAGE))

    def setThumbnail(self, case: str, thumbnail: Thumbnail | None) -> None:
        """Of an image; it is kept for the next `show`."""
        if thumbnail is None:
            return
        icon = iconOf(thumbnail)
        if icon is None:
            return
        self._icons[case] = icon
        for number, row in enumerate(self.rows):
            if row.case == case:
                self._table.item(number, IMAGE).setIcon(icon)

    def forgetThumbnails(self) -> None:
        """Other images may have the same ids."""
        self._icons.clear()

    def _fill(self, number: int, row: Row) -> None:
        table = self._table
        if row.rank:
            coverage = f"{row.coverage:.0%}" if row.isSuggested else ""
            texts = (str(row.rank), row.name, f"{row.uncertainty:.3f}", coverage, "✓" if row.isDone else "")
        else:
            texts = ("–", row.name, row.reason, "", "")
            table.setSpan(number, UNCERTAINTY, 1, 3)
        for column, text in enumerate(texts):
            item = qt.QTableWidgetItem(text)
            item.setToolTip(row.reason)
            if column in (RANK, COVERAGE) or (column == UNCERTAINTY and row.rank):
                item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
            if column == DONE:
                item.setTextAlignment(qt.Qt.AlignCenter)
            if not row.rank or row.isDone:
                item.setForeground(qt.QBrush(self._gray))
            elif row.isSuggested:
                font = item.font()
                font.setBold(True)
                item.setFont(font)
            if column == IMAGE and row.case in self._icons:
                item.setIcon(self._icons[row.case])
            table.setItem(number, column, item)
        table.setRowHeight(number, ICON_SIDE + 4 if row.rank else table.fontMetrics().height() + 8)

    def _activated(self, number: int, _column: int) -> None:
        if self.rows[number].rank:
            self._onOpen(self.rows[number].case)


def iconOf(thumbnail: Thumbnail) -> Any:
    """A QIcon of gray pixels (j, i); None where the temporary folder is full."""
    from leanseg.pictures import write_png

    with tempfile.TemporaryDirectory() as folder:  # by way of a file: every Qt takes that
        path = Path(folder) / "thumbnail.png"
        try:
            write_png(np.repeat(thumbnail[..., np.newaxis], 3, axis=2), path)
        except OutputError:
            return None
        pixmap = qt.QPixmap(str(path))
    return None if pixmap.isNull() else qt.QIcon(pixmap)
