"""One volume, and sentences that refer to one object of a slice of it: the mask, and what the words point at.

The panel, the facade and the command line all refer through here. Sentences are in words of the patient where the
image says how it lies (`PictureSlices`): the slice is turned as Slicer shows it, the words are those of that picture,
and masks and heat maps are turned back. Elsewhere left is the left of the picture, which a warning says. Not for two
threads at once.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from leanseg.errors import LeanSegError
from leanseg.inference.chosen_object import decide
from leanseg.inference.picture_slices import PictureSlices
from leanseg.inference.referring import Referred, ReferringEngine
from leanseg.inference.uncertainty import predictive_entropy
from leanseg.processing.postprocess import lesion_mask
from leanseg.processing.preprocess import PreprocessingConfig
from leanseg.prompts.directions import PictureFrame
from leanseg.prompts.referring_read import Reading, read_reference
from leanseg.prompts.referring_words import NOUNS, sentence
from leanseg.prompts.structure import MODALITIES
from leanseg.request import Progress, no_progress, step
from leanseg.segmentation import Segment, Segmentation
from leanseg.text_session import PromptedModel, SliceProposal
from leanseg.volume import Volume

WHOLE_SENTENCE = 0
"""The first of the heat maps; those of the words follow."""
KNOWN_IMAGES = "ultrasound of the breast, MRI of the brain (FLAIR and contrast-enhanced T1) and histology"
"""What the shipped model learned from, for the warning about anything else."""
Float32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ReferredObject(SliceProposal):
    """What a sentence refers to in one slice, on the grid of the volume. The uncertainty is the entropy in bits."""

    sentence: str
    """As it was typed"""
    heard: str
    """As the network was told it, in the frame of the picture"""
    words: tuple[str, ...]
    """Of what was heard; the heat map of word n is n + 1"""
    warnings: tuple[str, ...]
    """What should be known before believing it, one line each"""
    _correlations: tuple[Float32, ...]
    _slices: PictureSlices

    def heat_map(self, number: int = WHOLE_SENTENCE) -> Float32:
        """(j, i) on the volume: how well each place goes with the sentence (0) or with word 1, 2, ...; 0 the least of
        the picture, 1 the most. All 0 where every place goes with it equally, or nothing was asked.

        Raises:
            LeanSegError: there is no such word.
        """
        if not 0 <= number <= len(self.words):
            raise LeanSegError(
                f"There is no word {number}. Choose 1 to {len(self.words)}, or {WHOLE_SENTENCE} for the whole sentence."
            )
        if not self._correlations:
            return np.zeros(self.mask.shape, np.float32)
        values = self._correlations[number]
        rows, columns = (
            np.unique(np.flatnonzero(self._slices.inside.any(axis=1 - axis)) * size // length)
            for axis, (size, length) in enumerate(zip(values.shape, self._slices.inside.shape, strict=True))
        )
        seen = values[np.ix_(rows, columns)]  # padding is no part of the picture
        low, most = float(seen.min()), float(np.ptp(seen))
        scaled = np.clip((values - low) / most, 0, 1) if most > 0 else np.zeros_like(values)
        return self._slices.spread(np.asarray(scaled, dtype=np.float32))


class ReferringSession:
    """Holds one volume."""

    def __init__(self, model: PromptedModel, volume: Volume, modality: str = "") -> None:
        """`modality`: what the image is said to be, `ultrasound` or `mri`; nothing: the image has to tell.

        Raises:
            LeanSegError: the model reads no such sentences, or there is no such modality.
            IncompatibleInputError: too small, in color, NaN or infinite values, or no contrast.
        """
        if not isinstance(model.engine, ReferringEngine) or not isinstance(model.preprocessing, PreprocessingConfig):
            raise LeanSegError("This model reads no sentence about one of several objects. Choose cm_mask_sd.")
        if modality and modality not in MODALITIES:
            raise LeanSegError(f"There is no modality {modality!r}. Choose one of: {', '.join(MODALITIES)}.")
        self._engine = model.engine
        self._postprocessing = model.postprocessing
        self._slices = PictureSlices(volume, model.preprocessing, modality)
        self._geometry = volume.geometry
        contradictions = self._slices.contradictions(modality, "The image is said to be")
        may_be_unknown = (modality or self._slices.looks_like) in ("mri", "other")  # brain, breast: nobody says which
        learned = (f"It learned from {KNOWN_IMAGES}; on other images expect less of it.",) if may_be_unknown else ()
        self.warnings = (*contradictions, *self._slices.warnings(modality), *learned)
        """What should be known of the image, one line each"""

    @property
    def frame(self) -> PictureFrame:
        """Where the patient's directions are in the pictures; empty where the image does not tell."""
        return self._slices.frame

    def heard(self, reading: Reading) -> str:
        """What the network is told: one wording for all that mean the same.

        Raises:
            LeanSegError: the sentence could not be read, or the network does not know a word of it.
        """
        if reading.expression is None:
            raise LeanSegError(reading.problem)
        noun = next((noun for noun in (reading.noun, *NOUNS) if not self._engine.unknown(noun)), reading.noun)
        told = sentence(reading.expression, noun)
        if unknown := self._engine.unknown(told):
            raise LeanSegError(f"This model does not know: {', '.join(unknown)}. Say it in other words.")
        return told

    def refer(self, text: str, k: int | None = None) -> ReferredObject:
        """What a sentence refers to in slice `k`, from 0; of a volume of one slice it may be left away.

        Raises:
            LeanSegError: no such slice, or a sentence that cannot be read (`prompts.referring_read`).
        """
        started = time.perf_counter()
        depth = self._geometry.shape[0]
        k = 0 if k is None and depth == 1 else k
        if k is None or not 0 <= k < depth:
            came = "none is chosen" if k is None else f"there is no slice {k}"
            raise LeanSegError(f"The image has slices 0 to {depth - 1} and {came}. Give k from 0 to {depth - 1}.")
        reading = read_reference(text, self.frame)
        told = self.heard(reading)
        warnings = (*self.warnings, *reading.remarks)
        if (value := self._slices.constant(k)) is not None:
            reason = f"The slice is empty: every value is {value:g}."
            return self._result(text, told, None, reason, warnings, started)
        image = self._slices.picture(k).image
        found = self._engine.refer(image, told)
        assert reading.expression is not None  # else it was not heard
        decision = decide(found, reading.expression, image[0], self._engine.config)
        warnings = (*warnings, *([decision.remark] if decision.remark else []))
        found = dataclasses.replace(found, probability=decision.probability)
        return self._result(text, told, found, decision.reason, warnings, started)

    def _result(
        self, text: str, told: str, found: Referred | None, reason: str, warnings: tuple[str, ...], started: float
    ) -> ReferredObject:
        probability = np.zeros(self._geometry.shape[1:], np.float32)
        if found is not None:
            probability = self._slices.restored(found.probability[np.newaxis])[0]
        mask = lesion_mask(probability[np.newaxis], self._postprocessing)[0] & (not reason)
        if not reason and not mask.any():
            reason = f"No pixel is of such an object with {self._postprocessing.threshold:.0%} or more."
        words = () if found is None else tuple((w, c) for w, c in found.words if any(one.isalnum() for one in w))
        return ReferredObject(
            mask,
            probability,
            predictive_entropy(probability),
            0.0 if found is None else found.existence,
            not mask.any(),
            reason,
            time.perf_counter() - started,
            text,
            told,
            tuple(word for word, _ in words),
            warnings,
            () if found is None else (found.sentence, *(correlation for _, correlation in words)),
            self._slices,
        )


def segment_by_reference(
    model: PromptedModel, volume: Volume, labels: tuple[Segment, ...], text: str, progress: Progress = no_progress
) -> Segmentation:
    """A sentence for every slice of a volume, each a picture of its own -> segmentation of the first label.

    `notes`: as those of `text_session.segment_by_text`.

    Raises:
        LeanSegError: a sentence that cannot be read.
        IncompatibleInputError, InferenceCancelled: as `ReferringSession`; `progress` returned False.
    """
    session = ReferringSession(model, volume)
    depth = volume.geometry.shape[0]
    found = []
    for k in range(depth):
        step(progress, k, depth, f"slice {k + 1}")
        found.append(session.refer(text, k))
    step(progress, depth, depth, "done")
    warnings = list(dict.fromkeys(line for one in found for line in one.warnings))
    if depth > 1:
        warnings.append(f"The sentence was read in each of the {depth} slices for itself.")
    if all(one.is_absent for one in found):
        warnings.append(max(found, key=lambda one: one.existence).reason)
    notes = {
        "slices": depth,
        "prompt": text,
        "understood": found[0].heard,
        "existence": [round(one.existence, 4) for one in found],
        "absent": {str(k): one.reason for k, one in enumerate(found) if one.is_absent},
        "warnings": warnings,
    }
    probability = np.stack([one.probability * (not one.is_absent) for one in found])
    labelmap = np.stack([one.mask for one in found]) * np.uint8(labels[0].value)
    maps = (probability, np.stack([one.uncertainty for one in found]))
    volumes = [Volume(array[np.newaxis], volume.geometry) for array in maps]
    return Segmentation(labelmap, labels, volume.geometry, volumes[0], volumes[1], notes)
