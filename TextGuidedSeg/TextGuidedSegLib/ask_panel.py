"""The section "Ask about this view": a question about what a slice view shows, answered by a network that says how
sure it is and where it looked.

The module uses it from here; `ask_form.py`, `ask_views.py`, `ask_segments.py`, `ask_options.py`, `ask_work.py`,
`ask_answers.py`, `ask_table.py`, `ask_history.py`, `ask_heat.py` and `slicer_bridge/view_picture.py` are its parts.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any

import slicer
from slicer.i18n import tr as _

from leanseg.errors import IncompatibleInputError, InferenceCancelled, LeanSegError
from leanseg.slicer_bridge.loaded_models import LoadedModels
from leanseg.slicer_bridge.message_line import MessageLine
from leanseg.slicer_bridge.model_chooser import ModelChooser
from leanseg.slicer_bridge.runner import Runner
from leanseg.slicer_bridge.updating import Updating
from leanseg.slicer_bridge.view_picture import ViewPicture, aroundSegment, pictureOf
from TextGuidedSegLib.ask_answers import AskAnswers
from TextGuidedSegLib.ask_form import AskForm
from TextGuidedSegLib.ask_history import Asked, Entry
from TextGuidedSegLib.ask_options import AskOptions
from TextGuidedSegLib.ask_segments import AskSegments
from TextGuidedSegLib.ask_views import AskViews
from TextGuidedSegLib.ask_work import Look, answered, kindOf
from TextGuidedSegLib.logic import QUESTIONS


class AskPanel(Updating):
    """One section of the module, with a parameter node, a thread and models of its own. It changes no segment."""

    def __init__(self, panel: Any, logic: Any) -> None:
        """`panel`: of the module; its `ui` has askCollapsibleButton, kindSelector and inputSelector."""
        self._panel = panel
        self._logic = logic
        self._runner = Runner()
        self._loaded = LoadedModels()
        self._isRunning = self._isShown = False
        self._look: Look | None = None
        self._image: Any = None
        self._seconds: float | None = None  # of the last question
        self.form = form = AskForm(panel.ui.askCollapsibleButton)
        self.message = MessageLine(form.messageLabel, form.messageIconLabel)
        speed = _("{milliseconds:.0f} ms")
        self.models = ModelChooser(form.modelSelector, form.precisionSelector, form.modelInfoLabel, "Question", speed)
        self.views = AskViews(form.viewSelector, self.onChanged)
        self.segments = AskSegments(form.segmentSelector, panel.decision)
        self.options = AskOptions(form, self.models, self.views)
        self.answers = AskAnswers(form, self._runner, self.message, self._storeHistory)
        form.modelSelector.connect("currentIndexChanged(int)", self.onModelChosen)
        for selector in (form.precisionSelector, form.stageSelector):
            selector.connect("currentIndexChanged(int)", self.onChanged)
        form.questionEdit.connect("editingFinished()", self.onChanged)
        form.questionEdit.connect("returnPressed()", self.onReturn)
        form.askButton.connect("clicked(bool)", self.onAskOrCancel)
        form.heatCheckBox.connect("toggled(bool)", self.onChanged)
        form.opacitySlider.connect("valueChanged(double)", self.onChanged)
        self.showState()

    # Life

    def enter(self) -> None:
        """The module is shown."""
        self._isShown = True
        with self.updating():
            self.models.setCards(self._logic.answeringModels())
        self.views.observe()
        self.options.observe(self.load)
        self.load()
        self.update()
        self.answers.setShown(True)

    def exit(self) -> None:
        """Another module is shown: a run goes on; the colors go with this one, and come again."""
        self._isShown = False
        self.options.unobserve()
        self.views.unobserve()
        self.answers.setShown(False)

    def update(self) -> None:
        """The panel may have another image, or other segments."""
        self.segments.fill()
        image = self._panel.ui.inputSelector.currentNode()
        if image is not self._image:
            self._image = image
            self.answers.choose(None)

    def leaveScene(self) -> None:
        """Forget the images; a run is cancelled, and the question stays where it was typed."""
        wasRunning, self._isRunning = self._isRunning, False
        self._runner.cancel()
        self._look = self._image = None
        self.answers.forget()
        self.message.clear()
        if wasRunning:
            self.message.say(_("The scene was closed, so the question was not answered. Ask again."))
        self.showState()

    def close(self) -> None:
        """No callback comes any more."""
        self.exit()
        self.answers.close()
        self._runner.close()

    # Parameters

    def load(self) -> None:
        """Parameters -> section."""
        if not self.isUpdating and not slicer.mrmlScene.IsBatchProcessing():
            with self.updating():
                self.options.load()
            self.answers.load(self.options.history)
            self.showState()

    def onChanged(self, *_args: Any) -> None:
        """Section -> parameters."""
        if not self.isUpdating and self._isShown and not slicer.mrmlScene.IsBatchProcessing():
            with self.updating():
                self.options.store()
            self.showState()

    def onModelChosen(self, *_args: Any) -> None:
        """Another model has other precisions."""
        if not self.isUpdating:
            self._seconds = None
            with self.updating():
                self.models.fillPrecisions()
            self.onChanged()

    def _storeHistory(self, text: str) -> None:
        with self.updating():
            self.options.storeHistory(text)

    # Ask

    def problem(self) -> str:
        """Why nothing can be asked, and what to do; empty where it can."""
        if self.models.key is None:
            return str(_("No model that answers questions was found. See Environment, at the end of this panel."))
        if not self._panel.environment.isCompleteFor(QUESTIONS):
            return str(_("Something that the models need is missing. See Environment, at the end of this panel."))
        return ""

    def onReturn(self) -> None:
        if not self._isRunning:
            self.onAsk()

    def onAskOrCancel(self, *_args: Any) -> None:
        if self._isRunning:
            self._runner.cancel()
        else:
            self.onAsk()

    def onAsk(self) -> None:
        """What stands in the line, about what the view shows now."""
        self._panel.ui.askCollapsibleButton.collapsed = False
        self.onChanged()
        self.message.clear()
        key, question = self.models.key, self.form.questionEdit.text.strip()
        try:
            if key is None or self.problem():
                raise LeanSegError(self.problem())
            if not question:
                self.form.questionEdit.setFocus()
                raise IncompatibleInputError(_("Nothing is asked. Type a question, e.g.: Is there a mass?"))
            with slicer.util.WaitCursor():
                picture, segment = self._picture()
        except LeanSegError as error:
            self.message.refuse(error)
            return
        self.answers.choose(None)
        kind = kindOf(picture, self._panel.ui.kindSelector.currentData)
        self._runner.submit(
            partial(answered, self._loaded, key, picture.volume, kind, question, self._look),
            onDone=partial(self._arrived, picture, segment, key[0], self._image),
            onFailed=self._ended,
            onCancelled=lambda: self._ended(InferenceCancelled()),
            onProgress=self.form.showProgress,
        )
        self._isRunning = True
        self.showState()

    def _picture(self) -> tuple[ViewPicture, str]:
        """And the name of the segment that it was cut around.

        :raises IncompatibleInputError: there is no such picture.
        """
        self.segments.fill()
        view, segment = self.views.view, self.segments.chosen
        if view is None:
            raise IncompatibleInputError(_("No slice view is shown. Choose a layout that has one."))
        if segment is None:
            return pictureOf(view), ""
        return aroundSegment(pictureOf(view, isWhole=True), *segment[:2]), segment[2]

    def _arrived(self, picture: ViewPicture, segment: str, model: str, image: Any, result: tuple[Look, Any]) -> None:
        """`image`: the input of the panel when it was asked."""
        self._isRunning = False
        self._look, answer = result
        asked = Asked(
            datetime.now().isoformat(timespec="seconds"), answer.question, answer.text, answer.is_told,
            answer.confidence, answer.question_type, answer.type_probability,
            tuple((one.text, one.probability) for one in answer.choices),
            tuple(dict.fromkeys((*answer.warnings, *self._look.session.warnings))),
            picture.volumeNode.GetName(), picture.viewName, picture.place, segment, model,
        )  # fmt: skip
        self._seconds = answer.seconds
        if not self.answers.add(Entry(asked, answer, picture), image is self._image):
            text = _("The answer about {image} is in the table; another image is shown by now.")
            self.message.say(text.format(image=asked.image))
        self.showState()

    def _ended(self, error: Exception) -> None:
        if not self._isRunning:
            return  # the scene was closed, which has cancelled it
        self._isRunning = False
        if isinstance(error, InferenceCancelled):
            self.message.say(_("Cancelled; the question was not answered."))
        else:
            self.message.refuse(error)
        self.showState()

    def showState(self) -> None:
        """Buttons, labels and heat map."""
        form, card, problem = self.form, self.models.card, self.problem()
        form.setRunning(self._isRunning)
        form.askButton.enabled = self._isRunning or not problem
        form.askButton.toolTip = problem or _("Ask about what the view shows (Enter in the question, or Shift+A).")
        form.useLabel.setText("" if card is None else card.intended_use)
        form.useLabel.setVisible(card is not None)
        self.models.showSpeed(self._seconds)
        self.answers.showHeat()
        self.message.inform(problem)
