"""Runs that a person starts: segment, another quality, single slices; and what is done with what they compute."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
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
    from DynamicBrainSegLib.brain_session import Outcome

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
            slicer.util.setSliceViewerLayers(background=panel.volume, fit=True)
        self._start(lambda: panel.session.segment(nodes, panel.options.forRun()))

    def computeSoon(self) -> None:
        """With another quality, once the slider rests."""
        self._settling.start()

    def _computeAgain(self) -> None:
        panel = self._panel
        session, nodes = panel.session, panel.sequences.nodes()
        if session.isRunning:
            self._settling.start()
        elif not session.isUpToDate(nodes) or not session.result.canOverrule:
            return  # there is nothing to compute again
        elif costBias(self._ui.qualitySlider.value) == session.result.options.costBias:
            return
        elif not self._wouldReplaceCorrections():
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
        self._panel.timing.cancel()
        try:
            with slicer.util.WaitCursor():
                start()
        except LeanSegError as error:
            self._panel.message.refuse(error)

    # End

    def computed(self, outcome: Outcome) -> None:
        """A run is done."""
        if not outcome.overrides:
            self._panel.models.showSpeed(outcome.result.seconds)
            self._panel.models.showCosts()
        self.write(outcome)

    def ended(self, error: Exception | None) -> None:
        """A run has failed; None: was cancelled."""
        if error is None:
            self._panel.message.say(str(InferenceCancelled()))
        else:
            self._panel.message.refuse(error)

    def writeAgain(self) -> None:
        """The result that is shown, in segments of another scheme."""
        session = self._panel.session
        if not session.isRunning and session.isUpToDate(session.nodes) and not self._wouldReplaceCorrections():
            self.write(replace(session.outcome, slices=None))

    def _wouldReplaceCorrections(self) -> bool:
        """Nobody has asked for that, and it is said how to."""
        panel = self._panel
        panel.output.look()  # a change may not have been looked at yet
        if panel.output.isEdited:
            panel.message.say(_("The segments were corrected by hand. To replace them, press Segment."))
        return panel.output.isEdited

    def write(self, outcome: Outcome) -> None:
        """Into the segmentation; where that fails, the result before stays the one that is shown.

        Slices that were not computed anew stay as they are there, corrections included.
        """
        panel, result = self._panel, outcome.result
        panel.output.look()
        wasEdited, scheme = panel.output.isEdited, self._ui.regionsSelector.currentData
        isPartial = panel.session.isHeldBy(panel.output.content()) and panel.output.holds(scheme)
        slices = outcome.slices if isPartial else None
        self.isWriting = True
        try:
            with slicer.util.WaitCursor():
                written = panel.output.write(result, scheme, slices)
        except LeanSegError as error:
            panel.message.fail(error)
            return
        finally:
            self.isWriting = False
        panel.session.accept(outcome, panel.output.content())
        panel.store()
        panel.decisions.show(result, outcome.overrides)
        text = report(written, wasEdited, slices is not None)
        isWarning = bool(result.warnings or written.losers or (wasEdited and slices is None))
        panel.message.say("\n".join([text, *result.warnings, *result.notes]), isWarning, True)
