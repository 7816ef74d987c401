"""The engine of referring segmentation: a picture and a sentence -> the one object that the sentence means, or none.

Paper of the network: CM-MaskSD (arXiv 2305.11481). One graph, `referring`:

    image, ids, padding  ->  probability, existence, correlation, and of some models all objects

The correlation is the cosine of each patch of the picture with the sentence as a whole and with each of its pieces: it
shows what the words point at. The sentence is in the frame of the picture; `referring_session` brings it there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from leanseg.errors import BundleError, LeanSegError
from leanseg.processing.preprocess import PreprocessingConfig
from leanseg.prompts.word_pieces import WordPieces, words_of
from leanseg.runtime.graph import Graph, checked
from leanseg.runtime.packed_graph import complete_graphs
from leanseg.weights.bundle import Bundle
from leanseg.weights.card import FileCard, parse_section

REFERRING = "referring"
PARTS = (REFERRING,)
"""Of the bundle: the graph `referring_<precision>`."""
ENGINE = "referring"
Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class ReferringConfig:
    """The card's `engine_config` of a model that outlines what a sentence refers to."""

    tokenizer: FileCard
    """`tokenizer.json` of the bundle"""
    text_length: int = 24
    """Pieces of a sentence that the network reads, with beginning and end"""
    threshold: float = 0.5
    """Of the probability, or, if `finds_objects`, of the map of all objects; chosen on the validation split"""
    existence_threshold: float = 0.5
    """There is no such object where its probability to exist is below this; chosen on the validation split"""
    grid_ji: tuple[int, int] = (16, 16)
    """Rows and columns of patches in the correlation"""
    finds_objects: bool = False
    """Whether the graph also tells all objects that a sentence could mean; see `inference.chosen_object`"""

    def __post_init__(self) -> None:
        if min(self.text_length - 2, *self.grid_ji) < 1:
            raise ValueError("grid_ji must be positive, and text_length at least 3.")
        if not (0 < self.threshold < 1 and 0 <= self.existence_threshold <= 1):
            raise ValueError("threshold and existence_threshold lie between 0 and 1.")


@dataclass(frozen=True, eq=False)
class Referred:
    """What the network says to one sentence about one picture, on its own grid."""

    probability: Float32
    """(j, i): of a pixel to be of the object; low everywhere where there is none"""
    existence: float
    """Probability that there is such an object"""
    sentence: Float32
    """(row, column): cosine of each patch with the sentence"""
    words: tuple[tuple[str, Float32], ...]
    """Each word that was read, in its order, with the cosine (row, column) of each patch; of several pieces the mean"""
    objects: Float32 | None = None
    """(j, i): of a pixel to be of any object, if the network tells"""


class ReferringEngine:
    """Runs the graph `referring`. Holds nothing of a picture; not for two threads at once."""

    def __init__(self, graphs: Mapping[str, Graph], config: ReferringConfig, tokenizer_json: str) -> None:
        """Raises:
        BundleError: the graph is missing, or the tokenizer cannot be read.
        """
        if REFERRING not in graphs:
            raise BundleError(f"The bundle has no graph {REFERRING}. Restore the bundle.")
        self.config = config
        self.graph = graphs[REFERRING]
        self._pieces = WordPieces(tokenizer_json, config.text_length)

    def unknown(self, sentence: str) -> list[str]:
        """Words of a sentence that the network does not know, each once; signs are no words."""
        words = dict.fromkeys(word for word in words_of(sentence) if any(one.isalnum() for one in word))
        return [word for word in words if not self._pieces.knows(word)]

    def refer(self, image: Float32, sentence: str) -> Referred:
        """`image`: (1, j, i) on the model grid, as `processing.preprocess` makes it.

        Raises:
            LeanSegError: the sentence is empty, or longer than the network reads.
            BundleError: the graph does not do what its card says.
        """
        words = [(word, len(self._pieces(word)) - 2) for word in words_of(sentence)]
        pieces, room = sum(number for _, number in words), self.config.text_length - 2
        if not 1 <= pieces <= room:
            came = f"has {pieces} words and signs" if pieces else "is empty"
            raise LeanSegError(f"The sentence {came}; the model reads 1 to {room}. Say it in other words.")
        ids, padding = self._pieces.padded(self._pieces(sentence))
        inputs = {"image": np.ascontiguousarray(image[np.newaxis], dtype=np.float32), "ids": ids, "padding": padding}
        outputs = self.graph(inputs)
        shape = (1, 1 + self.config.text_length, *self.config.grid_ji)
        correlation = checked(outputs, "correlation", shape)[0]
        seen, at = [], 2  # the sentence, the piece of the beginning
        for word, number in words:
            seen.append((word, np.asarray(correlation[at : at + number].mean(axis=0), dtype=np.float32)))
            at += number
        probability = checked(outputs, "probability", (1, 1, *image.shape[1:]))[0, 0]
        existence = checked(outputs, "existence", (1,))
        objects = checked(outputs, "objects", (1, 1, *image.shape[1:]))[0, 0] if self.config.finds_objects else None
        return Referred(probability, float(existence[0]), correlation[0], tuple(seen), objects)


def referring_engine(
    bundle: Bundle, device: str, precision: str, make_graph: Callable[[bytes], Graph]
) -> tuple[ReferringEngine, PreprocessingConfig]:
    """Engine and preprocessing of a model that outlines what a sentence refers to.

    Raises:
        BundleError: the graph or the tokenizer is missing or damaged, or the card does not fit.
        LeanSegError: on CUDA.
    """
    card = bundle.card
    if device == "cuda":
        raise LeanSegError(f"{card.id} reads sentences, which runs on the CPU only. Use --device cpu.")
    preprocessing = parse_section(PreprocessingConfig, card.preprocessing, card.id, "card.preprocessing")
    config = parse_section(ReferringConfig, card.engine_config, card.id, "card.engine_config")
    graphs = {part: make_graph(graph) for part, graph in complete_graphs(bundle, precision).items()}
    tokenizer = bundle.read(config.tokenizer).decode("utf-8", "replace")
    return ReferringEngine(graphs, config, tokenizer), preprocessing
