"""What a person reads about a result, in a line or two."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from leanseg.processing.measure import LesionMeasurement
    from leanseg.weights.card import ModelCard


def lesion_summary(measurements: list[LesionMeasurement], output: Path) -> str:
    """Of the largest lesion."""
    if not measurements:
        return f"No lesion found; the segment in {output} is empty."
    largest = max(measurements, key=lambda m: m.area)
    unit, many, slices = largest.unit, len(measurements), len({m.slice for m in measurements})
    if slices > 1:
        found = f"Lesion in {slices} slices; largest in slice {largest.slice}"
    else:
        found = "Lesion" if many == 1 else f"{many} lesions; largest"
    return (
        f"{found}: area {largest.area:.1f} {unit}^2, axes {largest.long_axis:.1f} x {largest.short_axis:.1f} {unit}, "
        f"depth/width {largest.depth_width_ratio:.2f}. Written: {output}"
    )


def region_summary(volumes_ml: Mapping[str, float], notes: Mapping[str, Any], output: Path) -> str:
    """Volumes of the regions, and what the network decided, if it decides, and cost."""
    found = ", ".join(f"{name} {ml:.1f} ml" for name, ml in volumes_ml.items())
    if not any(volumes_ml.values()):
        found = "No tumor found; the segments are empty"
    if "windows" in notes and "decisions" not in notes:
        return f"{found}. Written: {output}\n{notes['windows']} windows: {notes['gmacs']:.2f} GMACs."
    decided = ", ".join(f"{number} {name}" for name, number in notes["decisions"].items())
    seconds = ", ".join(f"{what} {time:.2f} s" for what, time in notes["seconds"].items())
    return (
        f"{found}. Written: {output}\n{notes['slices']} slices: {decided}. {notes['gmacs']:.2f} GMACs "
        f"({notes['bit_weighted_gmacs']:.2f} weighted by bits; {notes['deciding_gmacs']:.2f} to decide); {seconds}."
    )


def brain_warnings(notes: Mapping[str, Any], card: ModelCard) -> list[str]:
    """What a person should know before trusting the result; `plausibility.sequence_warnings` speaks of the images."""
    if not notes["missing"]:
        return []
    return [f"without {', '.join(notes['missing'])}. {expected_loss(notes['missing'], card)}"]


def expected_loss(missing: Collection[str], card: ModelCard | None) -> str:
    """What a person loses without some of the sequences: the Dice that the card has measured so, and with all.

    `metrics["sequences"]` maps names, in the order of `inputs` and with blanks between, to `dice_WT`, `dice_TC`, ...
    Where it holds none, or there is no card, what each sequence shows.
    """
    inputs = () if card is None else card.inputs
    measured: Mapping[str, Any] = {} if card is None else card.metrics.get("sequences", {})
    some = measured.get(" ".join(name for name in inputs if name not in missing), {})
    complete = measured.get(" ".join(inputs), {})
    dice = [
        f"{name.removeprefix('dice_')} {some[name]:.2f} ({complete[name]:.2f})"
        for name in complete
        if name.startswith("dice_") and name in some
    ]
    return f"Dice measured so, and with all: {', '.join(dice)}." if dice else _shown_by(missing)


def _shown_by(missing: Collection[str]) -> str:
    """What is rough without the sequences that show it."""
    if "t1ce" in missing and "flair" in missing:
        return "Without T1ce and FLAIR, core, enhancing tumor and edema are rough guesses."
    if "t1ce" in missing:
        return "Without T1ce, tumor core and enhancing tumor are rough guesses."
    if "flair" in missing:
        return "Without FLAIR, expect the edema to be less exact."
    return "The model does without, a little less exactly."
