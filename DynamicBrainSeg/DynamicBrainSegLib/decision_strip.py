"""A strip of bars along the slices, from the feet to the head: what was decided for each, and what it cost.

The area of a bar is its cost: all bars together fill as much of the strip as the model did of the full work. A skipped
slice keeps a thin line, so that it can be seen and clicked. Below each bar is its uncertainty.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import qt
from slicer.i18n import tr as _

MARGIN = 14  # px at both ends, for the letters there
TOP = 9  # px above the bars, for the marks
HEAT = 6  # px of the line of uncertainty, with a gap above it
LEAST = 3  # px of the bar of a slice that cost nothing
OVERRIDDEN_COLOR = "#d0342c"


@dataclass(frozen=True)
class Bar:
    """One slice."""

    color: str
    """Of the decision, #rrggbb"""
    cost: float
    """0 to 1, of the dearest decision"""
    heat: str = ""
    """Color of the uncertainty, #rrggbb; empty: none is shown"""
    isOverridden: bool = False
    """Whether a person has decided"""


class DecisionStrip(qt.QObject):
    """Paints the bars on a QLabel and listens to mouse and keys over it. The label must have a fixed height."""

    def __init__(self, label: Any, onChosen: Callable[[int], None], describe: Callable[[int], str]) -> None:
        """`onChosen(index)`: somebody clicks, drags to or steps to a slice; `describe(index)`: its tooltip."""
        qt.QObject.__init__(self)
        self._label = label
        self._onChosen = onChosen
        self._describe = describe
        self._bars: Sequence[Bar] = ()
        self._current: int | None = None
        self.onMenu: Callable[[int, Any], None] = lambda _index, _point: None
        """Called with a slice and a point of the screen when the context menu is asked for"""
        label.setMouseTracking(True)
        label.setFocusPolicy(qt.Qt.StrongFocus)
        label.installEventFilter(self)

    def close(self) -> None:
        """No call comes any more."""
        self._label.removeEventFilter(self)

    def show(self, bars: Sequence[Bar], current: int | None) -> None:
        """Replace what is shown; `current` is marked."""
        self._bars, self._current = bars, current
        self._paint()

    def setCurrent(self, index: int | None) -> None:
        if index != self._current:
            self._current = index
            self._paint()

    # Where is what

    def span(self, index: int) -> tuple[int, int]:
        """First column of a bar, and the first one after it; pixels of the label."""
        width, count = max(self._label.width - 2 * MARGIN, 1), len(self._bars)
        return MARGIN + index * width // count, MARGIN + (index + 1) * width // count

    def indexAt(self, x: int) -> int | None:
        """The bar at a column of the label; beside the bars the nearest one, None where there is none."""
        count = len(self._bars)
        if not count:
            return None
        width = max(self._label.width - 2 * MARGIN, 1)
        return min(max(((x - MARGIN + 1) * count - 1) // width, 0), count - 1)

    # Painting

    def _paint(self) -> None:
        label = self._label
        ratio = label.devicePixelRatioF()
        pixmap = qt.QPixmap(round(label.width * ratio), round(label.height * ratio))
        if pixmap.isNull():
            return  # not laid out yet
        pixmap.setDevicePixelRatio(ratio)
        pixmap.fill(label.palette.color(qt.QPalette.Base))
        painter = qt.QPainter(pixmap)
        self._paintEnds(painter)
        bottom = label.height - HEAT - 2
        for index, bar in enumerate(self._bars):
            self._paintBar(painter, bar, *self.span(index), bottom)
        if self._bars and self._current is not None:
            self._paintCurrent(painter, *self.span(self._current))
        painter.end()
        label.setPixmap(pixmap)

    def _paintCurrent(self, painter: Any, left: int, right: int) -> None:
        """A line through the bar, and an arrowhead that points to it."""
        middle, color = (left + right) // 2, self._label.palette.color(qt.QPalette.Text)
        painter.fillRect(middle, 0, 1, self._label.height, color)
        for row in range(5):
            painter.fillRect(middle - 4 + row, row, 9 - 2 * row, 1, color)

    def _paintEnds(self, painter: Any) -> None:
        """Letters for the feet's and the head's end, as in the corners of views."""
        label = self._label
        painter.setPen(label.palette.color(qt.QPalette.Dark))
        for left, letter in ((0, _("I")), (label.width - MARGIN, _("S"))):
            painter.drawText(qt.QRect(left, TOP, MARGIN, label.height - TOP), qt.Qt.AlignCenter, letter)

    def _paintBar(self, painter: Any, bar: Bar, left: int, right: int, bottom: int) -> None:
        width = max(right - left - (1 if right - left > 3 else 0), 1)
        height = max(round(bar.cost * (bottom - TOP)), LEAST)
        painter.fillRect(left, bottom - height, width, height, qt.QColor(bar.color))
        if bar.heat:
            painter.fillRect(left, bottom + 2, width, HEAT, qt.QColor(bar.heat))
        if bar.isOverridden:
            painter.fillRect(left, TOP - 3, width, 2, qt.QColor(OVERRIDDEN_COLOR))

    # Mouse and keys

    def eventFilter(self, _label: Any, event: Any) -> bool:
        """Of the label; nothing is kept from it but what is answered here."""
        kind = event.type()
        if kind in (qt.QEvent.Resize, qt.QEvent.PaletteChange):
            self._paint()
        elif kind == qt.QEvent.MouseButtonPress and event.button() == qt.Qt.LeftButton:
            self._choose(self.indexAt(event.pos().x()))
            return bool(self._bars)
        elif kind == qt.QEvent.MouseMove:
            self._moved(event)
        elif kind == qt.QEvent.ContextMenu and self._bars:
            self.onMenu(self.indexAt(event.pos().x()), event.globalPos())
            return True
        elif kind == qt.QEvent.KeyPress:
            return self._pressed(event.key())
        return False

    def _moved(self, event: Any) -> None:
        index = self.indexAt(event.pos().x())
        if index is None:
            self._label.setToolTip("")
        elif event.buttons() & qt.Qt.LeftButton:
            self._choose(index)
        else:
            self._label.setToolTip(self._describe(index))

    def _pressed(self, key: int) -> bool:
        """Whether the key is one of ours."""
        steps = {qt.Qt.Key_Left: -1, qt.Qt.Key_Right: 1, qt.Qt.Key_PageDown: -10, qt.Qt.Key_PageUp: 10}
        ends = {qt.Qt.Key_Home: 0, qt.Qt.Key_End: len(self._bars) - 1}
        if not self._bars or not (key in steps or key in ends):
            return False
        start = self._current or 0
        self._choose(ends[key] if key in ends else min(max(start + steps[key], 0), len(self._bars) - 1))
        return True

    def _choose(self, index: int | None) -> None:
        if index is not None:
            self._onChosen(index)
