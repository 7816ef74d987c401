"""Pictures with questions about them: real ones of VQA-RAD, and generated ones about pictures with a ground truth.

Parts as in all recipes: `vqa_rad:train`, `vqa_rad:val`, `vqa_rad:test`; of what is segmented, the questions of
`generated_questions.py`: `busi:train`, `bus_bra:train`, `brats:train`. Pictures are made by the code that makes them
in use (`inference.picture_slices`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from leanseg.errors import LeanSegError, UnknownNameError
from leanseg.files.images import read_image
from leanseg.inference.picture_slices import PictureSlices
from leanseg.processing.preprocess import PreprocessingConfig
from leanseg.training.data import select_cases, vqa_rad
from leanseg.training.data.arrays import BRATS_FOLDER, TrainingArrays
from leanseg.training.data.brats import read_cases, select
from leanseg.training.data.generated_questions import Shown, of_brain, of_ultrasound, questions_about
from leanseg.training.data.questions import Question
from leanseg.training.recipe import Recipe

QUESTION_DATASETS = ("vqa_rad", "brats", "busi", "bus_bra")


@dataclass(frozen=True)
class AskedPicture:
    """A picture on the model grid with its questions."""

    id: str
    part: str
    image: Tensor
    """(1, j, i), float16 in [0, 1]"""
    questions: tuple[Question, ...]


@dataclass(frozen=True)
class QuestionSet(TrainingArrays):
    """Pictures in memory; `targets` is empty, for nothing is outlined."""

    asked: tuple[tuple[Question, ...], ...]
    """Of each image"""
    parts: tuple[str, ...]
    """Of each image, the part that it came from"""

    @property
    def flat(self) -> list[tuple[int, Question]]:
        """Every question with the number of its image."""
        return [(n, question) for n, questions in enumerate(self.asked) for question in questions]


def question_set(pictures: Iterable[AskedPicture]) -> QuestionSet:
    """Pictures as tensors."""
    pictures = list(pictures)
    number = len(pictures)
    return QuestionSet(
        images=torch.stack([picture.image for picture in pictures]),
        targets=torch.zeros(number, 0, dtype=torch.uint8),
        classes=torch.zeros(number, dtype=torch.long),
        cases=torch.arange(number),
        ids=tuple(picture.id for picture in pictures),
        asked=tuple(picture.questions for picture in pictures),
        parts=tuple(picture.part for picture in pictures),
    )


def load_question_set(parts: Sequence[str], root: Path, recipe: Recipe) -> QuestionSet:
    """Pictures with questions, `root` being the folder that holds the data sets.

    Raises:
        LeanSegError: no such data set or part, or one without questions.
    """
    pictures = [picture for part in parts for picture in _pictures(part, root, recipe)]
    if not any(picture.questions for picture in pictures):
        raise LeanSegError(f"{', '.join(parts) or 'No part'} asks nothing. Name a part, e.g. vqa_rad:train.")
    return question_set(picture for picture in pictures if picture.questions)


def _pictures(part: str, root: Path, recipe: Recipe) -> Iterator[AskedPicture]:
    name, _, split = part.partition(":")
    config = recipe.preprocessing
    if name not in QUESTION_DATASETS:
        raise UnknownNameError("data set with questions", name, QUESTION_DATASETS)
    if name == "vqa_rad":
        yield from _of_clinicians(root / name, split, config)
    elif name == "brats":
        for case in select(read_cases(root / BRATS_FOLDER), split):
            for name, shown in of_brain(case, config):
                yield _generated(name, part, shown)
    else:
        for n, one in enumerate(select_cases([part], root, recipe.data.classes)):
            yield _generated(f"{one.dataset}:{one.id}", part, of_ultrasound(one, config, mirrored=n % 2 == 1))


def _generated(name: str, part: str, shown: Shown) -> AskedPicture:
    return AskedPicture(name, part, torch.from_numpy(shown.image).half(), tuple(questions_about(shown)))


def _of_clinicians(root: Path, split: str, config: PreprocessingConfig) -> Iterator[AskedPicture]:
    for path, questions in vqa_rad.read_questions(root, split).items():
        image = PictureSlices(read_image(path), config).picture(0).image
        yield AskedPicture(path.stem, f"vqa_rad:{split}", torch.from_numpy(image).half(), questions)
