"""What two precisions of a model are compared on: the brain of the panel, prepared as for a run."""

from __future__ import annotations

from typing import Any

from DynamicBrainSegLib.inputs import readNodes
from leanseg.slicer_bridge.frames import VolumeFrames
from leanseg.slicer_bridge.precision_subject import Subject


class ShownBrain:
    """`SubjectSource` of the panel."""

    def __init__(self, panel: Any) -> None:
        self._panel = panel

    def volumes(self) -> list[Any]:
        return list(self._panel.sequences.nodes().values())

    def subject(self) -> Subject:
        """:raises LeanSegError: no sequence, or one that cannot be used."""
        nodes, options = self._panel.sequences.nodes(), self._panel.options.forRun()
        images = readNodes(nodes, next(iter(nodes), ""))

        def read(progress: Any) -> Any:
            from leanseg.processing.prepare_brain import prepare_brain

            return prepare_brain(
                images.volumes, images.reference, options.alignment, options.stripSkull, progress
            ).sequences

        frames = VolumeFrames(images.referenceNode)
        return Subject(read, frames, 0, list(nodes.values()), {"cost_bias": options.costBias})
