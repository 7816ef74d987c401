"""One picture and what is asked about it: answers with their probabilities, and where the network looked.

The panel, the facade and scripts all ask through here. The picture is looked at once; a question costs its own part.
Not for two threads at once.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from leanseg.errors import LeanSegError
from leanseg.inference.picture_slices import PictureSlices, looks_like
from leanseg.inference.question_answering import QuestionAnsweringEngine
from leanseg.processing.grid import Crop
from leanseg.processing.intensity import to_gray
from leanseg.processing.preprocess import PreprocessingConfig
from leanseg.prompts.structure import MODALITIES
from leanseg.volume import Volume

CANNOT_TELL = "I cannot tell"
CHOICES = 5
Float32 = NDArray[np.float32]


class AnsweringModel(Protocol):
    """What is needed of `leanseg.api.Model`."""

    @property
    def engine(self) -> object: ...

    @property
    def preprocessing(self) -> object: ...


@dataclass(frozen=True)
class Choice:
    """An answer that the model takes into account."""

    text: str
    probability: float


@dataclass(frozen=True, eq=False)
class QuestionAnswer:
    """The answer to one question about one picture."""

    question: str
    text: str
    """The first choice, or CANNOT_TELL"""
    is_told: bool
    """Whether the model is sure enough, as was calibrated on the validation split"""
    confidence: float
    """Probability of the first choice"""
    choices: tuple[Choice, ...]
    """The most probable answers, at most CHOICES"""
    question_type: str
    type_probability: float
    warnings: tuple[str, ...]
    """What should be known before believing it, one line each"""
    seconds: float
    attention: Float32
    """(stage, grid, grid) on the network's own grid; the sum of a stage is 1, or 0 where the stage is not seen"""
    _slices: PictureSlices

    @property
    def stages(self) -> int:
        """Shallow to deep."""
        return len(self.attention)

    def heat_map(self, stage: int) -> Float32:
        """(j, i) on the picture: where stage 1 ... `stages` was looked at, 0 to 1; stage 0 is the mean of all.

        Raises:
            LeanSegError: there is no such stage.
        """
        if not 0 <= stage <= self.stages:
            raise LeanSegError(f"There is no stage {stage}. Choose 1 to {self.stages}, or 0 for the mean of all.")
        chosen = self.attention[stage - 1] if stage else self.attention.mean(axis=0)
        most = float(chosen.max())
        return self._slices.spread(np.asarray(chosen / most if most > 0 else chosen, dtype=np.float32))


class QuestionSession:
    """Holds what the network knows of one picture."""

    def __init__(self, model: AnsweringModel, picture: Volume, k: int | None = None, modality: str = "") -> None:
        """`k`: of a volume of several slices the one that is asked about, from 0.

        `modality`: what the image is said to be, `ultrasound` or `mri`; nothing: the image has to tell. It only decides
        whether the axes of the image are those of a patient.

        Raises:
            LeanSegError: the model answers no questions, no such slice, or no such modality.
            IncompatibleInputError: too small, in color, NaN or infinite values, or no contrast.
        """
        if not isinstance(model.engine, QuestionAnsweringEngine) or not isinstance(
            model.preprocessing, PreprocessingConfig
        ):
            raise LeanSegError("This model answers no questions. Choose one that does, e.g. mf2_mvqa.")
        if modality and modality not in MODALITIES:
            raise LeanSegError(f"There is no modality {modality!r}. Choose one of: {', '.join(MODALITIES)}.")
        self._engine = model.engine
        depth = picture.geometry.shape[0]
        if depth > 1:
            if k is None or not 0 <= k < depth:
                came = "none is chosen" if k is None else f"there is no slice {k}"
                raise LeanSegError(f"The volume has {depth} slices and {came}. Give k from 0 to {depth - 1}.")
            modality = modality or _modality(picture)
            picture = Crop(picture.geometry, (k, 0, 0), (1, *picture.geometry.shape[1:])).apply(picture)
        elif k not in (None, 0):
            raise LeanSegError(f"The picture has one slice; there is no slice {k}. Leave k away.")
        self.geometry = picture.geometry
        """Of the picture; heat maps lie on it."""
        self._slices = PictureSlices(picture, model.preprocessing, modality)
        self.warnings = tuple(self._slices.warnings(modality))
        """What should be known of the picture, one line each"""
        self._tokens = self._engine.look(self._slices.picture(0).image)

    def ask(self, question: str) -> QuestionAnswer:
        """Answer a question in English.

        Raises:
            LeanSegError: nothing, too long, no question, or not in English.
        """
        started = time.perf_counter()
        read = self._engine.read(question)
        reply = self._engine.reply(self._tokens, read)
        config = self._engine.config
        order = [int(n) for n in np.argsort(-reply.answers, kind="stable")[:CHOICES] if reply.answers[n] > 0]
        choices = tuple(Choice(config.answers[n], float(reply.answers[n])) for n in order)
        confidence = choices[0].probability
        is_told = confidence >= config.confidence_threshold and not read.unknown  # else it answers another question
        warnings = list(read.remarks)
        if confidence < config.confidence_threshold:
            its, needed = _told_apart(confidence, config.confidence_threshold)
            warnings.append(
                f"The most probable answer, {choices[0].text!r}, has a probability of {its}; below {needed} too many "
                "answers were wrong."
            )
        kind = int(reply.types.argmax())
        return QuestionAnswer(
            read.text,
            choices[0].text if is_told else CANNOT_TELL,
            is_told,
            confidence,
            choices,
            config.types[kind],
            float(reply.types[kind]),
            tuple(warnings),
            time.perf_counter() - started,
            reply.attention,
            self._slices,
        )


def _told_apart(less: float, more: float) -> tuple[str, str]:
    """Both in percent, with as many digits as it takes for the first to read as less than the second."""
    digits = next((n for n in range(6) if f"{less:.{n}%}" != f"{more:.{n}%}"), 6)
    return f"{less:.{digits}%}", f"{more:.{digits}%}"


def _modality(volume: Volume) -> str:
    """What a whole volume looks like, for a slice of it alone would be taken for a picture without a patient."""
    is_clip = not volume.geometry.is_calibrated or looks_like(to_gray(volume.array)[0]) == "ultrasound"
    return "" if is_clip else "mri"
