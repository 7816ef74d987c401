"""Runs that a person starts: segment, another quality, single slices; and what is done with what they compute."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import qt
import slicer
from slicer.i18n import tr as _

from DynamicBrainSegLib.options import costBias
from DynamicBrainSegLib.output import report
from DynamicBrainSegLib.uncertain_slices import uncertainSlices
from leanseg.errors import InferenceCancelled, LeanSegError
from leanseg.slicer_bridge.shown_in import viewsShowing

if TYPE_CHECKING:
    from DynamicBrainSegLib.result import BrainResult

UNCERTAIN_SLICES = 10  # that are computed anew at a time
SETTLING_MS = 300  # after a move of the quality slider


class Runs:
    """Between the session of the panel, which computes, and its output, which is written."""

    def __init__(self, ui: Any, panel: Any) -> None:
        self._ui = ui
        self._panel = panel
        self.isWriting = False
        self._settling = qt.QTimer()
        self._settling.setSingleShot(True)
        self._settling.setInterval(SETTLING_MS)
        self._settling.connect("timeout()", self._computeAgain)
        ui.segmentButton.connect("clicked(bool)", self.onSegmentOrCancel)
        ui.refineButton.connect("clicked(bool)", self.onRefine)

    def stop(self) -> None:
        """Nothing is computed soon any more."""
        self._settling.stop()

    def close(self) -> None:
        """No callback comes any more."""
        self._settling.stop()
        self._settling.disconnect("timeout()")

    # Start

    def onSegmentOrCancel(self, *_args: Any) -> None:
        panel = self._panel
        panel.message.clear()
        if panel.session.isRunning:
            panel.session.cancel()
            return
        problem = panel.problem()
        if problem:
            panel.message.say(problem, True)
            return
        nodes = panel.sequences.nodes()
        if not any(viewsShowing(node) for node in nodes.values()):
            slicer.util.setSliceViewerLayers(background=panel.reference, fit=True)
        self._start(lambda: panel.session.segment(nodes, panel.options.forRun()))

    def computeSoon(self) -> None:
        """With another quality, once the slider rests."""
        self._settling.start()

    def _computeAgain(self) -> None:
        panel = self._panel
        session, nodes = panel.session, panel.sequences.nodes()
        if session.isRunning:
            self._settling.start()
        elif not session.isUpToDate(nodes) or costBias(self._ui.qualitySlider.value) == session.result.options.costBias:
            return  # there is nothing to compute again
        elif panel.output.isEdited:
            panel.message.say(_("The segments were corrected by hand. To replace them, press Segment."))
        else:
            self._start(lambda: session.segment(nodes, panel.options.forRun()))

    def override(self, slices: Iterable[int], decision: int | None) -> None:
        """A person decides about slices; None: as the model does."""
        self._start(lambda: self._panel.session.override(slices, decision))

    def onRefine(self, *_args: Any) -> None:
        """Recompute where uncertain."""
        result = self._panel.session.result
        slices = uncertainSlices(result, UNCERTAIN_SLICES)
        if slices:
            self.override(slices, result.fullDecision)
        else:
            self._panel.message.say(_("No slice is uncertain that was not computed fully."))

    def _start(self, start: Callable[[], None]) -> None:
        """An error in starting is told as one in running."""
        self._panel.message.clear()
        try:
            with slicer.util.WaitCursor():
                start()
        except LeanSegError as error:
            self._panel.message.refuse(error)

    # End

    def computed(self, result: BrainResult, overrides: dict[int, int]) -> None:
        """A run is done."""
        if not overrides:
            self._panel.models.showSpeed(result.seconds)
        self.write(result, overrides)

    def ended(self, error: Exception | None) -> None:
        """A run has failed; None: was cancelled."""
        if error is None:
            self._panel.message.say(str(InferenceCancelled()))
        else:
            self._panel.message.refuse(error)

    def write(self, result: BrainResult, overrides: dict[int, int]) -> None:
        """Into the segmentation; where that fails, the result before stays the one that is shown."""
        panel, wasEdited = self._panel, self._panel.output.isEdited
        self.isWriting = True
        try:
            with slicer.util.WaitCursor():
                written = panel.output.write(result, self._ui.regionsSelector.currentData)
        except LeanSegError as error:
            panel.message.fail(error)
            return
        finally:
            self.isWriting = False
        panel.session.accept(result, overrides, panel.output.content())
        panel.store()
        panel.decisions.show(result, overrides)
        text = report(written, wasEdited)
        isWarning = bool(result.warnings or written.losers or wasEdited)
        panel.message.say("\n".join([text, *result.warnings, *result.notes]), isWarning, True)
