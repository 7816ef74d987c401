"""Sequences as a person has them -> sequences that `brain.preprocess_brain` takes, and what should be known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from leanseg.processing.brain_extraction import strip
from leanseg.processing.coregistration import align_sequences
from leanseg.processing.plausibility import sequence_label, sequence_warnings
from leanseg.request import Alignment, Progress, no_progress, step
from leanseg.volume import Volume


@dataclass(frozen=True, eq=False)
class PreparedBrain:
    """What `prepare_brain` gives."""

    sequences: dict[str, Volume]
    """All on the grid of the reference"""
    warnings: tuple[str, ...]
    """One line each: what speaks against these images"""
    notes: tuple[str, ...]
    """One line each: what was done with them"""


def prepare_brain(
    sequences: Mapping[str, Volume],
    reference: str,
    method: Alignment = "resample",
    strip_skull: bool = False,
    progress: Progress = no_progress,
) -> PreparedBrain:
    """The sequences on the grid of the reference, without skull if wished; and what a person should know about them.

    Warnings, notes and errors call a sequence as a person does: T1ce, not t1ce.

    Raises:
        UnknownNameError: no such reference.
        IncompatibleInputError: no gray images in mm, too little in common, or no brain to strip.
        InferenceCancelled: `progress` returned False.
    """
    labeled = {sequence_label(name): volume for name, volume in sequences.items()}
    aligned = align_sequences(labeled, sequence_label(reference), method, progress)
    step(progress, 0, 1, "preparing the images")
    brains, notes = aligned.sequences, list(aligned.notes)
    if strip_skull:
        brains = strip(brains)
        if any(brains[name] is not volume for name, volume in aligned.sequences.items()):
            notes.append(
                "The skull was stripped roughly; look at the edge of the brain before trusting what lies there."
            )
    prepared = {name: brains[sequence_label(name)] for name in sequences}
    # Judged as they came: a label map that was resampled does not look like one any more.
    warnings = sequence_warnings(prepared if strip_skull else sequences)
    return PreparedBrain(prepared, tuple(warnings), tuple(notes))
