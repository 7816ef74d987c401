"""Nine toggle buttons for the places of a prompt, laid out as the views show the image, in patient directions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
from slicer.i18n import tr as _

from leanseg.volume import OPPOSITE

ROWS = ("upper", "middle", "lower")
COLUMNS = ("left", "central", "right")
ARROWS = ("↖", "↑", "↗", "←", "•", "→", "↙", "↓", "↘")  # where the image has no patient directions
BUTTON_HEIGHT = 22


def directionNames() -> dict[str, str]:
    """Letter -> what a person reads."""
    return {"R": _("patient right"), "L": _("patient left"), "A": _("anterior"), "P": _("posterior"),
            "S": _("superior"), "I": _("inferior")}  # fmt: skip


class LocationGrid:
    """Shows and changes the locations of a prompt that is in the frame of the picture (prompts/directions.py)."""

    def __init__(self, widget: Any, onToggled: Callable[[], None]) -> None:
        """`onToggled()`: a person has pressed one of the buttons."""
        self._onToggled = onToggled
        self._locations: tuple = ()
        self.buttons: list[Any] = []
        layout = qt.QGridLayout(widget)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(1)
        for cell in range(9):
            button = qt.QToolButton()
            button.checkable = True
            button.setSizePolicy(qt.QSizePolicy.Expanding, qt.QSizePolicy.Fixed)
            button.setFixedHeight(BUTTON_HEIGHT)
            button.connect("clicked(bool)", self._onClicked)
            layout.addWidget(button, cell // 3, cell % 3)
            self.buttons.append(button)

    def setFrame(self, left: str, up: str) -> None:
        """Patient directions of the picture's left and upper edge, as letters; empty where it has none."""
        horizontal = (left, "", OPPOSITE.get(left, ""))
        vertical = (up, "", OPPOSITE.get(up, ""))
        names = directionNames()
        for cell, button in enumerate(self.buttons):
            row, column = cell // 3, cell % 3
            letters = vertical[row] + horizontal[column]
            button.text = (letters or "•") if left or up else ARROWS[cell]
            words = [names[letter] for letter in letters]
            button.toolTip = ", ".join(words) if words else f"{ROWS[row]} {COLUMNS[column]}"
            button.enabled = column == 1 or left not in ("A", "P")  # in sagittal views, prompts have no word for these

    def show(self, locations: tuple) -> None:
        """No call comes."""
        self._locations = tuple(locations)
        pressed = {cellOf(location) for location in locations}
        for cell, button in enumerate(self.buttons):
            button.checked = cell in pressed

    def locations(self) -> tuple:
        """What is pressed: places that were shown stay as they were said, others name only what they have to."""
        from leanseg.prompts.structure import Location

        pressed = {cell for cell, button in enumerate(self.buttons) if button.checked}
        kept = tuple(location for location in self._locations if cellOf(location) in pressed)
        new = sorted(pressed - {cellOf(location) for location in kept})
        return kept + tuple(Location(*placeOf(cell)) for cell in new)

    def _onClicked(self, *_args: Any) -> None:
        self._locations = self.locations()
        self._onToggled()


def cellOf(location: Any) -> int:
    """0 to 8, row by row; a direction that is left open is in the middle."""
    row = ROWS.index(location.vertical or "middle")
    return 3 * row + COLUMNS.index(location.horizontal or "central")


def placeOf(cell: int) -> tuple[str, str]:
    """Vertical and horizontal word of a cell; in a row or column of the middle only the other one is said."""
    row, column = divmod(cell, 3)
    if cell == 4:
        return "middle", "central"
    return ("" if row == 1 else ROWS[row]), ("" if column == 1 else COLUMNS[column])
