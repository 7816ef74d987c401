"""The engine of question answering: what a picture looks like is computed once, each question costs its own part only.

Paper of the network: MF2-MVQA (arXiv 2211.05991). Two graphs take turns:

    image     picture -> tokens of its stages                                 `look`
    question  tokens, word pieces -> answers, types, attention                `reply`

What is asked is first read here: a question in English, in words that the model knows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from leanseg.errors import BundleError, LeanSegError
from leanseg.processing.preprocess import PreprocessingConfig
from leanseg.prompts.misspelled import meant_by
from leanseg.prompts.word_pieces import WordPieces, words_of
from leanseg.runtime.graph import Graph, checked
from leanseg.runtime.packed_graph import complete_graphs
from leanseg.weights.bundle import Bundle
from leanseg.weights.card import FileCard, parse_section

IMAGE, QUESTION = "image", "question"
PARTS = (IMAGE, QUESTION)
"""Of the bundle: the graphs `<part>_<precision>`."""
ENGINE = "question_answering"
MOST_CHARACTERS = 500
STAGES = 5
_QUESTIONING = (
    "am are can compare could describe did do does has have how identify in is list locate may name on should was were "
    "what when where which who whose why will would at from of to with under about any"
)
_BEGINNINGS = frozenset(_QUESTIONING.split(" "))
_SHORT = 3  # letters: with one other such a word is any
_MOST_UNKNOWN = 0.5
Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class QuestionAnsweringConfig:
    """The card's `engine_config` of a model that answers questions."""

    tokenizer: FileCard
    """`tokenizer.json` of the bundle"""
    answers: tuple[str, ...]
    types: tuple[str, ...]
    """Of questions"""
    text_length: int = 28
    """Pieces of a question that the network reads, with beginning and end"""
    grid: int = 4
    """A stage has `grid` x `grid` places"""
    confidence_threshold: float = 0.5
    """Below this probability of the first answer the model says that it cannot tell; chosen on the validation split"""

    def __post_init__(self) -> None:
        if min(len(self.answers), len(self.types), self.text_length - 2, self.grid) < 1:
            raise ValueError("answers, types and grid must be positive, and text_length at least 3.")
        if not 0 <= self.confidence_threshold <= 1:
            raise ValueError(f"confidence_threshold lies between 0 and 1; got {self.confidence_threshold}.")


@dataclass(frozen=True)
class QuestionRead:
    """A question as the network gets it."""

    text: str
    pieces: tuple[int, ...]
    remarks: tuple[str, ...]
    """What a person should know about how it was read, one line each"""
    unknown: tuple[str, ...] = ()
    """Words that the model does not know: without them it is another question"""


@dataclass(frozen=True, eq=False)
class Reply:
    """What the network says to one question."""

    answers: Float32
    """(answer,): calibrated probabilities, 0 for what the type of the question does not admit"""
    types: Float32
    """(type,): probabilities"""
    attention: Float32
    """(stage, grid, grid): of the answer on the places of each stage; the sum of a stage is 1"""


class QuestionAnsweringEngine:
    """Runs the graphs `image` and `question`. Holds nothing of a picture; not for two threads at once."""

    def __init__(self, graphs: Mapping[str, Graph], config: QuestionAnsweringConfig, tokenizer_json: str) -> None:
        """Raises:
        BundleError: a graph is missing, or the tokenizer cannot be read.
        """
        if missing := [part for part in PARTS if part not in graphs]:
            raise BundleError(f"The bundle has no graph {', '.join(missing)}. Restore the bundle.")
        self.config = config
        self.image_graph, self.graph = graphs[IMAGE], graphs[QUESTION]
        self._pieces = WordPieces(tokenizer_json, config.text_length)

    def read(self, question: str) -> QuestionRead:
        """A person's question; a misspelled word as the known word that it is one slip away from.

        Raises:
            LeanSegError: nothing, too long, no question, or not in English.
        """
        text = " ".join(question.split()) if isinstance(question, str) else ""
        if not text:
            raise LeanSegError("Nothing is asked. Type a question, e.g.: Is there a mass?")
        if len(text) > MOST_CHARACTERS:
            raise LeanSegError(
                f"The question has {len(text)} characters; at most {MOST_CHARACTERS} are read. Ask more briefly."
            )
        words = [word for word in words_of(text) if any(one.isalnum() for one in word)]
        unknown = [word for word in words if not self._pieces.knows(word)]
        if not words or len(unknown) > _MOST_UNKNOWN * len(words):
            raise LeanSegError(
                f"{_shown(text)} has too few words that the model knows. Ask in English, in plain words."
            )
        if not text.endswith("?") and words[0] not in _BEGINNINGS:
            raise LeanSegError(f"{_shown(text)} is no question. Ask one, e.g.: Is there a mass?")
        known, remarks, unread = text, [], []
        for word in dict.fromkeys(unknown):
            meant = meant_by(word, self._pieces.words) if len(word) > _SHORT else None
            if meant is not None:
                known = re.sub(rf"(?i)\b{re.escape(word)}\b", meant, known)
                remarks.append(f"{word!r} was read as {meant!r}.")
            else:
                unread.append(word)
                remarks.append(f"The model does not know the word {word!r}.")
        pieces = self._pieces(known)
        if len(words) + 2 > self.config.text_length:
            remarks.append(f"Only the beginning was read, {self.config.text_length - 2} words. Ask more briefly.")
        return QuestionRead(text, pieces, tuple(remarks), tuple(unread))

    def look(self, image: Float32) -> Float32:
        """(1, j, i) on the model grid, as `processing.preprocess` makes it -> tokens (1, stage, place, width).

        Raises:
            BundleError: the graph does not do what its card says.
        """
        outputs = self.image_graph({"image": np.ascontiguousarray(image[np.newaxis], dtype=np.float32)})
        return checked(outputs, "tokens", np.shape(outputs.get("tokens", ())))

    def reply(self, tokens: Float32, question: QuestionRead) -> Reply:
        """To a question about what was looked at.

        Raises:
            BundleError: the graph does not do what its card says.
        """
        ids, padding = self._pieces.padded(question.pieces)
        outputs = self.graph({"tokens": tokens, "ids": ids, "padding": padding})
        config = self.config
        attention = checked(outputs, "attention", (1, STAGES, config.grid**2))[0]
        return Reply(
            checked(outputs, "answers", (1, len(config.answers)))[0],
            checked(outputs, "types", (1, len(config.types)))[0],
            attention.reshape(STAGES, config.grid, config.grid),
        )


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def question_engine(
    bundle: Bundle, device: str, precision: str, make_graph: Callable[[bytes], Graph]
) -> tuple[QuestionAnsweringEngine, PreprocessingConfig]:
    """Engine and preprocessing of a model that answers questions.

    Raises:
        BundleError: a graph or the tokenizer is missing or damaged, or the card does not fit.
        LeanSegError: on CUDA.
    """
    card = bundle.card
    if device == "cuda":
        raise LeanSegError(f"{card.id} answers questions, which runs on the CPU only. Use --device cpu.")
    preprocessing = parse_section(PreprocessingConfig, card.preprocessing, card.id, "card.preprocessing")
    config = parse_section(QuestionAnsweringConfig, card.engine_config, card.id, "card.engine_config")
    graphs = {part: make_graph(graph) for part, graph in complete_graphs(bundle, precision).items()}
    tokenizer = bundle.read(config.tokenizer).decode("utf-8", "replace")
    return QuestionAnsweringEngine(graphs, config, tokenizer), preprocessing
