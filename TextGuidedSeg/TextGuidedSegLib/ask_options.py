"""What a person has chosen in the section "Ask about this view", kept in a parameter node and saved with the scene."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from leanseg.slicer_bridge.parameters import Parameters, Value

DEFAULTS: dict[str, Value] = {
    "model": "",  # the first there is
    "precision": "",  # the first that the model has
    "view": "",  # that under the mouse
    "question": "",
    "isHeatShown": False,
    "stage": 0,  # the mean of all
    "opacity": 0.5,
    "history": "",  # of `ask_history`
}


class AskOptions:
    """Parameter node <-> widgets. Whoever calls `load` keeps the signals of the widgets from coming back as changes."""

    def __init__(self, form: Any, models: Any, views: Any) -> None:
        self._parameters = Parameters("TextGuidedSegQuestions", DEFAULTS)
        self._form = form
        self._models = models
        self._views = views

    def observe(self, callback: Callable[[], None]) -> None:
        """Call it when another value came, and after a scene was closed or loaded."""
        self._parameters.observe(callback)

    def unobserve(self) -> None:
        self._parameters.unobserve()

    def load(self) -> None:
        """Parameters -> widgets; a question that somebody is typing stays where the scene has none."""
        form, get = self._form, self._parameters.get
        self._models.select(get("model"), get("precision"))
        self._views.choose(get("view"))
        form.questionEdit.text = get("question") or form.questionEdit.text
        form.heatCheckBox.checked = get("isHeatShown")
        form.stageSelector.setCurrentIndex(max(form.stageSelector.findData(get("stage")), 0))
        form.opacitySlider.value = get("opacity")

    def store(self) -> None:
        """Widgets -> parameters."""
        form = self._form
        model, precision = self._models.key or ("", "")
        self._put("model", model)
        self._put("precision", precision)
        self._put("view", self._views.chosen)
        self._put("question", form.questionEdit.text)
        self._put("isHeatShown", form.heatCheckBox.checked)
        self._put("stage", form.stageSelector.currentData)
        self._put("opacity", form.opacitySlider.value)

    @property
    def history(self) -> str:
        return str(self._parameters.get("history"))

    def storeHistory(self, text: str) -> None:
        self._put("history", text)

    def _put(self, key: str, value: Value) -> None:
        if self._parameters.get(key) != value:
            self._parameters.set(key, value)
