"""What a text encoder learns from: texts as word pieces, and the teacher's vector of each piece."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from leanseg.prompts.word_pieces import WordPieces

_AT_ONCE = 64


class Teacher(Protocol):
    """What a pretrained encoder gives beyond embeddings: `text_teacher.TransformersEncoder`."""

    @property
    def id(self) -> str:
        """Its name."""

    @property
    def width(self) -> int:
        """Of its vectors."""

    @property
    def length(self) -> int:
        """Pieces that are read."""

    @property
    def tokenizer_json(self) -> str:
        """Its tokenizer."""

    @property
    def piece_vectors(self) -> Tensor:
        """(piece, width): with which it begins."""

    def hidden(self, ids: Tensor, padding: Tensor) -> Tensor:
        """(text, piece) numbers and True where padded -> (text, piece, width)."""


@dataclass(frozen=True)
class Lessons:
    """Texts of different length, stored one after the other."""

    pieces: Tensor
    """(all pieces,) int64, numbers of the small tokenizer."""
    vectors: Tensor
    """(all pieces, width) float16, the teacher's."""
    starts: Tensor
    """(text + 1,): where each text begins, and the end of the last."""
    piece_vectors: Tensor
    """(piece, width): with which the teacher begins, for each piece of the small tokenizer."""
    tokenizer_json: str
    checksum: str
    """Of texts, tokenizer and teacher."""

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def counts(self) -> Tensor:
        """(text,): pieces of each."""
        return self.starts.diff()

    def batch(self, texts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Numbers of some texts -> pieces (text, piece), padding (text, piece), vectors (text, piece, width)."""
        first, counts = self.starts[texts], self.counts[texts]
        places = torch.arange(int(counts.max()))
        padding = places >= counts[:, None]
        index = (first[:, None] + places).masked_fill(padding, 0)
        ids = self.pieces[index].masked_fill(padding, 0)  # [PAD] is the first piece
        return ids, padding, self.vectors[index].float() * ~padding[:, :, None]

    def statistics(self) -> tuple[Tensor, Tensor]:
        """(width,) each: mean and standard deviation of the teacher's vectors over all pieces of all texts."""
        vectors = self.vectors.double()
        return vectors.mean(dim=0).float(), vectors.std(dim=0).clamp(min=1e-4).float()

    def starting_vectors(self, width: int) -> Tensor:
        """(piece, width): the principal components of the teacher's own, with a standard deviation of 0.1 in all.

        So words that no text has begin near those that the teacher finds alike.
        """
        centered = self.piece_vectors - self.piece_vectors.mean(dim=0)
        _, _, components = torch.linalg.svd(centered, full_matrices=False)
        components = components * components.sum(dim=1, keepdim=True).sign()  # whose sign is otherwise arbitrary
        projected = torch.zeros(len(centered), width)
        kept = min(width, len(components))
        projected[:, :kept] = centered @ components[:kept].T
        return 0.1 * projected / projected.std()


def lessons_of(
    texts: Sequence[str], tokenizer_json: str, numbers: Sequence[int], teacher: Teacher, cache: Path
) -> Lessons:
    """Let the teacher read every text, or read from the file `cache` what it gave for the same texts before.

    `numbers`: of the teacher, for each piece of the small tokenizer.
    """
    read = WordPieces(tokenizer_json, teacher.length)
    pieces = [read(text) for text in texts]
    checksum = hashlib.sha256(repr((teacher.id, tokenizer_json, pieces)).encode()).hexdigest()
    vectors = _cached(cache, checksum)
    if vectors is None:
        vectors = _vectors(pieces, torch.tensor(numbers), teacher)
        cache.parent.mkdir(parents=True, exist_ok=True)
        partial = cache.with_name(cache.name + ".partial")
        save_file({"vectors": vectors}, partial, {"lessons": checksum})
        os.replace(partial, cache)
    counts = torch.tensor([0, *map(len, pieces)])
    flat = torch.tensor([piece for text in pieces for piece in text])
    return Lessons(flat, vectors, counts.cumsum(0), teacher.piece_vectors[list(numbers)], tokenizer_json, checksum)


def _cached(cache: Path, checksum: str) -> Tensor | None:
    """Nothing where there is no file, a damaged one, or one of other lessons."""
    try:
        with safe_open(cache, framework="pt") as file:
            if (file.metadata() or {}).get("lessons") != checksum:
                return None
        return load_file(cache)["vectors"]
    except (OSError, SafetensorError, KeyError):
        return None


def _vectors(pieces: Sequence[tuple[int, ...]], numbers: Tensor, teacher: Teacher) -> Tensor:
    """(all pieces, width) float16, in the order of the texts; read by length, which saves padding."""
    found: list[Tensor] = [torch.empty(0)] * len(pieces)
    by_length = sorted(range(len(pieces)), key=lambda n: len(pieces[n]))
    for start in range(0, len(pieces), _AT_ONCE):
        chosen = by_length[start : start + _AT_ONCE]
        longest = len(pieces[chosen[-1]])
        ids = torch.tensor([[*pieces[n], *[0] * (longest - len(pieces[n]))] for n in chosen])
        padding = torch.tensor([[place >= len(pieces[n]) for place in range(longest)] for n in chosen])
        for n, vectors in zip(chosen, teacher.hidden(numbers[ids], padding).cpu(), strict=True):
            found[n] = vectors[: len(pieces[n])].half()
    return torch.cat(found)
