"""A question and its answer, in the worker: the model is loaded and the picture looked at where they are others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from leanseg.slicer_bridge.view_picture import ViewPicture
    from leanseg.volume import Volume


@dataclass(frozen=True, eq=False)
class Look:
    """What a model knows of a picture: the next question about it costs less."""

    model: Any
    kind: str
    picture: Volume
    session: Any
    """`QuestionSession`"""

    def isOf(self, model: Any, kind: str, picture: Volume) -> bool:
        """Whether it is of these: the same gray levels at the same place."""
        mine = self.picture
        isThere = self.model is model and self.kind == kind and mine.geometry.is_close_to(picture.geometry)
        isCalibrated = mine.geometry.is_calibrated == picture.geometry.is_calibrated
        return isThere and isCalibrated and np.array_equal(mine.array, picture.array)


def answered(
    models: Any, key: tuple[str, str], picture: Volume, kind: str, question: str, known: Look | None, progress: Any
) -> tuple[Look, Any]:
    """What the model knows of the picture now, and its `QuestionAnswer`. In any thread.

    :param models: `LoadedModels`
    :param kind: as of `kindOf`
    :param known: of the question before.
    :raises LeanSegError: the model cannot be loaded, the picture does not fit it, or what is asked is no question.
    :raises InferenceCancelled: `progress` returned False.
    """
    from leanseg.question_session import QuestionSession
    from leanseg.request import step

    with models.use([key], progress) as [model]:
        if known is None or not known.isOf(model, kind, picture):
            step(progress, 0, 2, "looking at the picture")
            known = Look(model, kind, picture, QuestionSession(model, picture, modality=kind))
        step(progress, 1, 2, "answering")
        return known, known.session.ask(question)


def kindOf(picture: ViewPicture, said: str) -> str:
    """`ultrasound`, `mri`, or nothing: then the picture has to tell.

    A slice of a stack that is no clip lies in a patient, though the slice alone does not say so.

    :param said: by a person; nothing: it looks as it looks.
    """
    from leanseg.inference.picture_slices import looks_like

    volume = picture.volume
    isPatient = picture.isOfStack and volume.geometry.is_calibrated and len(volume.array) == 1
    return said or ("mri" if isPatient and looks_like(volume.array[0]) != "ultrasound" else "")
