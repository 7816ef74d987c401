"""The section "Which case next?": ranks a folder or the loaded volumes, and takes them into the module one by one.

Modules use it from here; `case_inputs.py`, `case_pool.py`, `case_models.py`, `case_table.py` and `case_form.py` are its
parts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import slicer
from slicer.i18n import tr as _

from leanseg.errors import InferenceCancelled, LeanSegError
from leanseg.slicer_bridge.case_form import CaseForm
from leanseg.slicer_bridge.case_inputs import FOLDER, CaseInputs, Skipped
from leanseg.slicer_bridge.case_models import CaseModels
from leanseg.slicer_bridge.case_pool import Pool, thumbnailOf, withDone
from leanseg.slicer_bridge.case_table import CaseTable, Row
from leanseg.slicer_bridge.frames import VolumeFrames, framesOf
from leanseg.slicer_bridge.loaded_models import LoadedModels
from leanseg.slicer_bridge.message_line import MessageLine
from leanseg.slicer_bridge.model_chooser import ModelKey
from leanseg.slicer_bridge.runner import Runner
from leanseg.slicer_bridge.shown_in import viewsShowing

if TYPE_CHECKING:
    from leanseg.weights.card import ModelCard

_LEAST_CANDIDATES = 16


class CaseSuggestions:
    """One section of a module, with a parameter node, a thread and models of its own."""

    def __init__(self, moduleName: str, panel: Any, cards: Callable[[], list[ModelCard]], note: str = "") -> None:
        """`panel`: of the module, with `models`; its `ui` has caseSuggestionsCollapsibleButton and inputSelector.
        `cards`: of the models that can rank; `note` is said about them."""
        self._panel = panel
        self._runner = Runner()
        self._isRunning = False
        self._image: Any = None
        self._loaded = LoadedModels()
        self.form = form = CaseForm(panel.ui.caseSuggestionsCollapsibleButton, note)
        self.message = MessageLine(form.messageLabel, form.messageIconLabel)
        self.models = CaseModels(form.modelList, cards, lambda: panel.models.key)
        self.table = CaseTable(form.table, self.open, self.showState)
        self.inputs = CaseInputs(moduleName, form, self.models, self._onPool, self.message.refuse)
        form.rankButton.connect("clicked(bool)", self.onRankOrCancel)
        form.nextButton.connect("clicked(bool)", self.onNext)
        form.doneButton.connect("clicked(bool)", self.onDone)
        self.showState()

    # Life

    def enter(self) -> None:
        """The module is shown."""
        self.inputs.enter()
        self.showState()

    def exit(self) -> None:
        """Another module is shown: a run goes on."""
        self.inputs.exit()

    def update(self) -> None:
        """The panel may have another image or model."""
        self.inputs.modelsMayDiffer()
        image = self._panel.ui.inputSelector.currentNode()
        if image is not self._image:  # panels call it at every move of a slider
            self._image = image
            if self.inputs.pool is not None:  # what is done next is done to this one
                self.table.select(self._current(self.inputs.pool))
            self.showState()

    def leaveScene(self) -> None:
        """Forget all nodes before they go."""
        self._image = None
        self.inputs.leaveScene()
        self._onPool()

    def close(self) -> None:
        """No callback comes any more."""
        self.inputs.exit()
        self._runner.close()

    def _onPool(self) -> None:
        """Other images are meant: the table is there again, without computing anything."""
        self._runner.cancel()
        self._isRunning = False
        self.message.clear()
        self.table.forgetThumbnails()
        self._showCases()
        pool = self.inputs.pool
        if pool is None:
            return
        for one in pool.state.ranking:
            source = pool.source(one.id)
            if isinstance(source, Path):  # one after the other, beside the GUI
                self._runner.submit(
                    partial(_fileThumbnail, source, one.slice_k),
                    onDone=partial(self.table.setThumbnail, one.id),
                    onFailed=lambda _error: None,
                )
            else:
                self.table.setThumbnail(one.id, thumbnailOf(source, one.slice_k))

    # Rank

    def onRankOrCancel(self, *_args: Any) -> None:
        if self._isRunning:
            self._runner.cancel()
            return
        self.message.clear()
        try:
            self._rank()
        except LeanSegError as error:
            self.message.refuse(error)
        self.showState()

    def _rank(self) -> None:
        """:raises LeanSegError: there is nothing to rank, or nothing to rank it with."""
        self.inputs.refresh()
        keys, count, pool = self.models.keys(), self.form.countSpinBox.value, self.inputs.pool
        if pool is None:
            nothing = _("No folder is chosen. Choose a folder of images, or the loaded volumes.")
            raise LeanSegError(self.inputs.problem or nothing)
        if not keys:
            raise LeanSegError(_("No model is checked. Check at least one."))
        with slicer.util.WaitCursor():
            images, unusable = pool.images()
        self._runner.cancel()  # thumbnails
        labelled = pool.labelled
        self._runner.submit(
            partial(rank, images, self._loaded, keys, count, labelled),
            onDone=partial(self._ranked, pool, unusable),
            onFailed=self._ended,
            onCancelled=lambda: self._ended(InferenceCancelled()),
            onProgress=self.form.showProgress,
        )
        self._isRunning = True

    def _ranked(self, pool: Pool, unusable: Skipped, suggestions: Any) -> None:
        self._isRunning = False
        pool.take(suggestions)
        self.inputs.skipped = [*unusable, *map(_nameAndReason, suggestions.skipped)]
        self.inputs.save()
        byRank = {one.rank: one.thumbnail for one in suggestions.cases}
        self.table.forgetThumbnails()
        self._showCases()
        for one in pool.state.ranking:
            self.table.setThumbnail(one.id, byRank.get(one.rank))
        self.message.inform(suggestions.note)

    def _ended(self, error: Exception) -> None:
        if not self._isRunning:
            return  # other images were chosen, which has cancelled it
        self._isRunning = False
        if isinstance(error, InferenceCancelled):
            self.message.say(_("Cancelled; the list is as it was."))
        else:
            self.message.refuse(error)
        self.showState()

    # Show

    def _showCases(self) -> None:
        pool = self.inputs.pool
        rows = []
        if pool is not None:
            done = set(pool.state.done)
            for one in sorted(pool.state.ranking, key=lambda one: one.rank):
                values = (one.rank, one.is_suggested, one.uncertainty, one.coverage, one.id in done)
                rows.append(Row(one.id, pool.name(one.id), one.reason, *values))
        self.table.show([*rows, *(Row("", name, reason) for name, reason in self.inputs.skipped)])
        self.showState()

    def showState(self) -> None:
        """Buttons and labels."""
        form, pool = self.form, self.inputs.pool
        suggested = [] if pool is None else [one.id for one in pool.state.ranking if one.is_suggested]
        done = () if pool is None else pool.state.done
        case = self._meant()
        form.showFolder(form.sourceSelector.currentData == FOLDER)
        form.setRunning(self._isRunning)
        form.nextButton.enabled = bool(suggested) and not self._isRunning
        form.doneButton.enabled = bool(case) and not self._isRunning
        form.showDone(pool.name(case) if pool is not None and case else "", case in done)
        form.table.setVisible(bool(self.table.rows))
        form.showSummary(pool, len(suggested), len([one for one in suggested if one in done]))

    # One image

    def _meant(self) -> str:
        """Id of the selected image or, where none is, of the one that the module works on; empty: none was ranked."""
        pool = self.inputs.pool
        return "" if pool is None else self.table.selected or self._current(pool)

    def _current(self, pool: Pool) -> str:
        node = self._panel.ui.inputSelector.currentNode()
        known = [*(one.id for one in pool.state.ranking), *pool.state.done]
        return "" if node is None else next((case for case in known if pool.isNode(case, node)), "")

    def onNext(self, *_args: Any) -> None:
        """The next suggestion that is not done."""
        self.message.clear()
        self.inputs.refresh()
        pool = self.inputs.pool
        if pool is None:
            return  # which was said
        case = pool.state.next_id
        if case is None:
            self.message.say(_("All suggestions are done. Press Rank to choose among the other images."))
        elif case == self._current(pool):
            self.open(case)
            text = _("{name} is next still: it is not done. Mark it done, then load the next.")
            self.message.say(text.format(name=pool.name(case)))
        else:
            self.open(case)

    def open(self, case: str) -> None:
        """Load an image, make it the input of the module, and show the slice that stands for it."""
        pool = self.inputs.pool
        assert pool is not None
        self.message.clear()
        k = next((one.slice_k for one in pool.state.ranking if one.id == case), 0)
        try:
            node = pool.node(case)
            self._panel.ui.inputSelector.setCurrentNode(node)
            if not viewsShowing(node):
                slicer.util.setSliceViewerLayers(background=node, fit=True)
            frames = framesOf(node)
            if isinstance(frames, VolumeFrames) and frames.count > 1:
                frames.select(min(k, frames.count - 1))
        except LeanSegError as error:
            self.message.refuse(error)
        self.table.select(case)
        self.showState()

    def onDone(self, *_args: Any) -> None:
        """The image that is meant is annotated; or it is not, after all."""
        case = self._meant()
        self.inputs.refresh()
        pool = self.inputs.pool
        if pool is None:
            return  # which was said
        self.message.clear()
        pool.state = withDone(pool.state, case, case not in pool.state.done)
        self.inputs.save()
        self._showCases()


def _fileThumbnail(path: Path, k: int, _progress: Any) -> Any:
    return thumbnailOf(path, k)


def rank(
    images: list[Any], models: LoadedModels, keys: list[ModelKey], count: int, labelled: Any, progress: Any
) -> Any:
    """`Suggestions`. In any thread.

    :raises LeanSegError: a model cannot be loaded or does not fit the others, or no image is left.
    :raises InferenceCancelled: `progress` returned False.
    """
    import leanseg

    candidates = max(_LEAST_CANDIDATES, 2 * count)
    with models.use(keys, progress) as loaded:
        return leanseg.suggest_cases(images, loaded, count, candidates, labelled=labelled, progress=progress)


def _nameAndReason(skipped: Any) -> tuple[str, str]:
    """Without the folder, which is the same for all."""
    if skipped.path is None:
        return skipped.id, skipped.reason
    return skipped.path.name, skipped.reason.replace(str(skipped.path), skipped.path.name)
