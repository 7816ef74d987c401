import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from leanseg.errors import LeanSegError, UnreadableFileError
from leanseg.prompts.word_pieces import WordPieces
from leanseg.training.text_corpus import (
    WORDS,
    busi_prompts,
    common_words,
    reduced_tokenizer,
    report_texts,
    training_texts,
)
from Testing.engine.training.text_teacher_stub import CHARACTERS, PIECES, tokenizer_json

REPORT = "The mass is left; it is large. Edema is mild."


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "brats18").mkdir()
    cases = {
        "a": {"split": "train", "report": REPORT},
        "b": {"split": "val", "report": "Held out."},
        "c": {"split": "train", "report": ""},
    }
    (tmp_path / "brats18" / "cases.json").write_text(json.dumps(cases))
    (tmp_path / "busi").mkdir()
    (tmp_path / "busi" / "index.csv").write_text("file,cls,split\nx.png,benign,train\ny.png,benign,test\n")
    prompts = {"x.png": {"p1": "Tumor here.", "p2": ["One tumor here.", "Tumor here."]}, "y.png": {"p1": "Not this."}}
    (tmp_path / "busi" / "text_prompts.json").write_text(json.dumps(prompts))
    return tmp_path


def test_reports_whole_and_by_sentences(data: Path) -> None:
    assert report_texts(data, "train") == [REPORT, "The mass is left;", "it is large.", "Edema is mild."]
    assert report_texts(data, "val") == ["Held out."]


def test_prompts_of_one_split_only(data: Path) -> None:
    assert busi_prompts(data, "train") == ["Tumor here.", "One tumor here."]


def test_texts_are_different_as_many_as_asked_for_and_the_same_for_a_seed(data: Path) -> None:
    texts = training_texts(data, 1500, seed=3, others=["zebra"] * 500)
    assert len(texts) == len(set(texts)) == 1500
    assert texts == training_texts(data, 1500, seed=3, others=["zebra"] * 500)
    assert texts != training_texts(data, 1500, seed=4, others=["zebra"] * 500)
    assert {REPORT, "One tumor here.", *WORDS} < set(texts)
    assert any("zebra" in text for text in texts)
    assert not any("Held out" in text or "Not this" in text for text in texts)


def test_missing_data_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match=r"cases\.json cannot be read .*Give the folder of the data sets\."):
        training_texts(tmp_path, 10, seed=0)


def test_common_words_are_whole_and_in_the_order_of_the_vocabulary() -> None:
    assert common_words(tokenizer_json(), 3) == ["the", "mass", "left"]


def test_the_reduced_tokenizer_reads_the_texts_piece_by_piece_as_the_teachers() -> None:
    texts = ["Masses, left.", "tumor-lesion 12", "a zebra"]
    reduced, numbers = reduced_tokenizer(tokenizer_json(), texts, pieces=90)
    ours, teachers = WordPieces(reduced, 24), WordPieces(tokenizer_json(), 24)
    library = Tokenizer.from_str(reduced)
    for text in texts:
        assert tuple(numbers[piece] for piece in ours(text)) == teachers(text)
        assert tuple(library.encode(text).ids) == ours(text)


def test_what_the_reduced_tokenizer_keeps() -> None:
    # 4 special pieces, 39 characters twice, then mass, left, tumor, ##es as needed and the first other words
    reduced, numbers = reduced_tokenizer(tokenizer_json(), ["masses left tumor"], pieces=4 + 2 * len(CHARACTERS) + 6)
    kept = list(json.loads(reduced)["model"]["vocab"])
    assert kept[:4] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    assert {word for word in kept[4:] if len(word.removeprefix("##")) > 1} == {
        *("mass", "left", "tumor", "##es"),
        *("the", "right"),
    }
    assert [PIECES[number] for number in numbers] == kept
    assert len(np.unique(numbers)) == len(kept)


def test_too_few_pieces_are_refused() -> None:
    with pytest.raises(LeanSegError, match="need 83 pieces; 80 are allowed"):
        reduced_tokenizer(tokenizer_json(), ["mass"], pieces=80)


def test_a_tokenizer_that_keeps_capitals_is_refused() -> None:
    with pytest.raises(LeanSegError, match="not WordPiece of lower case"):
        reduced_tokenizer(tokenizer_json(lowercase=False), ["mass"], pieces=200)
