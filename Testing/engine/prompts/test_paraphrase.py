import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leanseg.prompts import paraphrase as wordings
from leanseg.prompts.parse import parse
from leanseg.prompts.structure import NOTHING_SAID, Location, StructuredPrompt
from Testing.engine.prompts.strategies import PROMPTS

FULL = StructuredPrompt(
    "two", "round", "small", (Location("upper", "left"), Location("lower", "right")), "mri", "smooth"
)


@given(PROMPTS, st.integers(0, 2**32 - 1))
@settings(max_examples=200, deadline=None)
def test_every_wording_says_the_prompt(prompt: StructuredPrompt, seed: int) -> None:
    text = wordings.paraphrase(prompt, np.random.default_rng(seed), misspelled=0.0)
    assert parse(text).prompt == prompt
    assert not parse(text).ignored


def test_nearly_every_misspelled_wording_still_says_the_prompt() -> None:
    rng = np.random.default_rng(0)
    texts = [wordings.paraphrase(FULL, rng, misspelled=1.0) for _ in range(200)]
    assert sum(parse(text).prompt == FULL for text in texts) >= 195


def test_a_full_prompt_has_many_wordings() -> None:
    rng = np.random.default_rng(0)
    texts = [wordings.paraphrase(FULL, rng, misspelled=0.0) for _ in range(500)]
    assert len(set(texts)) >= 200
    assert any(text.islower() for text in texts) and any(text.isupper() for text in texts)


def test_the_same_seed_gives_the_same_wordings() -> None:
    first, second = (wordings.corpus(np.random.default_rng(5), 50) for _ in range(2))
    assert first == second
    assert first != wordings.corpus(np.random.default_rng(6), 50)


@pytest.mark.parametrize("prompt", [NOTHING_SAID, StructuredPrompt("no")])
def test_generic_and_absent_prompts_leak_nothing(prompt: StructuredPrompt) -> None:
    rng = np.random.default_rng(1)
    draw = wordings.absent if prompt.number else wordings.generic
    texts = {draw(rng) for _ in range(300)} | {wordings.paraphrase(prompt, rng) for _ in range(100)}
    assert len(texts) > 20
    assert {parse(text).prompt for text in texts} == {prompt}


def test_the_corpus_has_all_kinds_of_prompts() -> None:
    texts = wordings.corpus(np.random.default_rng(0), 2000)
    parsed = [parse(text) for text in texts[:300]]
    assert len(set(texts)) > 1500  # a tenth is generic or absent, of few wordings
    assert any(p.prompt.number == "no" for p in parsed) and any(p.prompt == NOTHING_SAID for p in parsed)
    assert any("liver" in text or "kidney" in text for text in texts) and any("echoic" in text for text in texts)
