"""Text encoders: a prompt in, one vector for each of its word pieces out.

One protocol for the small encoder that the bundles ship, which runs here from a graph and its vocabulary, and for the
pretrained ones of `training.text_teacher`, from which it learned.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from leanseg.prompts.word_pieces import WordPieces
from leanseg.runtime.graph import Graph, checked

Float32 = NDArray[np.float32]
REMEMBERED_PROMPTS = 128


@dataclass(frozen=True)
class TextEmbedding:
    """What a network sees of a prompt; the arrays are the caller's to keep."""

    tokens: Float32
    """(1, piece, width), zero where padded; the first piece stands for the beginning, the last for the end."""
    padding: Float32
    """(1, piece): 1 where there is no piece, 0 elsewhere."""


class TextEncoder(Protocol):
    """Anything that embeds prompts."""

    @property
    def id(self) -> str:
        """Which encoder it is, for cards and caches; never a path."""

    @property
    def width(self) -> int:
        """Of the vector of a piece."""

    @property
    def length(self) -> int:
        """Pieces that are read, with beginning and end; the rest of a longer text is not read."""

    def embed(self, text: str) -> TextEmbedding:
        """Any text, the empty one too."""


class SmallTextEncoder:
    """The encoder that lies in a bundle: a tokenizer and the graph `text`.

    Remembers the last REMEMBERED_PROMPTS embeddings (5 MB at 24 x 384) in the object. Not for two threads at once.
    """

    id = "small_text_encoder"

    def __init__(self, graph: Graph, tokenizer_json: str, length: int = 24, width: int = 384) -> None:
        """`graph`: ids (1, length), padding (1, length) -> tokens (1, length, width), all float32.

        Raises:
            BundleError: the tokenizer cannot be read.
        """
        self.length = length
        self.width = width
        self._graph = graph
        self._word_pieces = WordPieces(tokenizer_json, length)
        self._known: OrderedDict[tuple[int, ...], Float32] = OrderedDict()

    def embed(self, text: str) -> TextEmbedding:
        """See `TextEncoder`.

        Raises:
            BundleError: the graph does not go with the tokenizer, or gives something else than it should.
        """
        pieces = self._word_pieces(text)
        ids, padding = self._word_pieces.padded(pieces)
        if pieces not in self._known:
            outputs = self._graph({"ids": ids, "padding": padding})
            self._known[pieces] = checked(outputs, "tokens", (1, self.length, self.width))
        self._known.move_to_end(pieces)
        if len(self._known) > REMEMBERED_PROMPTS:
            self._known.popitem(last=False)
        return TextEmbedding(self._known[pieces].copy(), padding)
