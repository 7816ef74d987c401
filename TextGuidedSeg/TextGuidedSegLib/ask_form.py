"""The widgets of the section "Ask about this view"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ctk
import qt
from slicer.i18n import tr as _

from leanseg.slicer_bridge.section_form import SectionForm, formRow, named, wrapped

STAGES = 5
CHOICES = 5
_BAR_HEIGHT = 16  # px
_PARTS = 1000  # of a bar
_NARROW = qt.QSizePolicy(qt.QSizePolicy.Ignored, qt.QSizePolicy.Fixed)
_TABLE_HEIGHT = 120  # px


class AskForm(SectionForm):
    """Makes them, in the layout of a collapsible button, in the order in which Tab goes through them."""

    def __init__(self, collapsibleButton: Any) -> None:
        super().__init__(collapsibleButton)
        self._addQuestion(self.form)
        self.addProgressAndMessage("ask")
        self._addAnswer(self.layout)
        self._addHeatMap(self.layout)
        self._addHistory(self.layout)

    def _addQuestion(self, form: Any) -> None:
        self.modelSelector = named(qt.QComboBox(), "askModelSelector", _("Model that answers questions."))
        self.precisionSelector = named(
            qt.QComboBox(), "askPrecisionSelector",
            _("INT8 is the smaller and usually the faster one; fp32 is the model as it was trained."),
        )  # fmt: skip
        self.modelInfoLabel = named(
            qt.QLabel(), "askModelInfoLabel",
            _("Size of the files, and time for another question about a picture: measured on this computer."),
        )  # fmt: skip
        label, line = qt.QLabel(_("Model:")), qt.QHBoxLayout()
        label.setBuddy(self.modelSelector)
        line.addWidget(self.modelSelector, 1)
        line.addWidget(self.precisionSelector)
        line.addWidget(self.modelInfoLabel)
        form.addRow(label, line)
        self.viewSelector = named(
            qt.QComboBox(), "askViewSelector",
            _("The slice view that is asked about: what it shows of the image, with its window and level."),
        )  # fmt: skip
        self.segmentSelector = named(
            qt.QComboBox(), "askSegmentSelector",
            _("Ask about all that the view shows, or cut the picture around a segment, with a margin."),
        )  # fmt: skip
        form.addRow(_("View:"), self.viewSelector)
        form.addRow(_("Part:"), self.segmentSelector)
        for selector in (self.modelSelector, self.viewSelector, self.segmentSelector):
            selector.setSizePolicy(_NARROW)  # names may be long
        self.questionEdit = named(
            qt.QLineEdit(), "askQuestionEdit", _("A question in English about the picture. Enter asks.")
        )
        self.questionEdit.placeholderText = _("e.g. Is there a mass?")
        self.askButton = named(qt.QPushButton(), "askButton", "")
        formRow(form, _("Question:"), self.questionEdit, self.askButton)

    def _addAnswer(self, layout: Any) -> None:
        self.askedLabel = named(wrapped(""), "askAskedLabel", _("What was asked, and about what."))
        self.answerLabel = named(wrapped(""), "askAnswerLabel", _("The answer, and how probable the model finds it."))
        self.askedLabel.setTextFormat(qt.Qt.PlainText)  # names may hold anything
        self.answerLabel.setTextFormat(qt.Qt.RichText)
        for label in (self.askedLabel, self.answerLabel):
            label.setTextInteractionFlags(qt.Qt.TextSelectableByMouse)
            layout.addWidget(label)
        self.choicesWidget = named(qt.QWidget(), "askChoicesWidget", _("The most probable answers."))
        layout.addWidget(self.choicesWidget)
        grid = qt.QGridLayout(self.choicesWidget)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(2)
        grid.setColumnStretch(0, 1)
        grid.setColumnStretch(1, 1)
        self.choiceLabels, self.choiceBars = [], []
        for number in range(CHOICES):
            label, bar = wrapped(""), qt.QProgressBar()
            label.setSizePolicy(qt.QSizePolicy.Ignored, qt.QSizePolicy.Preferred)
            bar.setRange(0, _PARTS)
            bar.setFixedHeight(_BAR_HEIGHT)
            grid.addWidget(label, number, 0)
            grid.addWidget(bar, number, 1)
            self.choiceLabels.append(label)
            self.choiceBars.append(bar)
        self.typeLabel = named(wrapped(""), "askTypeLabel", _("What the model takes the question for."))
        layout.addWidget(self.typeLabel)
        self.warningsLabel = wrapped("")
        self.warningsLabel.objectName = "askWarningsLabel"
        self.warningsLabel.setTextInteractionFlags(qt.Qt.TextSelectableByMouse)
        layout.addWidget(self.warningsLabel)
        self.useLabel = wrapped("")
        self.useLabel.objectName = "askUseLabel"
        font = qt.QFont(self.useLabel.font)
        font.setItalic(True)
        self.useLabel.setFont(font)
        layout.addWidget(self.useLabel)

    def _addHeatMap(self, layout: Any) -> None:
        self.heatCheckBox = named(
            qt.QCheckBox(_("Show where it looked")), "askHeatCheckBox",
            _("Color the places that weighed most in the answer (Shift+H). They need not be the reason for it."),
        )  # fmt: skip
        self.stageSelector = named(
            qt.QComboBox(), "askStageSelector", _("Stage of the network: shallow ones see texture, deep ones regions.")
        )
        self.stageSelector.addItem(_("All stages"), 0)
        for stage in range(1, STAGES + 1):
            text = {1: _("Stage 1, shallow"), STAGES: _("Stage {number}, deep")}.get(stage, _("Stage {number}"))
            self.stageSelector.addItem(text.format(number=stage), stage)
        self.opacitySlider = named(ctk.ctkSliderWidget(), "askOpacitySlider", _("Opacity of the colors."))
        self.opacitySlider.singleStep = 0.05
        self.opacitySlider.maximum = 1.0
        first, second = qt.QHBoxLayout(), qt.QHBoxLayout()
        layout.addLayout(first)
        layout.addLayout(second)
        first.addWidget(self.heatCheckBox)
        first.addWidget(self.stageSelector, 1)
        self._opacityLabel = qt.QLabel(_("Opacity:"))
        second.addWidget(self._opacityLabel)
        second.addWidget(self.opacitySlider, 1)

    def _addHistory(self, layout: Any) -> None:
        self.table = named(qt.QTableWidget(), "askHistoryTable", "")
        self.table.setMinimumHeight(_TABLE_HEIGHT)
        self.table.accessibleName = _("Questions that were asked")
        layout.addWidget(self.table)
        buttons = qt.QHBoxLayout()
        layout.addLayout(buttons)
        self.exportButton = named(
            qt.QPushButton(_("Export CSV...")), "askExportButton",
            _("Save the questions and answers as a table of text. It names each image as the scene does, which may be"
              " the name of a patient; it holds no image."),
        )  # fmt: skip
        self.clearButton = named(qt.QPushButton(_("Clear")), "askClearButton", _("Forget all questions and answers."))
        buttons.addWidget(self.exportButton)
        buttons.addWidget(self.clearButton)

    # Show

    def setRunning(self, isRunning: bool) -> None:
        self.askButton.text = _("Cancel") if isRunning else _("Ask")
        super().setRunning(isRunning)

    def setHeatEnabled(self, isEnabled: bool) -> None:
        """Whether there is an answer of which the heat map can be shown; that it is wanted stays checked."""
        for widget in (self.stageSelector, self.opacitySlider, self._opacityLabel):
            widget.enabled = isEnabled

    def showAnswer(self, asked: str, answer: str, kind: str, warnings: Sequence[str]) -> None:
        """`answer` is HTML; what is empty takes no place."""
        texts = (asked, answer, kind, "\n".join(warnings))
        labels = (self.askedLabel, self.answerLabel, self.typeLabel, self.warningsLabel)
        for label, text in zip(labels, texts, strict=True):
            label.setText(text)
            label.setVisible(bool(text))

    def showChoices(self, choices: Sequence[tuple[str, float]]) -> None:
        """Answers with their probabilities, the most probable first."""
        self.choicesWidget.setVisible(bool(choices))
        for number, (label, bar) in enumerate(zip(self.choiceLabels, self.choiceBars, strict=True)):
            isThere = number < len(choices)
            text, probability = choices[number] if isThere else ("", 0.0)
            label.setText(text)
            bar.setValue(round(_PARTS * probability))
            bar.setFormat(percentage(probability))
            label.setVisible(isThere)
            bar.setVisible(isThere)


def percentage(probability: float) -> str:
    """As a person reads it: what is not certain is never 100 %, and what is not impossible never 0 %."""
    if 0 < probability < 0.01:
        return "< 1 %"
    return "> 99 %" if 0.99 < probability < 1 else f"{100 * probability:.0f} %"
