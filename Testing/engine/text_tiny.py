"""A text-guided model that can be predicted by hand: dark is tumor, where the words left, right, upper, lower allow it.

With d = sigmoid((0.35 b - image) * 30), where b = 1 is the brightest value of the slice, and w = 1 in the halves of the
grid that the text names, else 0:

    p = max(d * w * (1 if there is no box else box), positive, 0.75 * earlier) * (1 - negative)
    uncertainty = 4 p (1 - p)        existence = max p

The features are the slice and b.
"""

import dataclasses
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from leanseg.inference.text_prompted import TextPromptedConfig
from leanseg.weights.bundle import Bundle, file_card, write_bundle
from Testing.engine.tiny import CARD, GAIN, LEVEL, SIZE_JI

LENGTH, WIDTH = 12, 4
WORDS = ("left", "right", "upper", "lower")
"""Number n is heard by component n of the tokens."""
RADIUS_PX = 3.0
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
_PIECES = {piece: n for n, piece in enumerate((*_SPECIAL, *WORDS))}

Shapes = dict[str, list[int]]


def tokenizer_json() -> str:
    """All words but WORDS are unknown."""
    return json.dumps({"model": {"type": "WordPiece", "vocab": _PIECES}})


def write_text_bundle(folder: Path, **changes: Any) -> Bundle:
    """`changes`: of `TextPromptedConfig`, but `card` of the card."""
    tokenizer = tokenizer_json().encode()
    file = file_card("tokenizer.json", tokenizer)
    card_changes = changes.pop("card", {})
    config = TextPromptedConfig(file, LENGTH, WIDTH, hint_radius_px=RADIUS_PX)
    card = replace(
        CARD,
        id=folder.name,
        system="text_bcs",
        title="Dark is tumor where the words say",
        inputs=("image",),
        engine="text_prompted",
        network="text_bcs",
        engine_config=dataclasses.asdict(replace(config, **changes)),
        **card_changes,
    )
    return write_bundle(card, text_graphs(), b"no weights", folder, tokenizer)


def text_graphs() -> dict[str, bytes]:
    return {"text_fp32": _text(), "image_fp32": _image(), "prompt_fp32": _prompt()}


def halves() -> NDArray[np.float32]:
    """(4, j, i): 1 in the half that each of WORDS names."""
    j, i = np.indices(SIZE_JI)
    middle_j, middle_i = SIZE_JI[0] / 2, SIZE_JI[1] / 2
    return np.stack([i < middle_i, i >= middle_i, j < middle_j, j >= middle_j]).astype(np.float32)


def _text() -> bytes:
    table = np.zeros((len(_PIECES), WIDTH), np.float32)
    table[len(_SPECIAL) :] = np.eye(WIDTH)
    nodes = [
        helper.make_node("Cast", ["ids"], ["numbers"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "numbers"], ["vectors"]),
        helper.make_node("Sub", ["one", "padding"], ["is_piece"]),
        helper.make_node("Unsqueeze", ["is_piece", "last"], ["factors"]),
        helper.make_node("Mul", ["vectors", "factors"], ["tokens"]),
    ]
    constants = {"table": table, "one": np.float32(1), "last": np.array([2], np.int64)}
    inputs = {"ids": [1, LENGTH], "padding": [1, LENGTH]}
    return _serialized(nodes, inputs, {"tokens": [1, LENGTH, WIDTH]}, constants)


def _image() -> bytes:
    nodes = [
        helper.make_node("Identity", ["image"], ["f0"]),
        helper.make_node("ReduceMax", ["image"], ["f1"], axes=[2, 3], keepdims=1),
    ]
    return _serialized(nodes, {"image": [1, 1, *SIZE_JI]}, {"f0": [1, 1, *SIZE_JI], "f1": [1, 1, 1, 1]}, {})


def _prompt() -> bytes:
    def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> onnx.NodeProto:
        return helper.make_node(kind, inputs, [output], **attributes)

    nodes = [
        node("Mul", ["level", "f1"], "limit"),
        node("Sub", ["limit", "f0"], "darkness"),
        node("Mul", ["darkness", "gain"], "weighed"),
        node("Sigmoid", ["weighed"], "dark"),
        node("Sub", ["one", "padding"], "is_piece"),
        node("Unsqueeze", ["is_piece", "last"], "factors"),
        node("Mul", ["tokens", "factors"], "pieces"),
        node("ReduceMax", ["pieces"], "said", axes=[1], keepdims=0),
        node("Reshape", ["said", "as_maps"], "said_maps"),
        node("Mul", ["said_maps", "others"], "forbidden_parts"),
        node("ReduceMax", ["forbidden_parts"], "forbidden", axes=[1], keepdims=1),
        node("Sub", ["one", "forbidden"], "allowed"),
        node("Mul", ["dark", "allowed"], "named"),
        helper.make_node("Split", ["hints"], ["positive", "negative", "box", "earlier"], axis=1),
        node("ReduceMax", ["box"], "has_box", axes=[1, 2, 3], keepdims=1),
        node("Sub", ["has_box", "box"], "beside_box"),
        node("Sub", ["one", "beside_box"], "in_box"),
        node("Mul", ["named", "in_box"], "boxed"),
        node("Mul", ["earlier", "likely"], "kept"),
        node("Max", ["boxed", "positive", "kept"], "shown"),
        node("Sub", ["one", "negative"], "not_denied"),
        node("Mul", ["shown", "not_denied"], "probabilities"),
        node("Sub", ["one", "probabilities"], "against"),
        node("Mul", ["probabilities", "against"], "product"),
        node("Mul", ["product", "four"], "uncertainty"),
        node("ReduceMax", ["probabilities"], "existence", axes=[2, 3], keepdims=0),
    ]
    inputs = {"f0": [1, 1, *SIZE_JI], "f1": [1, 1, 1, 1], "tokens": [1, LENGTH, WIDTH], "padding": [1, LENGTH]}
    maps = [1, 1, *SIZE_JI]
    outputs = {"probabilities": maps, "uncertainty": maps, "existence": [1, 1]}
    numbers = {"level": LEVEL, "gain": GAIN, "one": 1.0, "likely": 0.75, "four": 4.0}
    constants: dict[str, NDArray[Any]] = {name: np.array(value, np.float32) for name, value in numbers.items()}
    constants |= {"others": 1 - halves()[np.newaxis], "as_maps": np.array([1, WIDTH, 1, 1], np.int64)}
    constants["last"] = np.array([2], np.int64)
    return _serialized(nodes, inputs | {"hints": [1, 4, *SIZE_JI]}, outputs, constants)


def _serialized(
    nodes: list[onnx.NodeProto], inputs: Shapes, outputs: Shapes, constants: dict[str, NDArray[Any]]
) -> bytes:
    ins, outs = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in values.items()]
        for values in (inputs, outputs)
    )
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "by_hand", ins, outs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())
