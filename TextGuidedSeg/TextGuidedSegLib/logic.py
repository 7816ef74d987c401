"""The module without its panel: models, sessions about an image, writing of what was accepted; usable from scripts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

if TYPE_CHECKING:
    import numpy as np

    from leanseg.segmentation import Segment
    from leanseg.volume import Volume
    from leanseg.weights.card import ModelCard

ENGINE = "text_prompted"
QUESTIONS = "question_answering"  # engine of the models that are asked about a view
REFERRING = "referring"  # engine of the models for sentences that tell one of several objects apart
PROMPT_TAG = "LeanSeg.Prompt"  # of a segment: the words that it was found by; saved with it
COLORS = ((0.9, 0.35, 0.2), (0.25, 0.7, 0.3), (0.95, 0.75, 0.2), (0.55, 0.4, 0.85), (0.2, 0.75, 0.75), (0.9, 0.5, 0.7))
"""Of the first, second, ... lesion of a segmentation, so that they can be told apart"""


class TextLogic(ScriptedLoadableModuleLogic):
    """Everything but the panel. `session` touches no node."""

    def __init__(self) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        self._loaded: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()  # of the dictionary of models

    def models(self) -> list[ModelCard]:
        """Cards of the models that are told what to look for; a damaged bundle is not among them."""
        import leanseg

        return [card for card in leanseg.list_models() if card.engine == ENGINE]

    def referringModel(self) -> tuple[str, str] | None:
        """Id and precision of the model that reads sentences about one of several objects; None: there is none."""
        import leanseg

        cards = [card for card in leanseg.list_models() if card.engine == REFERRING]
        return (cards[0].id, max(cards[0].precisions, key=lambda one: one == "int8")) if cards else None

    def rankingModels(self) -> list[ModelCard]:
        """Cards of the models that look at single images without being told what to look for."""
        import leanseg

        return [card for card in leanseg.list_models() if card.engine == "slicewise" and len(card.inputs) == 1]

    def answeringModels(self) -> list[ModelCard]:
        """Cards of the models that answer questions about a picture."""
        import leanseg

        return [card for card in leanseg.list_models() if card.engine == QUESTIONS]

    def session(self, modelKey: tuple[str, str], volume: Volume, modality: str = "") -> Any:
        """`TextSession` about a volume, or `GuidedSession` where a model for sentences about one of several objects is
        there too; loads each model at its first use. In any thread.

        :param modality: `ultrasound`, `mri`, or nothing: then the image has to tell.
        :raises LeanSegError: no such model, damaged, no runtime, or a volume that does not fit it.
        """
        from leanseg.guided_session import GuidedSession
        from leanseg.referring_session import ReferringSession
        from leanseg.text_session import TextSession

        session = TextSession(self._model(modelKey), volume, modality=modality)
        other = self.referringModel()
        if other is None:
            return session
        return GuidedSession(session, other[0], lambda: ReferringSession(self._model(other), volume, modality))

    def _model(self, key: tuple[str, str]) -> Any:
        import leanseg

        with self._lock:
            if key not in self._loaded:
                self._loaded[key] = leanseg.load_engine(key[0], precision=key[1])
            return self._loaded[key]

    def accept(
        self,
        frames: Any,
        masks: Mapping[int, np.ndarray],
        target: tuple[Any, str, bool],
        writer: Any,
        lesion: Segment,
        prompt: str = "",
        saveStateForUndo: Callable[[Any], None] | None = None,
    ) -> tuple[Any, str, list[str]]:
        """Write (j, i) masks of slices into a segment, as masking and overwriting of the writer's editor node say.

        :param target: segmentation node or None, id of the segment or empty: what is missing is made; and whether what
            the segment holds in these slices stays.
        :param writer: `SegmentWriter`
        :param lesion: name and terminology of a new segment: a label of the model's card.
        :param prompt: the words, kept with a new segment.
        :param saveStateForUndo: called with the segmentation node before its first change.
        :return: segmentation node and id of the segment that were written; ids of the others that lost voxels to it.
        :raises LeanSegError: nothing was written; the scene is as it was.
        """
        from leanseg.slicer_bridge.segments import segmentationFor

        node, segmentId, isAdding = target
        if node is None:
            node = segmentationFor(frames.volumeNode, f"{frames.volumeNode.GetName()} segmentation")
        try:
            writer.check(node, segmentId, frames, masks)  # a failure is to leave no state for undo
            if saveStateForUndo is not None:
                saveStateForUndo(node)
            segmentId = segmentId or addLesion(node, lesion, prompt)
            within = masks if isAdding else None
            losers = writer.writeTogether(node, frames, {segmentId: masks}, within=within)
        except Exception:
            if segmentId and not target[1]:
                node.RemoveSegment(segmentId)
            if target[0] is None:
                slicer.mrmlScene.RemoveNode(node)
            raise
        return node, segmentId, losers


def addLesion(segmentationNode: Any, lesion: Segment, prompt: str) -> str:
    """An empty segment with a color of its own, and the words that it was found by; returns its id."""
    from leanseg.slicer_bridge.segments import addSegment

    segmentation = segmentationNode.GetSegmentation()
    color = COLORS[segmentation.GetNumberOfSegments() % len(COLORS)]
    segmentId = addSegment(segmentationNode, replace(lesion, color_rgb=color))
    if prompt:
        segmentation.GetSegment(segmentId).SetTag(PROMPT_TAG, prompt)
    return segmentId
