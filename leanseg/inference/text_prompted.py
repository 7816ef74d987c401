"""The text-prompted engine: what a slice looks like is computed once, what is asked of it as often as anybody asks.

Paper of the network: TextBCS (arXiv 2603.11206). There the text enters the encoder, so a new prompt would begin anew.
In the light model that ships, text and hints enter skips and bottleneck only, and three graphs take turns:

    text    prompt -> tokens                                            (inside the encoder, which remembers)
    image   slice -> features f0, f1, ..., finest first                 `look`
    prompt  features, tokens, padding, hints -> what is there           `answer`

Features are kept in half precision, the first answer uses them so too: an answer does not depend on whether features
were kept or computed. What is rounded is small beside what INT8 rounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from leanseg.errors import BundleError
from leanseg.inference.hints import CHANNELS
from leanseg.prompts.encoder import TextEmbedding, TextEncoder
from leanseg.runtime.graph import Graph, checked
from leanseg.weights.card import FileCard

IMAGE, PROMPT, TEXT = "image", "prompt", "text"
PARTS = (IMAGE, PROMPT, TEXT)
"""Of the bundle: the graphs `<part>_<precision>`."""
_LARGEST = float(np.finfo(np.float16).max)
Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class TextPromptedConfig:
    """The card's `engine_config` of a model that is told what to look for."""

    tokenizer: FileCard
    """`tokenizer.json` of the bundle"""
    text_length: int = 24
    """Pieces of text that the network sees"""
    text_width: int = 384
    """Numbers for each of them"""
    hint_radius_px: float = 5.0
    """Of a click, in pixels of the model grid; see `inference.hints.hint_channels`"""
    existence_threshold: float = 0.5
    """What is asked for is absent where its probability to exist is below this; chosen on the validation split"""

    def __post_init__(self) -> None:
        if min(self.text_length, self.text_width) < 1 or not self.hint_radius_px > 0:
            raise ValueError("text_length, text_width and hint_radius_px must be positive.")
        if not 0 <= self.existence_threshold <= 1:
            raise ValueError(f"existence_threshold lies between 0 and 1; got {self.existence_threshold}.")


@dataclass(frozen=True, eq=False)
class Features:
    """What the network knows of one slice before anything is asked."""

    arrays: tuple[NDArray[np.float16], ...]
    """f0, f1, ..., each (1, c, j, i)"""

    @property
    def bytes(self) -> int:
        return sum(array.nbytes for array in self.arrays)


@dataclass(frozen=True, eq=False)
class Answer:
    """What the network says of one slice to one question, on its own grid."""

    probability: Float32
    """(j, i): expected probability of tumor, calibrated"""
    uncertainty: Float32
    """(j, i): vacuity K / S, 0 where there is much evidence, 1 where there is none"""
    existence: float
    """Probability that what is asked for is in the slice"""


class TextPromptedEngine:
    """Runs the graphs `image` and `prompt`; the encoder runs `text`, or is another one of the same width and length."""

    def __init__(self, graphs: Mapping[str, Graph], config: TextPromptedConfig, encoder: TextEncoder) -> None:
        """Raises:
        BundleError: a graph is missing, or the encoder does not fit.
        """
        missing = [name for name in (IMAGE, PROMPT) if name not in graphs]
        if missing:
            raise BundleError(f"The bundle has no graph {', '.join(missing)}, as its card says. Restore the bundle.")
        wanted, given = (config.text_length, config.text_width), (encoder.length, encoder.width)
        if wanted != given:
            raise BundleError(
                f"The network reads {wanted[0]} x {wanted[1]} numbers of text, the encoder {encoder.id} gives "
                f"{given[0]} x {given[1]}. Choose the encoder of the bundle."
            )
        self.config = config
        self.encoder = encoder
        self._image, self.graph = graphs[IMAGE], graphs[PROMPT]

    def look(self, image: Float32) -> Features:
        """(1, j, i) on the model grid, as `processing.preprocess` makes it.

        Raises:
            BundleError: the graph does not do what its card says.
        """
        outputs = self._image({"image": np.ascontiguousarray(image[np.newaxis], dtype=np.float32)})
        names = [f"f{n}" for n in range(len(outputs))]
        arrays = [checked(outputs, name, np.shape(outputs.get(name, ()))) for name in names]
        return Features(tuple(np.clip(array, -_LARGEST, _LARGEST).astype(np.float16) for array in arrays))

    def answer(self, features: Features, embedding: TextEmbedding, hints: Float32) -> Answer:
        """`hints`: (4, j, i), of `inference.hints.hint_channels`; all zero: nothing was shown.

        Raises:
            BundleError: the graph does not do what its card says.
        """
        size_ji = hints.shape[1:]
        inputs = {f"f{n}": array.astype(np.float32) for n, array in enumerate(features.arrays)}
        inputs |= {"tokens": embedding.tokens, "padding": embedding.padding}
        outputs = self.graph(inputs | {"hints": np.ascontiguousarray(hints[np.newaxis], dtype=np.float32)})
        maps = [checked(outputs, name, (1, 1, *size_ji))[0, 0] for name in ("probabilities", "uncertainty")]
        existence = checked(outputs, "existence", (1, 1))
        return Answer(maps[0], maps[1], float(existence[0, 0]))

    def nothing_shown(self, size_ji: tuple[int, int]) -> Float32:
        """The hints of one who shows nothing."""
        return np.zeros((CHANNELS, *size_ji), np.float32)
