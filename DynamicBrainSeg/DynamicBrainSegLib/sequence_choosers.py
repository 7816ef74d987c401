"""The four selectors of the panel: which volume is which sequence, guessed where nobody has chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import qt
import slicer
from slicer.i18n import tr as _

from DynamicBrainSegLib.inputs import label
from DynamicBrainSegLib.sequence_guess import guessSequences
from leanseg.slicer_bridge.updating import Updating
from leanseg.summaries import expected_loss

if TYPE_CHECKING:
    from leanseg.weights.card import ModelCard

NAMES = ("flair", "t1ce", "t1", "t2")  # in the order of the panel; the first chosen one is the reference
DELAY_MS = 100  # a series of volumes is loaded one after the other


class SequenceChoosers(Updating):
    """Calls `onChanged()` when a person has chosen, or volumes were loaded that go with what is chosen."""

    def __init__(self, ui: Any, onChanged: Callable[[], None]) -> None:
        self._label = ui.sequencesLabel
        self._label.setMinimumHeight(2 * self._label.fontMetrics().height())  # a form would cut the second line
        self._selectors = dict(
            zip(NAMES, (ui.flairSelector, ui.t1ceSelector, ui.t1Selector, ui.t2Selector), strict=True)
        )
        self._onChanged = onChanged
        self._known: dict[str, Any] = {}  # what was chosen when this class last looked
        self._emptied: set[str] = set()  # by a person: not to be filled by a guess
        self._tags: list[int] = []
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(DELAY_MS)
        self._timer.connect("timeout()", self._addGuess)
        for selector in self._selectors.values():
            selector.connect("currentNodeChanged(vtkMRMLNode*)", self._onChosen)
        ui.guessButton.connect("clicked(bool)", self.onGuess)

    def observe(self) -> None:
        """Look for volumes soon, and whenever some are loaded; after the parameters of a scene, which come first."""
        self.unobserve()
        scene = slicer.mrmlScene
        for event in (slicer.vtkMRMLScene.NodeAddedEvent, slicer.vtkMRMLScene.EndImportEvent):
            self._tags.append(scene.AddObserver(event, lambda *_args: self._timer.start()))
        self._timer.start()

    def unobserve(self) -> None:
        """Guess no more."""
        self._timer.stop()
        for tag in self._tags:
            slicer.mrmlScene.RemoveObserver(tag)
        self._tags = []

    def nodes(self) -> dict[str, Any]:
        """Sequence -> volume node, of those chosen, the reference first."""
        found = {name: selector.currentNode() for name, selector in self._selectors.items()}
        return {name: node for name, node in found.items() if node is not None}

    def select(self, nodes: Mapping[str, Any]) -> None:
        """Choose these, and leave the others empty; no call comes."""
        with self.updating():
            for name, selector in self._selectors.items():
                selector.setCurrentNode(nodes.get(name))
        self._known = self.nodes()

    def forget(self) -> None:
        """The scene was closed: what somebody left empty there does not count any more."""
        self._emptied.clear()

    def showMissing(self, card: ModelCard | None) -> None:
        """Say which sequences are missing, and what that means for a model."""
        chosen = list(self.nodes())
        missing = [name for name in NAMES if name not in chosen]
        if not chosen:
            self._label.text = _("Choose at least one sequence, all of the same brain.")
        elif not missing:
            self._label.text = _("Complete. The result is on the voxels of {name}.").format(name=label(chosen[0]))
        else:
            names = ", ".join(label(name) for name in missing)
            loss = expected_loss(missing, card)
            self._label.text = _("Missing: {names}. {loss}").format(names=names, loss=loss)

    # Choosing

    def onGuess(self, *_args: Any) -> None:
        """Anew, whatever is chosen."""
        self._emptied.clear()
        guess = guessSequences(_volumes())
        if guess:
            self.select(guess)
        self._onChanged()

    def _addGuess(self) -> None:
        """Fill what is empty, if the guess agrees with what is chosen."""
        chosen = self.nodes()
        guess = guessSequences(_volumes())
        if any(guess.get(name) is not node for name, node in chosen.items()):
            return
        wanted = {name: node for name, node in guess.items() if name not in self._emptied}
        if set(wanted) - set(chosen):
            self.select(wanted)
            self._onChanged()

    def _onChosen(self, *_args: Any) -> None:
        if self.isUpdating or slicer.mrmlScene.IsBatchProcessing():
            return
        now, scene = self.nodes(), slicer.mrmlScene
        if now == self._known:
            return  # selectors also tell that the list of volumes has changed
        gone = {name for name, node in self._known.items() if name not in now and node.GetScene() is scene}
        self._emptied = (self._emptied | gone) - set(now)
        self._known = now
        self._onChanged()


def _volumes() -> list[Any]:
    return list(slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"))
