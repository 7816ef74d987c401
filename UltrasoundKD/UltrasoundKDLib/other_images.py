"""Segmentations that this module made for other images are not drawn over the present one in the slice views."""

from __future__ import annotations

from typing import Any

import slicer

from leanseg.slicer_bridge.segments import imageOf

MADE_HERE, HIDDEN_HERE = "UltrasoundKD.made", "UltrasoundKD.hidden"  # attributes, saved with the scene


def mark(segmentationNode: Any) -> None:
    """This module made it; those that others made are left alone."""
    segmentationNode.SetAttribute(MADE_HERE, "1")


def showOnlyOf(volumeNode: Any) -> None:
    """Hide in 2-D what was made for other images, and show again what was hidden here for this one."""
    for node in _madeHere():
        if imageOf(node) in (None, volumeNode):
            _unhide(node)
        elif node.GetDisplayNode().GetVisibility2D():
            node.GetDisplayNode().SetVisibility2D(False)
            node.SetAttribute(HIDDEN_HERE, "1")


def showAll(*_args: Any) -> None:
    """As if this module had hidden nothing: while it is left, and in a scene that was loaded."""
    for node in _madeHere():
        _unhide(node)


def showAllOfLoadedScenes() -> None:
    """What was hidden here when a scene was saved is shown again where nobody opens this module."""
    slicer.mrmlScene.AddObserver(slicer.vtkMRMLScene.EndImportEvent, showAll)


def _unhide(node: Any) -> None:
    if node.GetAttribute(HIDDEN_HERE):
        node.GetDisplayNode().SetVisibility2D(True)
        node.SetAttribute(HIDDEN_HERE, None)


def _madeHere() -> list[Any]:
    nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    return [node for node in nodes if node.GetAttribute(MADE_HERE) and node.GetDisplayNode() is not None]
