"""The decision view: the strip of slices, what it cost, and a person's own decisions about slices."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import qt
from slicer.i18n import tr as _

from DynamicBrainSegLib.decision_strip import Bar, DecisionStrip
from DynamicBrainSegLib.model_slices import ModelSlices
from DynamicBrainSegLib.result import SKIP
from DynamicBrainSegLib.thorough import VOLUME
from leanseg.pictures import uncertainty_colors
from leanseg.slicer_bridge.model_chooser import PRECISION_NAMES

if TYPE_CHECKING:
    from DynamicBrainSegLib.result import BrainResult, DecidedSlice

SKIP_COLOR, FULL_COLOR = "#a8a8a8", "#e07b2a"
_CHEAP, _DEAR = (0x8C, 0xC4, 0xE8), (0x1F, 0x5F, 0xA8)  # of what lies between: light to dark blue


def decisionColors(count: int) -> list[str]:
    """Colors of `count` decisions from cheap to dear: gray for skip, blues, orange for the dearest."""
    between = max(count - 2, 0)
    shares = [n / max(between - 1, 1) for n in range(between)]
    blues = [[round(a + share * (b - a)) for a, b in zip(_CHEAP, _DEAR, strict=True)] for share in shares]
    return [SKIP_COLOR, *("#{:02x}{:02x}{:02x}".format(*blue) for blue in blues), FULL_COLOR][:count]


def decisionText(name: str) -> str:
    """What a person reads of a decision: `crop_64` is crop 64, a square of so many millimeters and pixels."""
    kind, _underscore, size = name.partition("_")
    if kind == "crop" and size.isdigit():
        return _("crop {size}").format(size=size)
    return {"skip": _("skip"), "whole": _("whole"), VOLUME: _("in 3-D")}.get(name, name.replace("_", " "))


class DecisionView:
    """Shows a result. `onOverride(slices, decision)` is called with a person's wish; None: as the model decides."""

    def __init__(self, ui: Any, onOverride: Callable[[Iterable[int], int | None], None]) -> None:
        self._ui = ui
        self._onOverride = onOverride
        self._result: BrainResult | None = None
        self._overrides: dict[int, int] = {}
        self._isBusy = False
        self._slices: ModelSlices | None = None
        self._menu = qt.QMenu(ui.stripLabel)
        ui.sliceLabel.setMinimumHeight(2 * ui.sliceLabel.fontMetrics().height())  # nothing below it jumps
        self.strip = DecisionStrip(ui.stripLabel, self.goTo, self.describe)
        self.strip.onMenu = self._openMenu
        ui.computeSliceButton.connect("clicked(bool)", lambda *_args: self._override(self._full))
        ui.skipSliceButton.connect("clicked(bool)", lambda *_args: self._override(SKIP))
        ui.modelSliceButton.connect("clicked(bool)", lambda *_args: self._override(None))
        self.show(None, {})

    def close(self) -> None:
        """No callback comes any more."""
        self.show(None, {})
        self.strip.close()

    def show(self, result: BrainResult | None, overrides: dict[int, int]) -> None:
        """Replace what is shown; `overrides`: slice -> decision, where a person has decided."""
        self._result, self._overrides = result, dict(overrides)
        if self._slices is not None:
            self._slices.unobserve()
            self._slices = None
        if result is not None:
            self._slices = ModelSlices([one.centerRasMm for one in result.decisions], self._onOtherSlice)
            self._slices.observe()
        self.strip.show(self._bars(), self.current)
        self._showTexts()
        self._onOtherSlice()

    def setBusy(self, isBusy: bool) -> None:
        """Nothing can be overridden while a run is on."""
        self._isBusy = isBusy
        self._enable()

    @property
    def current(self) -> int | None:
        """The slice that the views show."""
        return None if self._slices is None else self._slices.currentIndex()

    def goTo(self, index: int) -> None:
        if self._slices is not None:
            self._slices.select(index)

    # Texts and bars

    def describe(self, index: int) -> str:
        """One slice in words."""
        result = self._result
        if result is None:
            return ""
        one = result.decisions[index]
        parts = [decisionText(one.name)]
        if index in self._overrides:
            parts[0] = _("{decision} (yours)").format(decision=parts[0])
        if one.bits:
            text = _("asks for {bits} bits, runs in {precision}")
            bits = "/".join(str(bits) for bits in one.bits)
            parts.append(text.format(bits=bits, precision=PRECISION_NAMES.get(result.precision, result.precision)))
        parts.append(_("{gmacs:.2f} GMACs").format(gmacs=one.gmacs))
        if one.uncertainMm2:
            parts.append(_("unsure {area:.1f} cm²").format(area=one.uncertainMm2 / 100))
        text = _("Slice {number} of {count}: {what}.")
        return text.format(number=index + 1, count=len(result.decisions), what=", ".join(parts))

    def _bars(self) -> list[Bar]:
        if self._result is None:
            return []
        colors = decisionColors(len(self._result.decisionNames))
        whole = self._result.wholeGmacs / len(self._result.decisions)
        heats = self._heats(self._result.decisions)
        shares = [min(one.gmacs / whole, 1.0) if one.decision != SKIP else 0.0 for one in self._result.decisions]
        return [
            Bar(colors[one.decision], share, heat, one.index in self._overrides)
            for one, share, heat in zip(self._result.decisions, shares, heats, strict=True)
        ]

    def _heats(self, decisions: tuple[DecidedSlice, ...]) -> list[str]:
        """The area in which the model is not certain, against the largest of this brain."""
        areas = np.array([one.uncertainMm2 for one in decisions])
        colors = uncertainty_colors((areas / max(areas.max(), 1.0))[np.newaxis])[0]
        return ["#{:02x}{:02x}{:02x}".format(*color) if area else "" for area, color in zip(areas, colors, strict=True)]

    def _showTexts(self) -> None:
        ui, result = self._ui, self._result
        for label in (ui.costLabel, ui.sliceLabel):
            label.setVisible(result is not None)
        if result is None:
            ui.legendLabel.text = _("Bars, one for each slice, will show what the model decides and what that costs.")
            ui.costLabel.text = ""
            return
        colors, names = decisionColors(len(result.decisionNames)), [one.name for one in result.decisions]
        texts = [f"{decisionText(name)}: {names.count(name)}" for name in result.decisionNames]
        parts = [
            f'<span style="color:{color}">■</span>&nbsp;{text.replace(" ", "&nbsp;")}'
            for color, text in zip(colors, texts, strict=True)
        ]
        ui.legendLabel.text = " &nbsp; ".join(parts)
        text = _("Cost so far: {gmacs:.1f} of {whole:.1f} GMACs ({percent:.0f} %), {seconds:.1f} s")
        gmacs, whole = result.totalGmacs, result.wholeGmacs
        ui.costLabel.text = text.format(gmacs=gmacs, whole=whole, percent=100 * gmacs / whole, seconds=result.seconds)

    def _onOtherSlice(self) -> None:
        index = self.current
        self.strip.setCurrent(index)
        self._ui.sliceLabel.text = "" if index is None else self.describe(index)
        self._enable()

    # A person's own decisions

    @property
    def _full(self) -> int:
        return self._result.fullDecision if self._result is not None else SKIP

    def _isPossible(self, index: int, decision: int | None) -> bool:
        """Whether a decision would change anything."""
        if self._isBusy or self._result is None or not self._result.canOverrule:
            return False
        if decision is None:
            return index in self._overrides
        return self._result.decisions[index].decision != decision

    def _enable(self) -> None:
        index = self.current
        for button, decision in self._choices():
            button.enabled = index is not None and self._isPossible(index, decision)

    def _choices(self) -> tuple[tuple[Any, int | None], ...]:
        ui = self._ui
        return (ui.computeSliceButton, self._full), (ui.skipSliceButton, SKIP), (ui.modelSliceButton, None)

    def _override(self, decision: int | None) -> None:
        if self.current is not None:
            self._onOverride([self.current], decision)

    def _openMenu(self, index: int, point: Any) -> None:
        """The same for the slice under the mouse, which is shown first: nobody decides about what he does not see."""
        self.goTo(index)
        self._menu.clear()
        for button, _decision in self._choices():
            action = self._menu.addAction(button.text)
            action.setEnabled(button.enabled)
            action.connect("triggered(bool)", lambda *_args, button=button: button.click())
        if len(self._overrides) > 1:
            action = self._menu.addAction(_("All as the model decides"))
            action.setEnabled(not self._isBusy)
            action.connect("triggered(bool)", self._onAllAsTheModelDecides)
        self._menu.popup(point)

    def _onAllAsTheModelDecides(self, *_args: Any) -> None:
        self._onOverride(list(self._overrides), None)
