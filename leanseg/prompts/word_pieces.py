"""A text as the numbers of its word pieces, as BERT reads it (Devlin et al., arXiv 1810.04805), with lower case.

The library `tokenizers` does the same from the same file, and a test holds this against it. It is not needed to use a
model: it is a compiled wheel that brings a client of a model hub along, one more thing that may fail to install behind
a firewall, for sixty lines (docs/adr/0007-text-beside-the-encoder.md).
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from leanseg.errors import BundleError

MOST_CHARACTERS = 4096
"""Of a prompt; whatever is written after them lies beyond the last piece anyway."""
_LONGEST_WORD = 100
"""Characters; a longer word is unknown as a whole, as the file says."""
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


class WordPieces:
    """Text -> numbers. `length` pieces are read at most, beginning and end included."""

    def __init__(self, tokenizer_json: str, length: int) -> None:
        """`tokenizer_json`: the content of a `tokenizer.json` with a WordPiece model of lower case.

        Raises:
            BundleError: it is no such tokenizer.
        """
        try:
            vocabulary = json.loads(tokenizer_json)["model"]["vocab"]
            pad, unknown, begin, end = (int(vocabulary[piece]) for piece in _SPECIAL)
        except (ValueError, KeyError, TypeError) as error:
            raise BundleError(f"The tokenizer cannot be read ({error}). Restore the bundle.") from error
        self.length = length
        self._vocabulary: dict[str, int] = vocabulary
        self._pad, self._unknown, self._begin, self._end = pad, unknown, begin, end

    def __call__(self, text: str) -> tuple[int, ...]:
        """The pieces of a text, at most `length`, beginning and end included; not padded."""
        pieces = [self._begin]
        for word in words_of(text[:MOST_CHARACTERS]):
            pieces += self._pieces(word)
            if len(pieces) >= self.length:
                break
        return (*pieces[: self.length - 1], self._end)

    @property
    def words(self) -> list[str]:
        """Whole words of the vocabulary."""
        return [piece for piece in self._vocabulary if piece[:1].isalpha()]

    def knows(self, word: str) -> bool:
        """Whether a lower-case word is in the vocabulary as a whole."""
        return word in self._vocabulary

    def padded(self, pieces: tuple[int, ...]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Numbers and padding (1 where there is no piece) as the graphs take them, each (1, length)."""
        ids = np.full((1, self.length), self._pad, np.float32)
        ids[0, : len(pieces)] = pieces
        padding = np.ones((1, self.length), np.float32)
        padding[0, : len(pieces)] = 0
        return ids, padding

    def _pieces(self, word: str) -> list[int]:
        """The longest known beginning, then the longest that goes on, and so forth; unknown if one is missing."""
        if len(word) > _LONGEST_WORD:
            return [self._unknown]
        pieces, start = [], 0
        while start < len(word):
            mark = "##" if start else ""
            ends = (end for end in range(len(word), start, -1) if mark + word[start:end] in self._vocabulary)
            end = next(ends, start)
            if end == start:
                return [self._unknown]
            pieces.append(self._vocabulary[mark + word[start:end]])
            start = end
        return pieces


def words_of(text: str) -> Iterator[str]:
    """Lower-case words without accents; every punctuation mark and every CJK character is a word of its own."""
    word = ""
    for character in unicodedata.normalize("NFD", "".join(_clean(one) for one in text)):
        kind = unicodedata.category(character)
        if kind == "Mn":
            continue
        is_alone = kind.startswith("P") or (character.isascii() and kind.startswith("S"))
        if character.isspace() or is_alone or _is_cjk(character):
            if word:
                yield word
            word = ""
            if not character.isspace():
                yield character.lower()
        else:
            word += character.lower()
    if word:
        yield word


def _clean(character: str) -> str:
    """White space as a blank; control and format characters and halves of surrogate pairs as nothing."""
    if character in "\t\n\r":
        return " "
    return "" if unicodedata.category(character) in ("Cc", "Cf", "Co", "Cs") or character == "\ufffd" else character


def _is_cjk(character: str) -> bool:
    """Of the ideographs that stand without blanks between them."""
    ranges = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x2CEAF), (0x2F800, 0x2FA1F))
    return any(first <= ord(character) <= last for first, last in ranges)
