"""The section Volumes of the panel: what the segments measure now, also after corrections."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

from DynamicBrainSegLib.volumes_table import RegionVolume, regionVolumes, writeCsv
from leanseg.errors import LeanSegError

DELAY_MS = 200


class VolumesSection:
    """Table and export, of the segmentation of the panel."""

    def __init__(self, ui: Any, panel: Any) -> None:
        self.rows: list[RegionVolume] = []
        self._ui = ui
        self._panel = panel
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(DELAY_MS)
        self._timer.connect("timeout()", self.measure)
        table = ui.volumesTable
        table.setColumnCount(3)
        table.setHorizontalHeaderLabels([_("Segment"), _("Volume (ml)"), _("From")])
        header = table.horizontalHeader()
        header.setSectionResizeMode(0, qt.QHeaderView.Stretch)
        for column in (1, 2):
            header.setSectionResizeMode(column, qt.QHeaderView.ResizeToContents)
        table.verticalHeader().hide()
        ui.exportButton.connect("clicked(bool)", self.onExport)
        self._show([])

    def close(self) -> None:
        """No measuring any more."""
        self._timer.stop()
        self._timer.disconnect("timeout()")

    def enter(self) -> None:
        """The module is shown: the segments may have been changed while nobody looked."""
        self.update()

    def update(self) -> None:
        """Measure soon, and once for many changes: a brush stroke changes a segment often. Not while nobody looks."""
        if self._panel.output.segmentation is None:
            self.leaveScene()
        elif self._panel.isShown:
            self._timer.start()

    def exit(self) -> None:
        """Another module is shown."""
        self._timer.stop()

    def leaveScene(self) -> None:
        """The segmentation has gone."""
        self._timer.stop()
        self._show([])

    def measure(self) -> None:
        """Now."""
        self._timer.stop()
        segmentation, rows = self._panel.output.segmentation, []
        try:
            if segmentation is not None:
                rows = regionVolumes(segmentation)
        except LeanSegError as error:
            self._panel.message.fail(error)
        self._show(rows)

    def _show(self, rows: list[RegionVolume]) -> None:
        self.rows = rows
        table = self._ui.volumesTable
        table.setRowCount(len(rows))
        for number, row in enumerate(rows):
            texts = (row.segment, f"{row.ml:.1f}", _("corrected") if row.isCorrected else _("model"))
            for column, text in enumerate(texts):
                item = qt.QTableWidgetItem(text)
                if column == 1:
                    item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
                table.setItem(number, column, item)
        self._ui.exportButton.enabled = bool(rows)
        table.setVisible(bool(rows))
        name = self._panel.output.segmentation.GetName() if rows else ""
        nothing = _("The volumes of the segments, in ml.")
        self._ui.volumesLabel.text = _("Of {segmentation}").format(segmentation=name) if rows else nothing

    def onExport(self, *_args: Any) -> None:
        self.measure()  # a change may not have been measured yet
        path = self.askForFile(f"{self._panel.output.segmentation.GetName()}.csv")
        if path:
            self.export(Path(path))

    def askForFile(self, suggested: str) -> str:
        """The dialog; empty where it is left with Cancel."""
        return qt.QFileDialog.getSaveFileName(self._ui.exportButton, _("Export volumes"), suggested, "CSV (*.csv)")

    def export(self, path: Path) -> None:
        """Write the table, and say so."""
        volume = self._panel.volume
        try:
            writeCsv(self.rows, "" if volume is None else volume.GetName(), path)
        except LeanSegError as error:
            self._panel.message.fail(error)
        else:
            self._panel.message.say(_("Volumes written to {file}.").format(file=path.name))
