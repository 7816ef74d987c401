"""How a question is read: small misspellings are forgiven, another meaning never."""

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from leanseg.inference.question_answering import PARTS, QuestionAnsweringConfig, QuestionAnsweringEngine
from leanseg.weights.card import FileCard

_SAID = ("is", "the", "side", "of", "this", "?")


class Unused:
    """A graph that nothing is asked of."""

    runtime = "none"

    def __call__(self, inputs: object) -> dict[str, NDArray[np.float32]]:
        raise AssertionError("reading a question runs no graph")


def engine(*words: str) -> QuestionAnsweringEngine:
    pieces = {piece: n for n, piece in enumerate(("[PAD]", "[UNK]", "[CLS]", "[SEP]", *_SAID, *words))}
    config = QuestionAnsweringConfig(FileCard("tokenizer.json", "", 0), ("yes",), ("yes/no",), 16)
    tokenizer = json.dumps({"model": {"type": "WordPiece", "vocab": pieces}})
    return QuestionAnsweringEngine({part: Unused() for part in PARTS}, config, tokenizer)


OPPOSITES = [
    ("hypolucent", "hyperlucent"),
    ("hypoinflated", "hyperinflated"),
    ("hypodense", "hyperdense"),
    ("hypointense", "hyperintense"),
    ("extracranial", "intracranial"),
    ("intercranial", "intracranial"),
    ("hypovascular", "vascular"),
    ("avascular", "vascular"),
    ("atypical", "typical"),
    ("asymmetric", "symmetric"),
    ("abduction", "adduction"),
    ("interior", "anterior"),
    ("afferent", "efferent"),
    ("unilateral", "bilateral"),
    ("prenatal", "postnatal"),
    ("nonspecific", "specific"),
    ("unclear", "clear"),
]


@pytest.mark.parametrize(("one", "other"), OPPOSITES)
def test_a_word_never_becomes_its_opposite(one: str, other: str) -> None:
    for asked, known in ((one, other), (other, one)):
        read = engine(known).read(f"Is this the {asked} side?")
        assert read.remarks == (f"The model does not know the word {asked!r}.",)
        assert 1 in read.pieces, "it is read as unknown"


@pytest.mark.parametrize(
    ("asked", "known"),
    [
        ("lesoin", "lesion"),
        ("ttumor", "tumor"),
        ("opcity", "opacity"),
        ("hyperdemse", "hyperdense"),
        ("hypovasclar", "hypovascular"),
        ("bilatreal", "bilateral"),
        ("abnromal", "abnormal"),
    ],
)
def test_one_slip_is_forgiven_and_named(asked: str, known: str) -> None:
    reader = engine(known)
    read = reader.read(f"Is this the {asked} side?")
    assert read.remarks == (f"{asked!r} was read as {known!r}.",)
    assert read.pieces == reader.read(f"Is this the {known} side?").pieces


@pytest.mark.parametrize(("asked", "known"), [("lesoinn", "lesion"), ("pneumotorix", "pneumothorax"), ("lne", "line")])
def test_two_slips_and_short_words_are_not(asked: str, known: str) -> None:
    assert engine(known).read(f"Is this the {asked} side?").remarks == (f"The model does not know the word {asked!r}.",)


def test_of_several_known_words_the_first_of_the_vocabulary_is_meant() -> None:
    assert engine("masses", "massed").read("Is this the massef side?").remarks == ("'massef' was read as 'masses'.",)
