"""Which of the objects that a network outlines a sentence means: what the grammar says, and else what the network says.

Ours, beside CM-MaskSD (arXiv 2305.11481). A sentence of the grammar has an expression, and an expression says by itself
which object of a scene it means (`prompts.referring.referent`). A network that was trained for an hour outlines objects
better than it compares them; so where it tells all of them, the expression chooses, and the network's own choice counts
only where the expression leaves it open. Where it tells none but the one it chose, that is the answer.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from leanseg.inference.referring import Referred, ReferringConfig
from leanseg.prompts.referring import MIN_PIXELS, NO_OBJECT, UNCLEAR, Expression, read_scene, referent

Float32 = NDArray[np.float32]


class Decision(NamedTuple):
    """What a sentence means, on the grid of the network."""

    probability: Float32
    """(j, i): of a pixel to be of the object that is meant; 0 where other objects are"""
    reason: str
    """Why nothing is outlined, one line; else nothing"""
    remark: str
    """What should be known before believing it, one line; else nothing"""


def decide(found: Referred, expression: Expression, image: Float32, config: ReferringConfig) -> Decision:
    """`image`: (j, i), the picture that was looked at."""
    needed = config.existence_threshold
    missing = f"There is no such object (probability to exist {found.existence:.2f}; {needed:.2f} is needed)."
    if found.objects is None:
        return Decision(found.probability, missing if found.existence < needed else "", "")
    labels = objects_in(found.objects, config.threshold)
    number = int(labels.max())
    nothing, remark = np.zeros_like(found.probability), ""
    if not number:
        return Decision(nothing, "Nothing is outlined that the sentence could mean.", "")
    chosen = referent(expression, read_scene(labels, image))
    if chosen == NO_OBJECT:
        what = "One object is" if number == 1 else f"{number} objects are"
        return Decision(nothing, f"{what} outlined, and none is what the sentence means.", "")
    if found.existence < needed:
        return Decision(nothing, missing, "")
    if chosen == UNCLEAR:
        means = [float(found.probability[labels == n].mean()) for n in range(1, number + 1)]
        chosen = int(np.argmax(means)) + 1
        remark = f"Of {number} objects the words fit more than one equally well; the network's choice is shown."
    return Decision(found.objects * (labels == chosen), "", remark)


def objects_in(objects: Float32, threshold: float) -> NDArray[np.uint8]:
    """(j, i) labels 1, 2, ... of the components that are large enough to be spoken of, at most 255."""
    import SimpleITK as sitk

    binary = sitk.GetImageFromArray((objects >= threshold).astype(np.uint8))
    components = sitk.GetArrayFromImage(sitk.ConnectedComponent(binary, True))
    areas = np.bincount(components.ravel())
    kept = [n for n in range(1, len(areas)) if areas[n] >= MIN_PIXELS][:255]
    labels = np.zeros(objects.shape, np.uint8)
    for number, n in enumerate(kept, start=1):
        labels[components == n] = number
    return labels
