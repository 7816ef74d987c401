"""Where the network looked, as colors over the view that was asked about; nothing of it is saved."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import slicer
import vtk
from slicer.i18n import tr as _

from leanseg.errors import LeanSegError
from leanseg.slicer_bridge.overlay import UncertaintyOverlay
from leanseg.slicer_bridge.shown_in import ViewsObserver
from TextGuidedSegLib.ask_history import Entry

FAINT = 0.2
"""What was looked at less than this, of the most, stays clean"""


class AskHeat:
    """The heat map of one answer at a time. The runner makes it beside the GUI; it is kept while the answer is shown.

    `onGone()`: the image has changed, and so the heat map has gone.
    """

    def __init__(self, runner: Any, refuse: Callable[[Exception], None], onGone: Callable[[], None]) -> None:
        self._runner = runner
        self._refuse = refuse
        self._onGone = onGone
        self._entry: Entry | None = None
        self._maps: dict[int, Any] = {}
        self._stage: int | None = None  # that is wanted
        self._shownStage: int | None = None
        self._opacity = 0.0
        self._overlay: UncertaintyOverlay | None = None
        self._views: ViewsObserver | None = None
        self._observations: list[tuple[Any, int]] = []

    @property
    def node(self) -> Any:
        """The volume node of the colors; None where none are shown."""
        return None if self._overlay is None else self._overlay.node

    def show(self, entry: Entry, stage: int, opacity: float) -> None:
        """Of an answer whose image is there; soon."""
        if entry is not self._entry:
            self.hide()
            self._entry, self._maps = entry, {}
        self._stage, self._opacity = stage, opacity
        if stage in self._maps:
            self._show()
            return
        self._runner.submit(
            partial(heatMap, entry.answer, stage),
            onDone=partial(self._arrived, entry, stage),
            onFailed=self._refuse,
            latest=True,
        )

    def hide(self) -> None:
        """Nothing of it stays in the scene, and nothing is observed."""
        self._stage = self._shownStage = None
        if self._views is not None:
            self._views.stop()
            self._views = None
        for node, tag in self._observations:
            node.RemoveObserver(tag)
        self._observations = []
        if self._overlay is not None:
            self._overlay.remove()
            self._overlay = None

    def forget(self) -> None:
        """Hide it, and do not keep it."""
        self.hide()
        self._entry, self._maps = None, {}

    def _arrived(self, entry: Entry, stage: int, values: Any) -> None:
        if entry is self._entry:
            self._maps[stage] = values
            if stage == self._stage:
                self._show()

    def _show(self) -> None:
        assert self._entry is not None and self._stage is not None
        picture = self._entry.picture
        if not picture.isUpToDate:
            self._left()
            return
        node = picture.volumeNode
        if self._overlay is None:
            self._overlay = UncertaintyOverlay(node, FAINT, _("Attention"))
            self._views = ViewsObserver(node, self._onViews)
            for event in (vtk.vtkCommand.ModifiedEvent, slicer.vtkMRMLVolumeNode.ImageDataModifiedEvent):
                self._observations.append((node, node.AddObserver(event, self._onImage)))
        self._overlay.setOpacity(self._opacity)
        if self._stage == self._shownStage and self._overlay.isVisible:
            return
        try:
            self._overlay.show(self._maps[self._stage][None], picture.localGeometry)
        except LeanSegError as error:
            self.hide()
            self._refuse(error)
            return
        self._shownStage = self._stage

    def _onViews(self) -> None:
        """Other views show the image than before; perhaps none."""
        self._shownStage = None
        self._show()

    def _onImage(self, *_args: Any) -> None:
        if self._entry is None or not self._entry.picture.isUpToDate:
            self._left()

    def _left(self) -> None:
        self.hide()
        self._onGone()


def heatMap(answer: Any, stage: int, _progress: Any) -> Any:
    """(j, i), 0 to 1. In any thread.

    :raises LeanSegError: there is no such stage.
    """
    return answer.heat_map(stage)
