"""A model that answers and can be predicted by hand: where is it brighter, and is most of it bright?

The tokens of every stage are the mean gray p of the quarters of the picture. A question with the word `where` is of the
type `position` and answered with the brighter half, any other with whether the mean gray is above 0.5:

    left, right: softmax of 20 (p0 + p2) and 20 (p1 + p3)      yes, no: softmax of 20 mean(p) and 10

Attention is p / sum p in every stage.
"""

import dataclasses
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from leanseg.inference.question_answering import QuestionAnsweringConfig
from leanseg.weights.bundle import Bundle, file_card, write_bundle
from Testing.engine.text_tiny import _serialized
from Testing.engine.tiny import CARD, SIZE_JI

LENGTH = 10
ANSWERS = ("yes", "no", "left", "right")
TYPES = ("yes/no", "position")
_SAID = "is are it the a where what bright dark brighter side mass picture in there of this ?"
WORDS = tuple(_SAID.split(" "))
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
_PIECES = {piece: n for n, piece in enumerate((*_SPECIAL, *WORDS))}


def tokenizer_json() -> str:
    """All words but WORDS are unknown."""
    return json.dumps({"model": {"type": "WordPiece", "vocab": _PIECES}})


def write_answer_bundle(folder: Path, **changes: Any) -> Bundle:
    """`changes`: of `QuestionAnsweringConfig`, but `card` of the card."""
    tokenizer = tokenizer_json().encode()
    file = file_card("tokenizer.json", tokenizer)
    card_changes = changes.pop("card", {})
    config = QuestionAnsweringConfig(file, ANSWERS, TYPES, LENGTH, grid=2, confidence_threshold=0.7)
    card = replace(
        CARD,
        **{
            "id": folder.name,
            "system": "mf2_mvqa",
            "title": "Where is it bright?",
            "task": "question answering",
            "inputs": ("image",),
            "labels": (),
            "engine": "question_answering",
            "network": "mf2_mvqa",
            "engine_config": dataclasses.asdict(replace(config, **changes)),
            **card_changes,
        },
    )
    return write_bundle(card, {"image_fp32": _image(), "question_fp32": _question()}, b"no weights", folder, tokenizer)


def _image() -> bytes:
    nodes = [
        helper.make_node("AveragePool", ["image"], ["p"], kernel_shape=[32, 32], strides=[32, 32]),
        helper.make_node("Reshape", ["p", "flat"], ["one"]),
        helper.make_node("Expand", ["one", "stages"], ["tokens"]),
    ]
    constants: dict[str, NDArray[Any]] = {"flat": np.array([1, 1, 4, 1]), "stages": np.array([1, 5, 4, 1])}
    return _serialized(nodes, {"image": [1, 1, *SIZE_JI]}, {"tokens": [1, 5, 4, 1]}, constants)


def _question() -> bytes:
    weights = np.array([[5, 0, 20, 0], [5, 0, 0, 20], [5, 0, 20, 0], [5, 0, 0, 20]], np.float32)
    nodes = [
        helper.make_node("Squeeze", ["tokens", "last"], ["maps"]),
        helper.make_node("ReduceSum", ["maps", "places"], ["sums"], keepdims=1),
        helper.make_node("Div", ["maps", "sums"], ["attention"]),
        helper.make_node("ReduceMean", ["maps"], ["p"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["p", "weights"], ["weighed"]),
        helper.make_node("Add", ["weighed", "bias"], ["logits"]),
        helper.make_node("Equal", ["ids", "where"], ["is_where"]),
        helper.make_node("Cast", ["is_where"], ["wheres"], to=1),
        helper.make_node("ReduceMax", ["wheres"], ["asked"], axes=[1], keepdims=1),
        helper.make_node("Sub", ["one", "asked"], ["not_asked"]),
        helper.make_node("Concat", ["not_asked", "asked"], ["types"], axis=1),
        helper.make_node("MatMul", ["types", "never"], ["mask"]),
        helper.make_node("Add", ["logits", "mask"], ["masked"]),
        helper.make_node("ReduceSum", ["padding", "places_of_padding"], ["unused"], keepdims=1),
        helper.make_node("Mul", ["unused", "zero"], ["nothing"]),
        helper.make_node("Add", ["masked", "nothing"], ["all"]),
        helper.make_node("Softmax", ["all"], ["answers"], axis=1),
    ]
    constants: dict[str, NDArray[Any]] = {
        **{"weights": weights, "bias": np.array([[0, 10, 0, 0]], np.float32), "one": np.float32([[1]])},
        **{"zero": np.float32([[0]]), "where": np.float32([[_PIECES["where"]]])},
        "never": np.array([[0, 0, -1e4, -1e4], [-1e4, -1e4, 0, 0]], np.float32),
        **{"last": np.array([3]), "places": np.array([2]), "places_of_padding": np.array([1])},
    }
    inputs = {"tokens": [1, 5, 4, 1], "ids": [1, LENGTH], "padding": [1, LENGTH]}
    outputs = {"answers": [1, 4], "types": [1, 2], "attention": [1, 5, 4]}
    return _serialized(nodes, inputs, outputs, constants)
