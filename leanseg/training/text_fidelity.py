"""How well a small text encoder stands for its teacher, on texts that it did not learn from.

    python -m leanseg.training.text_fidelity --data DATA --run RUN --teacher FOLDER

cosine      of each piece, and of the mean over the pieces of a text, with the teacher's: wordings of random prompts,
            and the reports of the validation cases of `brats18`
retrieval   of the wordings, the fraction whose own prompt, in its canonical wording, is the nearest of all prompts
location    the same among prompts that differ in nothing but one of nine places
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leanseg.errors import LeanSegError
from leanseg.prompts.encoder import SmallTextEncoder, TextEmbedding, TextEncoder
from leanseg.prompts.paraphrase import paraphrase
from leanseg.prompts.render import render
from leanseg.prompts.structure import (
    HORIZONTALS,
    MARGINS,
    MODALITIES,
    NUMBERS,
    SHAPES,
    SIZES,
    VERTICALS,
    Location,
    StructuredPrompt,
)
from leanseg.runtime.openvino_graph import OpenVINOGraph
from leanseg.training.text_corpus import common_words, report_texts, training_texts
from leanseg.training.text_encoder import load_text_encoder, recipe_of, text_graph
from leanseg.training.text_teacher import TransformersEncoder

Vectors = NDArray[np.floating[Any]]
PLACES = tuple(Location(vertical, horizontal) for vertical, horizontal in product(VERTICALS, HORIZONTALS))


def random_prompts(rng: np.random.Generator, count: int) -> list[StructuredPrompt]:
    """Different prompts of one mass at one place; each other field says something in half of them."""
    found: dict[StructuredPrompt, None] = {}
    while len(found) < count:
        said = {
            name: str(rng.choice(known)) if rng.random() < 0.5 else ""
            for name, known in (
                ("number", NUMBERS[1:2]),
                ("shape", SHAPES),
                ("size", SIZES),
                ("modality", MODALITIES),
                ("margin", MARGINS),
            )
        }
        found[StructuredPrompt(**said, locations=(PLACES[int(rng.integers(len(PLACES)))],))] = None
    return list(found)


def mean_vector(embedding: TextEmbedding) -> Vectors:
    """(width,): the mean over the pieces of a text."""
    vectors: Vectors = embedding.tokens[0][embedding.padding[0] == 0].mean(axis=0)
    return vectors


def cosines(small: TextEncoder, teacher: TextEncoder, texts: Sequence[str]) -> dict[str, float]:
    """Means over the texts; pieces are compared in texts that both read alike."""
    of_pieces, of_means = [], []
    for text in texts:
        one, other = small.embed(text), teacher.embed(text)
        of_means.append(_cosine(mean_vector(one), mean_vector(other)))
        if np.array_equal(one.padding, other.padding):
            kept = one.padding[0] == 0
            of_pieces.append(np.mean(_cosine(one.tokens[0][kept], other.tokens[0][kept])))
    return {
        "texts": len(texts),
        "read_alike": round(len(of_pieces) / len(texts), 4),
        "pieces": round(float(np.mean(of_pieces)), 4),
        "mean": round(float(np.mean(of_means)), 4),
    }


def _cosine(one: Vectors, other: Vectors) -> Vectors:
    lengths = np.linalg.norm(one, axis=-1) * np.linalg.norm(other, axis=-1)
    return np.asarray((one * other).sum(axis=-1) / lengths)


def retrieval(encoder: TextEncoder, prompts: Sequence[StructuredPrompt], wordings: Sequence[str]) -> float:
    """Fraction of wordings, one a prompt, that lie nearest to the canonical wording of their own prompt."""
    candidates = [mean_vector(encoder.embed(render(prompt))) for prompt in prompts]
    nearest = [_nearest(mean_vector(encoder.embed(wording)), candidates) for wording in wordings]
    return round(float(np.mean([n == place for n, place in enumerate(nearest)])), 4)


def location_retrieval(encoder: TextEncoder, prompts: Sequence[StructuredPrompt], wordings: Sequence[str]) -> float:
    """As `retrieval`, among the nine prompts that differ from the right one at most in the place."""
    hits = []
    for prompt, wording in zip(prompts, wordings, strict=True):
        others = [dataclasses.replace(prompt, locations=(place,)) for place in PLACES]
        candidates = [mean_vector(encoder.embed(render(other))) for other in others]
        hits.append(_nearest(mean_vector(encoder.embed(wording)), candidates) == others.index(prompt))
    return round(float(np.mean(hits)), 4)


def _nearest(vector: Vectors, candidates: Sequence[Vectors]) -> int:
    return int(np.argmax([_cosine(vector, candidate) for candidate in candidates]))


def fidelity(
    small: TextEncoder, teacher: TextEncoder, data: Path, known: frozenset[str], seed: int, count: int = 300
) -> dict[str, Any]:
    """All figures of `count` prompts; wordings that are among `known` are drawn again.

    Raises:
        UnreadableFileError: there is no `brats18` below `data`.
    """
    rng = np.random.default_rng([seed, 2])
    prompts = random_prompts(rng, count)
    wordings = [_unknown_wording(prompt, rng, known) for prompt in prompts]
    encoders = {"small": small, "teacher": teacher}
    return {
        "cosine_wordings": cosines(small, teacher, wordings),
        "cosine_reports": cosines(small, teacher, report_texts(data, "val")),
        "retrieval": {name: retrieval(encoder, prompts, wordings) for name, encoder in encoders.items()},
        "location": {name: location_retrieval(encoder, prompts, wordings) for name, encoder in encoders.items()},
    }


def _unknown_wording(prompt: StructuredPrompt, rng: np.random.Generator, known: frozenset[str]) -> str:
    wording = paraphrase(prompt, rng)
    while wording in known:
        wording = paraphrase(prompt, rng)
    return wording


def main() -> int:
    """The command of this module: prints the figures, and writes them to fidelity.json in the run folder."""
    parser = argparse.ArgumentParser(prog="python -m leanseg.training.text_fidelity", description=__doc__)
    for name in ("--data", "--run"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--prompts", type=int, default=300)
    arguments = parser.parse_args()
    try:
        network, tokenizer_json = load_text_encoder(arguments.run)
        graph = text_graph(network).SerializeToString()
        teacher = TransformersEncoder(arguments.teacher, length=network.config.length)
        small = SmallTextEncoder(OpenVINOGraph(graph, threads=1), tokenizer_json, network.config.length, teacher.width)
        recipe = recipe_of(arguments.run)
        words = common_words(teacher.tokenizer_json, recipe.common_words)
        known = frozenset(training_texts(arguments.data, recipe.texts, recipe.seed, words))
        figures: dict[str, Any] = fidelity(small, teacher, arguments.data, known, recipe.seed, arguments.prompts)
    except LeanSegError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    size = {"parameters": sum(p.numel() for p in network.parameters()), "graph_bytes": len(graph)}
    text = json.dumps({**figures, **size, "ms_a_prompt": _milliseconds(small)}, indent=1)
    (arguments.run / "fidelity.json").write_text(text, encoding="utf-8")
    sys.stdout.write(f"{text}\n")
    return 0


def _milliseconds(encoder: TextEncoder) -> float:
    """Median of 100 prompts that it has not seen before, tokenizing included."""
    times = []
    for n in range(100):
        started = time.perf_counter()
        encoder.embed(f"One irregular mass, {n} mm, upper left.")
        times.append(time.perf_counter() - started)
    return round(1e3 * float(np.median(times)), 3)


if __name__ == "__main__":
    sys.exit(main())
