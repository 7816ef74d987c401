"""Where the masking of the Segment Editor allows editing."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray
from slicer.i18n import tr as _

from leanseg.errors import IncompatibleInputError, OutputError
from leanseg.slicer_bridge.placement import PlacedMask, arrayOf


def checkMasking(editorNode: Any, segmentationNode: Any) -> None:
    """Whether masking has what it needs; where it has not, Slicer does nothing and says nothing.

    Raises:
        IncompatibleInputError: the segment or the volume that it needs is not chosen.
    """
    isInsideOne = editorNode.GetMaskMode() == slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment
    maskSegment = editorNode.GetMaskSegmentID() or ""
    if isInsideOne and segmentationNode.GetSegmentation().GetSegment(maskSegment) is None:
        raise IncompatibleInputError(
            _("Editing is allowed inside one segment only, but none is chosen. Choose one under Masking.")
        )
    if editorNode.GetSourceVolumeIntensityMask() and editorNode.GetSourceVolumeNode() is None:
        raise IncompatibleInputError(
            _("Editing is limited to a range of intensities, but no source volume is chosen. Choose one.")
        )


def editableVoxels(logic: Any, segmentationNode: Any, segmentId: str, placed: PlacedMask) -> NDArray[np.bool_]:
    """(k, j, i): where mask mode and intensity range of a vtkSlicerSegmentEditorLogic allow editing a segment.

    Raises:
        IncompatibleInputError: as `checkMasking`.
        OutputError: Slicer could not compute it.
    """
    editor = logic.GetSegmentEditorNode()
    mode, maskSegment = editor.GetMaskMode(), editor.GetMaskSegmentID() or ""
    hasRange = editor.GetSourceVolumeIntensityMask()
    if mode == slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere and not hasRange:
        return np.ones(placed.mask.shape, bool)
    checkMasking(editor, segmentationNode)
    if hasRange and not logic.UpdateAlignedSourceVolume():
        raise OutputError(_("Slicer could not read the source volume; nothing was changed. Choose it again."))
    source = (logic.GetAlignedSourceVolume(), editor.GetSourceVolumeIntensityMaskRange()) if hasRange else ()
    forbidden = slicer.vtkOrientedImageData()
    if not segmentationNode.GenerateEditMask(forbidden, mode, placed.grid, segmentId, maskSegment, *source):
        raise OutputError(_("Slicer could not compute where editing is allowed; nothing was changed."))
    return np.asarray(arrayOf(forbidden) == 0)
