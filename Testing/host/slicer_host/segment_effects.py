"""Paint, Erase and Draw for the Segment Editor stand-in: own mouse handling, real vtkSlicerSegmentEditorLogic."""

import itertools
from abc import ABC, abstractmethod

import numpy as np
import slicer
import vtk
from slicer_host.record import slotFailed
from vtk.util.numpy_support import vtk_to_numpy

_EVENTS = {"LeftButtonPressEvent": "press", "MouseMoveEvent": "move", "LeftButtonReleaseEvent": "release"}


class SegmentEditorEffect(ABC):
    """Follows the left button in every slice view while active; changes the selected segment when it is released."""

    name = ""
    _modeName = "ModificationModeAdd"

    def __init__(self, logic):
        self._logic, self._observed, self._stroke = logic, [], None

    def activate(self, sliceWidgets):
        for widget in sliceWidgets:
            interactor = widget.sliceView().interactor()
            for event in _EVENTS:
                self._observed.append((interactor, interactor.AddObserver(event, self._follower(widget), 1.0)))

    def deactivate(self):
        for interactor, tag in self._observed:
            interactor.RemoveObserver(tag)
        self._observed, self._stroke = [], None

    def _follower(self, widget):
        sliceNode = widget.mrmlSliceNode()

        def follow(interactor, event):
            if _EVENTS[event] == "press" and self._logic.GetSelectedSegment() is not None:
                self._stroke = []
            if self._stroke is None:
                return
            self._stroke.append(interactor.GetEventPosition())
            if _EVENTS[event] == "release":
                stroke, self._stroke = self._stroke, None
                try:
                    self._apply(stroke, sliceNode)
                except Exception:
                    slotFailed()

        return follow

    def _apply(self, stroke, sliceNode):
        """Write what the stroke covers into the selected segment, as one step of undo."""
        logic = self._logic
        logic.SaveStateForUndo()
        logic.UpdateReferenceGeometryImage()
        logic.ResetModifierLabelmapToDefault()
        self._fillLabelmap(logic.GetModifierLabelmap(), stroke, sliceNode)
        logic.UpdateAlignedSourceVolume()
        logic.UpdateMaskLabelmap()
        node = logic.GetSegmentEditorNode()
        mode = getattr(logic, self._modeName)
        logic.ModifySegmentByLabelmap(
            node.GetSegmentationNode(), node.GetSelectedSegmentID(), logic.GetModifierLabelmap(), mode, True, False
        )

    @abstractmethod
    def _fillLabelmap(self, labelmap, stroke, sliceNode):
        """Set the voxels of the modifier labelmap that the stroke, (x, y) pixels of the view, covers."""


class DrawEffect(SegmentEditorEffect):
    """Fills the outline that the mouse drew."""

    name = "Draw"

    def _fillLabelmap(self, labelmap, stroke, sliceNode):
        points, polygon = vtk.vtkPoints(), vtk.vtkCellArray()
        polygon.InsertNextCell(len(stroke))
        for x, y in stroke:
            polygon.InsertCellPoint(points.InsertNextPoint(x, y, 0))
        outline = vtk.vtkPolyData()
        outline.SetPoints(points)
        outline.SetPolys(polygon)
        self._logic.AppendPolyMask(labelmap, outline, sliceNode, self._logic.GetSegmentationNode())


class PaintEffect(SegmentEditorEffect):
    """Adds what a round brush passed over in the slice; its diameter is Slicer's default, 3 % of the view's height."""

    name = "Paint"
    _relativeDiameter = 0.03

    def _fillLabelmap(self, labelmap, stroke, sliceNode):
        shape = labelmap.GetDimensions()[::-1]
        voxels = vtk_to_numpy(labelmap.GetPointData().GetScalars()).reshape(shape)
        inView = self._voxelsInView(labelmap, shape, sliceNode)
        radius = self._relativeDiameter * sliceNode.GetDimensions()[1] / 2  # pixels
        inSlice = np.abs(inView[2]) <= self._logic.GetSliceSpacing(sliceNode) / 2  # mm
        for start, end in itertools.pairwise(stroke):
            voxels[inSlice & (_distance(inView[:2], start, end) <= radius)] = 1
        labelmap.Modified()

    def _voxelsInView(self, labelmap, shape, sliceNode):
        """View coordinates (x pixels, y pixels, mm off the slice) of every voxel: array (3, k, j, i)."""
        imageToWorld = vtk.vtkMatrix4x4()
        labelmap.GetImageToWorldMatrix(imageToWorld)
        parent = self._logic.GetSegmentationNode().GetParentTransformNode()
        toWorld = vtk.vtkMatrix4x4()
        if parent is not None:
            parent.GetMatrixTransformToWorld(toWorld)
        rasToSlice = np.linalg.inv(_matrix(sliceNode.GetXYToRAS())) @ _matrix(toWorld) @ _matrix(imageToWorld)
        first = np.array(labelmap.GetExtent()[::2])
        k, j, i = np.indices(shape)
        ijk = np.stack([i + first[0], j + first[1], k + first[2], np.ones(shape)])
        inView = np.tensordot(rasToSlice, ijk, axes=1)[:3]
        inView[2] *= np.linalg.norm(_matrix(sliceNode.GetXYToRAS())[:3, 2])
        return inView


class EraseEffect(PaintEffect):
    """Removes what the brush passed over."""

    name = "Erase"
    _modeName = "ModificationModeRemove"


EFFECTS = {effect.name: effect for effect in (PaintEffect, DrawEffect, EraseEffect)}


def _matrix(vtkMatrix):
    return slicer.util.arrayFromVTKMatrix(vtkMatrix)


def _distance(points, start, end):
    """Distance (pixels) of points (2, ...) from the line between two positions."""
    start, end = np.array(start, float), np.array(end, float)
    offset = points - start.reshape(2, 1, 1, 1)
    length = np.dot(end - start, end - start)
    along = np.clip(np.tensordot(end - start, offset, axes=1) / length, 0, 1) if length else 0
    return np.hypot(*(offset - (end - start).reshape(2, 1, 1, 1) * along))
