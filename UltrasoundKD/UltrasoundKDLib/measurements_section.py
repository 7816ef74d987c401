"""The section Measurements of the panel: follows the segment that is selected in the Segment Editor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

from leanseg.errors import LeanSegError
from UltrasoundKDLib.measurements import Measurements, MeasurementsTable, writeCsv

DELAY_MS = 200


class MeasurementsSection:
    """Table and export."""

    def __init__(self, ui: Any, logic: Any, panel: Any) -> None:
        self.table = MeasurementsTable(ui.measurementsTable, self.onFrameChosen)
        self._ui = ui
        self._logic = logic
        self._panel = panel
        self._measured = Measurements()
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(DELAY_MS)
        self._timer.connect("timeout()", self.measure)
        ui.exportButton.connect("clicked(bool)", self.onExport)

    def close(self) -> None:
        """No measuring any more."""
        self._timer.stop()
        self._timer.disconnect("timeout()")

    def enter(self) -> None:
        """The module is shown: the segment may have been changed while nobody looked."""
        self.update()

    def update(self) -> None:
        """Measure soon, and once for many changes: a brush stroke changes the segment often. Not while nobody looks."""
        if self._panel.session.frames is None:
            self.leaveScene()
        elif self._panel.isShown:
            self._timer.start()

    def exit(self) -> None:
        """Another module is shown."""
        self._timer.stop()

    def leaveScene(self) -> None:
        """The image has gone; its sizes must not stay beside the next one."""
        self._timer.stop()
        self._show(Measurements())

    def measure(self) -> None:
        """Now."""
        editor, frames = self._ui.segmentEditorWidget, self._panel.session.frames
        segmentationNode, segmentId = editor.segmentationNode(), editor.currentSegmentID()
        # The selected segment is not there any more where an undo has removed it.
        segment = segmentationNode.GetSegmentation().GetSegment(segmentId) if segmentationNode is not None else None
        measured = Measurements()
        try:
            if frames is not None and segment is not None:
                rows, origins = self._logic.measure(frames, segmentationNode, segmentId)
                measured = Measurements(rows, origins, frames.volumeNode.GetName(), segment.GetName())
        except LeanSegError as error:
            self._panel.message.fail(error)
        self._show(measured)

    def _show(self, measured: Measurements) -> None:
        self._measured = measured
        self.table.show(measured.rows)
        self._ui.exportButton.enabled = bool(measured.rows)
        text = _("Of {segment}").format(segment=measured.segment) if measured.rows else ""
        self._ui.measurementsLabel.text = text

    def onFrameChosen(self, index: int) -> None:
        """Show the frame of a row."""
        if self._panel.session.frames is not None:
            self._panel.session.frames.select(index)

    def onExport(self, *_args: Any) -> None:
        self._timer.stop()
        self.measure()  # a change may not have been measured yet
        path = self.askForFile(f"{self._panel.volume.GetName()}.csv")
        if path:
            self.export(Path(path))

    def askForFile(self, suggested: str) -> str:
        """The dialog; empty where it is left with Cancel."""
        return qt.QFileDialog.getSaveFileName(self._ui.exportButton, _("Export measurements"), suggested, "CSV (*.csv)")

    def export(self, path: Path) -> None:
        """Write the table, and say so."""
        try:
            writeCsv(self._measured, path)
        except LeanSegError as error:
            self._panel.message.fail(error)
        else:
            text = _("Measurements written: {count}. File: {file}.")
            self._panel.message.say(text.format(count=len(self._measured.rows), file=path.name))
