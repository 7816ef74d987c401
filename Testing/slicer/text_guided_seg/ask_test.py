"""What the scenarios of "Ask about this view" have in common: the panel with a model that is predictable by hand.

`Testing/engine/answer_tiny.py` says how it answers: whether most of the picture is bright and, to `where`, which half
is brighter. It looks at the quarters of a picture, in every stage.
"""

import tempfile
from pathlib import Path
from unittest import mock

import qt
import slicer

import leanseg
from Testing.engine.answer_tiny import write_answer_bundle
from Testing.slicer import gestures
from Testing.slicer.text_guided_seg import fake_session
from Testing.slicer.text_guided_seg.panel_test import PanelTest

WHERE = "Where is it bright?"
IS_IT = "Is it bright?"


class AskTest(PanelTest):
    def useFake(self):
        """The segmentation model is made by hand, and so is the one that answers; the latter is run."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.bundle = write_answer_bundle(Path(folder.name) / "answers")
        segmenting = fake_session.card()
        segmenting.system = "by_hand"
        self.cards = [segmenting, self.bundle.card]
        load = leanseg.load_engine
        patches = [
            mock.patch("leanseg.list_models", side_effect=lambda: self.cards, create=True),
            mock.patch("leanseg.load_engine", side_effect=lambda name, precision: self.loaded(load, name, precision)),
            mock.patch("leanseg.text_session.TextSession", fake_session.FakeSession),
            mock.patch("leanseg.slicer_bridge.loaded_models.cardText", side_effect=lambda name: name),
            mock.patch(
                "leanseg.slicer_bridge.environment_panel.EnvironmentPanel.isCompleteFor",
                lambda _panel, engine: engine not in self.missing,
            ),
        ]
        self.missing = ()
        for patch in patches:
            patch.start()
            self.addCleanup(patch.stop)

    def loaded(self, load, name, precision):
        return load(self.bundle.folder, precision=precision) if name == "answers" else (name, precision)

    def takePanel(self):
        super().takePanel()
        self.asking = self.widget.asking
        self.form = self.asking.form
        self.answers = self.asking.answers
        self.ui.askCollapsibleButton.collapsed = False
        gestures.moveTo(slicer.app.layoutManager().sliceWidget("Red"), (40, 40))

    # Doing

    def ask(self, question=WHERE):
        """Type a question and press Enter."""
        self.write(question)
        self.enterPressed()

    def write(self, question):
        self.form.questionEdit.setFocus()
        self.form.questionEdit.selectAll()
        self.form.questionEdit.insert(question)

    def enterPressed(self):
        gestures.key(self.form.questionEdit, qt.Qt.Key_Return)
        self.finishAsking()

    def finishAsking(self):
        gestures.settle(20)
        self.assertTrue(gestures.waitFor(lambda: not self.asking._runner.busy and not self.asking._isRunning, 20))
        gestures.settle(30)

    def clickRow(self, number):
        item = self.form.table.item(number, 0)
        place = self.form.table.visualItemRect(item).center()
        gestures.click(self.form.table.viewport(), (place.x(), place.y()))
        self.finishAsking()

    def check(self, box):
        gestures.click(box, (8, box.height // 2))
        self.finishAsking()

    # Looking

    @property
    def said(self):
        self.assertNotIn("\n", self.form.messageLabel.text)
        return self.form.messageLabel.text

    @property
    def answer(self):
        return self.form.answerLabel.text

    def choices(self):
        pairs = zip(self.form.choiceLabels, self.form.choiceBars, strict=True)
        return [(label.text, bar.value) for label, bar in pairs if label.isVisibleTo(self.form.widget)]

    def rows(self):
        table = self.form.table
        return [[table.item(row, n).text() for n in range(table.columnCount)] for row in range(table.rowCount)]
