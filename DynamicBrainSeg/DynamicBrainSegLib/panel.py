"""The panel: sequences, settings, runs, decisions about slices, and what is shown of a result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from DynamicBrainSegLib.brain_session import BrainSession
from DynamicBrainSegLib.decision_view import DecisionView
from DynamicBrainSegLib.inputs import checkNodes
from DynamicBrainSegLib.options import Options
from DynamicBrainSegLib.output import Output
from DynamicBrainSegLib.runs import Runs
from DynamicBrainSegLib.sequence_choosers import SequenceChoosers
from DynamicBrainSegLib.thorough import costText, isThorough
from DynamicBrainSegLib.uncertainty_view import UncertaintyView
from leanseg.errors import LeanSegError
from leanseg.slicer_bridge.environment_panel import EnvironmentPanel
from leanseg.slicer_bridge.message_line import MessageLine
from leanseg.slicer_bridge.model_chooser import ModelChooser
from leanseg.slicer_bridge.runner import Runner

CONTENT_MS = 100  # after a change of the segments


class Panel:
    """Keeps parameter node, widgets and session in step; calls `onOutput()` when another segmentation is meant."""

    def __init__(self, ui: Any, logic: Any, onOutput: Callable[[], None]) -> None:
        self.ui = ui
        self.logic = logic
        self.isShown = False
        self.runner = Runner()
        self.message = MessageLine(ui.messageLabel, ui.messageIconLabel)
        self.models = ModelChooser(
            ui.modelSelector, ui.precisionSelector, ui.modelInfoLabel, "Brain", _("{seconds:.1f} s a brain"), costText
        )
        self.sequences = SequenceChoosers(ui, self.onSequencesChosen)
        self.output = Output(ui.outputSelector, ui.segmentEditorWidget)
        self.options = Options(ui, self.models, self.sequences)
        self.parameters = self.options.parameters
        self.runs = Runs(ui, self)
        self.session = BrainSession(logic, self.runner, self.runs.computed, self.runs.ended, self.showState)
        self.decisions = DecisionView(ui, self.runs.override)
        self.uncertainty = UncertaintyView()
        self.environment = EnvironmentPanel("dynamic_slicewise", self.onEnvironmentChanged)
        ui.environmentCollapsibleButton.layout().addWidget(self.environment.widget)
        self._onOutput = onOutput
        self._isUpdating = False
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
        self.isShown = True
        self.environment.refresh()
        self.ui.environmentCollapsibleButton.collapsed = self.environment.isComplete
        with self._updating():
            self.models.setCards(self.logic.models())
        self.parameters.observe(self.updateFromParameters)
        self.updateFromParameters()
        self.sequences.observe()

    def exit(self) -> None:
        """Another module is shown: a run goes on."""
        self.isShown = False
        self.parameters.unobserve()
        self.sequences.unobserve()

    def onEnvironmentChanged(self) -> None:
        """Something was installed."""
        self.ui.environmentCollapsibleButton.collapsed = self.environment.isComplete
        self._synchronize()

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
        with self._updating():
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
        self.runner.close()
        self._content.stop()
        self._content.disconnect("timeout()")

    # Parameters

    @contextmanager
    def _updating(self) -> Iterator[None]:
        self._isUpdating, before = True, self._isUpdating
        try:
            yield
        finally:
            self._isUpdating = before

    def updateFromParameters(self) -> None:
        """Parameters -> panel."""
        if self._isUpdating:
            return
        with self._updating():
            self.options.load()
            missing = self.options.missingModel()
        self._synchronize()
        if missing:
            self.message.say(missing, True)

    def onChanged(self, *_args: Any) -> None:
        """Panel -> parameters."""
        if self._isUpdating or not self.isShown or slicer.mrmlScene.IsBatchProcessing():
            return
        self.store()

    def store(self) -> None:
        """As `onChanged`; also where a run ends while another module is shown."""
        with self._updating():
            self.options.store()
        self.message.clear()
        self._synchronize()

    def onSequencesChosen(self) -> None:
        """By a person, or guessed."""
        if self._isUpdating:
            return
        with self._updating():
            self.output.follow(self.reference)
        self.onChanged()

    def onModelChosen(self, *_args: Any) -> None:
        if not self._isUpdating:
            with self._updating():
                self.models.fillPrecisions()
            self.onChanged()

    def onRegionsChosen(self, *_args: Any) -> None:
        """The same result in other segments: nothing is computed."""
        if not self._isUpdating:
            self.onChanged()
            self.runs.writeAgain()

    def onOutputChosen(self, *_args: Any) -> None:
        if not self._isUpdating and not self.runs.isWriting:
            self.onChanged()

    def onQuality(self, *_args: Any) -> None:
        """Compute again, once the slider rests."""
        if not self._isUpdating:
            self.onChanged()
            self.runs.computeSoon()

    @property
    def reference(self) -> Any:
        """The volume on whose voxels the result will be, or None."""
        return next(iter(self.sequences.nodes().values()), None)

    def _synchronize(self) -> None:
        """Widgets -> what is shown."""
        self.output.look()
        self.sequences.showMissing(self.models.card)
        self.showUncertainty()
        self._onOutput()
        self.showState()

    def problem(self) -> str:
        """Why nothing can be segmented, and what to do; empty where it can."""
        try:
            checkNodes(self.sequences.nodes())
        except LeanSegError as error:
            return str(error)
        if self.models.key is None:
            return _("No model for brain tumors was found. See Environment, at the end of this panel.")
        if not self.environment.isComplete:
            return _("Something that the models need is missing. See Environment, at the end of this panel.")
        return ""

    # The segments change

    def contentChanged(self) -> None:
        """Of the segmentation: by undo, by hand, or by writing."""
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
                with self._updating():
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
