"""From the images as they were read to what the model sees. No Slicer, no Qt: runs in any thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from DynamicBrainSegLib.result import PreparedImages

if TYPE_CHECKING:
    from DynamicBrainSegLib.inputs import BrainImages
    from DynamicBrainSegLib.result import BrainOptions
    from leanseg.api import Model
    from leanseg.request import Progress


def prepare(images: BrainImages, options: BrainOptions, model: Model, progress: Progress) -> PreparedImages:
    """Onto the reference's voxels, without the skull if that is wanted, then onto the model grid.

    :raises LeanSegError: the images do not fit each other or the model.
    :raises InferenceCancelled: `progress` returned False.
    """
    from leanseg.processing.brain import preprocess_brain
    from leanseg.processing.brain_extraction import strip
    from leanseg.processing.coregistration import align_sequences
    from leanseg.processing.plausibility import sequence_warnings
    from leanseg.request import step

    aligned = align_sequences(images.volumes, images.reference, options.alignment, progress)
    step(progress, 0, 1, "preparing the images")
    sequences = strip(aligned.sequences) if options.stripSkull else aligned.sequences
    # Judged as they came: a labelmap that was resampled does not look like one any more.
    warnings = sequence_warnings(sequences if options.stripSkull else images.volumes)
    return PreparedImages(preprocess_brain(sequences, model.preprocessing), tuple(warnings), tuple(aligned.notes))
