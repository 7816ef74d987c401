"""The panel: image, prompt, tools, questions and decision around the conversation about one image."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import slicer
from slicer.i18n import tr as _

from leanseg.errors import LeanSegError
from leanseg.slicer_bridge.module_panel import ModulePanel
from leanseg.slicer_bridge.shown_image import ShownImage, isImage
from TextGuidedSegLib.blink import Blink
from TextGuidedSegLib.decision import Decision
from TextGuidedSegLib.hint_marks import HintMarks
from TextGuidedSegLib.hint_tools import HintTools
from TextGuidedSegLib.logic import ENGINE
from TextGuidedSegLib.options import INPUT, SLAB, TARGET, Options
from TextGuidedSegLib.pointing import Pointing
from TextGuidedSegLib.prompt_editor import PromptEditor
from TextGuidedSegLib.questioner import Questioner
from TextGuidedSegLib.remarks import frameText, remark
from TextGuidedSegLib.sentences import slicesFor, understood
from TextGuidedSegLib.shown_result import OUTLINE_COLOR, ShownResult
from TextGuidedSegLib.steps_view import StepsView
from TextGuidedSegLib.text_dialog import TextDialog
from TextGuidedSegLib.world_places import worldMatrix


class Panel(ModulePanel):
    """Keeps parameter node, widgets and conversation in step; calls `onTarget(segmentId)` when another segmentation is
    meant."""

    def __init__(self, ui: Any, logic: Any, onTarget: Callable[[str], None]) -> None:
        super().__init__(ui, logic, ENGINE, "Prompt", _("{milliseconds:.0f} ms a slice"))
        self.options = Options(ui, self.models)
        self.parameters = self.options.parameters
        self.shownImage = ShownImage(self.followViews)
        self.dialog = TextDialog(logic, self.runner, self.message, self.showState)
        self.marks = HintMarks()
        self.tools = HintTools(ui, self.marks, self.onHint, self.message.refuse)
        self.questions = Questioner(ui, self.dialog, self.marks, self.tools, self.onHint)
        self.blink = Blink(ui.blinkButton, self.dialog, self.showResult)
        self.decision = Decision(ui, self)
        self.pointing = Pointing(ui, self.showResult)
        understand = partial(understood, lambda: self.dialog.session)
        self.editor = PromptEditor(ui, understand, self.showState, self.onApply)
        self.steps = StepsView(ui, self.dialog, self.message, self.endLooking, self.editor.setText)
        self._shown: ShownResult | None = None
        self._onTarget = onTarget
        self._inputProblem = ""
        self._session: Any = None
        self._connect()
        self._openImage(None)
        self.editor.readFor(None)

    def _connect(self) -> None:
        ui = self.ui
        ui.inputSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.onInputChosen)
        ui.targetSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.onChanged)
        ui.modelSelector.connect("currentIndexChanged(int)", self.onModelChosen)
        for selector in (ui.precisionSelector, ui.kindSelector, ui.scopeSelector):
            selector.connect("currentIndexChanged(int)", self.onChanged)
        ui.slabSpinBox.connect("valueChanged(int)", self.onChanged)
        ui.uncertaintyCheckBox.connect("toggled(bool)", self.onChanged)
        ui.uncertaintyOpacitySlider.connect("valueChanged(double)", self.onChanged)
        ui.applyButton.connect("clicked(bool)", self.onApplyOrCancel)

    # Life

    def enter(self) -> None:
        """The module is shown: look anew at the computer and at the scene."""
        self.lookAtComputer()
        if self.parameters.node(INPUT) is None:
            self._startWith(self.shownImage.likelyImage())
        if self.volume is None:
            self.shownImage.accept()  # the parameters say which image is meant
        self.parameters.observe(self.updateFromParameters)
        self.updateFromParameters()
        self.shownImage.observe()

    def exit(self) -> None:
        """Another module is shown: a run goes on, its result waits."""
        self.isShown = False
        self.parameters.unobserve()
        self.shownImage.unobserve()
        self.tools.putAway()
        self.blink.stop()

    def sceneLoaded(self) -> None:
        """Its parameters say which image is meant, whatever the views show; what was said is there again. Where the
        image was there before, what is proposed for it stays."""
        self.shownImage.accept()
        if self.volume is None:
            return
        if self.dialog.frames is None or self.volume.GetScene() is None or self.dialog.isOutdated:
            self._openImage(self.volume)
        self._synchronize()

    def leaveImage(self, _volumeNode: Any) -> bool:
        """Forget the image and all that is shown of it; whether a run was cancelled."""
        wasRunning = self.dialog.isRunning
        with self.updating():
            self.ui.inputSelector.setCurrentNode(None)
            self.ui.targetSelector.setCurrentNode(None)
            if not slicer.mrmlScene.IsClosing():  # nobody else does it while another module is shown
                self.parameters.setNode(INPUT, None)
                self.parameters.setNode(TARGET, None)
        self._openImage(None)
        self._onTarget("")
        self.showState()
        return wasRunning

    def leaveScene(self) -> bool:
        """Forget all nodes before they go; whether a run was cancelled."""
        self.message.clear()
        return self.leaveImage(self.volume)

    def close(self) -> None:
        """No callback comes any more."""
        self.parameters.unobserve()
        self.shownImage.unobserve()
        self.editor.close()
        self.blink.close()
        self._openImage(None)
        self.runner.close()

    # The image

    def onInputChosen(self, *_args: Any) -> None:
        """Somebody has chosen another image, so it is shown."""
        if self.isUpdating:
            return
        with self.updating():
            self.decision.follow(self.ui.inputSelector.currentNode())
        self.onChanged()
        if self.dialog.frames is not None and self.shownImage.volume is not self.volume:
            self.shownImage.show(self.volume)
        self.shownImage.accept()
        self.showState()

    def followViews(self) -> None:
        """The views show another image, so that one is meant, unless there is a result that would be lost."""
        if not self.dialog.isRunning and not self.dialog.proposals and isImage(self.shownImage.volume):
            self.ui.inputSelector.setCurrentNode(self.shownImage.volume)
        self.showState()

    def _startWith(self, volume: Any) -> None:
        """With an image that nobody has chosen."""
        with self.updating():
            self.ui.inputSelector.setCurrentNode(volume)
            self.ui.targetSelector.setCurrentNode(None)
            self.decision.follow(volume)
            self.options.store()

    def _openImage(self, volume: Any) -> None:
        if self._shown is not None:
            self._shown.close()
            self._shown = None
            self.pointing.follow({})
        self.endLooking()  # shows the image that is left, so that one still has to be known
        self.volume, self._inputProblem = volume, ""
        self.tools.setVolume(volume)
        self.marks.remove()
        try:
            self.dialog.open(volume)
        except LeanSegError as error:
            self._inputProblem = str(error)
        else:
            self.dialog.frames.observe(self.showState)
            self._shown = ShownResult(self.dialog.frames, self.showResult, self.pointing)
        self.editor.setText(self.dialog.conversation.text)

    def _synchronize(self) -> None:
        """Widgets -> conversation and Segment Editor."""
        volume = self.ui.inputSelector.currentNode()
        if volume is not self.volume or self.dialog.frames is None:  # what was wrong with it may have been mended
            self._openImage(volume)
        if self.dialog.frames is not None:
            self._inputProblem = ""
        try:
            self.dialog.configure(self.models.key, self.ui.kindSelector.currentData)
            if self.isShown and self.environment.isComplete and not self.dialog.isRunning:
                self.dialog.prepare()
        except LeanSegError as error:
            self._inputProblem = str(error)
        self._onTarget("")
        self.showState()

    # Say and show

    def problem(self) -> str:
        """Why nothing can be asked, and what to do; empty where it can."""
        if self.dialog.frames is None:
            return self._inputProblem
        nothing = _("No model that is guided by text was found. See Environment, at the end of this panel.")
        return self.modelProblem(nothing) or self._inputProblem

    def onApplyOrCancel(self, *_args: Any) -> None:
        if self.dialog.isRunning:
            self.dialog.cancel()
        else:
            self.onApply()

    def onApply(self, *_args: Any) -> None:
        """What the prompt says, in the chosen slices; a sentence that is refused leaves what is proposed as it is."""
        self.message.clear()
        problem = self.problem() or self.editor.parsed.refusal
        if problem:
            self.message.say(problem, True)
            return
        frames = self.dialog.frames
        if not self.shownImage.isShown(self.volume):
            self.shownImage.show(self.volume)
        self.endLooking()
        text, current = self.editor.text, frames.currentIndex()
        chosen = self.options.slices(current, frames.count)
        slices = slicesFor(self.dialog.session, self.logic, text, current, chosen)
        self.dialog.apply(text, *slices)

    def onHint(self, hint: Any) -> None:
        """A click, box or stroke was made in a view, or answers a question."""
        self.message.clear()
        problem = self.problem()
        if problem:
            self.message.say(problem, True)
            return
        self.endLooking()
        try:
            self.dialog.show(hint)
        except LeanSegError as error:
            self.message.refuse(error)

    def endLooking(self) -> None:
        """Another proposal comes, or none: no question about this one is open, and it is compared with no other."""
        self.questions.forget()
        self.blink.stop()

    def acceptedInto(self, segmentationNode: Any, segmentId: str) -> None:
        """The Segment Editor works on what was accepted; the conversation goes on with the next lesion."""
        self.endLooking()
        with self.updating():
            self.ui.targetSelector.setCurrentNode(segmentationNode)
            self.options.store()
        self.dialog.accepted(segmentationNode, segmentId)
        self._onTarget(segmentId)

    def segmentsChanged(self) -> None:
        """By undo, by hand, or by writing."""
        if not self.decision.isWriting:
            self.steps.refill()
            self.showState()

    # Show

    def showState(self) -> None:
        """Buttons, labels, marks and progress, from the state of the conversation."""
        ui, dialog, problem = self.ui, self.dialog, self.problem()
        if dialog.session is not self._session:
            self._session = dialog.session
            self.editor.readFor(None if self._session is None else self._session.frame)
        frames, sliceText = dialog.frames, _("{k} of {n}")
        ui.frameLabel.setText(frameText(dialog.session))
        ui.sliceLabel.setText("" if frames is None else sliceText.format(k=frames.currentIndex() + 1, n=frames.count))
        ui.applyButton.text = _("Cancel") if dialog.isRunning else _("Apply")
        ui.applyButton.enabled = dialog.isRunning or not problem
        ui.applyButton.toolTip = problem or _("Outline what the prompt says, in the chosen slices (Ctrl+Enter).")
        ui.slabSpinBox.setVisible(ui.scopeSelector.currentData == SLAB)
        ui.progressBar.setVisible(dialog.isRunning)
        ui.progressBar.setRange(0, dialog.progress[1])
        ui.progressBar.setValue(dialog.progress[0])
        ui.progressBar.setFormat(dialog.progress[2])
        self.models.showSpeed(dialog.seconds)
        self.tools.setEnabled(not problem)
        self.questions.showState()
        self.blink.showState()
        self.steps.show()
        self.showResult()

    def showResult(self) -> None:
        """Outline, uncertainty and marks; and what is to be said about them."""
        self.decision.showState()  # only what is seen can be accepted
        if self._shown is None:
            self.message.inform(self.problem())
            return
        turn = self.blink.shown()
        proposals, color, name = turn or (self.dialog.proposals, OUTLINE_COLOR, "")
        self.pointing.follow(proposals)
        try:
            self._shown.show(proposals, color, self.options.overlayOpacity)
            self.marks.show(self.dialog.conversation.hints, worldMatrix(self.volume))
        except LeanSegError as error:
            self.message.refuse(error)
        self.message.inform(name or self.problem() or remark(self.dialog))
