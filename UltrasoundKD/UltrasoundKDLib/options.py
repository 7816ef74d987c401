"""What a person has chosen in the panel, kept in the parameter node and saved with the scene."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from leanseg.slicer_bridge.parameters import Parameters

if TYPE_CHECKING:
    from leanseg.processing.postprocess import PostprocessingConfig

MODELS_OWN = -1  # instead of 0 or 1
DEFAULTS = {
    "allFrames": False,
    "model": "",  # the first there is
    "precision": "",  # the first that the model has
    "threshold": 0.0,  # that of the model
    "largestComponent": MODELS_OWN,  # or 1: yes, 0: no
    "livePreview": False,
    "showUncertainty": False,
    "uncertaintyOpacity": 0.5,
    "targetSegment": "",  # a new one
}
INPUT, TARGET = "inputVolume", "targetSegmentation"  # roles of nodes


class Options:
    """Parameter node <-> widgets. Whoever calls `load` keeps the signals of the widgets from coming back as changes."""

    def __init__(self, ui: Any, logic: Any, models: Any, target: Any) -> None:
        self.parameters = Parameters("UltrasoundKD", DEFAULTS)
        self._ui = ui
        self._logic = logic
        self._models = models
        self._target = target

    def load(self) -> None:
        """Parameters -> widgets."""
        ui, get = self._ui, self.parameters.get
        ui.inputSelector.setCurrentNode(self.parameters.node(INPUT))
        ui.scopeSelector.setCurrentIndex(int(get("allFrames")))
        isThere = self._models.select(get("model"), get("precision"))
        own = self._logic.defaultOptions(self._models.card)
        isLargest = get("largestComponent") if isThere else MODELS_OWN
        ui.thresholdSlider.value = (get("threshold") if isThere else 0) or own.threshold
        ui.largestComponentCheckBox.checked = own.largest_component if isLargest == MODELS_OWN else isLargest == 1
        ui.livePreviewCheckBox.checked = get("livePreview")
        ui.uncertaintyCheckBox.checked = get("showUncertainty")
        ui.uncertaintyOpacitySlider.value = get("uncertaintyOpacity")
        self._target.select(self.parameters.node(TARGET), get("targetSegment"))

    def missingModel(self) -> str:
        """What to say where another model than that of the parameters had to be chosen; empty where none had to."""
        wanted, card = self.parameters.get("model"), self._models.card
        if not wanted or card is None or card.id == wanted:
            return ""
        text = _("The model {wanted} of this scene is not here; {used} is used, with its own threshold."
                 " To get {wanted}, put its folder beside the others.")  # fmt: skip
        return text.format(wanted=wanted, used=card.id)

    def store(self) -> None:
        """Widgets -> parameters."""
        ui, put = self._ui, self.parameters.set
        self.parameters.setNode(INPUT, ui.inputSelector.currentNode())
        put("allFrames", ui.scopeSelector.currentIndex == 1)
        model, precision = self._models.key or ("", "")
        put("model", model)
        put("precision", precision)
        put("threshold", ui.thresholdSlider.value)
        put("largestComponent", int(ui.largestComponentCheckBox.checked))
        put("livePreview", ui.livePreviewCheckBox.checked)
        put("showUncertainty", ui.uncertaintyCheckBox.checked)
        put("uncertaintyOpacity", ui.uncertaintyOpacitySlider.value)
        self.parameters.setNode(TARGET, self._target.segmentation)
        put("targetSegment", self._target.wantedId)

    def useModelsOwn(self) -> None:
        """Another model was validated with other options."""
        own = self._logic.defaultOptions(self._models.card)
        self._ui.thresholdSlider.value = own.threshold
        self._ui.largestComponentCheckBox.checked = own.largest_component

    def config(self) -> PostprocessingConfig:
        """Of the model, with what was chosen."""
        return replace(
            self._logic.defaultOptions(self._models.card),
            threshold=self._ui.thresholdSlider.value,
            largest_component=self._ui.largestComponentCheckBox.checked,
        )
