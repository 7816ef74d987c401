"""The small text encoder of a bundle: its recipe, its run folder, its graph. How it learns: text_distillation.py."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from leanseg.errors import LeanSegError
from leanseg.networks.text_encoder import SmallTextNetwork, TextEncoderConfig
from leanseg.prompts.encoder import SmallTextEncoder
from leanseg.runtime.graph import Arrays
from leanseg.schema import parse
from leanseg.training.graphs import as_onnx, store_weights_as_fp16

WEIGHTS = "weights.safetensors"
TOKENIZER = "tokenizer.json"


@dataclass(frozen=True)
class TextEncoderRecipe:
    """Everything that decides a distillation; JSON in the run folder."""

    id: str = "text_encoder"
    teacher: str = ""
    """Its name, not where it lies."""
    seed: int = 0
    texts: int = 16_000
    common_words: int = 1000
    """Of the teacher's most frequent words, so many also stand in the texts here and there."""
    network: TextEncoderConfig = field(default_factory=lambda: TextEncoderConfig(vocabulary=2048))
    epochs: int = 40
    batch_size: int = 64
    learning_rate: float = 2e-3
    warmup_epochs: float = 1.0
    weight_decay: float = 1e-2
    cosine_weight: float = 1.0
    mean_weight: float = 1.0
    """Of the losses of the mean over the pieces of a text."""

    def __post_init__(self) -> None:
        if min(self.texts, self.epochs, self.batch_size) < 1 or self.learning_rate <= 0:
            raise ValueError("texts, epochs, batch_size and learning_rate must be positive.")

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def load_text_encoder(folder: Path) -> tuple[SmallTextNetwork, str]:
    """Network (eval mode) and tokenizer of a finished or running distillation.

    Raises:
        LeanSegError: the folder holds none, or a damaged one.
    """
    if not (folder / WEIGHTS).is_file():
        raise LeanSegError(
            f"{folder} holds no text encoder ({WEIGHTS}). Train it: python -m leanseg.training.text_distillation."
        )
    try:
        network = SmallTextNetwork(recipe_of(folder).network)
        network.load_state_dict(load_file(folder / WEIGHTS))
        tokenizer_json = (folder / TOKENIZER).read_text(encoding="utf-8")
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise LeanSegError(f"The text encoder {folder} is damaged ({reason}). Train it again.") from error
    return network.eval(), tokenizer_json


def recipe_of(folder: Path) -> TextEncoderRecipe:
    """Of a run folder; raises what reading and parsing raise."""
    values = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
    recipe = parse(TextEncoderRecipe, values, "recipe", complete=True)
    assert isinstance(recipe, TextEncoderRecipe)
    return recipe


class _NetworkGraph:
    """The network as the graph that it will be exported as."""

    runtime = f"torch {torch.__version__}"

    def __init__(self, network: SmallTextNetwork) -> None:
        self._network = _Exported(network).eval()

    def __call__(self, inputs: Mapping[str, NDArray[np.float32]]) -> Arrays:
        with torch.inference_mode():
            tokens = self._network(*(torch.from_numpy(inputs[name]) for name in ("ids", "padding")))
        return {"tokens": tokens.numpy()}


def encoder_of(folder: Path) -> SmallTextEncoder:
    """The encoder of a run folder, for training; a bundle's runs from its graph.

    Raises:
        LeanSegError: as `load_text_encoder`.
    """
    network, tokenizer_json = load_text_encoder(folder)
    config = network.config
    return SmallTextEncoder(_NetworkGraph(network), tokenizer_json, config.length, config.out_width)


class _Exported(nn.Module):
    """With the types that all graphs of a bundle take."""

    def __init__(self, network: SmallTextNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, ids: Tensor, padding: Tensor) -> Tensor:
        tokens: Tensor = self.network(ids.long(), padding > 0.5)
        return tokens


def text_graph(network: SmallTextNetwork) -> onnx.ModelProto:
    """A graph ids (1, piece), padding (1, piece: 1 where there is none) -> tokens (1, piece, width), all float32.

    Weights are stored as float16, all is computed in float32. The network goes into eval mode.
    """
    example = (torch.full((1, network.config.length), 2.0), torch.zeros(1, network.config.length))
    return store_weights_as_fp16(as_onnx(_Exported(network).eval(), example, ("ids", "padding"), ("tokens",)))
