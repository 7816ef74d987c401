"""The panel: sequences, settings, runs, decisions about slices, and what is shown of a result."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import qt
from slicer.i18n import tr as _

from DynamicBrainSegLib.brain_session import BrainSession
from DynamicBrainSegLib.decision_view import DecisionView
from DynamicBrainSegLib.inputs import checkNodes
from DynamicBrainSegLib.options import Options
from DynamicBrainSegLib.output import Output
from DynamicBrainSegLib.runs import Runs
from DynamicBrainSegLib.sequence_choosers import SequenceChoosers
from DynamicBrainSegLib.thorough import isThorough
from DynamicBrainSegLib.uncertainty_view import UncertaintyView
from DynamicBrainSegLib.window_timing import WindowTiming
from leanseg.errors import LeanSegError
from leanseg.slicer_bridge.module_panel import ModulePanel

if TYPE_CHECKING:
    from leanseg.weights.card import ModelCard

CONTENT_MS = 100  # after a change of the segments


class Panel(ModulePanel):
    """Keeps parameter node, widgets and session in step; calls `onOutput()` when another segmentation is meant."""

    def __init__(self, ui: Any, logic: Any, onOutput: Callable[[], None]) -> None:
        super().__init__(ui, logic, "dynamic_slicewise", "Brain", _("{seconds:.1f} s a brain"), self.costText)
        self.timing = WindowTiming(logic, self.models, self.models.showCosts)
        self.sequences = SequenceChoosers(ui, self.onSequencesChosen)
        self.output = Output(ui.outputSelector, ui.segmentEditorWidget)
        self.options = Options(ui, self.models, self.sequences)
        self.parameters = self.options.parameters
        self.runs = Runs(ui, self)
        self.session = BrainSession(logic, self.runner, self.runs.computed, self.runs.ended, self.showState)
        self.decisions = DecisionView(ui, self.runs.override)
        self.uncertainty = UncertaintyView()
        self._onOutput = onOutput
        self._content = qt.QTimer()
        self._content.setSingleShot(True)
        self._content.setInterval(CONTENT_MS)
        self._content.connect("timeout()", self._onContent)
        self._connect()

    def _connect(self) -> None:
        ui = self.ui
        ui.modelSelector.connect("currentIndexChanged(int)", self.onModelChosen)
        for selector in (ui.precisionSelector, ui.alignmentSelector):
            selector.connect("currentIndexChanged(int)", self.onChanged)
        ui.regionsSelector.connect("currentIndexChanged(int)", self.onRegionsChosen)
        for checkBox in (ui.stripSkullCheckBox, ui.uncertaintyCheckBox):
            checkBox.connect("toggled(bool)", self.onChanged)
        ui.uncertaintyOpacitySlider.connect("valueChanged(double)", self.onChanged)
        ui.qualitySlider.connect("valueChanged(int)", self.onQuality)
        ui.outputSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.onOutputChosen)
        ui.undoButton.connect("clicked(bool)", lambda *_args: self.output.undo())
        ui.redoButton.connect("clicked(bool)", lambda *_args: self.output.redo())

    # Life

    def enter(self) -> None:
        """The module is shown: look anew at the computer and at the scene."""
        self.timing.enter()
        self.lookAtComputer()
        self.parameters.observe(self.updateFromParameters)
        self.updateFromParameters()
        self.sequences.observe()

    def exit(self) -> None:
        """Another module is shown: a run goes on."""
        self.isShown = False
        self.timing.cancel()
        self.parameters.unobserve()
        self.sequences.unobserve()

    def sceneLoaded(self) -> None:
        """Its parameters say which volumes are meant; others are guessed."""
        self.sequences.observe()

    def worksOn(self, node: Any) -> bool:
        """Volumes that nobody has segmented yet may go without a word."""
        return node in self.session.nodes.values()

    def leaveBrain(self) -> bool:
        """Forget the result and all that is shown of it; whether a run was cancelled."""
        wasRunning = self.session.isRunning
        self.runs.stop()
        self._content.stop()
        self.session.forget()
        self.uncertainty.remove()
        self.decisions.show(None, {})
        self.showState()
        return wasRunning

    def leaveImage(self, volumeNode: Any) -> bool:
        """One of the volumes goes; whether a run was cancelled."""
        wasRunning = self.leaveBrain()
        nodes = self.sequences.nodes()
        self.sequences.select({name: node for name, node in nodes.items() if node is not volumeNode})
        self.store()
        return wasRunning

    def leaveScene(self) -> bool:
        """Forget all nodes before they go; whether a run was cancelled."""
        self.sequences.unobserve()
        self.sequences.forget()
        with self.updating():
            self.sequences.select({})
            self.ui.outputSelector.setCurrentNode(None)
        self.message.clear()
        return self.leaveBrain()

    def close(self) -> None:
        """No callback comes any more."""
        self.parameters.unobserve()
        self.sequences.unobserve()
        self.session.forget()
        self.uncertainty.remove()
        self.decisions.close()
        self.runs.close()
        self.timing.close()
        self.runner.close()
        self._content.stop()
        self._content.disconnect("timeout()")

    # Parameters

    def onSequencesChosen(self) -> None:
        """By a person, or guessed."""
        if self.isUpdating:
            return
        with self.updating():
            self.output.follow(self.volume)
        self.onChanged()

    def onRegionsChosen(self, *_args: Any) -> None:
        """The same result in other segments: nothing is computed."""
        if not self.isUpdating:
            self.onChanged()
            self.runs.writeAgain()

    def onOutputChosen(self, *_args: Any) -> None:
        if not self.isUpdating and not self.runs.isWriting:
            self.onChanged()

    def onQuality(self, *_args: Any) -> None:
        """Compute again, once the slider rests."""
        if not self.isUpdating:
            self.onChanged()
            self.runs.computeSoon()

    @property
    def volume(self) -> Any:
        """The reference, on whose voxels the result will be, or None."""
        return next(iter(self.sequences.nodes().values()), None)

    def _synchronize(self) -> None:
        """Widgets -> what is shown."""
        self.output.look()
        self.sequences.showMissing(self.models.card)
        self.showUncertainty()
        self._onOutput()
        self.showState()
        if self.isShown and self.environment.isComplete and not self.session.isRunning:
            self.timing.start()

    def costText(self, card: ModelCard) -> str:
        """What a thorough model costs; empty for the others."""
        return self.timing.costText(card)

    def problem(self) -> str:
        """Why nothing can be segmented, and what to do; empty where it can."""
        try:
            checkNodes(self.sequences.nodes())
        except LeanSegError as error:
            return str(error)
        return self.modelProblem(_("No model for brain tumors was found. See Environment, at the end of this panel."))

    # The segments change

    def segmentsChanged(self) -> None:
        """By undo, by hand, or by writing."""
        if not self.runs.isWriting:
            self._content.start()
            self.showState()

    def _onContent(self) -> None:
        """After undo, the decisions and the slider are those of the result that is there now."""
        self.output.look()
        if self.session.find(self.output.content()):
            outcome = self.session.outcome
            if outcome is None:
                self.decisions.show(None, {})
            else:
                with self.updating():
                    self.ui.qualitySlider.value = -round(outcome.result.options.costBias)
                    self.options.store()
                self.decisions.show(outcome.result, outcome.overrides)
            self.message.clear()
            self.showUncertainty()
        self.showState()

    # Show

    def showUncertainty(self) -> None:
        ui = self.ui
        opacity = ui.uncertaintyOpacitySlider.value if ui.uncertaintyCheckBox.checked else None
        self.uncertainty.show(self.session.result, self.session.nodes, opacity)

    def showState(self) -> None:
        """Buttons, labels and progress."""
        ui, session, problem = self.ui, self.session, self.problem()
        text = _("Segment, replacing corrections") if self.output.isEdited else _("Segment")
        ui.segmentButton.text = _("Cancel") if session.isRunning else text
        ui.segmentButton.enabled = session.isRunning or not problem
        ui.segmentButton.toolTip = problem or _("Outline the tumor in all slices (Shift+A).")
        ui.undoButton.enabled = not session.isRunning and self.output.canUndo()
        ui.redoButton.enabled = not session.isRunning and self.output.canRedo()
        ui.refineButton.enabled = not session.isRunning and session.result is not None and session.result.canOverrule
        ui.qualitySlider.enabled = not isThorough(self.models.card)
        ui.progressBar.setVisible(session.isRunning)
        done, total, what = session.progress
        ui.progressBar.setRange(0, total)
        ui.progressBar.setValue(done)
        ui.progressBar.setFormat(what)
        self.models.showSpeed(None)
        self.decisions.setBusy(session.isRunning)
        self.message.inform(problem)
