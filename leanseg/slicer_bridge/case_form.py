"""The widgets of the section "Which case next?"."""

from __future__ import annotations

from typing import Any

import qt
from slicer.i18n import tr as _

from leanseg.slicer_bridge.section_form import SectionForm, formRow, named, wrapped

_TABLE_HEIGHT = 250  # px, at least
_MOST = 999  # suggestions


class CaseForm(SectionForm):
    """Makes them, in the layout of a collapsible button."""

    def __init__(self, collapsibleButton: Any, note: str) -> None:
        super().__init__(collapsibleButton)
        form, layout = self.form, self.layout
        self.sourceSelector = named(qt.QComboBox(), "caseSourceSelector", _("Images to choose from."))
        form.addRow(_("Images:"), self.sourceSelector)
        self.folderEdit = named(
            qt.QLineEdit(), "caseFolderEdit", _("Folder of images; folders inside it are not looked at.")
        )
        self.folderButton = named(qt.QPushButton(_("Choose...")), "caseFolderButton", _("Choose the folder."))
        self._folderRow = formRow(form, _("Folder:"), self.folderEdit, self.folderButton)
        self.modelList = named(
            qt.QListWidget(),
            "caseModelList",
            _("Models that say how uncertain an image is. With several, it is how much they disagree."),
        )
        self.addModelButton = named(
            qt.QPushButton(_("Add...")), "caseAddModelButton", _("Add a model of your own: choose its folder.")
        )
        formRow(form, _("Models:"), self.modelList, self.addModelButton)
        self.countSpinBox = named(qt.QSpinBox(), "caseCountSpinBox", _("How many images to suggest."))
        self.countSpinBox.setRange(1, _MOST)
        form.addRow(_("Suggest:"), self.countSpinBox)
        if note:
            layout.addWidget(wrapped(note))
        self.rankButton = named(
            qt.QPushButton(), "caseRankButton",
            _("Run the models on every image that is not done, and choose those that are uncertain and stand for many"
              " others."),
        )  # fmt: skip
        layout.addWidget(self.rankButton)
        self.addProgressAndMessage("case")
        self.table = named(
            qt.QTableWidget(), "caseTable", _("Ranked images. Press Return, or double-click, to load one.")
        )
        self.table.setMinimumHeight(_TABLE_HEIGHT)
        self.table.toolTip = ""  # each row has its own
        self.table.accessibleName = _("Ranked images")
        layout.addWidget(self.table)
        self.summaryLabel = wrapped("")
        layout.addWidget(self.summaryLabel)
        buttons = qt.QHBoxLayout()
        layout.addLayout(buttons)
        self.nextButton = named(
            qt.QPushButton(_("Load next")), "caseNextButton", _("Load the next suggestion that is not done.")
        )
        self.doneButton = named(qt.QPushButton(), "caseDoneButton", "")
        buttons.addWidget(self.nextButton)
        buttons.addWidget(self.doneButton)

    def showFolder(self, isFolder: bool) -> None:
        """Whether images come from a folder."""
        for widget in self._folderRow:
            widget.setVisible(isFolder)

    def setRunning(self, isRunning: bool) -> None:
        self.rankButton.text = _("Cancel") if isRunning else _("Rank")
        super().setRunning(isRunning)

    def showProgress(self, done: int, total: int, what: str) -> None:
        super().showProgress(done, total, what.rpartition("/")[2])  # a file is named with its folder

    def showDone(self, name: str, isDone: bool) -> None:
        """`name` of the image that can be marked; empty: there is none."""
        text = _("{name} is not annotated yet.") if isDone else _("{name} is annotated.")
        nothing = _("The selected image or, where none is selected, the one that is the input of this module.")
        self.doneButton.text = _("Mark not done") if isDone else _("Mark done")
        self.doneButton.toolTip = text.format(name=name) if name else nothing

    def showSummary(self, pool: Any, suggested: int, done: int) -> None:
        """What is in the table; of the suggestions, so many are done."""
        text = ""
        if pool is not None and pool.state.ranking:
            text = _("{done} of {suggested} suggestions done. {count} images ranked by {measure} of {models}.").format(
                done=done,
                suggested=suggested,
                count=len(pool.state.ranking),
                measure=pool.state.measure,
                models=", ".join(pool.state.models),
            )
            before = len(set(pool.state.done) - {one.id for one in pool.state.ranking})
            if before:
                text += " " + _("Done before, and left out: {count}.").format(count=before)
        self.summaryLabel.setText(text)
        self.summaryLabel.setVisible(bool(text))
