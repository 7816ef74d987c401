"""The module without its panel: models, predictions, accepted results and measurements; usable from scripts."""

from __future__ import annotations

import statistics
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from UltrasoundKDLib import other_images
from UltrasoundKDLib.accepted_results import AcceptedResults
from UltrasoundKDLib.frame_results import FrameCache, frameKey, predictFrame

if TYPE_CHECKING:
    import numpy as np

    from leanseg.api import Model
    from leanseg.processing.measure import LesionMeasurement
    from leanseg.processing.postprocess import PostprocessingConfig
    from leanseg.segmentation import Segment
    from leanseg.volume import Volume
    from leanseg.weights.card import ModelCard
    from UltrasoundKDLib.accepted_results import Origin
    from UltrasoundKDLib.frame_results import FrameResult, ModelKey

LAST_RUNS = 20  # of which the speed is said


class UltrasoundKDLogic(ScriptedLoadableModuleLogic):
    """Everything but the panel; usable from scripts."""

    def __init__(self) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        self.cache = FrameCache()
        self.accepted = AcceptedResults()
        self._loaded: dict[ModelKey, Model] = {}
        self._seconds: dict[ModelKey, deque[float]] = {}
        self._lock = threading.Lock()  # a model runs in one thread at a time

    def models(self) -> list[ModelCard]:
        """Cards of the models for ultrasound; a damaged bundle is not among them."""
        import leanseg

        return [card for card in leanseg.list_models() if "ultrasound" in card.inputs and card.engine == "slicewise"]

    def defaultOptions(self, card: ModelCard | None) -> PostprocessingConfig:
        """Threshold and the like that the model was validated with."""
        from leanseg.processing.postprocess import PostprocessingConfig
        from leanseg.weights.card import parse_section

        if card is None:
            return PostprocessingConfig()
        return parse_section(PostprocessingConfig, card.postprocessing, card.id, "card.postprocessing")

    def predictFrame(self, modelKey: ModelKey, frame: Volume) -> FrameResult:
        """Segment one frame (c, 1, j, i); loads the model at its first use. In any thread.

        :raises LeanSegError: no such model, damaged, no runtime, or a frame that does not fit it.
        """
        import leanseg

        with self._lock:
            if modelKey not in self._loaded:
                self._loaded[modelKey] = leanseg.load_engine(modelKey[0], precision=modelKey[1])
            result = predictFrame(self._loaded[modelKey], frame)
        self._seconds.setdefault(modelKey, deque(maxlen=LAST_RUNS)).append(result.seconds)
        return result

    def predictFrames(
        self, modelKey: ModelKey, frames: dict[int, Volume], progress: Any
    ) -> dict[int, tuple[tuple, FrameResult]]:
        """As `predictFrame`, for frames by index; with their `frameKey`. A frame that was seen before is not run again.

        :raises InferenceCancelled: `progress` returned False.
        """
        from leanseg.request import step

        results = {}
        for done, (index, frame) in enumerate(frames.items()):
            step(progress, done, len(frames), f"frame {index + 1}")
            key = frameKey(modelKey, frame)
            result = self.cache.get(key)
            if result is None:
                result = self.predictFrame(modelKey, frame)
                self.cache.put(key, result)
            results[index] = key, result
        step(progress, len(frames), len(frames), "done")
        return results

    def secondsPerFrame(self, modelKey: ModelKey | None) -> float | None:
        """Median of the last runs on this computer; None before the first."""
        seconds = self._seconds.get(modelKey)
        return statistics.median(list(seconds)) if seconds else None

    def newLesion(self, frames: Any, segmentationNode: Any, lesion: Segment) -> tuple[Any, str]:
        """An empty segment to draw in; in a new segmentation of the image where `segmentationNode` is None.

        :param lesion: name, color and terminology: a label of the model's card.
        :return: segmentation node and id of the segment.
        :raises LeanSegError: the image cannot be used; nothing was made.
        """
        from leanseg.slicer_bridge.frames import SequenceFrames
        from leanseg.slicer_bridge.segments import addSegment
        from leanseg.slicer_bridge.synchronized import makeSynchronizedSequence

        isNew = segmentationNode is None
        segmentationNode = _newSegmentation(frames.volumeNode) if isNew else segmentationNode
        segmentId = addSegment(segmentationNode, lesion)
        if isNew and isinstance(frames, SequenceFrames):  # what is drawn belongs to one frame
            makeSynchronizedSequence(segmentationNode, frames.browserNode)
        return segmentationNode, segmentId

    def accept(
        self,
        frames: Any,
        masks: Mapping[int, np.ndarray],
        target: tuple[Any, str],
        writer: Any,
        lesion: Segment,
        saveStateForUndo: Callable[[Any], None] | None = None,
    ) -> tuple[Any, str, list[str]]:
        """Write (j, i) masks of frames into a segment, as masking and overwriting of the writer's editor node say.

        :param target: segmentation node or None, id of the segment or empty: what is missing is made.
        :param writer: `SegmentWriter`
        :param lesion: name, color and terminology of a new segment: a label of the model's card.
        :param saveStateForUndo: called with the segmentation node before its first change.
        :return: segmentation node and id of the segment that were written; ids of the others that lost voxels to it.
        :raises LeanSegError: nothing was written; the scene is as it was.
        """
        from leanseg.slicer_bridge.segments import addSegment

        isNew = target[0] is None
        segmentationNode = _newSegmentation(frames.volumeNode) if isNew else target[0]
        segmentId = target[1]
        try:
            writer.check(segmentationNode, segmentId, frames, masks)  # a failure is to leave no state for undo
            if saveStateForUndo is not None:
                saveStateForUndo(segmentationNode)
            segmentId = segmentId or addSegment(segmentationNode, lesion)
            losers = writer.write(segmentationNode, segmentId, frames, masks)
        except Exception:
            if segmentId and not target[1]:
                segmentationNode.RemoveSegment(segmentId)
            if isNew:
                slicer.mrmlScene.RemoveNode(segmentationNode)
            raise
        return segmentationNode, segmentId, losers

    def measure(
        self, frames: Any, segmentationNode: Any, segmentId: str
    ) -> tuple[list[LesionMeasurement], dict[int, Origin]]:
        """Sizes of each lesion of a segment, frame by frame; and by frame, where its lesions come from.

        :raises LeanSegError: the image cannot be used.
        """
        from UltrasoundKDLib.measurements import measureFrames
        from UltrasoundKDLib.segment_masks import masksOf

        masks = masksOf(frames, segmentationNode, segmentId)
        originOf = self.accepted.originOf
        origins = {index: originOf(segmentationNode, segmentId, index, mask) for index, mask in masks.items()}
        return measureFrames(masks, frames), origins


def _newSegmentation(volumeNode: Any) -> Any:
    from leanseg.slicer_bridge.segments import segmentationFor

    segmentationNode = segmentationFor(volumeNode, f"{volumeNode.GetName()} segmentation")
    other_images.mark(segmentationNode)
    return segmentationNode
