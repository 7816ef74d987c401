"""The upper half of the panel: input, model, proposal, and the decision about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
from slicer.i18n import tr as _

from leanseg.errors import LeanSegError
from leanseg.slicer_bridge.module_panel import ModulePanel
from leanseg.slicer_bridge.shown_image import ShownImage, isImage
from UltrasoundKDLib import other_images
from UltrasoundKDLib.decision import Decision
from UltrasoundKDLib.options import INPUT, TARGET, Options
from UltrasoundKDLib.proposal_session import ProposalSession
from UltrasoundKDLib.target_chooser import TargetChooser


class Panel(ModulePanel):
    """Keeps parameter node, widgets and session in step; calls `onTargetChanged()` when another segment is meant."""

    def __init__(self, ui: Any, logic: Any, onTargetChanged: Callable[[], None]) -> None:
        super().__init__(ui, logic, "slicewise", "Frame", _("{milliseconds:.0f} ms a frame"))
        self.target = TargetChooser(ui.targetSegmentationSelector, ui.targetSegmentSelector)
        self.options = Options(ui, logic, self.models, self.target)
        self.parameters = self.options.parameters
        self.shown = ShownImage(self.followViews)
        self.session = ProposalSession(logic, self.runner, self.showState, self.message)
        self._onTargetChanged = onTargetChanged
        self._inputProblem = ""
        self.decision = Decision(ui, self)
        self._openImage(None)
        self._connect()

    def _connect(self) -> None:
        ui = self.ui
        ui.inputSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.onInputChosen)
        ui.scopeSelector.connect("currentIndexChanged(int)", self.onChanged)
        ui.modelSelector.connect("currentIndexChanged(int)", self.onModelChosen)
        ui.precisionSelector.connect("currentIndexChanged(int)", self.onChanged)
        ui.livePreviewCheckBox.connect("toggled(bool)", self.onLivePreview)
        for checkBox in (ui.largestComponentCheckBox, ui.uncertaintyCheckBox):
            checkBox.connect("toggled(bool)", self.onChanged)
        for slider in (ui.thresholdSlider, ui.uncertaintyOpacitySlider):
            slider.connect("valueChanged(double)", self.onChanged)
        ui.targetSegmentationSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.onTargetSegmentationChosen)
        ui.targetSegmentSelector.connect("currentIndexChanged(int)", self.onTargetSegmentChosen)
        ui.applyButton.connect("clicked(bool)", self.onApplyOrCancel)

    def enter(self) -> None:
        """The module is shown: look anew at the computer and at the scene."""
        self.lookAtComputer()
        if self.parameters.node(INPUT) is None:
            self._startWith(self.shown.likelyImage())
        if self.volume is None:
            self.shown.accept()  # the parameters say which image is meant
        self.parameters.observe(self.updateFromParameters)
        self.updateFromParameters()
        self._hideOtherImages()
        self.shown.observe()

    def exit(self) -> None:
        """Another module is shown: a run goes on, its proposal waits, but scrolling starts nothing more."""
        self.isShown = False
        self.parameters.unobserve()
        self.shown.unobserve()
        self.session.livePreview = False
        other_images.showAll()

    def sceneLoaded(self) -> None:
        """Its parameters say which image is meant, whatever the views show."""
        self.shown.accept()
        self._hideOtherImages()

    def _hideOtherImages(self) -> None:
        if self.session.frames is not None:
            other_images.showOnlyOf(self.volume)

    def leaveImage(self, _volumeNode: Any) -> bool:
        """Forget the image and all that is shown of it; whether a run was cancelled."""
        wasApplying = self.session.applying
        with self.updating():
            self.ui.inputSelector.setCurrentNode(None)
            self.target.select(None, "")
            if not slicer.mrmlScene.IsClosing():  # nobody else does it while another module is shown
                self.parameters.setNode(INPUT, None)
                self.parameters.setNode(TARGET, None)
        self.message.clear()
        self._openImage(None)
        self._onTargetChanged()
        self.showState()
        return wasApplying

    def leaveScene(self) -> bool:
        """Forget all nodes before they go; whether a run was cancelled."""
        self.logic.accepted.clear()
        return self.leaveImage(self.volume)

    def close(self) -> None:
        """No callback comes any more."""
        self.parameters.unobserve()
        self.shown.unobserve()
        self.session.close()
        self.runner.close()

    # Choices

    def onModelChosen(self, *_args: Any) -> None:
        """Another model was validated with other options."""
        if not self.isUpdating:
            with self.updating():
                self.options.useModelsOwn()
        super().onModelChosen()

    def onLivePreview(self, *_args: Any) -> None:
        if not self.isUpdating:
            self.session.previewAgain()
            self.onChanged()

    def chooseTarget(self, segmentationNode: Any, segmentId: str) -> None:
        """Of the next accepted proposal, and of the Segment Editor."""
        with self.updating():
            self.target.select(segmentationNode, segmentId)
        self.onChanged()

    def segmentsChanged(self) -> None:
        """The segments of the target have changed, perhaps by undo: what was said about them is said no more."""
        if self.decision.isWriting:
            return  # for each of the frames; `chooseTarget` comes at the end
        with self.updating():
            self.target.update()
        self.message.clear()
        self.decision.forgetContent()
        self.showState()

    def onTargetSegmentationChosen(self, *_args: Any) -> None:
        if not self.isUpdating:
            with self.updating():
                self.target.select(self.target.segmentation, "")
            self.onChanged()

    def onTargetSegmentChosen(self, *_args: Any) -> None:
        if not self.isUpdating:
            self.target.chosen()
            self.onChanged()

    def onInputChosen(self, *_args: Any) -> None:
        """Somebody has chosen another image, so it is shown."""
        if self.isUpdating:
            return
        with self.updating():
            self.target.follow(self.ui.inputSelector.currentNode())
        self.onChanged()
        if self.session.frames is not None and self.shown.volume is not self.volume:
            self.shown.show(self.volume)
        self.shown.accept()  # what somebody has chosen counts, whatever the views show
        self.showState()

    def followViews(self) -> None:
        """The views show another image, so that one is meant, unless there is work that would be lost."""
        if not self.session.isWaiting and isImage(self.shown.volume):
            self.ui.inputSelector.setCurrentNode(self.shown.volume)
        self.showState()

    @property
    def isImageShown(self) -> bool:
        return self.session.frames is None or self.shown.isShown(self.volume)

    def _synchronize(self) -> None:
        """Widgets -> session, Segment Editor and measurements."""
        ui = self.ui
        volume = ui.inputSelector.currentNode()
        if volume is not self.volume or self.session.frames is None:  # what was wrong with it may have been mended
            self._openImage(volume)
            self._hideOtherImages()
        opacity = ui.uncertaintyOpacitySlider.value if ui.uncertaintyCheckBox.checked else None
        isLive = ui.livePreviewCheckBox.checked and self.isShown and not self._problem()
        self.session.configure(self.models.key, self.options.config(), isLive, opacity)
        self.decision.forgetContent()
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
        return self.modelProblem(_("No model for ultrasound was found. See Environment, at the end of this panel."))

    def onApplyOrCancel(self, *_args: Any) -> None:
        self.message.clear()
        if self.session.applying:
            self.session.cancel()
            return
        problem = self._problem() or self.session.frameProblem
        if problem:
            self.message.say(problem, True)
            return
        frames = self.session.frames
        if not self.isImageShown:
            self.shown.show(self.volume)
        isAll = self.ui.scopeSelector.currentIndex == 1
        try:
            self.session.apply(range(frames.count) if isAll else [frames.currentIndex()])
        except LeanSegError as error:
            self.message.fail(error)

    # Show

    def showState(self) -> None:
        """Buttons, labels and progress, from the state of the session."""
        ui, session = self.ui, self.session
        problem = self._problem() or session.frameProblem
        ui.applyButton.text = _("Cancel") if session.applying else _("Apply")
        ui.applyButton.enabled = session.applying or not problem
        ui.applyButton.toolTip = problem or _("Propose an outline of the lesion (Shift+A).")
        ui.progressBar.setVisible(session.applying)
        ui.progressBar.setRange(0, session.progress[1])
        ui.progressBar.setValue(session.progress[0])
        self.models.showSpeed(self.logic.secondsPerFrame(self.models.key))
        ui.frameLabel.text = session.frameText()
        self.decision.showState()
        unseen = "" if self.isImageShown else self.shown.remark(self.volume)
        self.message.inform(problem or unseen or session.remark() or self.decision.remark())

    def _startWith(self, volume: Any) -> None:
        """With an image that nobody has chosen, and a target of this image."""
        with self.updating():
            self.ui.inputSelector.setCurrentNode(volume)
            self.target.select(None, "")
            self.target.follow(volume)
            self.options.store()
