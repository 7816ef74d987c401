"""A question about a picture, with its answer, type and wordings; and how answers are compared."""

from __future__ import annotations

import re
from dataclasses import dataclass

YES_NO = "yes/no"
TYPES = (
    YES_NO,
    *("modality", "plane", "organ", "abnormality", "position", "presence"),
    *("size", "attribute", "color", "count", "other"),
)
_ARTICLES = {"a", "an", "the"}
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_DIGITS = {word: str(number) for number, word in enumerate(_NUMBERS)}
_SIDED = re.compile(r"\b(left|right|lateral|bilateral|side|sided|hemi\w*|l|r)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Question:
    """What is asked about a picture, and what is right."""

    texts: tuple[str, ...]
    """Wordings of it; the first is the original one."""
    answer: str
    """As `normalized`"""
    type: str
    """One of TYPES"""
    is_closed: bool
    """Whether the question names what may be answered: yes or no, this or that."""
    id: str = ""

    @property
    def has_sides(self) -> bool:
        """Whether a mirrored picture would have another answer, as far as words say."""
        return any(_SIDED.search(text) for text in (*self.texts, self.answer))


def normalized(answer: object) -> str:
    """Lower case, without punctuation and articles, numbers as digits: how answers are compared (as VQA does)."""
    words = re.sub(r"[^a-z0-9]+", " ", str(answer).lower()).split()
    return " ".join(_DIGITS.get(word, word) for word in words if word not in _ARTICLES)
