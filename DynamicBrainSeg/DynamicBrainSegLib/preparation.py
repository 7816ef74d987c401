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
    from leanseg.processing.prepare_brain import prepare_brain

    brain = prepare_brain(images.volumes, images.reference, options.alignment, options.stripSkull, progress)
    return PreparedImages(preprocess_brain(brain.sequences, model.preprocessing), brain.warnings, brain.notes)
