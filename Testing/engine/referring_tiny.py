"""A model that reads sentences and can be predicted by hand: bright is an object, in the half that the words say.

    left, right, top, upper, lower, ...   only in this half; of several words, in all the halves they say
    fourth                                there is none

Each piece correlates with the half that it says (1 there, 0 elsewhere), any other with nothing; the sentence with what
it refers to.
"""

import dataclasses
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from leanseg.inference.referring import ReferringConfig
from leanseg.prompts.referring import EXPRESSIONS
from leanseg.prompts.referring_words import NOUNS, sentence
from leanseg.prompts.word_pieces import words_of
from leanseg.weights.bundle import Bundle, file_card, write_bundle
from Testing.engine.text_tiny import _serialized, halves
from Testing.engine.tiny import CARD, GAIN, SIZE_JI

LENGTH, GRID = 16, (8, 8)
LEVEL = 0.6
"""Brighter is an object."""
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
WORDS = tuple(dict.fromkeys(word for noun in NOUNS for one in EXPRESSIONS for word in words_of(sentence(one, noun))))
_PIECES = {piece: n for n, piece in enumerate((*_SPECIAL, *WORDS))}
_SAYS = (
    ("left", "leftmost"),
    ("right", "rightmost"),
    ("upper", "uppermost", "top", "above"),
    ("lower", "lowermost", "bottom", "below"),
    ("fourth",),
)
"""By the number of the half; the last one is nowhere."""


def tokenizer_json() -> str:
    """The words of the canonical sentences; all others are unknown."""
    return json.dumps({"model": {"type": "WordPiece", "vocab": _PIECES}})


def write_referring_bundle(folder: Path, **changes: Any) -> Bundle:
    """`changes`: of `ReferringConfig`, but `card` of the card."""
    tokenizer = tokenizer_json().encode()
    file = file_card("tokenizer.json", tokenizer)
    card_changes = changes.pop("card", {})
    config = ReferringConfig(file, LENGTH, grid_ji=GRID)
    card = replace(
        CARD,
        **{
            "id": folder.name,
            "system": "cm_mask_sd",
            "title": "Bright is an object where the words say",
            "inputs": ("image",),
            "engine": "referring",
            "network": "cm_mask_sd",
            "engine_config": dataclasses.asdict(replace(config, **changes)),
            **card_changes,
        },
    )
    return write_bundle(card, {"referring_fp32": referring_graph()}, b"no weights", folder, tokenizer)


def referring_graph() -> bytes:
    """See above; the existence is the highest probability."""
    said = np.zeros((len(_PIECES), len(_SAYS)), np.float32)
    points = np.zeros((len(_PIECES), *GRID), np.float32)
    parts = halves()
    step = SIZE_JI[0] // GRID[0]
    for number, words in enumerate(_SAYS):
        for word in (word for word in words if word in _PIECES):
            said[_PIECES[word], number] = 1
            points[_PIECES[word]] = parts[number, ::step, ::step] if number < len(parts) else 0
    nodes = [
        helper.make_node("Sub", ["image", "level"], ["brightness"]),
        helper.make_node("Mul", ["brightness", "gain"], ["weighed"]),
        helper.make_node("Sigmoid", ["weighed"], ["bright"]),
        helper.make_node("Cast", ["ids"], ["numbers"], to=TensorProto.INT64),
        helper.make_node("Gather", ["said", "numbers"], ["each"]),
        helper.make_node("Sub", ["one", "padding"], ["is_piece"]),
        helper.make_node("Unsqueeze", ["is_piece", "last"], ["factors"]),
        helper.make_node("Mul", ["each", "factors"], ["counted"]),
        helper.make_node("ReduceMax", ["counted"], ["heard"], axes=[1], keepdims=0),
        helper.make_node("Reshape", ["heard", "as_maps"], ["heard_maps"]),
        helper.make_node("Mul", ["heard_maps", "elsewhere"], ["forbidden_parts"]),
        helper.make_node("ReduceMax", ["forbidden_parts"], ["forbidden"], axes=[1], keepdims=1),
        helper.make_node("Sub", ["one", "forbidden"], ["allowed"]),
        helper.make_node("Mul", ["bright", "allowed"], ["probability"]),
        helper.make_node("ReduceMax", ["probability"], ["existence"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("AveragePool", ["probability"], ["whole"], kernel_shape=[step, step], strides=[step, step]),
        helper.make_node("Gather", ["points", "numbers"], ["pieces"]),
        helper.make_node("Concat", ["whole", "pieces"], ["correlation"], axis=1),
    ]
    nowhere = np.zeros((1, *SIZE_JI), np.float32)
    constants: dict[str, NDArray[Any]] = {
        **{"level": np.float32(LEVEL), "gain": np.float32(GAIN), "one": np.float32(1), "said": said, "points": points},
        **{"last": np.array([2]), "as_maps": np.array([1, len(_SAYS), 1, 1])},
        "elsewhere": 1 - np.concatenate([parts, nowhere])[np.newaxis],
    }
    inputs = {"image": [1, 1, *SIZE_JI], "ids": [1, LENGTH], "padding": [1, LENGTH]}
    outputs = {"probability": [1, 1, *SIZE_JI], "existence": [1], "correlation": [1, 1 + LENGTH, *GRID]}
    return _serialized(nodes, inputs, outputs, constants)
