"""What a person has chosen in the panel, kept in the parameter node and saved with the scene."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from DynamicBrainSegLib.result import EXCLUSIVE, NESTED, BrainOptions
from DynamicBrainSegLib.sequence_choosers import NAMES
from DynamicBrainSegLib.thorough import isThorough
from leanseg.slicer_bridge.parameters import Parameters

DEFAULTS = {
    "model": "",  # the first there is
    "precision": "",  # the first that the model has
    "regions": NESTED,
    "quality": 0,
    "alignment": "resample",
    "stripSkull": False,
    "showUncertainty": False,
    "uncertaintyOpacity": 0.5,
}
OUTPUT = "outputSegmentation"  # role of a node; the sequences are roles by their names


class Options:
    """Parameter node <-> widgets. Whoever calls `load` keeps the signals of the widgets from coming back as changes."""

    def __init__(self, ui: Any, models: Any, sequences: Any) -> None:
        self.parameters = Parameters("DynamicBrainSeg", DEFAULTS)
        self._ui = ui
        self._models = models
        self._sequences = sequences
        for text, scheme in (
            (_("Nested: WT, TC, ET"), NESTED),
            (_("Separate: ED, NCR, ET"), EXCLUSIVE),
        ):
            ui.regionsSelector.addItem(text, scheme)
        for text, method in ((_("Resample"), "resample"), (_("Register rigidly, then resample"), "rigid")):
            ui.alignmentSelector.addItem(text, method)

    def load(self) -> None:
        """Parameters -> widgets."""
        ui, get, node = self._ui, self.parameters.get, self.parameters.node
        self._sequences.select({name: node(name) for name in NAMES})
        self._models.select(get("model"), get("precision"))
        for selector, key in ((ui.regionsSelector, "regions"), (ui.alignmentSelector, "alignment")):
            selector.setCurrentIndex(max(selector.findData(get(key)), 0))
        ui.qualitySlider.value = get("quality")
        ui.stripSkullCheckBox.checked = get("stripSkull")
        ui.uncertaintyCheckBox.checked = get("showUncertainty")
        ui.uncertaintyOpacitySlider.value = get("uncertaintyOpacity")
        ui.outputSelector.setCurrentNode(node(OUTPUT))

    def missingModel(self) -> str:
        """What to say where another model than that of the parameters had to be chosen; empty where none had to."""
        wanted, card = self.parameters.get("model"), self._models.card
        if not wanted or card is None or card.id == wanted:
            return ""
        text = _("The model {wanted} of this scene is not here; {used} is used."
                 " To get {wanted}, put its folder beside the others.")  # fmt: skip
        return text.format(wanted=wanted, used=card.id)

    def store(self) -> None:
        """Widgets -> parameters."""
        ui, put = self._ui, self.parameters.set
        nodes = self._sequences.nodes()
        for name in NAMES:
            self.parameters.setNode(name, nodes.get(name))
        model, precision = self._models.key or ("", "")
        put("model", model)
        put("precision", precision)
        put("regions", ui.regionsSelector.currentData)
        put("quality", ui.qualitySlider.value)
        put("alignment", ui.alignmentSelector.currentData)
        put("stripSkull", ui.stripSkullCheckBox.checked)
        put("showUncertainty", ui.uncertaintyCheckBox.checked)
        put("uncertaintyOpacity", ui.uncertaintyOpacitySlider.value)
        self.parameters.setNode(OUTPUT, ui.outputSelector.currentNode())

    def forRun(self) -> BrainOptions:
        """What the logic is told; there is a model. Nothing biases one that decides nothing."""
        ui, (model, precision) = self._ui, self._models.key
        return BrainOptions(
            model=model,
            precision=precision,
            costBias=0.0 if isThorough(self._models.card) else costBias(ui.qualitySlider.value),
            alignment=ui.alignmentSelector.currentData,
            stripSkull=ui.stripSkullCheckBox.checked,
        )


def costBias(quality: int) -> float:
    """Position of the slider, faster to the left -> bias of the decisions (leanseg/inference/decisions.py)."""
    return float(-quality)
