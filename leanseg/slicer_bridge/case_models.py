"""The models that say how uncertain an image is: one, or several together; also a bundle of the user's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import qt
from slicer.i18n import tr as _

from leanseg.errors import LeanSegError
from leanseg.slicer_bridge.model_chooser import ModelKey

if TYPE_CHECKING:
    from leanseg.weights.card import ModelCard

MOST_ROWS = 4  # that are seen at a time
_ID = int(qt.Qt.UserRole)


class CaseModels:
    """A list with check marks. Until somebody sets one, the model of the panel is checked."""

    def __init__(self, listWidget: Any, cards: Callable[[], list[ModelCard]], chosen: Callable[[], Any]) -> None:
        """`cards`: those that can rank; `chosen`: key of the panel's model, or None."""
        self._list = listWidget
        self._cards = cards
        self._chosen = chosen
        self._known: list[ModelCard] = []
        self._filledFor: ModelKey | None = None
        self._folders: list[str] = []
        self._isFree = True  # nobody has set a check mark
        self._isFilling = False
        self._onChanged: Callable[[], None] = lambda: None
        listWidget.connect("itemChanged(QListWidgetItem*)", self._onItem)

    def observe(self, onChanged: Callable[[], None]) -> None:
        """It is called when somebody has chosen."""
        self._onChanged = onChanged

    def load(self, text: str) -> None:
        """What `text` gave; anything else is as if nobody had chosen. Looks anew which models there are."""
        try:
            values = json.loads(text or "{}")
            checked, self._folders = ([str(one) for one in values[key]] for key in ("checked", "folders"))
            self._isFree = not checked
        except (ValueError, KeyError, TypeError):
            checked, self._folders, self._isFree = [], [], True
        self._known = self._cards()
        self._fill(checked)

    @property
    def text(self) -> str:
        """For the parameter node; empty where nobody has chosen."""
        if self._isFree and not self._folders:
            return ""
        return json.dumps({"checked": [] if self._isFree else self._checked(), "folders": self._folders})

    def update(self) -> None:
        """The panel may have another model."""
        if self._isFree and self._chosen() != self._filledFor:
            self._fill([])

    def add(self, folder: Path) -> None:
        """A bundle that is not on the search path; it is checked.

        :raises LeanSegError: there is no bundle, it is damaged, or its model cannot rank.
        """
        from leanseg.weights.store import find_bundle

        if not folder.is_dir():
            raise LeanSegError(_("{folder} is no folder. Choose the folder of a model.").format(folder=folder))
        card = find_bundle(str(folder)).card
        if card.engine != "slicewise":
            text = _("{id} cannot rank images: it does not look at single slices alone. Choose another model.")
            raise LeanSegError(text.format(id=card.id))
        name = str(folder)
        if name not in self._folders:
            self._folders.append(name)
        checked, self._isFree = self._checked(), False
        self._fill([*checked, name])

    def keys(self) -> list[ModelKey]:
        """Ids or folders of those that are checked, with their precisions."""
        chosen = self._chosen()
        return [chosen if chosen is not None and chosen[0] == name else (name, "auto") for name in self._checked()]

    def _checked(self) -> list[str]:
        items = (self._list.item(n) for n in range(self._list.count))
        return [item.data(_ID) for item in items if item.checkState() == qt.Qt.Checked]

    def _fill(self, checked: list[str]) -> None:
        cards, chosen = self._known, self._chosen()
        self._filledFor = chosen
        if self._isFree:
            first = [card.id for card in cards][:1]
            checked = [chosen[0]] if chosen is not None and chosen[0] in [card.id for card in cards] else first
        entries = [(f"{card.title.partition(':')[0]} ({card.id})", card.id, card.title) for card in cards]
        entries += [(Path(folder).name, folder, folder) for folder in self._folders]
        self._isFilling = True
        try:
            self._list.clear()
            for text, name, toolTip in entries:
                item = qt.QListWidgetItem(text)
                item.setData(_ID, name)
                item.setToolTip(toolTip)
                item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable | qt.Qt.ItemIsUserCheckable)
                item.setCheckState(qt.Qt.Checked if name in checked else qt.Qt.Unchecked)
                self._list.addItem(item)
        finally:
            self._isFilling = False
        rows = min(max(len(entries), 1), MOST_ROWS)
        self._list.setFixedHeight(rows * (self._list.fontMetrics().height() + 2) + 8)

    def _onItem(self, _item: Any) -> None:
        if not self._isFilling:
            self._isFree = False
            self._onChanged()
