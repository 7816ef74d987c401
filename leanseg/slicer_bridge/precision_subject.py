"""The image on which two models are compared, and the comparison itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from slicer.i18n import tr as _

from leanseg.errors import LeanSegError
from leanseg.slicer_bridge.frames import SequenceFrames, VolumeFrames, framesOf
from leanseg.slicer_bridge.loaded_models import LoadedModels
from leanseg.slicer_bridge.model_chooser import ModelKey

if TYPE_CHECKING:
    from leanseg.inference.precision_comparison import PrecisionComparison
    from leanseg.request import Progress
    from leanseg.volume import Volume

REPEATS = 5  # of each, in turns


@dataclass(frozen=True, eq=False)
class Subject:
    """What both models are run on."""

    read: Callable[[Progress], Volume | Mapping[str, Volume]]
    """Called in the worker thread"""
    frames: VolumeFrames | SequenceFrames
    """Of the volume on whose voxels the results are; made for this, so that nobody else observes them"""
    first: int
    """Slice or frame that the first slice of the results is"""
    volumeNodes: list[Any]
    """Over which they may be shown; the first is that of `frames`"""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of `leanseg.segment`"""


class SubjectSource(Protocol):
    """What a module has of it. Both are called in the GUI thread."""

    def volumes(self) -> list[Any]:
        """Volume nodes that the module works on; none where it has no image."""

    def subject(self) -> Subject:
        """:raises LeanSegError: no image, or it cannot be used."""


class ShownFrame:
    """Of a module that works on single slices or frames: the one that is shown."""

    def __init__(self, frames: Callable[[], Any], options: Callable[[], Mapping[str, Any]] = dict) -> None:
        """`frames`: those that the module has now, or None; `options`: of `leanseg.segment`."""
        self._frames = frames
        self._options = options

    def volumes(self) -> list[Any]:
        frames = self._frames()
        return [] if frames is None else [frames.volumeNode]

    def subject(self) -> Subject:
        nodes = self.volumes()
        if not nodes:
            raise LeanSegError(_("No image is chosen. Choose one to compare on."))
        frames = framesOf(nodes[0])
        index = frames.currentIndex()
        frame = frames.volume(index)
        return Subject(lambda _progress: frame, frames, index, nodes, self._options())


def comparison(
    models: LoadedModels, keys: Sequence[ModelKey], subject: Subject, progress: Progress
) -> PrecisionComparison:
    """Of two models on a subject. In any thread.

    :raises LeanSegError: a model cannot be loaded, the image does not fit it, or they outline other things.
    :raises InferenceCancelled: `progress` returned False.
    """
    import leanseg
    from leanseg.inference.precision_comparison import Runner, compare

    with models.use(keys, progress) as loaded:
        image, options = subject.read(progress), subject.options

        def runner(model: Any) -> Runner:
            return Runner(model.card, model.precision, lambda: leanseg.segment(image, model, **options))

        return compare(runner(loaded[0]), runner(loaded[1]), REPEATS, progress)
