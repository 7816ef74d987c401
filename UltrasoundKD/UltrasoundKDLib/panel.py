"""The upper half of the panel: input, model, proposal, and the decision about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import slicer
from slicer.i18n import tr as _

from leanseg.errors import LeanSegError
from leanseg.slicer_bridge.environment_panel import EnvironmentPanel
from leanseg.slicer_bridge.parameters import Parameters
from leanseg.slicer_bridge.runner import Runner
from UltrasoundKDLib.decision import Decision
from UltrasoundKDLib.message_line import MessageLine
from UltrasoundKDLib.model_chooser import ModelChooser
from UltrasoundKDLib.proposal_session import ProposalSession
from UltrasoundKDLib.target_chooser import TargetChooser

MODELS_OWN = -1  # instead of 0 or 1
DEFAULTS = {
    "allFrames": False,
    "model": "",  # the first there is
    "precision": "",  # the first that the model has
    "threshold": 0.0,  # that of the model
    "largestComponent": MODELS_OWN,  # or 1: yes, 0: no
    "livePreview": False,
    "showUncertainty": False,
    "uncertaintyOpacity": 0.5,
    "targetSegment": "",  # a new one
}
INPUT, TARGET = "inputVolume", "targetSegmentation"  # roles of nodes


class Panel:
    """Keeps parameter node, widgets and session in step; calls `onTargetChanged()` when another segment is meant."""

    def __init__(self, ui: Any, logic: Any, onTargetChanged: Callable[[], None]) -> None:
        self.ui = ui
        self.logic = logic
        self.parameters = Parameters("UltrasoundKD", DEFAULTS)
        self.volume: Any = None
        self.isShown = False
        self.runner = Runner()
        self.message = MessageLine(ui.messageLabel, ui.messageIconLabel)
        self.models = ModelChooser(ui.modelSelector, ui.precisionSelector, ui.modelInfoLabel)
        self.target = TargetChooser(ui.targetSegmentationSelector, ui.targetSegmentSelector)
        self.session = ProposalSession(logic, self.runner, self.showState, self.message.say)
        self.environment = EnvironmentPanel(self.onEnvironmentChanged)
        ui.environmentCollapsibleButton.layout().addWidget(self.environment.widget)
        self._onTargetChanged = onTargetChanged
        self._inputProblem = ""
        self._isUpdating = False
        self.decision = Decision(ui, self)
        self._openImage(None)
        self._connect()

    def _connect(self) -> None:
        ui = self.ui
        ui.inputSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.onInputChosen)
        ui.scopeSelector.connect("currentIndexChanged(int)", self.onChanged)
        ui.modelSelector.connect("currentIndexChanged(int)", self.onModelChosen)
        ui.precisionSelector.connect("currentIndexChanged(int)", self.onChanged)
        for checkBox in (ui.livePreviewCheckBox, ui.largestComponentCheckBox, ui.uncertaintyCheckBox):
            checkBox.connect("toggled(bool)", self.onChanged)
        for slider in (ui.thresholdSlider, ui.uncertaintyOpacitySlider):
            slider.connect("valueChanged(double)", self.onChanged)
        ui.targetSegmentationSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.onTargetSegmentationChosen)
        ui.targetSegmentSelector.connect("currentIndexChanged(int)", self.onChanged)
        ui.applyButton.connect("clicked(bool)", self.onApplyOrCancel)

    def enter(self) -> None:
        """The module is shown: look anew at the computer and at the scene."""
        self.isShown = True
        self.environment.refresh()
        self.ui.environmentCollapsibleButton.collapsed = self.environment.isComplete
        with self._updating():
            self.models.setCards(self.logic.models())
        if self.parameters.node(INPUT) is None:
            self.parameters.setNode(INPUT, _firstImage())
        self.parameters.observe(self.updateFromParameters)
        self.updateFromParameters()

    def exit(self) -> None:
        """Another module is shown: a run goes on, its proposal waits, but scrolling starts nothing more."""
        self.isShown = False
        self.parameters.unobserve()
        self.session.livePreview = False

    def onEnvironmentChanged(self) -> None:
        """Something was installed."""
        self.ui.environmentCollapsibleButton.collapsed = self.environment.isComplete
        self._synchronize()

    def leaveImage(self) -> bool:
        """Forget the image and all that is shown of it; whether a run was cancelled."""
        wasApplying = self.session.applying
        self._openImage(None)
        self.showState()
        return wasApplying

    def leaveScene(self) -> bool:
        """Forget all nodes before they go; whether a run was cancelled."""
        with self._updating():
            self.ui.inputSelector.setCurrentNode(None)
            self.target.select(None, "")
        self.message.clear()
        return self.leaveImage()

    def close(self) -> None:
        """No callback comes any more."""
        self.parameters.unobserve()
        self.session.close()
        self.runner.close()

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
        ui, get = self.ui, self.parameters.get
        with self._updating():
            ui.inputSelector.setCurrentNode(self.parameters.node(INPUT))
            ui.scopeSelector.setCurrentIndex(int(get("allFrames")))
            self.models.select(get("model"), get("precision"))
            own, isLargest = self.logic.defaultOptions(self.models.card), get("largestComponent")
            ui.thresholdSlider.value = get("threshold") or own.threshold
            ui.largestComponentCheckBox.checked = own.largest_component if isLargest == MODELS_OWN else isLargest == 1
            ui.livePreviewCheckBox.checked = get("livePreview")
            ui.uncertaintyCheckBox.checked = get("showUncertainty")
            ui.uncertaintyOpacitySlider.value = get("uncertaintyOpacity")
            self.target.select(self.parameters.node(TARGET), get("targetSegment"))
        self._synchronize()

    def onChanged(self, *_args: Any) -> None:
        """Panel -> parameters."""
        if self._isUpdating or not self.isShown or slicer.mrmlScene.IsBatchProcessing():
            return
        ui, put = self.ui, self.parameters.set
        with self._updating():
            self.parameters.setNode(INPUT, ui.inputSelector.currentNode())
            put("allFrames", ui.scopeSelector.currentIndex == 1)
            model, precision = self.models.key or ("", "")
            put("model", model)
            put("precision", precision)
            put("threshold", ui.thresholdSlider.value)
            put("largestComponent", int(ui.largestComponentCheckBox.checked))
            put("livePreview", ui.livePreviewCheckBox.checked)
            put("showUncertainty", ui.uncertaintyCheckBox.checked)
            put("uncertaintyOpacity", ui.uncertaintyOpacitySlider.value)
            self.parameters.setNode(TARGET, self.target.segmentation)
            put("targetSegment", self.target.segmentId)
        self.message.clear()
        self._synchronize()

    def onModelChosen(self, *_args: Any) -> None:
        """Another model was validated with other options."""
        if self._isUpdating:
            return
        with self._updating():
            self.models.fillPrecisions()
            own = self.logic.defaultOptions(self.models.card)
            self.ui.thresholdSlider.value = own.threshold
            self.ui.largestComponentCheckBox.checked = own.largest_component
        self.onChanged()

    def chooseTarget(self, segmentationNode: Any, segmentId: str) -> None:
        """Of the next accepted proposal, and of the Segment Editor."""
        with self._updating():
            self.target.select(segmentationNode, segmentId)
        self.onChanged()

    def updateTarget(self) -> None:
        """The segments of the target have changed."""
        with self._updating():
            self.target.update()

    def onTargetSegmentationChosen(self, *_args: Any) -> None:
        if not self._isUpdating:
            with self._updating():
                self.target.update()
            self.onChanged()

    def onInputChosen(self, *_args: Any) -> None:
        """Somebody has chosen another image, so it is shown."""
        if self._isUpdating:
            return
        with self._updating():
            self.target.follow(self.ui.inputSelector.currentNode())
        self.onChanged()
        if self.session.frames is not None:
            slicer.util.setSliceViewerLayers(background=self.volume, fit=True)

    def _synchronize(self) -> None:
        """Widgets -> session, Segment Editor and measurements."""
        ui = self.ui
        volume = ui.inputSelector.currentNode()
        if volume is not self.volume or self.session.frames is None:  # what was wrong with it may have been mended
            self._openImage(volume)
        config = replace(
            self.logic.defaultOptions(self.models.card),
            threshold=ui.thresholdSlider.value,
            largest_component=ui.largestComponentCheckBox.checked,
        )
        opacity = ui.uncertaintyOpacitySlider.value if ui.uncertaintyCheckBox.checked else None
        isLive = ui.livePreviewCheckBox.checked and self.isShown and not self._problem()
        self.session.configure(self.models.key, config, isLive, opacity)
        self._onTargetChanged()
        self.showState()

    def _openImage(self, volume: Any) -> None:
        self.volume, self._inputProblem = volume, ""
        self.decision.forget()
        try:
            self.session.open(volume)
        except LeanSegError as error:
            self._inputProblem = str(error)

    # Propose and decide

    def _problem(self) -> str:
        """Why nothing can be proposed, and what to do; empty where it can."""
        if self.session.frames is None:
            return self._inputProblem
        if self.models.key is None:
            return _("No model for ultrasound was found. See Environment, at the end of this panel.")
        if not self.environment.isComplete:
            return _("Something that the models need is missing. See Environment, at the end of this panel.")
        return ""

    def onApplyOrCancel(self, *_args: Any) -> None:
        self.message.clear()
        if self.session.applying:
            self.session.cancel()
            return
        problem = self._problem()
        if problem:
            self.message.say(problem, True)
            return
        frames = self.session.frames
        isAll = self.ui.scopeSelector.currentIndex == 1
        try:
            self.session.apply(range(frames.count) if isAll else [frames.currentIndex()])
        except LeanSegError as error:
            self.message.say(str(error), True)

    # Show

    def showState(self) -> None:
        """Buttons, labels and progress, from the state of the session."""
        ui, session = self.ui, self.session
        problem = self._problem()
        ui.applyButton.text = _("Cancel") if session.applying else _("Apply")
        ui.applyButton.enabled = session.applying or not problem
        ui.applyButton.toolTip = problem or _("Propose an outline of the lesion (Shift+A).")
        ui.progressBar.setVisible(session.applying)
        ui.progressBar.setRange(0, session.progress[1])
        ui.progressBar.setValue(session.progress[0])
        self.models.showSpeed(self.logic.secondsPerFrame(self.models.key))
        ui.frameLabel.text = session.frameText()
        self.decision.showState()
        self.message.inform(problem or session.remark())


def _firstImage() -> Any:
    """A volume that somebody may well mean when nothing was chosen yet."""
    volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    for node in volumes:
        isImage = not node.IsA("vtkMRMLLabelMapVolumeNode") and not node.GetHideFromEditors()
        if isImage and node.GetSaveWithScene():  # our own uncertainty is not saved
            return node
    return None
