"""The tools of the panel: clicks, box and strokes, made with the left mouse button in any slice view."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from leanseg.errors import LeanSegError
from leanseg.slicer_bridge.view_gestures import ViewGestures
from TextGuidedSegLib.world_places import voxelsAt, worldMatrix

STROKE_STEP = 0.5  # voxels; points of a stroke that are nearer to each other say nothing new


class HintTools:
    """At most one tool is held. `onHint(hint)`: a click, box or scribble was made, in voxels of the image."""

    def __init__(
        self, ui: Any, marks: Any, onHint: Callable[[Any], None], onRefused: Callable[[Exception], None]
    ) -> None:
        self.buttons = {
            "positive": ui.positiveButton, "negative": ui.negativeButton, "box": ui.boxButton,
            "positiveStroke": ui.positiveStrokeButton, "negativeStroke": ui.negativeStrokeButton,
        }  # fmt: skip
        self._ui = ui
        self._marks = marks
        self._onHint = onHint
        self._onRefused = onRefused
        self._volumeNode: Any = None
        self._observations: list[tuple[Any, int]] = []
        self._gestures = ViewGestures(self._onMoved, self._onEnded)
        for name, button in self.buttons.items():
            button.connect("clicked(bool)", lambda _checked=False, name=name: self._onPressed(name))

    @property
    def held(self) -> str:
        """Name of the tool; empty: none."""
        return next((name for name, button in self.buttons.items() if button.checked), "")

    def setVolume(self, volumeNode: Any) -> None:
        """The image that is pointed at, or None; the tool is put away."""
        self._volumeNode = volumeNode
        self.putAway()

    def setEnabled(self, isEnabled: bool) -> None:
        for button in self.buttons.values():
            button.enabled = isEnabled
        if not isEnabled:
            self.putAway()

    def hold(self, name: str) -> None:
        """Take a tool, as if its button had been pressed; it takes the place of an effect of the Segment Editor."""
        for other, button in self.buttons.items():
            button.checked = other == name
        self._ui.segmentEditorWidget.setActiveEffect(None)
        self._gestures.start()
        self._observeOthers()

    def putAway(self) -> None:
        """The mouse is Slicer's again."""
        for node, tag in self._observations:
            node.RemoveObserver(tag)
        self._observations = []
        for button in self.buttons.values():
            button.checked = False
        self._gestures.stop()
        self._marks.preview(None, False, True)

    def _onPressed(self, name: str) -> None:
        if self.buttons[name].checked:
            self.hold(name)
        else:
            self.putAway()

    def _observeOthers(self) -> None:
        """A person who takes an effect of the Segment Editor, or places markups, puts our tool away by that."""
        for node, tag in self._observations:
            node.RemoveObserver(tag)
        self._observations = []
        interaction = slicer.app.applicationLogic().GetInteractionNode()
        editorNode = self._ui.segmentEditorWidget.mrmlSegmentEditorNode()
        for node in (interaction, editorNode):
            if node is not None:
                tag = node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._onOthersModified)
                self._observations.append((node, tag))
        for layout in slicer.util.getNodesByClass("vtkMRMLLayoutNode"):
            self._observations.append((layout, layout.AddObserver(vtk.vtkCommand.ModifiedEvent, self._onLayout)))

    def _onOthersModified(self, node: Any, _event: str) -> None:
        isPlacing = node.IsA("vtkMRMLInteractionNode") and node.GetCurrentInteractionMode() == node.Place
        isEffect = node.IsA("vtkMRMLSegmentEditorNode") and bool(node.GetActiveEffectName())
        if isPlacing or isEffect:
            self.putAway()

    def _onLayout(self, *_args: Any) -> None:
        if self.held:
            self._gestures.start()

    # Gestures

    def _onMoved(self, points: np.ndarray, view: Any) -> None:
        tool = self.held
        if tool == "box":
            self._marks.preview(_rectangle(points[0], points[-1], view), True, True)
        elif tool.endswith("Stroke"):
            self._marks.preview(points, False, tool == "positiveStroke")

    def _onEnded(self, points: np.ndarray, _view: Any) -> None:
        self._marks.preview(None, False, True)
        try:
            hint = hintOf(self.held, voxelsAt(points, worldMatrix(self._volumeNode)))
        except LeanSegError as error:
            self._onRefused(error)
            return
        self._onHint(hint)


def hintOf(tool: str, points: np.ndarray) -> Any:
    """The hint that a gesture makes; points (n, 3) k, j, i.

    :raises LeanSegError: a box that runs through several slices.
    """
    from leanseg.inference.hints import Box, Click, Scribble, thinned

    if tool in ("positive", "negative"):
        k, j, i = points[-1].tolist()
        return Click((k, j, i), tool == "positive")
    if tool == "box":
        slices = np.floor(points[[0, -1], 0] + 0.5).astype(int)
        if slices[0] != slices[1]:
            raise LeanSegError(_("The box runs through several slices. Draw it in the view along the slices."))
        (_k, j0, i0), (_l, j1, i1) = points[[0, -1]].tolist()
        return Box(int(slices[0]), j0, i0, j1, i1)
    return Scribble(tuple(tuple(point) for point in thinned(points, STROKE_STEP).tolist()), tool == "positiveStroke")


def _rectangle(start: np.ndarray, end: np.ndarray, view: Any) -> np.ndarray:
    """(4, 3): corners, around, of the rectangle in a view with this diagonal."""
    axes = slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS())[:3, :2]
    across = axes[:, 0] * ((end - start) @ axes[:, 0])
    return np.stack([start, start + across, end, end - across])
