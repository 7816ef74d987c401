"""Quantize and look: a model beside another of fewer bits, on an image of the user's own."""

from __future__ import annotations

from pathlib import Path

from leanseg.api import Model, load_engine, segment
from leanseg.files.images import read_image
from leanseg.inference.precision_comparison import PrecisionComparison, Runner, compare
from leanseg.request import Progress, no_progress
from leanseg.volume import Volume


def compare_precisions(
    first: Model | str,
    second: Model | str,
    image: Path | Volume,
    *,
    repeats: int = 5,
    progress: Progress = no_progress,
) -> PrecisionComparison:
    """Bytes, seconds, Dice of the cards, and where two models of one task differ on an image, on the image's grid.

    Args:
        first: a loaded model or its name; two precisions of one bundle are two loaded models.
        repeats: timed runs of each, in turn.

    Raises:
        UnreadableFileError, IncompatibleInputError: the image, or models that outline other things.
        InferenceCancelled: `progress` returned False.
        ValueError: no repeats.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be 1 or more; got {repeats}.")
    volume = image if isinstance(image, Volume) else read_image(image)
    return compare(_runner(first, volume), _runner(second, volume), repeats, progress)


def _runner(model: Model | str, volume: Volume) -> Runner:
    loaded = load_engine(model) if isinstance(model, str) else model
    return Runner(loaded.card, loaded.precision, lambda: segment(volume, loaded))
