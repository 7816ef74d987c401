"""The table of questions that were asked, in the order of time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import qt
from slicer.i18n import tr as _

from TextGuidedSegLib.ask_form import percentage
from TextGuidedSegLib.ask_history import Asked

QUESTION, ANSWER, PROBABILITY, TYPE, WHERE = range(5)


class AskTable:
    """Fills the table widget. `onChosen(number)`: somebody has clicked a row, or gone to it with the keys."""

    def __init__(self, tableWidget: Any, onChosen: Callable[[int], None]) -> None:
        self._table = table = tableWidget
        self._onChosen = onChosen
        table.setColumnCount(5)
        table.setHorizontalHeaderLabels([_("Question"), _("Answer"), _("Prob."), _("Type"), _("Where")])
        header = table.horizontalHeader()
        header.setSectionResizeMode(qt.QHeaderView.Interactive)
        header.setSectionResizeMode(QUESTION, qt.QHeaderView.Stretch)
        header.setSectionResizeMode(PROBABILITY, qt.QHeaderView.ResizeToContents)
        table.verticalHeader().hide()
        table.setWordWrap(False)
        table.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
        table.setSelectionBehavior(qt.QAbstractItemView.SelectRows)
        table.setSelectionMode(qt.QAbstractItemView.SingleSelection)
        table.setTabKeyNavigation(False)
        for column, text in ((ANSWER, "0" * 11), (TYPE, "0" * 9), (WHERE, "0" * 11)):
            table.setColumnWidth(column, table.fontMetrics().size(0, text).width())
        table.connect("itemSelectionChanged()", self._selected)
        table.connect("cellClicked(int,int)", lambda _row, _column: self._selected())

    def show(self, rows: Sequence[Asked], chosen: int | None) -> None:
        """Replace what is shown; the chosen row is selected and can be seen."""
        table = self._table
        wasBlocked = table.blockSignals(True)
        table.setRowCount(0)
        table.setRowCount(len(rows))
        for number, row in enumerate(rows):
            texts = (row.question, row.answer, percentage(row.probability), row.questionType, row.where)
            for column, text in enumerate(texts):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(f"{row.time.replace('T', ' ')}, {row.image}, {row.where}: {row.question} {row.answer}")
                if column == PROBABILITY:
                    item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
                table.setItem(number, column, item)
            table.setRowHeight(number, table.fontMetrics().height() + 6)
        if chosen is None:
            table.clearSelection()
        else:
            table.selectRow(chosen)
            table.scrollToItem(table.item(chosen, QUESTION))
        table.blockSignals(wasBlocked)

    def _selected(self) -> None:
        if self._table.selectedItems():
            self._onChosen(self._table.currentRow())
