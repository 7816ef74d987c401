"""One image and what is asked of it: proposals of slices for a prompt, clicks and boxes; the next question; warnings.

The dialog, the facade and the command line all ask through here. Words are those of the patient where the image says
how it lies (`PictureSlices`); the network hears them in the frame of the picture that it sees.

What a network sees of a slice (`Features`) is kept, at most `memory_bytes`, the slice that was not used for longest
going first; so a new prompt or click costs text and decoder only. Not for two threads at once.
"""

from __future__ import annotations

import dataclasses
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from leanseg.errors import LeanSegError
from leanseg.inference.hints import NO_HINTS, Hints, SliceHints, check_hints, hint_channels, thinned
from leanseg.inference.picture_slices import PictureSlices
from leanseg.inference.prompt_heard import Said, heard, read, seen
from leanseg.inference.questions import Question, next_question
from leanseg.inference.text_prompted import Answer, Features, TextPromptedEngine
from leanseg.processing.postprocess import PostprocessingConfig, lesion_mask
from leanseg.processing.preprocess import PreprocessingConfig
from leanseg.prompts.directions import PictureFrame, told, unseen
from leanseg.prompts.parse import Parsed, parse
from leanseg.prompts.picture_sides import in_words_of_the_patient
from leanseg.prompts.referring_read import no_description
from leanseg.prompts.render import summary
from leanseg.prompts.structure import MODALITIES, NOTHING_SAID
from leanseg.request import Progress, no_progress, step
from leanseg.segmentation import Segment, Segmentation
from leanseg.volume import Volume

FEATURE_MEMORY = 400_000_000
"""Bytes: a brain of 155 slices is kept as a whole by the light model (2.3 MB a slice)."""
Mask = NDArray[np.bool_]
Float32 = NDArray[np.float32]


class PromptedModel(Protocol):
    """What is needed of `leanseg.api.Model`."""

    @property
    def engine(self) -> object: ...

    @property
    def preprocessing(self) -> object: ...

    @property
    def postprocessing(self) -> PostprocessingConfig: ...


@dataclass(frozen=True, eq=False)
class _Seen:
    """What is kept of a slice."""

    organ: Mask
    features: Features

    @property
    def bytes(self) -> int:
        return self.organ.nbytes + self.features.bytes


@dataclass(frozen=True, eq=False)
class SliceProposal:
    """What was found in one slice, on the grid of the volume."""

    mask: Mask
    """(j, i); empty where what is asked for is absent"""
    probability: Float32
    """(j, i): of tumor, also where the mask is empty because the prompt does not fit"""
    uncertainty: Float32
    """(j, i): vacuity, 0 to 1"""
    existence: float
    """Probability that what is asked for is in the slice"""
    is_absent: bool
    """Whether the mask is empty"""
    reason: str
    """Of an empty mask, one line; else nothing"""
    seconds: float
    """That the slice took"""


class TextSession:
    """Holds one volume, and what the network knows of its slices."""

    def __init__(
        self, model: PromptedModel, volume: Volume, modality: str = "", memory_bytes: int = FEATURE_MEMORY
    ) -> None:
        """`modality`: what the image is said to be, `ultrasound` or `mri`; nothing: the image has to tell.

        Raises:
            LeanSegError: the model takes no text, or there is no such modality.
            IncompatibleInputError: too small, in color, NaN or infinite values, or no contrast.
        """
        if not isinstance(model.engine, TextPromptedEngine) or not isinstance(model.preprocessing, PreprocessingConfig):
            raise LeanSegError("This model takes no text. Choose one that is guided by text, e.g. text_bcs.")
        if modality and modality not in MODALITIES:
            raise LeanSegError(f"There is no modality {modality!r}. Choose one of: {', '.join(MODALITIES)}.")
        self._engine = model.engine
        self._postprocessing = model.postprocessing
        self._slices = PictureSlices(volume, model.preprocessing, modality)
        self._geometry = volume.geometry
        self._modality = modality
        self._memory_bytes = memory_bytes
        self._known: OrderedDict[int, _Seen] = OrderedDict()

    @property
    def frame(self) -> PictureFrame:
        """Where the patient's directions are in the pictures; empty where the image does not tell."""
        return self._slices.frame

    @property
    def remembered(self) -> tuple[int, ...]:
        """Slices whose features are kept, the one used last at the end."""
        return tuple(self._known)

    @property
    def warnings(self) -> tuple[str, ...]:
        """One line for each thing that a person should know about this image."""
        contradictions = self._slices.contradictions(self._modality, "The image is said to be")
        return (*contradictions, *self._slices.warnings(self._modality))

    def understand(self, text: str) -> Parsed:
        """What is understood of a prompt, with warnings about the text, and about the text on this image; or why a
        sentence that tells one object from others is refused."""
        if refusal := no_description(text, self.frame):
            return Parsed(NOTHING_SAID, refusal=refusal)
        said, parsed = read(text, self.frame)
        warnings = list(self._slices.contradictions(parsed.prompt.modality, "The prompt says"))
        if hidden := unseen(said, self.frame):
            warnings.append(f"These slices cannot show {', '.join(hidden)}; that is not used.")
        hears, is_cut = heard(said, parsed, self.frame, self._engine.encoder)
        if is_cut:
            warnings.append(f"The prompt is longer than the model reads; it hears: {hears}")
        return dataclasses.replace(parsed, warnings=(*parsed.warnings, *warnings))

    def in_few_words(self, text: str) -> str:
        """What is understood of a prompt and can be seen, e.g. `one · upper left`; "" where nothing is said."""
        return told(seen(in_words_of_the_patient(text, self.frame)[0], self.frame), self.frame, summary)

    def propose(
        self,
        ks: Iterable[int],
        text: str = "",
        hints: Hints = NO_HINTS,
        earlier: Mapping[int, Mask] | None = None,
        progress: Progress = no_progress,
    ) -> dict[int, SliceProposal]:
        """Slices of the volume -> what was found in them. Text, hints, both or neither; neither means any tumor.

        Args:
            ks: slices of the volume; double ones count once.
            text: a prompt as typed, in words of the patient.
            earlier: slice -> (j, i) mask that was proposed before; hints correct it. Where nothing is shown it is not
                used: a new prompt alone begins anew, as in training.

        Raises:
            LeanSegError: a slice that does not exist, hints that cannot be meant (`check_hints`), an earlier mask of
                another size, or a sentence that tells one object from others.
            InferenceCancelled: `progress` returned False; nothing but features is kept.
        """
        if refusal := no_description(text, self.frame):
            raise LeanSegError(refusal)
        chosen = sorted(set(ks))
        self._check(chosen, hints, earlier or {})
        said = Said(text, self.frame, self._engine)
        proposals = {}
        for done, k in enumerate(chosen):
            step(progress, done, len(chosen), f"slice {k + 1}")
            proposals[k] = self._propose(k, said, hints.in_slice(k), (earlier or {}).get(k))
        step(progress, len(chosen), len(chosen), "done")
        return proposals

    def next_question(
        self, proposals: Mapping[int, SliceProposal], asked: Iterable[tuple[float, float, float]]
    ) -> Question | None:
        """The most uncertain place that is not near one of `asked` (voxels of earlier clicks and questions); None where
        a click would change nothing. See `inference.questions`."""
        return next_question(proposals, asked, self._geometry.spacing_kji_mm)

    def _check(self, ks: list[int], hints: Hints, earlier: Mapping[int, Mask]) -> None:
        shape = self._geometry.shape
        for k in ks:
            if not 0 <= k < shape[0]:
                raise LeanSegError(f"There is no slice {k}; the image has 0 to {shape[0] - 1}. Choose one of those.")
        check_hints(hints, shape)
        for k, mask in earlier.items():
            if mask.shape != shape[1:]:
                raise LeanSegError(f"The earlier mask of slice {k} is {mask.shape}; {shape[1:]} (j, i) is needed.")

    def _propose(self, k: int, said: Said, shown: SliceHints, earlier: Mask | None) -> SliceProposal:
        started = time.perf_counter()
        if (value := self._slices.constant(k)) is not None:
            nothing = np.zeros(self._geometry.shape[1:], np.float32)
            reason = f"The slice is empty: every value is {value:g}."
            return SliceProposal(nothing > 0, nothing, nothing, 0.0, True, reason, time.perf_counter() - started)
        seen = self._look(k)
        hints = self._channels(shown, earlier)
        answer, reason = said.answer(seen.features, hints, shown.shows_a_tumor), ""
        if not shown.shows_a_tumor:
            answer, reason = self._held_against(said, seen, answer, hints)
        probability, uncertainty = self._slices.restored(np.stack([answer.probability, answer.uncertainty]))
        mask = lesion_mask(probability[np.newaxis], self._postprocessing)[0]
        if reason:
            mask = np.zeros_like(mask)
        elif not mask.any():
            reason = (
                f"No pixel is a tumor with {self._postprocessing.threshold:.0%} or more. A click shows where to look."
            )
        seconds = time.perf_counter() - started
        return SliceProposal(mask, probability, uncertainty, answer.existence, not mask.any(), reason, seconds)

    def _held_against(self, said: Said, seen: _Seen, answer: Answer, hints: Float32) -> tuple[Answer, str]:
        """The answer, or where it denies the prompt what of any tumor fits it; and why nothing is to be outlined.

        The network denies true prompts, two places above all: on phantoms with two lesions two of five.
        """
        asked, threshold, inside = said.asked, self._postprocessing.threshold, self._slices.inside
        is_there = not asked.says_no and answer.existence >= asked.threshold
        found = (answer.probability >= threshold) & inside
        is_elsewhere = asked.is_elsewhere(found, seen.organ)
        if is_there and not is_elsewhere:
            return answer, ""
        other = said.any_tumor(seen.features, hints)
        any_tumor = (other.probability >= threshold) & inside & (other.existence >= asked.threshold)
        meant = asked.meant_of(any_tumor, seen.organ)
        if meant.any():
            named_alone = np.where(any_tumor & ~meant, np.float32(0), other.probability)
            return dataclasses.replace(other, probability=named_alone), ""
        if is_there:
            return answer, asked.elsewhere(found, seen.organ)
        return answer, asked.absent(answer.existence, any_tumor, seen.organ)

    def _channels(self, shown: SliceHints, earlier: Mask | None) -> Float32:
        """(4, j, i) on the model grid."""
        radius, on_grid = self._engine.config.hint_radius_px, self._slices.places_on_grid
        positive, negative = (thinned(on_grid(points), radius / 2) for points in (shown.positive, shown.negative))
        boxes = on_grid(shown.boxes.reshape(-1, 2)).reshape(-1, 4)
        mask = self._slices.onto_grid(earlier) if earlier is not None and shown else None
        return hint_channels(positive, negative, boxes, mask, self._slices.size_ji, radius)

    def _look(self, k: int) -> _Seen:
        if k not in self._known:
            picture = self._slices.picture(k)
            self._known[k] = _Seen(picture.organ, self._engine.look(picture.image))
        seen = self._known[k]
        self._known.move_to_end(k)
        while self._known and sum(one.bytes for one in self._known.values()) > self._memory_bytes:
            self._known.popitem(last=False)
        return seen


def segment_by_text(
    model: PromptedModel, volume: Volume, labels: tuple[Segment, ...], text: str, progress: Progress = no_progress
) -> Segmentation:
    """A prompt for every slice of a volume -> segmentation of the first label on the grid of the volume.

    A modality that the prompt names is taken as that of the image. Probabilities are 0 in slices where what is asked
    for is absent; `TextSession.propose` has them as they are.

    `notes`: `slices`, `prompt`, `understood` (in few words), `existence` of each slice, `absent` (slice -> why),
    `warnings` (one line each).

    Raises:
        LeanSegError, IncompatibleInputError, InferenceCancelled: as `TextSession` and its `propose`.
    """
    session = TextSession(model, volume, parse(text).prompt.modality, memory_bytes=0)
    parsed = session.understand(text)
    proposals = list(session.propose(range(volume.geometry.shape[0]), text, progress=progress).values())
    probability = np.stack([one.probability * (not one.is_absent) for one in proposals])
    labelmap = np.stack([one.mask for one in proposals]) * np.uint8(labels[0].value)
    warnings = [*session.warnings, *parsed.warnings]
    if all(one.is_absent for one in proposals):
        warnings.append(max(proposals, key=lambda one: one.existence).reason)
    notes = {
        "slices": len(proposals),
        "prompt": text,
        "understood": session.in_few_words(text),
        "existence": [round(one.existence, 4) for one in proposals],
        "absent": {str(k): one.reason for k, one in enumerate(proposals) if one.is_absent},
        "warnings": warnings,
    }
    maps = (probability, np.stack([one.uncertainty for one in proposals]))
    volumes = [Volume(array[np.newaxis], volume.geometry) for array in maps]
    return Segmentation(labelmap, labels, volume.geometry, volumes[0], volumes[1], notes)
