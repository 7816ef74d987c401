"""What the section "Quantize and look" says of a comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from slicer.i18n import tr as _

from leanseg.slicer_bridge.precision_choices import precisionName
from leanseg.slicer_bridge.precision_overlay import COLORS

if TYPE_CHECKING:
    from leanseg.inference.precision_comparison import CardDice, PrecisionComparison


def names(comparison: PrecisionComparison) -> tuple[str, str]:
    """Of the two that are compared; the models are named where they differ."""
    both = comparison.first, comparison.second
    isOneModel = both[0].model == both[1].model
    first, second = (precisionName(one.precision) if isOneModel else _fullName(one) for one in both)
    return first, second


def columnsAndRows(comparison: PrecisionComparison) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Of the table: what changes from the first to the second."""
    both = comparison.first, comparison.second
    size, noDice = _("{size:.2f} MB"), _("not in the card")
    dices = [noDice if one.dice is None else f"{one.dice.mean:.3f}" for one in both]
    kinds = list(dict.fromkeys(_diceName(one.dice) for one in both if one.dice is not None))
    change = comparison.dice_change
    rows = [
        (
            _("Size on disk"),
            [*(size.format(size=one.bytes / 1e6) for one in both), _ratio(both[0].bytes, both[1].bytes)],
        ),
        (_("Time here"), [*(_time(one.seconds) for one in both), _ratio(both[0].seconds, both[1].seconds)]),
        (
            " / ".join(kinds) or _("Validation Dice"),
            [*dices, "" if change is None else f"{change:+.3f}".replace("-", "−")],
        ),
    ]
    return [*names(comparison), _("Change")], rows


def differenceText(comparison: PrecisionComparison) -> str:
    """How many voxels differ, as HTML; in the colors of the overlay, which has outlined what."""
    kinds, count = comparison.disagreement, comparison.disagreement.size
    differs = int(np.count_nonzero(kinds))
    most = float(np.abs(comparison.difference).max())
    if not differs:
        text = _("No voxel of {count:,} differs; probabilities by {most:.2f} at most.")
        return str(text.format(count=count, most=most))
    text = _("{differs:,} of {count:,} voxels differ ({share:.2%}); probabilities by {most:.2f} at most.")
    lines = [text.format(differs=differs, count=count, share=differs / count, most=most)]
    first, second = names(comparison)
    for kind, meaning in ((1, _("{name} alone").format(name=first)), (2, _("{name} alone").format(name=second)),
                          (3, _("both, but not the same"))):  # fmt: skip
        voxels = int(np.count_nonzero(kinds == kind))
        if voxels:
            color = "#{:02x}{:02x}{:02x}".format(*(round(255 * part) for part in COLORS[kind]))
            lines.append(f'<span style="color:{color}">&#9632;</span> {meaning}: {voxels:,}')
    return "<br>".join(lines)


def _diceName(dice: CardDice) -> str:
    """Of what: two models may have been tested in two ways."""
    names = {"validation": _("Validation Dice"), "cross-validation": _("Cross-validation Dice")}
    region = {"WT": _("whole tumor")}.get(dice.region, dice.region)
    return ", ".join(part for part in (names[dice.test], region) if part)


def _fullName(side: object) -> str:
    return f"{side.model}\n{precisionName(side.precision)}"  # type: ignore[attr-defined]


def _time(seconds: float) -> str:
    text = _("{seconds:.2f} s") if seconds >= 1 else _("{milliseconds:.1f} ms")
    return str(text.format(seconds=seconds, milliseconds=1000 * seconds))


def _ratio(first: float, second: float) -> str:
    return f"× {second / first:.2f}" if first else ""
