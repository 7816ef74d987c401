"""The section "Quantize and look": two precisions of a model, or two models of one system, side by side on one image.

Modules use it from here; `precision_choices.py`, `precision_subject.py`, `precision_figures.py`, `precision_overlay.py`
and `precision_form.py` are its parts.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import qt
import slicer
from slicer.i18n import tr as _

from leanseg.errors import InferenceCancelled, LeanSegError
from leanseg.slicer_bridge.loaded_models import LoadedModels
from leanseg.slicer_bridge.message_line import MessageLine
from leanseg.slicer_bridge.parameters import Parameters, Value
from leanseg.slicer_bridge.precision_choices import PrecisionChoices, precisionName
from leanseg.slicer_bridge.precision_figures import columnsAndRows, differenceText
from leanseg.slicer_bridge.precision_form import PrecisionForm
from leanseg.slicer_bridge.precision_overlay import DisagreementOverlay
from leanseg.slicer_bridge.precision_subject import REPEATS, Subject, SubjectSource, comparison
from leanseg.slicer_bridge.runner import Runner
from leanseg.slicer_bridge.updating import Updating

if TYPE_CHECKING:
    from leanseg.inference.precision_comparison import PrecisionComparison

DEFAULTS: dict[str, Value] = {"other": "", "folders": "", "isShown": True}


class PrecisionPanel(Updating):
    """One section of a module, with a parameter node, a thread and models of its own. It touches no segmentation."""

    def __init__(self, moduleName: str, panel: Any, source: SubjectSource) -> None:
        """`panel`: of the module, with `models`; its `ui` has precisionsCollapsibleButton."""
        self._panel = panel
        self._source = source
        self._parameters = Parameters(f"{moduleName}Precisions", DEFAULTS)
        self._runner = Runner()
        self._loaded = LoadedModels()
        self._isRunning = False
        self._isShown = False
        self._subject: Subject | None = None
        self._compared: PrecisionComparison | None = None
        self._overlay: DisagreementOverlay | None = None
        self.form = form = PrecisionForm(panel.ui.precisionsCollapsibleButton)
        self.message = MessageLine(form.messageLabel, form.messageIconLabel)
        self.choices = PrecisionChoices(form.otherSelector, self._parameters, panel.models)
        form.otherSelector.connect("currentIndexChanged(int)", self.onOtherChosen)
        form.addButton.connect("clicked(bool)", self.onAdd)
        form.measureButton.connect("clicked(bool)", self.onMeasureOrCancel)
        form.showCheckBox.connect("toggled(bool)", self.onShow)
        self.showState()

    # Life

    def enter(self) -> None:
        """The module is shown."""
        self._isShown = True
        self._parameters.observe(self.load)
        self.load()
        self.update()
        self._showDifference()

    def exit(self) -> None:
        """Another module is shown; what lies over the image goes with this one, and comes again."""
        self._isShown = False
        self._parameters.unobserve()
        self._hide()

    def update(self) -> None:
        """The panel may have another image or model."""
        if self._isShown and self.choices.isOutdated:
            self._fill()
            self.forget()
        elif self._subject is not None and self._source.volumes() != self._subject.volumeNodes:
            self.forget()

    def forget(self) -> None:
        """What was measured belongs to another image or model; a run is cancelled."""
        self._isRunning = False
        self._runner.cancel()
        self._hide()
        self._subject = self._compared = None
        self.message.clear()
        self.showState()

    def leaveScene(self) -> None:
        """Forget all nodes before they go."""
        self.forget()

    def close(self) -> None:
        """No callback comes any more."""
        self.exit()
        self._runner.close()

    # What is compared

    def load(self) -> None:
        """Parameters -> section."""
        if not self.isUpdating and not slicer.mrmlScene.IsBatchProcessing():
            with self.updating():
                self.form.showCheckBox.checked = self._parameters.get("isShown")
            self._fill()

    def _fill(self) -> None:
        with self.updating():
            self.choices.fill()
        self.showState()

    def onOtherChosen(self, *_args: Any) -> None:
        if not self.isUpdating:
            with self.updating():
                self.choices.store()
            self.forget()

    def onAdd(self, *_args: Any) -> None:
        """A model of the user's own."""
        folder = self.askForFolder()
        if not folder:
            return
        self.forget()
        try:
            with self.updating():
                self.choices.add(folder)
        except LeanSegError as error:
            self.message.refuse(error)
        self._fill()

    def askForFolder(self) -> str:
        """The dialog; empty where it is left with Cancel."""
        title = _("Folder of a model (with card.json)")
        return str(qt.QFileDialog.getExistingDirectory(self.form.widget, title))

    # Measure

    def onMeasureOrCancel(self, *_args: Any) -> None:
        if self._isRunning:
            self._runner.cancel()
            return
        first, second = self.choices.first, self.choices.second
        if first is None or second is None:
            return
        self.forget()
        try:
            with slicer.util.WaitCursor():
                self._subject = self._source.subject()
        except LeanSegError as error:
            self.message.refuse(error)
            return
        self._runner.submit(
            partial(comparison, self._loaded, (first, second), self._subject),
            onDone=self._arrived,
            onFailed=self._ended,
            onCancelled=lambda: self._ended(InferenceCancelled()),
            onProgress=self.form.showProgress,
        )
        self._isRunning = True
        self.showState()

    def _arrived(self, compared: PrecisionComparison) -> None:
        self._isRunning, self._compared = False, compared
        self.showState()
        self._showDifference()

    def _ended(self, error: Exception) -> None:
        if not self._isRunning:
            return  # another image or model was chosen, which has cancelled it
        self.forget()
        if isinstance(error, InferenceCancelled):
            self.message.say(_("Cancelled; nothing was measured."))
        else:
            self.message.refuse(error)

    # Show

    def onShow(self, *_args: Any) -> None:
        if not self.isUpdating:
            with self.updating():
                self._parameters.set("isShown", self.form.showCheckBox.checked)
            self._showDifference()

    def _hide(self) -> None:
        if self._overlay is not None:
            self._overlay.remove()
            self._overlay = None

    def _showDifference(self) -> None:
        self._hide()
        if self._compared is None or self._subject is None or not self._isShown or not self.form.showCheckBox.checked:
            return
        try:
            self._overlay = DisagreementOverlay(self._compared.disagreement, self._subject)
        except LeanSegError as error:
            self.message.refuse(error)

    def showState(self) -> None:
        """Buttons, table and labels."""
        form, first, compared = self.form, self.choices.first, self._compared
        hasOther = self.choices.second is not None
        form.firstLabel.setText("" if first is None else f"{first[0]}, {precisionName(first[1])}")
        form.setRunning(self._isRunning)
        form.otherSelector.enabled = hasOther and not self._isRunning
        form.addButton.enabled = first is not None and not self._isRunning
        form.measureButton.enabled = self._isRunning or hasOther
        text = _("Run both models on the shown image, in turns, {count} times each.")
        form.measureButton.toolTip = text.format(count=REPEATS)
        for widget in (form.table, form.differenceLabel, form.showCheckBox):
            widget.setVisible(compared is not None)
        if compared is not None:
            form.showTable(*columnsAndRows(compared))
            form.differenceLabel.setText(differenceText(compared))
        alone = _("{id} has one precision, and no other model of its system is here. Add one to compare it with.")
        self.message.inform("" if hasOther or first is None else alone.format(id=first[0]))
