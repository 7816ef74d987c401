"""Chooser of what happens to other segments where an accepted proposal, or a correction, meets them."""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from slicer.i18n import tr as _


class OverwriteChooser:
    """Shows and sets the overwrite mode of the Segment Editor node, so that it holds for accepting and for correcting.

    The Segment Editor itself has it in its Masking section, which it shows only while an effect is active.
    """

    def __init__(self, comboBox: Any) -> None:
        self._box = comboBox
        self._node: Any = None
        self._tag = 0
        modes = slicer.vtkMRMLSegmentEditorNode
        for text, mode in (
            (_("Overwrite all"), modes.OverwriteAllSegments),
            (_("Overwrite visible"), modes.OverwriteVisibleSegments),
            (_("Allow overlap"), modes.OverwriteNone),
        ):
            comboBox.addItem(text, mode)
        comboBox.connect("currentIndexChanged(int)", self._onChosen)

    def setNode(self, editorNode: Any) -> None:
        """The Segment Editor node of the scene, or None while there is none."""
        if self._node is not None:
            self._node.RemoveObserver(self._tag)
        self._node = editorNode
        if editorNode is not None:
            self._tag = editorNode.AddObserver(vtk.vtkCommand.ModifiedEvent, self._onModified)
            self._onModified()

    def _onModified(self, *_args: Any) -> None:
        index = self._box.findData(self._node.GetOverwriteMode())
        if index != self._box.currentIndex:
            wasBlocked = self._box.blockSignals(True)
            self._box.setCurrentIndex(index)
            self._box.blockSignals(wasBlocked)

    def _onChosen(self, _index: int) -> None:
        if self._node is not None:
            self._node.SetOverwriteMode(self._box.currentData)
