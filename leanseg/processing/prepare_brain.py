"""Sequences as a person has them -> sequences that `brain.preprocess_brain` takes, and what should be known."""

from __future__ import annotations

from collections.abc import Mapping

from leanseg.processing.brain_extraction import strip
from leanseg.processing.coregistration import align_sequences
from leanseg.processing.plausibility import sequence_warnings
from leanseg.request import Alignment, Progress, no_progress
from leanseg.volume import Volume


def prepare_brain(
    sequences: Mapping[str, Volume],
    reference: str,
    method: Alignment = "resample",
    strip_skull: bool = False,
    progress: Progress = no_progress,
) -> tuple[dict[str, Volume], list[str]]:
    """The sequences on the grid of the reference, without skull if wished; and one line for each thing to know.

    Raises:
        UnknownNameError: no such reference.
        IncompatibleInputError: no gray images in mm, too little in common, or no brain to strip.
        InferenceCancelled: `progress` returned False.
    """
    aligned = align_sequences(sequences, reference, method, progress)
    if not strip_skull:
        # Judged as they came: a label map that was resampled does not look like one any more.
        return aligned.sequences, [*sequence_warnings(sequences), *aligned.notes]
    stripped = strip(aligned.sequences)
    remark = "the skull was stripped roughly; look at the edge of the brain before trusting what lies there."
    return stripped, [*sequence_warnings(stripped), *aligned.notes, remark]
