"""The answers: the one that is shown, with its heat map, and the table of all."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

import qt
import slicer
import vtk
from slicer.i18n import tr as _

from leanseg.errors import LeanSegError
from leanseg.slicer_bridge.view_picture import ViewPicture, backgroundOf
from TextGuidedSegLib.ask_form import percentage
from TextGuidedSegLib.ask_heat import AskHeat
from TextGuidedSegLib.ask_history import MOST_IMAGES, MOST_ROWS, Asked, Entry, fromText, toText, writeCsv
from TextGuidedSegLib.ask_table import AskTable


class AskAnswers:
    """`onHistory(text)`: the table is another one, as text that is to be kept."""

    def __init__(self, form: Any, runner: Any, message: Any, onHistory: Callable[[str], None]) -> None:
        self._form = form
        self._message = message
        self._onHistory = onHistory
        self._text = ""  # of the table
        self._isShown = False
        self.entries: list[Entry] = []
        self.entry: Entry | None = None
        """Whose answer is shown"""
        self.heat = AskHeat(runner, message.refuse, self.showHeat)
        self.table = AskTable(form.table, self.onRow)
        self._observation: tuple[Any, int] | None = None  # of what the asked view shows
        form.exportButton.connect("clicked(bool)", self.onExport)
        form.clearButton.connect("clicked(bool)", self.onClear)
        self.choose(None)

    def setShown(self, isShown: bool) -> None:
        """Whether the module is shown: the colors come and go with it."""
        self._isShown = isShown
        self.showHeat()

    def load(self, text: str) -> None:
        """What the scene has; heat maps are not saved."""
        if text != self._text:
            self._text = text
            self.entries = [Entry(row) for row in fromText(text)]
            self.choose(None)

    def forget(self) -> None:
        """The scene goes, and with it what it has."""
        self.load("")
        self.entries = []  # also such as the scene could not keep
        self.choose(None)

    def close(self) -> None:
        """No callback comes any more."""
        self._unobserve()
        self.heat.forget()

    def add(self, entry: Entry, isMeant: bool = True) -> bool:
        """Below the others in the table. It is shown, unless another image is meant or seen by now: whether it is."""
        self.entries = [*self.entries, entry][-MOST_ROWS:]
        for old in self.entries[:-MOST_IMAGES]:
            old.leaveImage()
        self._store()
        isMeant = isMeant and isSeen(entry.picture)
        self.choose(entry if isMeant else self.entry if self.entry in self.entries else None)
        return isMeant

    def choose(self, entry: Entry | None) -> None:
        """Show an answer, or none."""
        self._unobserve()
        self.entry = entry
        self.heat.forget()
        self._observe()
        self._showAnswer(None if entry is None else entry.asked)
        self.table.show([one.asked for one in self.entries], None if entry is None else self.entries.index(entry))
        form, isAny = self._form, bool(self.entries)
        form.table.setVisible(isAny)
        form.exportButton.enabled = form.clearButton.enabled = isAny
        self.showHeat()

    def onRow(self, number: int) -> None:
        """The answer of a row, and what it was about where that is still there."""
        entry = self.entries[number]
        self._message.clear()
        self.choose(entry)
        if entry.answer is None:
            self._message.say(_("Of this question only the text is left; ask again to see where the model looks."))
        elif not entry.hasImage:
            self._message.say(_("The image is no longer the one that was asked about; only the text is left."))
        elif not isSeen(entry.picture):
            text = _("This was asked about {image}, which {view} does not show now.")
            self._message.say(text.format(image=entry.asked.image, view=entry.asked.view))
        else:
            entry.picture.goTo()

    def showHeat(self) -> None:
        """Where the network looked, if it is wanted and can be shown."""
        form, entry = self._form, self.entry
        canShow = entry is not None and entry.hasImage
        form.setHeatEnabled(canShow)
        if entry is not None and canShow and self._isShown and form.heatCheckBox.checked:
            self.heat.show(entry, form.stageSelector.currentData, form.opacitySlider.value)
        else:
            self.heat.hide()

    def _observe(self) -> None:
        """An answer goes with its image: it must not stand beside another one."""
        view = None if self.entry is None or self.entry.picture is None else _viewOf(self.entry.picture)
        composite = None if view is None else slicer.vtkMRMLSliceLogic.GetSliceCompositeNode(view)
        if composite is not None and isSeen(self.entry.picture):
            self._observation = composite, composite.AddObserver(vtk.vtkCommand.ModifiedEvent, self._onView)

    def _unobserve(self) -> None:
        if self._observation is not None:
            node, tag = self._observation
            node.RemoveObserver(tag)
            self._observation = None

    def _onView(self, *_args: Any) -> None:
        if self.entry is not None and not isSeen(self.entry.picture):
            self.choose(None)

    def _showAnswer(self, asked: Asked | None) -> None:
        if asked is None:
            self._form.showAnswer("", "", "", ())
            self._form.showChoices(())
            return
        kind = _("Kind of question: {kind} ({probability})")
        kind = kind.format(kind=asked.questionType, probability=percentage(asked.typeProbability))
        self._form.showAnswer(f"{asked.question} ({asked.about})", _answerText(asked), kind, asked.warnings)
        self._form.showChoices(asked.choices)

    def _store(self) -> None:
        self._text = toText([one.asked for one in self.entries])
        self._onHistory(self._text)

    def onClear(self, *_args: Any) -> None:
        self.entries = []
        self._store()
        self._message.clear()
        self.choose(None)

    def onExport(self, *_args: Any) -> None:
        path = self.askForFile(_("Export questions and answers"), "questions.csv")
        if not path:
            return
        try:
            written = writeCsv([one.asked for one in self.entries], path)
        except LeanSegError as error:
            self._message.fail(error)
        else:
            self._message.say(_("Wrote {path}.").format(path=written))

    def askForFile(self, title: str, name: str) -> str:
        """The dialog; empty where it is left with Cancel."""
        return str(qt.QFileDialog.getSaveFileName(self._form.widget, title, name, "CSV (*.csv)") or "")


def isSeen(picture: ViewPicture) -> bool:
    """Whether the view that a picture was read from has its volume as background."""
    view = _viewOf(picture)
    return view is not None and backgroundOf(view) is picture.volumeNode


def _viewOf(picture: ViewPicture) -> Any:
    """The slice node; None where it is gone."""
    views = slicer.util.getNodesByClass("vtkMRMLSliceNode")
    return next((view for view in views if view.GetLayoutName() == picture.viewName), None)


def _answerText(asked: Asked) -> str:
    """HTML"""
    text = f"<b>{html.escape(asked.answer)}</b>"
    return f"{text} &nbsp; {html.escape(percentage(asked.probability))}" if asked.isTold else text
