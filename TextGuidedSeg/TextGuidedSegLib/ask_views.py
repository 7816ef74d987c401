"""The slice view that is asked about: that which the mouse was over last, or one that a person has chosen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
import vtk
from slicer.i18n import tr as _

from leanseg.slicer_bridge.shown_in import visibleViews

MOUSE = ""
_DELAY_MS = 20


class AskViews:
    """Fills the combo box with the views that the layout shows. `onChosen()`: a person has chosen."""

    def __init__(self, selector: Any, onChosen: Callable[[], None]) -> None:
        self._selector = selector
        self._onChosen = onChosen
        self._underMouse = ""  # layout name
        self._observations: list[tuple[Any, int]] = []
        self._timer = qt.QTimer()  # a change of layout tells of itself in one view after the other
        self._timer.setSingleShot(True)
        self._timer.setInterval(_DELAY_MS)
        self._timer.connect("timeout()", self.fill)
        selector.connect("currentIndexChanged(int)", lambda _index: self._onChosen())
        self.fill()

    def observe(self) -> None:
        """Begin to follow the mouse and the layout."""
        self.unobserve()
        crosshair, scene = slicer.vtkMRMLCrosshairNode, slicer.vtkMRMLScene
        for node in slicer.util.getNodesByClass("vtkMRMLCrosshairNode"):
            self._add(node, crosshair.CursorPositionModifiedEvent, self._onMouse)
        for node in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
            self._add(node, vtk.vtkCommand.ModifiedEvent, self._onLayout)
        for event in (scene.NodeAddedEvent, scene.EndBatchProcessEvent):
            self._add(slicer.mrmlScene, event, self._onScene)
        self.fill()

    def unobserve(self) -> None:
        """No call comes any more."""
        self._timer.stop()
        for node, tag in self._observations:
            node.RemoveObserver(tag)
        self._observations = []

    @property
    def chosen(self) -> str:
        """Layout name of the view that a person has chosen; MOUSE: that under the mouse."""
        return str(self._selector.currentData or MOUSE)

    @property
    def view(self) -> Any:
        """The slice node that is asked about; None where no slice view is shown."""
        self.fill()
        return self._named(self.chosen or self._underMouse)

    def fill(self) -> None:
        """What there is now; the choice stays where it can."""
        selector, chosen = self._selector, self.chosen
        names = [view.GetLayoutName() for view in visibleViews()]
        mouse = self._named(self._underMouse)
        text = _("Under the mouse: {view}")
        entries = [(_("None is shown") if mouse is None else text.format(view=mouse.GetLayoutName()), MOUSE)]
        entries += [(name, name) for name in names]
        if entries == [(selector.itemText(n), selector.itemData(n)) for n in range(selector.count)]:
            return
        wasBlocked = selector.blockSignals(True)
        selector.clear()
        for text, name in entries:
            selector.addItem(text, name)
        selector.blockSignals(wasBlocked)
        self.choose(chosen)

    def choose(self, name: str) -> None:
        """A view by its layout name; that under the mouse where it is not shown."""
        wasBlocked = self._selector.blockSignals(True)
        self._selector.setCurrentIndex(max(self._selector.findData(name), 0))
        self._selector.blockSignals(wasBlocked)

    def _named(self, name: str) -> Any:
        """The first where it is not shown: the red one, if there is one."""
        views = visibleViews()
        return next((view for view in views if view.GetLayoutName() == name), views[0] if views else None)

    def _onMouse(self, crosshair: Any, _event: str) -> None:
        view = crosshair.GetCursorPositionXYZ([0.0, 0.0, 0.0])
        if view is not None and view.GetLayoutName() != self._underMouse:
            self._underMouse = view.GetLayoutName()
            self.fill()

    def _onLayout(self, *_args: Any) -> None:
        self._timer.start()

    def _onScene(self, *_args: Any) -> None:
        """There may be new views."""
        known = [node for node, _tag in self._observations]
        for node in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
            if node not in known:
                self._add(node, vtk.vtkCommand.ModifiedEvent, self._onLayout)
                self._timer.start()

    def _add(self, node: Any, event: int, callback: Callable[..., None]) -> None:
        self._observations.append((node, node.AddObserver(event, callback)))
