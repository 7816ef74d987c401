"""What a person has chosen in the panel, kept in the parameter node and saved with the scene."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from leanseg.slicer_bridge.parameters import Parameters

SLICE, SLAB, VOLUME = "slice", "slab", "volume"
DEFAULTS = {
    "model": "",  # the first there is
    "precision": "",  # the first that the model has
    "kind": "",  # the image has to tell
    "scope": SLICE,
    "slab": 5,
    "showUncertainty": True,
    "uncertaintyOpacity": 0.5,
}
INPUT, TARGET = "inputVolume", "targetSegmentation"  # roles of nodes


class Options:
    """Parameter node <-> widgets. Whoever calls `load` keeps the signals of the widgets from coming back as changes."""

    def __init__(self, ui: Any, models: Any) -> None:
        self.parameters = Parameters("TextGuidedSeg", DEFAULTS)
        self._ui = ui
        self._models = models
        for text, scope in ((_("Shown slice"), SLICE), (_("Slab around it"), SLAB), (_("Whole volume"), VOLUME)):
            ui.scopeSelector.addItem(text, scope)
        for text, kind in ((_("As it looks"), ""), (_("Ultrasound"), "ultrasound"), (_("MRI"), "mri")):
            ui.kindSelector.addItem(text, kind)

    def load(self) -> None:
        """Parameters -> widgets."""
        ui, get = self._ui, self.parameters.get
        ui.inputSelector.setCurrentNode(self.parameters.node(INPUT))
        self._models.select(get("model"), get("precision"))
        for selector, key in ((ui.kindSelector, "kind"), (ui.scopeSelector, "scope")):
            selector.setCurrentIndex(max(selector.findData(get(key)), 0))
        ui.slabSpinBox.value = get("slab")
        ui.uncertaintyCheckBox.checked = get("showUncertainty")
        ui.uncertaintyOpacitySlider.value = get("uncertaintyOpacity")
        ui.targetSelector.setCurrentNode(self.parameters.node(TARGET))

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
        self.parameters.setNode(INPUT, ui.inputSelector.currentNode())
        model, precision = self._models.key or ("", "")
        put("model", model)
        put("precision", precision)
        put("kind", ui.kindSelector.currentData)
        put("scope", ui.scopeSelector.currentData)
        put("slab", ui.slabSpinBox.value)
        put("showUncertainty", ui.uncertaintyCheckBox.checked)
        put("uncertaintyOpacity", ui.uncertaintyOpacitySlider.value)
        self.parameters.setNode(TARGET, ui.targetSelector.currentNode())

    @property
    def overlayOpacity(self) -> float | None:
        """Of the uncertainty; None: it is not shown."""
        return self._ui.uncertaintyOpacitySlider.value if self._ui.uncertaintyCheckBox.checked else None

    def slices(self, current: int, count: int) -> tuple[int, int]:
        """First and last slice that a prompt is applied to."""
        scope = self._ui.scopeSelector.currentData
        if scope == VOLUME:
            return 0, count - 1
        reach = self._ui.slabSpinBox.value if scope == SLAB else 0
        return max(current - reach, 0), min(current + reach, count - 1)
