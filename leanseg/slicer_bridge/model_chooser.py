"""Chooser of model and precision, with size of the files and the speed that was measured on this computer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import qt
from slicer.i18n import tr as _

if TYPE_CHECKING:
    from leanseg.weights.card import ModelCard

ModelKey = tuple[str, str]
"""Id and precision"""
PRECISION_NAMES = {"int8": "INT8", "fp32": "fp32"}  # in the order of the chooser


class ModelChooser:
    """Fills the two combo boxes and the label of the panel."""

    def __init__(
        self,
        modelSelector: Any,
        precisionSelector: Any,
        infoLabel: Any,
        unit: str,
        speedText: str,
        costText: Callable[[ModelCard], str] | None = None,
    ) -> None:
        """`unit`: what is timed, `Frame` or `Brain`; `speedText`: translated, with {seconds} or {milliseconds}.
        `costText(card)`: what a thorough model costs; empty for the others.
        """
        self._costText = costText or (lambda _card: "")
        self._models = modelSelector
        self._precisions = precisionSelector
        self._info = infoLabel
        self._unit = unit
        self._speedText = speedText
        self._cards: dict[str, ModelCard] = {}
        self._shown: tuple[ModelKey | None, float | None] | None = None

    def setCards(self, cards: list[ModelCard]) -> None:
        """What there is to choose from; the present choice stays where it can."""
        model, precision = self.key or ("", "")
        self._cards, self._shown = {card.id: card for card in cards}, None
        wasBlocked = self._models.blockSignals(True)
        self._models.clear()
        for card in cards:
            name = f"{card.title.partition(':')[0]} ({card.id})"
            self._models.addItem(_("{name}, thorough").format(name=name) if self._costText(card) else name, card.id)
        self.showCosts()
        self._models.blockSignals(wasBlocked)
        self.select(model, precision)

    def showCosts(self) -> None:
        """What models cost has become known."""
        for number in range(self._models.count):
            tooltip = self._tooltip(self._cards[self._models.itemData(number)])
            self._models.setItemData(number, tooltip, qt.Qt.ToolTipRole)
        self._models.setToolTip(self._tooltip(self.card) if self.card is not None else "")

    def _tooltip(self, card: ModelCard) -> str:
        return "\n".join(text for text in (card.title, self._costText(card)) if text)

    def select(self, model: str, precision: str) -> bool:
        """Choose these; the first of the list where there is no such model or precision. Whether there is the model."""
        index = int(self._models.findData(model))
        wasBlocked = self._models.blockSignals(True)
        self._models.setCurrentIndex(max(index, 0 if self._cards else -1))
        self._models.blockSignals(wasBlocked)
        self.fillPrecisions(precision)
        return index >= 0

    def fillPrecisions(self, precision: str = "") -> None:
        """The precisions of the chosen model."""
        card = self.card
        wasBlocked = self._precisions.blockSignals(True)
        self._precisions.clear()
        for name, text in PRECISION_NAMES.items():
            if card is not None and name in card.precisions:
                self._precisions.addItem(text, name)
        self._precisions.setCurrentIndex(max(self._precisions.findData(precision), 0 if self._precisions.count else -1))
        self._precisions.blockSignals(wasBlocked)
        self._models.setToolTip(self._tooltip(card) if card is not None else "")

    @property
    def card(self) -> ModelCard | None:
        return self._cards.get(self._models.currentData)

    @property
    def key(self) -> ModelKey | None:
        """None where there is no model."""
        precision = self._precisions.currentData
        return (self._models.currentData, precision) if self.card is not None and precision else None

    def showSpeed(self, seconds: float | None) -> None:
        """Update the label; a new measurement is kept for the next start."""
        key = self.key
        if (key, seconds) == self._shown:
            return  # it is called for every frame, and settings are slow
        self._shown = (key, seconds)
        if key is None:
            self._info.setText("")
            return
        known = self.knownSeconds(*key)
        if seconds is not None and round(seconds, 3) != known:
            known = round(seconds, 3)
            qt.QSettings().setValue(self._setting(*key), known)
        size = self._cards[key[0]].bytes_of(key[1]) / 1e6
        speed = self._speedText.format(seconds=known, milliseconds=1000 * known) if known else _("speed: at first use")
        self._info.setText(_("{size:.1f} MB, {speed}").format(size=size, speed=speed))

    def knownSeconds(self, model: str, precision: str) -> float:
        """Of the last run on this computer; 0 where there was none."""
        return float(qt.QSettings().value(self._setting(model, precision)) or 0)

    def _setting(self, model: str, precision: str) -> str:
        return f"LeanSeg/SecondsPer{self._unit}/{model}/{precision}"
