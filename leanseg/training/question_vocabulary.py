"""The closed vocabularies of question answering: word pieces of the questions, answers, and which type admits which.

Pieces are whole words: those of the training questions, and the most frequent ones of a pretrained encoder, if one is
given: a word that training never showed is then near those that mean the same. Any other word is unknown.
"""

from __future__ import annotations

import json
import string
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from leanseg.errors import UnreadableFileError
from leanseg.prompts.word_pieces import WordPieces, words_of
from leanseg.schema import parse
from leanseg.training.data.questions import TYPES, Question
from leanseg.training.text_corpus import common_words
from leanseg.training.text_teacher import TransformersEncoder

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
VOCABULARY = "vocabulary.json"


@dataclass(frozen=True)
class Vocabulary:
    """What a network reads and says; beside the weights in its run folder."""

    pieces: tuple[str, ...]
    answers: tuple[str, ...]
    """The most frequent first"""
    types: tuple[str, ...]
    admitted: tuple[tuple[int, ...], ...]
    """Of each type, the answers that training questions of it had"""

    @property
    def tokenizer_json(self) -> str:
        """As `WordPieces` reads it."""
        return tokenizer_json(self.pieces)

    @property
    def admissible(self) -> Tensor:
        """(type, answer), 1 where the type admits the answer."""
        table = torch.zeros(len(self.types), len(self.answers))
        for n, admitted in enumerate(self.admitted):
            table[n, list(admitted)] = 1
        return table

    def save(self, folder: Path) -> None:
        (folder / VOCABULARY).write_text(json.dumps(asdict(self), ensure_ascii=False, indent=0), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Vocabulary:
        """Raises:
        UnreadableFileError: the folder holds none, or a damaged one.
        """
        try:
            values = json.loads((folder / VOCABULARY).read_text(encoding="utf-8"))
            result = parse(cls, values, VOCABULARY, complete=True)
        except (OSError, ValueError) as error:
            raise UnreadableFileError(
                f"{folder / VOCABULARY} cannot be read ({error}). Train the run again."
            ) from error
        assert isinstance(result, cls)
        return result


def vocabulary_of(questions: Iterable[Question], words: str = "", common: int = 0) -> Vocabulary:
    """Of training questions; `words` is the folder of a pretrained encoder that gives `common` more words."""
    questions = list(questions)
    texts = [text for question in questions for text in question.texts]
    own = Counter(word for text in texts for word in words_of(text))
    others = common_words(TransformersEncoder(words).tokenizer_json, common) if words else []
    pieces = dict.fromkeys([*SPECIAL, *string.digits, *(word for word, _ in own.most_common()), *others])
    answers = [answer for answer, _ in Counter(question.answer for question in questions).most_common()]
    number = {answer: n for n, answer in enumerate(answers)}
    admitted = [sorted({number[q.answer] for q in questions if q.type == kind}) for kind in TYPES]
    return Vocabulary(tuple(pieces), tuple(answers), TYPES, tuple(map(tuple, admitted)))


def tokenizer_json(pieces: Iterable[str]) -> str:
    """Whole words as `WordPieces` reads them."""
    numbers = {piece: number for number, piece in enumerate(pieces)}
    return json.dumps({"model": {"type": "WordPiece", "vocab": numbers}}, ensure_ascii=False)


def starting_vectors(vocabulary: Vocabulary, folder: str, width: int) -> Tensor:
    """(piece, width): the principal components of a pretrained encoder's vectors, with a standard deviation of 0.1.

    A word that it reads in several pieces gets their mean.
    """
    encoder = TransformersEncoder(folder)
    table, read = encoder.piece_vectors, WordPieces(encoder.tokenizer_json, length=64)
    own = [list(read(piece)[1:-1]) for piece in vocabulary.pieces]
    vectors = torch.stack([table[numbers].mean(dim=0) for numbers in own])
    centered = vectors - vectors.mean(dim=0)
    _, _, components = torch.linalg.svd(centered, full_matrices=False)
    components = components * components.sum(dim=1, keepdim=True).sign()  # whose sign is otherwise arbitrary
    kept = min(width, len(components))
    result = torch.zeros(len(vectors), width)
    result[:, :kept] = centered @ components[:kept].T
    return 0.1 * result / result.std()


def padded(pieces: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Numbers (question, piece) and where there is no piece, as long as the longest."""
    length = max(len(one) for one in pieces)
    ids = torch.tensor([[*one, *[0] * (length - len(one))] for one in pieces])
    return ids, torch.tensor([[False] * len(one) + [True] * (length - len(one)) for one in pieces])
