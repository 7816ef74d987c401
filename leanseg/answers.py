"""The facade of question answering: one picture, one question, one answer."""

from __future__ import annotations

from pathlib import Path

from leanseg.api import Model, load_engine
from leanseg.files.images import read_image
from leanseg.question_session import QuestionAnswer, QuestionSession
from leanseg.volume import Volume


def answer(
    image: Path | Volume, question: str, model: Model | str = "mf2_mvqa", *, k: int | None = None, modality: str = ""
) -> QuestionAnswer:
    """The answer to a question about a picture, or about slice `k` of a volume.

    For several questions about one picture make a `QuestionSession`, which looks at it once.

    Raises:
        UnreadableFileError: the file cannot be read.
        IncompatibleInputError: too small, in color, NaN or infinite values, or no contrast.
        LeanSegError: a model that answers no questions, no such slice, or what is asked is no question in English.
    """
    if isinstance(model, str):
        model = load_engine(model)
    picture = image if isinstance(image, Volume) else read_image(image)
    return QuestionSession(model, picture, k, modality).ask(question)
