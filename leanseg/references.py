"""The facade of referring segmentation: one picture, one sentence, one object."""

from __future__ import annotations

from pathlib import Path

from leanseg.api import Model, load_engine
from leanseg.files.images import read_image
from leanseg.referring_session import ReferredObject, ReferringSession
from leanseg.volume import Volume


def refer(
    image: Path | Volume, sentence: str, model: Model | str = "cm_mask_sd", *, k: int | None = None, modality: str = ""
) -> ReferredObject:
    """The object that a sentence refers to in a picture, or in slice `k` of a volume.

    E.g. "the second lesion from the left", "the smallest one below the brightest one". Left is the patient's left where
    the image says how it lies. For several sentences about one volume make a `ReferringSession`.

    Raises:
        UnreadableFileError: the file cannot be read.
        IncompatibleInputError: too small, in color, NaN or infinite values, or no contrast.
        LeanSegError: a model that reads no such sentences, no such slice, or a sentence that cannot be read.
    """
    if isinstance(model, str):
        model = load_engine(model)
    volume = image if isinstance(image, Volume) else read_image(image)
    return ReferringSession(model, volume, modality).refer(sentence, k)
