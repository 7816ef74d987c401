"""Marks of clicks, boxes and strokes in the slice views: nothing that can be moved, edited, exported or saved."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk

from TextGuidedSegLib.world_places import worldPoints

POSITIVE, NEGATIVE, QUESTION = (0.2, 0.9, 0.3), (1.0, 0.25, 0.25), (1.0, 0.9, 0.2)
GLYPH_SCALE = 2.5  # percent of the view


class HintMarks:
    """Draws hints that are given in voxels of a volume; `toWorld`: 4 x 4, ijk of the volume -> mm RAS of the world."""

    def __init__(self) -> None:
        self._clicks: dict[bool, Any] = {}  # node of the positive, of the negative ones
        self._lines: list[Any] = []
        self._preview: Any = None
        self._question: Any = None
        self._shown: tuple = ()

    def show(self, hints: Any, toWorld: np.ndarray) -> None:
        """`hints`: `Hints`. Only what has changed is drawn: adding a node is slow."""
        now = (toWorld.tobytes(), hints.clicks, (hints.boxes, hints.scribbles))
        before, self._shown = self._shown or ((), (), ()), now
        isMoved = now[0] != before[0]
        if isMoved or now[1] != before[1]:
            for sign in (True, False):
                points = [click.kji for click in hints.clicks if click.positive == sign]
                self._showClicks(sign, worldPoints(points, toWorld) if points else None)
        if isMoved or now[2] != before[2]:
            self._removeLines()
            for box in hints.boxes:
                corners = worldPoints(cornersOf(box), toWorld)
                self._lines.append(_node("vtkMRMLMarkupsClosedCurveNode", corners, POSITIVE))
            for stroke in hints.scribbles:
                points = worldPoints(stroke.points_kji, toWorld)
                self._lines.append(_node("vtkMRMLMarkupsCurveNode", points, POSITIVE if stroke.positive else NEGATIVE))

    def _showClicks(self, sign: bool, points: np.ndarray | None) -> None:
        node = self._clicks.get(sign)
        if points is None:
            _remove(self._clicks.pop(sign, None))
        elif node is not None and node.GetScene() is not None:
            _place(node, points)
        else:
            self._clicks[sign] = _node("vtkMRMLMarkupsFiducialNode", points, POSITIVE if sign else NEGATIVE)

    def preview(self, points: np.ndarray | None, isClosed: bool, isPositive: bool) -> None:
        """What is being drawn, as one gesture goes on: (n, 3) mm RAS of the world; None: nothing any more."""
        if points is None:
            _remove(self._preview)
            self._preview = None
        elif self._preview is not None and self._preview.GetScene() is not None:
            _place(self._preview, points)
        elif len(points) > 1:
            kind = "vtkMRMLMarkupsClosedCurveNode" if isClosed else "vtkMRMLMarkupsCurveNode"
            self._preview = _node(kind, points, POSITIVE if isPositive else NEGATIVE)

    def question(self, point: np.ndarray | None) -> None:
        """The place that is asked about, (3,) mm RAS of the world; None: none."""
        _remove(self._question)
        self._question = None
        if point is not None:
            self._question = _node("vtkMRMLMarkupsFiducialNode", point[np.newaxis], QUESTION)
            self._question.SetNthControlPointLabel(0, "?")
            self._question.GetDisplayNode().SetPointLabelsVisibility(True)

    def remove(self) -> None:
        """Nothing is marked."""
        self._shown = ()
        self.preview(None, False, True)
        self.question(None)
        self._removeLines()
        for sign in (True, False):
            self._showClicks(sign, None)

    def _removeLines(self) -> None:
        for node in self._lines:
            _remove(node)
        self._lines = []


def cornersOf(box: Any) -> list[tuple[float, float, float]]:
    """k, j, i of the corners, around."""
    return [(box.k, box.j0, box.i0), (box.k, box.j0, box.i1), (box.k, box.j1, box.i1), (box.k, box.j1, box.i0)]


def _node(className: str, points: np.ndarray, color: tuple[float, float, float]) -> Any:
    node = slicer.mrmlScene.CreateNodeByClass(className)
    node.UnRegister(None)  # the scene holds it from here on
    node.SetName("hint")
    node.SetHideFromEditors(True)  # before it enters the scene: no selector and no tree lists it
    node.SetSaveWithScene(False)
    node.SetLocked(True)
    if className != "vtkMRMLMarkupsFiducialNode":
        node.SetCurveTypeToLinear()
    node = slicer.mrmlScene.AddNode(node)
    node.CreateDefaultDisplayNodes()
    _style(node.GetDisplayNode(), color, isCurve=className != "vtkMRMLMarkupsFiducialNode")
    _place(node, points)
    return node


def _place(node: Any, points: np.ndarray) -> None:
    places = vtk.vtkPoints()
    for point in points:
        places.InsertNextPoint(*point)
    node.SetControlPointPositionsWorld(places)


def _style(display: Any, color: tuple[float, float, float], isCurve: bool) -> None:
    display.SetSaveWithScene(False)
    display.SetColor(*color)
    display.SetSelectedColor(*color)
    display.SetPointLabelsVisibility(False)
    display.SetPropertiesLabelVisibility(False)
    display.SetGlyphScale(0.1 if isCurve else GLYPH_SCALE)
    display.SetVisibility3D(False)
    if isCurve:
        display.SetCurveLineSizeMode(display.UseLineDiameter)
        display.SetLineDiameter(0.6)


def _remove(node: Any) -> None:
    if node is not None and node.GetScene() is not None:
        for display in [node.GetNthDisplayNode(n) for n in range(node.GetNumberOfDisplayNodes())]:
            slicer.mrmlScene.RemoveNode(display)
        slicer.mrmlScene.RemoveNode(node)
