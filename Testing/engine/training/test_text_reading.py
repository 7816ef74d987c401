from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from leanseg.errors import LeanSegError
from leanseg.networks.blocks.vision_language import TokenScale
from leanseg.prompts.encoder import TextEmbedding
from leanseg.training import text_reading
from leanseg.training.text_reading import Heard, Reader, check_width, learn_scale, load_reader, reader_of
from leanseg.training.text_recipe import TextConfig


class Counting:
    """The vector of a text is its length, a third of it; it counts what it reads."""

    id, width, length = "counting", 2, 3

    def __init__(self) -> None:
        self.read: list[str] = []

    def embed(self, text: str) -> TextEmbedding:
        self.read.append(text)
        return TextEmbedding(np.full((1, 3, 2), len(text) / 3, np.float32), np.array([[0, 0, 1]], np.float32))


def test_prompts_are_read_once_and_come_in_order() -> None:
    encoder = Counting()
    reader = reader_of(encoder)
    tokens, padding = reader(["abc", "a", "abc"])
    assert tokens.shape == (3, 3, 2) and tokens[:, 0, 0].tolist() == pytest.approx([1, 1 / 3, 1], abs=1e-3)
    assert padding.dtype == torch.bool and padding[0].tolist() == [False, False, True]
    again, _ = reader(["a"])
    assert encoder.read == ["abc", "a"] and torch.equal(again[0], tokens[1]), "as the first time, bit for bit"


def test_gradients_may_pass_what_was_read() -> None:
    tokens, _ = reader_of(Counting())(["abc"])
    weight = torch.ones(2, requires_grad=True)
    (tokens @ weight).sum().backward()
    assert weight.grad is not None


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_reading, "REMEMBERED_PROMPTS", 2)
    encoder = Counting()
    reader = reader_of(encoder)
    for text in ("a", "b", "c"):
        reader([text])
    assert len(reader(["c", "a"])[0]) == 2 and encoder.read == ["a", "b", "c", "a"]


def test_no_encoder_reads_nothing_and_a_missing_one_is_named(tmp_path: Path) -> None:
    assert load_reader(TextConfig()) is None
    with pytest.raises(LeanSegError, match="holds no text encoder"):
        load_reader(TextConfig(encoder=str(tmp_path)))


def test_the_scale_is_learned_from_words_without_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_reading, "corpus", lambda rng, count: ["abc", "abcdef"])
    scale = TokenScale(2)
    learn_scale(
        scale, reader_of(Counting())
    )  # two pieces of 1 and two of 2; the padding, which has values too, is none
    assert scale.get_buffer("mean").tolist() == pytest.approx([1.5] * 2)
    assert scale.get_buffer("deviation").tolist() == pytest.approx([1 / 3**0.5] * 2)


def test_another_width_is_refused() -> None:
    def read(texts: Sequence[str]) -> Heard:
        raise AssertionError

    check_width(None, 5)
    check_width(Reader(read, 5), 5)
    with pytest.raises(LeanSegError, match="gives 4 numbers a word, the network takes 5"):
        check_width(Reader(read, 4), 5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"generic": 0.8, "wrong": 0.3}, "between 0 and 1"),
        ({"click_rounds": (0.5, 0.4)}, "sum to 1"),
        ({"encoder_kind": "bert"}, "encoder_kind"),
        ({"hint_radius_px": 0.0}, "positive"),
    ],
)
def test_values_that_cannot_be_meant_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TextConfig(**values)  # type: ignore[arg-type]
