import json
from pathlib import Path

import numpy as np
import pytest

from leanseg.prompts.encoder import TextEmbedding
from leanseg.prompts.render import render
from leanseg.prompts.structure import Location, StructuredPrompt
from leanseg.training.text_fidelity import (
    cosines,
    fidelity,
    location_retrieval,
    mean_vector,
    random_prompts,
    retrieval,
)


class BagOfLetters:
    """One piece a word; its vector counts letters, or with `blind` ones nothing."""

    id = "letters"
    width = 27
    length = 24

    def __init__(self, blind: str = "", sign: float = 1.0) -> None:
        self.blind = blind
        self.sign = sign

    def embed(self, text: str) -> TextEmbedding:
        tokens, padding = np.zeros((1, 24, 27), np.float32), np.ones((1, 24), np.float32)
        for n, word in enumerate(text.lower().split()[:24]):
            padding[0, n] = 0
            tokens[0, n, 26] = 0.1
            for letter in word:
                if letter.isascii() and letter.isalpha() and letter not in self.blind:
                    tokens[0, n, ord(letter) - ord("a")] += self.sign
        return TextEmbedding(tokens, padding)


PROMPTS = [
    StructuredPrompt(number="one", locations=(Location(vertical, horizontal),))
    for vertical, horizontal in (("upper", "left"), ("lower", "right"), ("middle", "central"))
]


def test_mean_vector_leaves_padding_out() -> None:
    tokens = np.array([[[2.0, 0.0], [4.0, 2.0], [9.0, 9.0]]], np.float32)
    assert mean_vector(TextEmbedding(tokens, np.array([[0, 0, 1]], np.float32))).tolist() == [3, 1]


def test_cosines_by_hand() -> None:
    texts = ["ab b", "a"]
    assert cosines(BagOfLetters(), BagOfLetters(), texts) == {"texts": 2, "read_alike": 1, "pieces": 1, "mean": 1}
    # "a" with and without its letter, 0.1 beside it: 0.01 / (0.1 sqrt(1.01)) = 0.0995; "b" the same: 1.
    # "ab" and "b": (1 + 0.01) / sqrt(2.01 * 1.01) = 0.7089; mean of the pieces of each text, then of the texts.
    blind = cosines(BagOfLetters(blind="a"), BagOfLetters(), texts)
    assert blind["pieces"] == pytest.approx(((0.7089 + 1) / 2 + 0.0995) / 2, abs=2e-4)


def test_retrieval_by_hand() -> None:
    wordings = [render(prompt) for prompt in PROMPTS]
    assert retrieval(BagOfLetters(), PROMPTS, wordings) == 1
    assert retrieval(BagOfLetters(), PROMPTS, [wordings[0], wordings[2], wordings[1]]) == pytest.approx(1 / 3, abs=1e-4)


def test_location_retrieval_by_hand() -> None:
    wordings = [render(prompt) for prompt in PROMPTS]
    assert location_retrieval(BagOfLetters(), PROMPTS, wordings) == 1
    # Who cannot read any letter takes the first of nine, upper left, for all.
    everything = "abcdefghijklmnopqrstuvwxyz"
    assert location_retrieval(BagOfLetters(blind=everything), PROMPTS, wordings) == pytest.approx(1 / 3, abs=1e-4)


def test_random_prompts_differ_and_name_one_place() -> None:
    prompts = random_prompts(np.random.default_rng(0), 100)
    assert len(set(prompts)) == 100
    assert all(len(p.locations) == 1 and p.locations[0].vertical and p.locations[0].horizontal for p in prompts)


def test_figures_of_an_encoder_against_itself(tmp_path: Path) -> None:
    (tmp_path / "brats18").mkdir()
    cases = {"a": {"split": "val", "report": "Mass, left. Mild edema."}}
    (tmp_path / "brats18" / "cases.json").write_text(json.dumps(cases))
    figures = fidelity(BagOfLetters(), BagOfLetters(), tmp_path, frozenset(), seed=0, count=20)
    assert figures["cosine_wordings"] == {"texts": 20, "read_alike": 1, "pieces": 1, "mean": 1}
    assert figures["cosine_reports"]["texts"] == 3
    assert figures["retrieval"]["small"] == figures["retrieval"]["teacher"]
    assert figures["location"]["small"] == figures["location"]["teacher"] > 1 / 9
