"""Word pieces by hand, and as the library `tokenizers` reads the same file."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from leanseg.errors import BundleError
from leanseg.prompts.word_pieces import MOST_CHARACTERS, WordPieces

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "mass", "##es", "left", ",", ".", "tumor", "左", "a", "##a", "!"]
PIECES += ["o", "##o"]


def tokenizer() -> Tokenizer:
    vocabulary = {piece: n for n, piece in enumerate(PIECES)}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    made.enable_truncation(24)
    return made


LIBRARY = tokenizer()
OURS = WordPieces(LIBRARY.to_str(), 24)


def test_by_hand() -> None:
    assert OURS("Masses, LEFT.") == (2, 4, 5, 7, 6, 8, 3)


def test_unknown_words_are_unknown_as_a_whole() -> None:
    assert OURS("massif") == (2, 1, 3)


def test_accents_do_not_matter() -> None:
    assert OURS("Tumör") == OURS("tumor") == (2, 9, 3)


def test_nothing_is_beginning_and_end() -> None:
    assert OURS("") == OURS(" \n ") == (2, 3)


def test_a_long_text_is_cut_and_ended() -> None:
    pieces = OURS("left " * MOST_CHARACTERS)
    assert pieces == (2, *[6] * 22, 3)


def test_half_of_a_surrogate_pair_is_nothing() -> None:
    assert OURS("left\ud83d") == (2, 6, 3)


def test_padded() -> None:
    ids, padding = OURS.padded((2, 6, 3))
    assert ids[0].tolist() == [2, 6, 3] + [0] * 21
    assert padding[0].tolist() == [0] * 3 + [1] * 21


@given(st.text(st.sampled_from("aoAÖö ́mes,.!left左tumor\t\n\x00​😀½"), max_size=40))
@example("a" * 100)
@example("a" * 101)
@example("left-left/left_left (50%) 3x4 cm ß İ Σ")
def test_agrees_with_the_library(text: str) -> None:
    assert OURS(text) == tuple(LIBRARY.encode(text).ids)


@pytest.mark.parametrize("damaged", ["", "[]", "{}", json.dumps({"model": {"vocab": {"[PAD]": 0}}})])
def test_a_damaged_file_is_one_clear_line(damaged: str) -> None:
    with pytest.raises(BundleError, match="Restore the bundle"):
        WordPieces(damaged, 24)
