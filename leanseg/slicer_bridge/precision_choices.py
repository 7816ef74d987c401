"""What the model of a panel can be compared with: its other precisions, and other models of its published system."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from leanseg.errors import LeanSegError
from leanseg.slicer_bridge.model_chooser import PRECISION_NAMES, ModelKey

if TYPE_CHECKING:
    from leanseg.weights.card import ModelCard


class PrecisionChoices:
    """Parameters "other" and "folders" <-> combo box."""

    def __init__(self, selector: Any, parameters: Any, models: Any) -> None:
        """`models`: the `ModelChooser` of the panel."""
        self._selector = selector
        self._parameters = parameters
        self._models = models
        self.first: ModelKey | None = None
        """The model of the panel when the box was filled"""

    @property
    def isOutdated(self) -> bool:
        """Whether the panel has another model by now."""
        return bool(self._models.key != self.first)

    @property
    def second(self) -> ModelKey | None:
        """Id or folder of what was chosen, and its precision."""
        precision, _space, name = (self._selector.currentData or "").partition(" ")
        return (name, precision) if name else None

    def fill(self) -> None:
        """What there is now; the choice stays where it can."""
        selector, wanted = self._selector, self._parameters.get("other")
        self.first = self._models.key
        selector.clear()
        for text, data in [] if self.first is None else self._others(*self.first):
            selector.addItem(text, data)
        selector.setCurrentIndex(max(selector.findData(wanted), 0 if selector.count else -1))

    def store(self) -> None:
        """What somebody has chosen."""
        self._parameters.set("other", self._selector.currentData or "")

    def add(self, folder: str) -> None:
        """A bundle that is not on the search path is chosen.

        :raises LeanSegError: there is none, it is damaged, or of another system.
        """
        card = _bundleOf(folder, self._models.card)
        self._parameters.set("folders", json.dumps([*dict.fromkeys([*self._folders(), folder])]))
        self._parameters.set("other", _data(folder, card.precisions[0]))

    def _others(self, model: str, precision: str) -> Iterator[tuple[str, str]]:
        """Text and data of each entry."""
        chosen = self._models.card
        yield from ((precisionName(one), _data(model, one)) for one in chosen.precisions if one != precision)
        for name, card in _cardsOfSystem(chosen, self._folders()):
            yield from ((f"{card.id}, {precisionName(one)}", _data(name, one)) for one in card.precisions)

    def _folders(self) -> list[str]:
        try:
            return [str(one) for one in json.loads(self._parameters.get("folders") or "[]")]
        except (ValueError, TypeError):  # of another program
            return []


def precisionName(precision: str) -> str:
    """What a person calls it."""
    return PRECISION_NAMES.get(precision, precision)


def _data(name: str, precision: str) -> str:
    return f"{precision} {name}"


def _cardsOfSystem(chosen: ModelCard, folders: list[str]) -> Iterator[tuple[str, ModelCard]]:
    """Id or folder, and card, of the other models of the same system."""
    import leanseg

    for card in leanseg.list_models():
        if card.id != chosen.id and card.system == chosen.system:
            yield card.id, card
    for folder in folders:
        try:
            yield folder, _bundleOf(folder, chosen)
        except LeanSegError:  # it has gone, or is of another system than the model that is chosen now
            continue


def _bundleOf(folder: str, chosen: ModelCard) -> ModelCard:
    """The card of a bundle that can be compared with a chosen one.

    :raises LeanSegError: there is none, it is damaged, or of another system.
    """
    from leanseg.weights.store import find_bundle

    if not Path(folder).is_dir():
        raise LeanSegError(_("{folder} is no folder. Choose the folder of a model.").format(folder=folder))
    card = find_bundle(folder).card
    if card.system != chosen.system:
        text = _("{id} is a model of {system}, and {chosen} one of {own}. Choose a model of the same system.")
        raise LeanSegError(text.format(id=card.id, system=card.system, chosen=chosen.id, own=chosen.system))
    return card
