"""Clicks, strokes and rectangles in any slice view, while a tool of a panel is held: points in the world (mm, RAS)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray

Points = NDArray[np.float64]
"""(n, 3), mm, RAS of the world"""

_BEFORE_SLICER = 10.0  # priority: the tool is asked before Slicer's own mouse modes
_EVENTS = ("LeftButtonPressEvent", "MouseMoveEvent", "LeftButtonReleaseEvent")


class ViewGestures:
    """Watches the left mouse button in all slice views between `start` and `stop`; other buttons and the wheel stay
    Slicer's. Ctrl and Shift with the button stay Slicer's, too.

    `onMoved(points, view)` is called while the button is held, `onEnded(points, view)` when it is let go; `points` are
    those since it was pressed, `view` is the vtkMRMLSliceNode.
    """

    def __init__(self, onMoved: Callable[[Points, Any], None], onEnded: Callable[[Points, Any], None]) -> None:
        self._onMoved = onMoved
        self._onEnded = onEnded
        self._observations: list[tuple[Any, dict[str, int]]] = []
        self._points: list[Points] = []
        self._view: Any = None

    @property
    def isActive(self) -> bool:
        return bool(self._observations)

    def start(self) -> None:
        """In the views that there are now; call it again after the layout has changed."""
        self.stop()
        manager = slicer.app.layoutManager()
        if manager is None:  # Slicer without a main window
            return
        for name in manager.sliceViewNames():
            widget = manager.sliceWidget(name)
            self._observe(widget.sliceView().interactor(), widget.mrmlSliceNode())

    def stop(self) -> None:
        """Every button is Slicer's again; a gesture that was begun is forgotten."""
        for interactor, tags in self._observations:
            for tag in tags.values():
                interactor.RemoveObserver(tag)
        self._observations, self._points, self._view = [], [], None

    def _observe(self, interactor: Any, view: Any) -> None:
        tags: dict[str, int] = {}

        def onEvent(_caller: Any, event: str) -> None:
            if self._take(interactor, view, event):
                interactor.GetCommand(tags[event]).SetAbortFlag(1)

        for event in _EVENTS:
            tags[event] = interactor.AddObserver(event, onEvent, _BEFORE_SLICER)
        self._observations.append((interactor, tags))

    def _take(self, interactor: Any, view: Any, event: str) -> bool:
        """Whether the event belongs to a gesture; others are Slicer's."""
        isPress = event == _EVENTS[0]
        if isPress and not (interactor.GetControlKey() or interactor.GetShiftKey()):
            self._view, self._points = view, []
        if self._view is not view:
            return False
        self._points.append(_worldPoint(interactor, view))
        points = np.stack(self._points)
        if event == _EVENTS[2]:
            self._points, self._view = [], None
            self._onEnded(points, view)
        else:
            self._onMoved(points, view)
        return True


def _worldPoint(interactor: Any, view: Any) -> Points:
    x, y = interactor.GetEventPosition()
    toWorld = slicer.util.arrayFromVTKMatrix(view.GetXYToRAS())
    return np.asarray((toWorld @ [x, y, 0, 1])[:3], dtype=np.float64)
