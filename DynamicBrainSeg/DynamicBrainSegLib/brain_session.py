"""Runs for one brain: computed off the GUI thread, from the images as they were read, with a person's decisions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from DynamicBrainSegLib.inputs import readNodes
from leanseg.errors import LeanSegError
from leanseg.slicer_bridge.nodes import geometryFromNode, localToWorld

if TYPE_CHECKING:
    from DynamicBrainSegLib.inputs import BrainImages
    from DynamicBrainSegLib.result import BrainOptions, BrainResult

REMEMBERED = 3  # results that undo and redo find again; each takes some 200 MB


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a run has computed. Slices are those of the model grid."""

    result: BrainResult
    overrides: dict[int, int] = field(default_factory=dict)
    """Slices about which a person has decided -> decision"""
    modelDecisions: dict[int, int] = field(default_factory=dict)
    """The same slices -> decision of the model"""
    slices: tuple[int, ...] | None = None
    """The only ones that were computed anew since the outcome before; None: all of them"""


class BrainSession:
    """Used from the GUI thread only. `onDone(outcome)` gets what a run has computed; it is not kept before `accept`, so
    a result that could not be written is none. `onChanged()`: something to show has changed.
    """

    def __init__(
        self,
        logic: Any,
        runner: Any,
        onDone: Callable[[Outcome], None],
        onEnd: Callable[[Exception | None], None],
        onChanged: Callable[[], None],
    ) -> None:
        """`onEnd(error)`: a run has ended without a result; None: it was cancelled."""
        self.outcome: Outcome | None = None
        self.nodes: dict[str, Any] = {}
        self.isRunning = False
        self.progress = (0, 0, "")
        self._logic = logic
        self._runner = runner
        self._onDone = onDone
        self._onEnd = onEnd
        self._onChanged = onChanged
        self._images: BrainImages | None = None
        self._stamp: tuple = ()
        self._remembered: dict[tuple, Outcome] = {}  # by content of the segmentation

    @property
    def result(self) -> BrainResult | None:
        return None if self.outcome is None else self.outcome.result

    def forget(self) -> None:
        """Stop, and know nothing of any brain any more."""
        self._runner.cancel()
        self.isRunning = False
        self.outcome, self.nodes = None, {}
        self._images, self._stamp, self._remembered = None, (), {}

    # Running

    def segment(self, nodes: Mapping[str, Any], options: BrainOptions) -> None:
        """Everything; a person's decisions about slices hold on if the images are still the same.

        :raises LeanSegError: the volumes cannot be read.
        """
        stamp = _stampOf(nodes)
        if stamp != self._stamp:
            images = readNodes(nodes, next(iter(nodes)))
            self._images, self._stamp, self.nodes = images, stamp, dict(nodes)
            self.outcome = None
        logic, images, before = self._logic, self._images, self.outcome

        def work(progress: Any) -> Outcome:
            """A new run knows nothing of what a person has decided before."""
            result = logic.segment(images, options, progress, None if before is None else before.result)
            wanted = {} if before is None or not result.canOverrule else before.overrides
            overrides = {k: decision for k, decision in wanted.items() if k < len(result.decisions)}
            modelDecisions = {k: result.decisions[k].decision for k in overrides}
            return Outcome(logic.refine(result, overrides, progress), overrides, modelDecisions)

        self._submit(work)

    def override(self, slices: Iterable[int], decision: int | None) -> None:
        """These slices anew: with a decision of a person, or (None) with that of the model.

        :raises LeanSegError: the images have changed since the result was made.
        """
        self._checkImages()
        logic, result, chosen = self._logic, self.result, tuple(slices)
        overrides, modelDecisions = dict(self.outcome.overrides), dict(self.outcome.modelDecisions)
        wanted: dict[int, int] = {}
        for k in chosen:
            if decision is None:
                wanted[k] = modelDecisions.pop(k)
                del overrides[k]
            else:
                modelDecisions.setdefault(k, result.decisions[k].decision)
                wanted[k] = overrides[k] = decision
        self._submit(
            lambda progress: Outcome(logic.refine(result, wanted, progress), overrides, modelDecisions, chosen)
        )

    def cancel(self) -> None:
        self._runner.cancel()

    def isUpToDate(self, nodes: Mapping[str, Any]) -> bool:
        """Whether there is a result, of these volumes as they are now."""
        try:
            return self.result is not None and _stampOf(nodes) == self._stamp
        except LeanSegError:
            return False

    def _checkImages(self) -> None:
        if not self.isUpToDate(self.nodes):
            raise LeanSegError(_("The images have changed since they were segmented. Press Segment again."))

    def _submit(self, work: Callable[[Any], Outcome]) -> None:
        stamp = self._stamp

        def ifSameImages(callback: Callable) -> Callable:
            return lambda *values: callback(*values) if self._stamp == stamp else None

        self._runner.submit(
            work,
            onDone=ifSameImages(self._arrived),
            onFailed=ifSameImages(self._ended),
            onCancelled=ifSameImages(lambda: self._ended(None)),
            onProgress=ifSameImages(self._progressed),
        )
        self.isRunning, self.progress = True, (0, 0, "")
        self._onChanged()

    def _arrived(self, outcome: Outcome) -> None:
        self.isRunning = False
        self._onDone(outcome)
        self._onChanged()

    def _ended(self, error: Exception | None) -> None:
        self.isRunning = False
        self._onEnd(error)
        self._onChanged()

    def _progressed(self, done: int, total: int, what: str) -> None:
        self.progress = (done, total, what)
        self._onChanged()

    # What undo and redo find again

    def isHeldBy(self, content: tuple) -> bool:
        """Whether a segmentation that holds `content` holds the outcome that is shown."""
        return self.outcome is not None and self._remembered.get(content) is self.outcome

    def accept(self, outcome: Outcome, content: tuple) -> None:
        """It is in the segmentation now, which holds `content`."""
        self.outcome = self._remembered[content] = outcome
        while len(self._remembered) > REMEMBERED:
            del self._remembered[next(iter(self._remembered))]

    def find(self, content: tuple) -> bool:
        """The segmentation holds something else: go to its result, if it is remembered. Whether the result changed."""
        if self.isRunning or self._images is None:
            return False
        found = self._remembered.get(content)
        if found is self.outcome or (found is None and content):
            return False
        self.outcome = found
        return True


def _stampOf(nodes: Mapping[str, Any]) -> tuple:
    """Another one where voxels or places may be others; quick.

    :raises LeanSegError: a volume cannot be used.
    """
    return tuple(
        (name, node.GetID(), node.GetImageData().GetMTime(), geometryFromNode(node).ijk_to_ras.tobytes(),
         localToWorld(node).tobytes())
        for name, node in nodes.items()
    )  # fmt: skip
