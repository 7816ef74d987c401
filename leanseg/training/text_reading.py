"""The frozen text encoder of a training run: many prompts -> what the network hears."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from leanseg.errors import LeanSegError
from leanseg.networks.blocks.vision_language import TokenScale
from leanseg.prompts.encoder import TextEncoder
from leanseg.prompts.paraphrase import corpus
from leanseg.prompts.word_pieces import WordPieces
from leanseg.training.text_encoder import load_text_encoder
from leanseg.training.text_recipe import TextConfig
from leanseg.training.text_teacher import TransformersEncoder

_LEARNED_PROMPTS = 512
REMEMBERED_PROMPTS = 8192
"""150 MB at 24 x 384 in half precision."""
Heard = tuple[Tensor, Tensor]
"""Tokens (text, piece, width) float32, and padding (text, piece) bool, True where there is no piece"""


class Reader:
    """Reads prompts, and remembers up to REMEMBERED_PROMPTS of them; then it starts anew.

    What is remembered is in half precision, and so is what is read for the first time: a resumed run, which remembers
    nothing, gets the same numbers.
    """

    def __init__(self, read: Callable[[Sequence[str]], Heard], width: int) -> None:
        self.width = width
        self._read = read
        self._known: dict[str, Heard] = {}

    def __call__(self, texts: Sequence[str]) -> Heard:
        """Texts may be repeated."""
        with torch.autocast("cpu", enabled=False), torch.inference_mode():
            tokens, padding = self._heard(texts)
        return tokens.clone(), padding.clone()  # normal tensors, which gradients may pass

    def _heard(self, texts: Sequence[str]) -> Heard:
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if len(self._known) + len(new) > REMEMBERED_PROMPTS:
            self._known.clear()
            new = list(dict.fromkeys(texts))
        for text in new:  # one by one: in a batch, sums may be ordered otherwise
            tokens, padding = self._read([text])
            self._known[text] = (tokens[0].half(), padding[0])
        heard = [self._known[text] for text in texts]
        return torch.stack([tokens for tokens, _ in heard]).float(), torch.stack([padding for _, padding in heard])


def load_reader(config: TextConfig) -> Reader | None:
    """The text encoder that a recipe names; None if it names none.

    Raises:
        LeanSegError: there is none, or it is damaged.
    """
    if not config.encoder:
        return None
    if config.encoder_kind == "transformers":
        return reader_of(TransformersEncoder(config.encoder))
    network, tokenizer_json = load_text_encoder(Path(config.encoder))
    pieces = WordPieces(tokenizer_json, network.config.length)

    def read(texts: Sequence[str]) -> Heard:
        padded = [pieces.padded(pieces(text)) for text in texts]
        ids, padding = (torch.cat([torch.from_numpy(one[n]) for one in padded]) for n in (0, 1))
        return network(ids.long(), padding > 0.5), padding > 0.5

    return Reader(read, network.config.out_width)


def reader_of(encoder: TextEncoder) -> Reader:
    """Any text encoder as a reader."""

    def read(texts: Sequence[str]) -> Heard:
        embeddings = [encoder.embed(text) for text in texts]
        tokens, padding = (torch.cat([torch.from_numpy(getattr(e, name)) for e in embeddings]) for name in _FIELDS)
        return tokens, padding > 0.5

    return Reader(read, encoder.width)


_FIELDS = ("tokens", "padding")


def learn_scale(scale: TokenScale, reader: Reader) -> None:
    """Give a network the statistics of what its reader makes of wordings of the grammar, the same ones always."""
    tokens, padding = reader(corpus(np.random.default_rng(0), _LEARNED_PROMPTS))
    scale.learn(tokens[~padding])


def check_width(reader: Reader | None, text_width: int) -> None:
    """Raises LeanSegError where the network expects vectors of another width."""
    if reader is not None and reader.width != text_width:
        raise LeanSegError(
            f"The text encoder gives {reader.width} numbers a word, the network takes {text_width}. Set text_width."
        )
