"""The widgets of the section "Quantize and look"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import qt
from slicer.i18n import tr as _

from leanseg.slicer_bridge.section_form import SectionForm, formRow, named, wrapped


class PrecisionForm(SectionForm):
    """Makes them, in the layout of a collapsible button."""

    def __init__(self, collapsibleButton: Any) -> None:
        super().__init__(collapsibleButton)
        form, layout = self.form, self.layout
        self.firstLabel = qt.QLabel()
        self.firstLabel.objectName = "precisionFirstLabel"
        form.addRow(_("Compare:"), self.firstLabel)
        self.otherSelector = named(
            qt.QComboBox(), "precisionOtherSelector",
            _("Another precision of this model, or another model of the same published system."),
        )  # fmt: skip
        self.addButton = named(
            qt.QPushButton(_("Add...")), "precisionAddButton", _("Compare with a model of your own: choose its folder.")
        )
        formRow(form, _("With:"), self.otherSelector, self.addButton)
        self.measureButton = named(qt.QPushButton(), "precisionMeasureButton", "")
        layout.addWidget(self.measureButton)
        self.addProgressAndMessage("precision")
        self.table = named(
            qt.QTableWidget(), "precisionTable",
            _("Size of the files; time for this image, the two models in turns; Dice as the card of the model has it."),
        )  # fmt: skip
        self.table.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
        self.table.setSelectionMode(qt.QAbstractItemView.NoSelection)
        self.table.setTabKeyNavigation(False)
        self.table.setVerticalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)
        self.table.accessibleName = _("Comparison")
        layout.addWidget(self.table)
        self.differenceLabel = wrapped("")
        self.differenceLabel.objectName = "precisionDifferenceLabel"
        layout.addWidget(self.differenceLabel)
        self.showCheckBox = named(
            qt.QCheckBox(_("Show where they differ")), "precisionShowCheckBox",
            _("Color what one of them outlines and the other does not, over the image. No segment is touched."),
        )  # fmt: skip
        layout.addWidget(self.showCheckBox)

    def setRunning(self, isRunning: bool) -> None:
        self.measureButton.text = _("Cancel") if isRunning else _("Measure and look")
        super().setRunning(isRunning)

    def showTable(self, columns: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> None:
        """Name and figures of each row."""
        table = self.table
        table.setColumnCount(len(columns))
        table.setRowCount(len(rows))
        table.setHorizontalHeaderLabels(list(columns))
        table.setVerticalHeaderLabels([name for name, _texts in rows])
        table.horizontalHeader().setSectionResizeMode(qt.QHeaderView.Stretch)
        table.verticalHeader().setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        for number, (_name, texts) in enumerate(rows):
            for column, text in enumerate(texts):
                item = qt.QTableWidgetItem(text)
                item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
                table.setItem(number, column, item)
        height = table.horizontalHeader().sizeHint.height() + sum(table.rowHeight(n) for n in range(len(rows)))
        table.setFixedHeight(height + 2 * table.frameWidth)
