"""What the panels of modules have in common: one worker, one message line, a model, an environment, parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import slicer
from slicer.i18n import tr as _

from leanseg.slicer_bridge.environment_panel import EnvironmentPanel
from leanseg.slicer_bridge.message_line import MessageLine
from leanseg.slicer_bridge.model_chooser import ModelChooser
from leanseg.slicer_bridge.runner import Runner
from leanseg.slicer_bridge.updating import Updating

if TYPE_CHECKING:
    from leanseg.weights.card import ModelCard


class ModulePanel(Updating, ABC):
    """Base of a module's panel. It sets `options` (load, store, missingModel), and overrides `_synchronize`.

    The Designer file has messageLabel, messageIconLabel, modelSelector, precisionSelector, modelInfoLabel and
    environmentCollapsibleButton.
    """

    options: Any
    volume: Any = None
    """The image; of several, the one on whose voxels the result is. None where there is none"""

    def __init__(
        self,
        ui: Any,
        logic: Any,
        engine: str,
        unit: str,
        speedText: str,
        costText: Callable[[ModelCard], str] | None = None,
    ) -> None:
        """`engine` runs the models of the module; `unit`, `speedText` and `costText` as for `ModelChooser`."""
        self.ui = ui
        self.logic = logic
        self.isShown = False
        self.runner = Runner()
        self.message = MessageLine(ui.messageLabel, ui.messageIconLabel)
        selectors = (ui.modelSelector, ui.precisionSelector)
        self.models = ModelChooser(*selectors, ui.modelInfoLabel, unit, speedText, costText)
        self.environment = EnvironmentPanel(engine, self.onEnvironmentChanged)
        ui.environmentCollapsibleButton.layout().addWidget(self.environment.widget)

    @abstractmethod
    def _synchronize(self) -> None:
        """Widgets -> what is shown."""

    def worksOn(self, node: Any) -> bool:
        """Whether a node is the image, or one of the images, and what is shown goes with it."""
        return node is self.volume

    def lookAtComputer(self) -> None:
        """The module is shown: what is installed, and which models there are."""
        self.isShown = True
        self.environment.refresh()
        self.ui.environmentCollapsibleButton.collapsed = self.environment.isComplete
        with self.updating():
            self.models.setCards(self.logic.models())

    def onEnvironmentChanged(self) -> None:
        """Something was installed."""
        self.ui.environmentCollapsibleButton.collapsed = self.environment.isComplete
        self._synchronize()

    def modelProblem(self, nothing: str) -> str:
        """Why no model can run, and what to do; `nothing` where there is none. Empty where one can."""
        if self.models.key is None:
            return nothing
        if not self.environment.isComplete:
            return str(_("Something that the models need is missing. See Environment, at the end of this panel."))
        return ""

    def updateFromParameters(self) -> None:
        """Parameters -> panel."""
        if self.isUpdating:
            return
        with self.updating():
            self.options.load()
            missing = self.options.missingModel()
        self._synchronize()
        if missing:
            self.message.say(missing, True)

    def onChanged(self, *_args: Any) -> None:
        """Panel -> parameters."""
        if self.isUpdating or not self.isShown or slicer.mrmlScene.IsBatchProcessing():
            return
        self.store()

    def store(self) -> None:
        """As `onChanged`; also where a run ends while another module is shown."""
        with self.updating():
            self.options.store()
        self.message.clear()
        self._synchronize()

    def onModelChosen(self, *_args: Any) -> None:
        """Another model has other precisions."""
        if not self.isUpdating:
            with self.updating():
                self.models.fillPrecisions()
            self.onChanged()
