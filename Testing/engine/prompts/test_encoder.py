"""The small encoder: what it gives for a prompt, and what it remembers."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from leanseg.errors import BundleError
from leanseg.prompts.encoder import REMEMBERED_PROMPTS, SmallTextEncoder, TextEncoder
from leanseg.runtime.graph import Arrays

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "mass", "left", *LETTERS, *(f"##{letter}" for letter in LETTERS)]
TOKENIZER = json.dumps({"model": {"type": "WordPiece", "vocab": {piece: n for n, piece in enumerate(PIECES)}}})


class NumbersGraph:
    """Gives each piece its number in every place of its vector, and counts how often it is asked."""

    runtime = "test 1"

    def __init__(self, width: int = 3) -> None:
        self.width = width
        self.calls = 0

    def __call__(self, inputs: Mapping[str, Any]) -> Arrays:
        self.calls += 1
        seen = inputs["ids"] * (1 - inputs["padding"])
        return {"tokens": np.repeat(seen[..., None], self.width, axis=-1).astype(np.float32)}


@pytest.fixture
def graph() -> NumbersGraph:
    return NumbersGraph()


@pytest.fixture
def encoder(graph: NumbersGraph) -> SmallTextEncoder:
    return SmallTextEncoder(graph, TOKENIZER, length=6, width=3)


def test_a_prompt_by_hand(encoder: SmallTextEncoder) -> None:
    embedding = encoder.embed("Mass LEFT")
    assert embedding.tokens.shape == (1, 6, 3) and embedding.tokens.dtype == np.float32
    assert embedding.tokens[0, :, 1].tolist() == [2, 4, 5, 3, 0, 0]
    assert embedding.padding.tolist() == [[0, 0, 0, 0, 1, 1]] and embedding.padding.dtype == np.float32


def test_it_is_a_text_encoder(encoder: SmallTextEncoder) -> None:
    as_protocol: TextEncoder = encoder
    assert (as_protocol.id, as_protocol.length, as_protocol.width) == ("small_text_encoder", 6, 3)


def test_a_prompt_is_computed_once_however_it_is_written(encoder: SmallTextEncoder, graph: NumbersGraph) -> None:
    first = encoder.embed("mass left")
    again = encoder.embed("  Mass\nleft ")
    assert graph.calls == 1
    assert np.array_equal(first.tokens, again.tokens)


def test_what_the_caller_changes_is_not_remembered(encoder: SmallTextEncoder) -> None:
    embedding = encoder.embed("mass")
    embedding.tokens[:] = 99
    embedding.padding[:] = 99
    assert encoder.embed("mass").tokens[0, :, 0].tolist() == [2, 4, 3, 0, 0, 0]
    assert encoder.embed("mass").padding.tolist() == [[0, 0, 0, 1, 1, 1]]


def test_the_prompt_not_used_for_longest_is_forgotten(encoder: SmallTextEncoder, graph: NumbersGraph) -> None:
    prompts = [f"mass {a}{b}" for a in LETTERS for b in LETTERS][:REMEMBERED_PROMPTS]
    for prompt in prompts:
        encoder.embed(prompt)
    encoder.embed(prompts[0])  # used again: now the second is the oldest
    encoder.embed("left")
    assert graph.calls == REMEMBERED_PROMPTS + 1
    encoder.embed(prompts[0])
    assert graph.calls == REMEMBERED_PROMPTS + 1
    encoder.embed(prompts[1])
    assert graph.calls == REMEMBERED_PROMPTS + 2


@pytest.mark.parametrize("text", ["", "😀", "\ud83d", "左の腫瘤", "x" * 100_000, "mass " * 10_000, "\0\t"])
def test_any_text_is_embedded(encoder: SmallTextEncoder, text: str) -> None:
    embedding = encoder.embed(text)
    kept = int((embedding.padding == 0).sum())
    assert 2 <= kept <= 6
    assert embedding.tokens[0, 0, 0] == 2 and embedding.tokens[0, kept - 1, 0] == 3


def test_a_graph_of_another_width_is_refused() -> None:
    encoder = SmallTextEncoder(NumbersGraph(width=4), TOKENIZER, length=6, width=3)
    with pytest.raises(BundleError, match=r"tokens of \(1, 6, 4\); \(1, 6, 3\) is needed"):
        encoder.embed("mass")
