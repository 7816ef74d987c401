"""A prompt as the network hears it: in the frame of the picture, and no longer than it reads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from leanseg.inference.absence import Asked
from leanseg.inference.text_prompted import Answer, Features, TextPromptedEngine
from leanseg.prompts.directions import PictureFrame, pictured_text, pictured_word
from leanseg.prompts.encoder import TextEncoder
from leanseg.prompts.parse import MAX_CHARACTERS, Parsed, parse
from leanseg.prompts.picture_sides import in_words_of_the_patient
from leanseg.prompts.render import render
from leanseg.prompts.structure import NOTHING_SAID, StructuredPrompt

ANY_TUMOR = render(NOTHING_SAID)
"""What is heard where nothing was said, or nothing understood."""
Float32 = NDArray[np.float32]


def read(text: str, frame: PictureFrame) -> tuple[str, Parsed]:
    """A prompt in words of the patient, and what is understood of it, with spans of what was typed."""
    said, remarks = in_words_of_the_patient(text, frame)
    parsed = parse(text)
    if remarks:
        parsed = replace(parsed, prompt=parse(said).prompt, warnings=(*parsed.warnings, *remarks))
    return said, parsed


def heard(text: str, parsed: Parsed, frame: PictureFrame, encoder: TextEncoder) -> tuple[str, bool]:
    """What the network is told, and whether that is shorter than what was typed, for a `text` in words of the patient.

    A text of which nothing is understood would lead it anywhere, and what is denied would be heard as said. Of one that
    is too long it would hear the beginning alone, so it is told what was understood.
    """
    if not parsed.understood:
        return ANY_TUMOR, False
    if parsed.is_partly_unread:
        return render(seen(text, frame)), False
    typed = pictured_text(text[:MAX_CHARACTERS], frame)
    if encoder.embed(typed).padding.any():
        return typed, False
    return render(seen(text, frame)), True


def seen(text: str, frame: PictureFrame) -> StructuredPrompt:
    """What a `text` in words of the patient says about the picture."""
    return parse(text, lambda word: pictured_word(word, frame)).prompt


class Said:
    """A prompt, and what the network hears of it."""

    def __init__(self, text: str, frame: PictureFrame, engine: TextPromptedEngine) -> None:
        text, parsed = read(text, frame)
        self.asked = Asked(seen(text, frame), frame, engine.config.existence_threshold)
        self._engine = engine
        self._embedding = engine.encoder.embed(heard(text, parsed, frame, engine.encoder)[0])

    def answer(self, features: Features, hints: Float32, shows_a_tumor: bool) -> Answer:
        """A person who points at a tumor is right, also after saying that there is none."""
        embedding = self._engine.encoder.embed(ANY_TUMOR) if self.asked.says_no and shows_a_tumor else self._embedding
        return self._engine.answer(features, embedding, hints)

    def any_tumor(self, features: Features, hints: Float32) -> Answer:
        """The answer without the prompt."""
        return self._engine.answer(features, self._engine.encoder.embed(ANY_TUMOR), hints)
