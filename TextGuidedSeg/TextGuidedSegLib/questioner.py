"""\"Next question\": goes to the most uncertain place, marks it, says why, and takes the answer as a click there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
from slicer.i18n import tr as _

from TextGuidedSegLib.world_places import worldMatrix, worldPoints


class Questioner:
    """The three buttons and the line below them. `onAnswer(hint)`: as if it had been clicked there."""

    def __init__(self, ui: Any, dialog: Any, marks: Any, tools: Any, onAnswer: Callable[[Any], None]) -> None:
        self._ui = ui
        self._dialog = dialog
        self._marks = marks
        self._tools = tools
        self._onAnswer = onAnswer
        self.asked: Any = None
        """The `Question` that waits for an answer"""
        ui.questionButton.connect("clicked(bool)", self.onAsk)
        ui.yesButton.connect("clicked(bool)", lambda *_args: self._answer(True))
        ui.noButton.connect("clicked(bool)", lambda *_args: self._answer(False))
        self.forget()

    def forget(self, text: str = "") -> None:
        """No answer is waited for any more."""
        self.asked = None
        self._marks.question(None)
        self._ui.questionLabel.setText(text)
        self._ui.questionLabel.setVisible(bool(text))

    def showState(self) -> None:
        dialog = self._dialog
        canAsk = not dialog.isRunning and bool(dialog.proposals) and dialog.session is not None
        self._ui.questionButton.enabled = canAsk
        self._ui.yesButton.enabled = self._ui.noButton.enabled = self.asked is not None and not dialog.isRunning

    def onAsk(self, *_args: Any) -> None:
        self.forget()
        self._dialog.ask(self._onQuestion)

    def _onQuestion(self, question: Any) -> None:
        if question is None:
            self.forget(_("Nothing is uncertain enough to ask about. Accept the result, or click where it is wrong."))
        else:
            self.asked = question
            place = worldPoints([question.kji], worldMatrix(self._dialog.frames.volumeNode))[0]
            self._jump(place)
            self._marks.question(place)
            text = _("Is the marked place tumor? {why} Answer here, or click elsewhere.").format(why=question.why)
            self._ui.questionLabel.setText(text)
            self._ui.questionLabel.setVisible(True)
            if not self._tools.held:
                self._tools.hold("positive")
        self.showState()

    def _jump(self, place: Any) -> None:
        mode = slicer.vtkMRMLSliceNode.CenteredJumpSlice
        slicer.vtkMRMLSliceNode.JumpAllSlices(slicer.mrmlScene, *place, mode)

    def _answer(self, isTumor: bool) -> None:
        from leanseg.inference.hints import Click

        kji = self.asked.kji
        self.forget()
        self._onAnswer(Click(tuple(float(x) for x in kji), isTumor))
