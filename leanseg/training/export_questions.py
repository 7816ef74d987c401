"""From a run folder to a bundle, for MF2-MVQA: graphs of picture and question, the tokenizer, and the card.

    image     image (1, 1, j, i)                                        -> tokens (1, stage, place, width)
    question  tokens, ids (1, piece), padding (1, piece: 1 = none)      -> answers, types, attention

`answers` (1, answer) and `types` (1, type) are probabilities. Temperature and the confidence below which nothing is
told are chosen on the validation split; the test split is not touched. INT8 is weights and inputs of the convolutions;
the graph of the question stays in float32, stored as float16.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from leanseg.inference.question_answering import ENGINE, IMAGE, QUESTION, QuestionAnsweringConfig
from leanseg.networks.mf2_mvqa import MF2MVQA
from leanseg.prompts.word_pieces import WordPieces
from leanseg.runtime.graph import Graph
from leanseg.runtime.openvino_graph import OpenVINOGraph
from leanseg.training.answer_metrics import answer_figures
from leanseg.training.counted_gmacs import counted_gmacs
from leanseg.training.data.question_parts import QuestionSet, load_question_set
from leanseg.training.graphs import as_onnx, export_onnx, fold_batch_norm, quantize_int8, store_weights_as_fp16
from leanseg.training.question_answering import answers_of, checked
from leanseg.training.question_vocabulary import Vocabulary
from leanseg.training.recipe import Recipe
from leanseg.training.run_card import card_of_run
from leanseg.weights.bundle import Bundle, file_card, write_bundle

TOKENIZER = "tokenizer.json"
CALIBRATION_PICTURES = 64
RIGHT_WHEN_TOLD = 0.7
"""Of the validation questions that get an answer, at least so many get the right one."""
SMALL_LOSS = 0.01
"""Of accuracy: with more, the pictures are not looked at in INT8."""
INTENDED_USE = (
    "Research only; not for clinical use. It answers from a closed list, has learned from about 300 radiology pictures "
    "and from generated questions, and is often wrong: see the accuracy in the metrics."
)


class LookPart(nn.Module):
    """What does not depend on the question."""

    def __init__(self, network: MF2MVQA) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return self.network.look(image)


class ReplyPart(nn.Module):
    """What does, with the types that all graphs of a bundle take."""

    def __init__(self, network: MF2MVQA, temperature: float) -> None:
        super().__init__()
        self.network = network
        self.temperature = temperature

    def forward(self, tokens: Tensor, ids: Tensor, padding: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        output = self.network.reply(tokens, ids.long(), padding > 0.5)
        answers = self.network.probabilities(output, self.temperature)
        return answers, output.types.softmax(dim=1), output.attention


def export_questions(recipe: Recipe, network: nn.Module, run: Path, folder: Path, data: Path) -> Bundle:
    """Export a run as the bundle `folder`; needs the data it was trained on.

    Raises:
        LeanSegError: no data, another network, or a folder that cannot be written.
    """
    mvqa, vocabulary = checked(network).eval(), Vocabulary.load(run)
    train, val = (load_question_set(parts, data, recipe) for parts in (recipe.data.train, recipe.data.val))
    temperature = best_temperature(mvqa, vocabulary, val)
    graphs = {
        f"{IMAGE}_fp32": _image_graph(mvqa, recipe.size_ji),
        f"{QUESTION}_fp32": _question_graph(mvqa, temperature),
    }
    chosen = torch.randperm(len(train), generator=torch.Generator().manual_seed(recipe.seed))[:CALIBRATION_PICTURES]
    int8 = quantize_int8(graphs[f"{IMAGE}_fp32"], train.images[chosen].float().numpy(), only_convolutions_of="tokens")
    graphs = {name: store_weights_as_fp16(graph) for name, graph in graphs.items()}
    found, figures = {}, {}
    question = OpenVINOGraph(graphs[f"{QUESTION}_fp32"].SerializeToString())
    for precision, graph in (("fp32", graphs[f"{IMAGE}_fp32"]), ("int8", int8)):
        image = OpenVINOGraph(graph.SerializeToString())
        found[precision] = run_graphs(image, question, vocabulary, mvqa.config.length, val)
        figures[precision] = _figures(found[precision], vocabulary, val)
    used = "int8" if figures["fp32"]["overall"] - figures["int8"]["overall"] <= SMALL_LOSS else "fp32"
    if used == "int8":
        graphs[f"{IMAGE}_int8"] = int8
        if not recipe.deployment.keep_fp32:
            del graphs[f"{IMAGE}_fp32"]
    asked_in = [val.parts[image] for image, _ in val.flat]
    threshold, told = best_threshold(*_right(found[used], vocabulary, val), asked_in)
    tokenizer = vocabulary.tokenizer_json.encode()
    config = QuestionAnsweringConfig(
        file_card(TOKENIZER, tokenizer),
        vocabulary.answers,
        vocabulary.types,
        mvqa.config.length,
        mvqa.config.grid,
        threshold,
    )
    validation = {"command": f"leanseg export {run} -o BUNDLE", "n": len(val.flat), **figures, "by_part": told}
    card = card_of_run(
        recipe,
        mvqa,
        run,
        folder.name,
        task="question answering",
        modality="XR, CT, MR, US",
        gmacs=count_answer_gmacs(mvqa, recipe.size_ji),
        engine=ENGINE,
        engine_config=config,
        intended_use=INTENDED_USE,
    )
    card = dataclasses.replace(card, temperature=temperature, metrics={"validation": validation})
    half = {key: v.half() if v.is_floating_point() else v for key, v in network.state_dict().items()}
    serialized = {name: graph.SerializeToString() for name, graph in graphs.items()}
    return write_bundle(card, serialized, safetensors.torch.save(half), folder, tokenizer)


# ── graphs ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _image_graph(network: MF2MVQA, size_ji: tuple[int, int]) -> onnx.ModelProto:
    folded = LookPart(copy.deepcopy(network)).eval()
    fold_batch_norm(folded.network.backbone)
    return export_onnx(folded, network.config.in_channels, size_ji, ("tokens",))


def _question_graph(network: MF2MVQA, temperature: float) -> onnx.ModelProto:
    config = network.config
    tokens = torch.zeros(1, len(config.stage_widths), config.grid**2, config.width)
    example = (tokens, torch.full((1, config.length), 2.0), torch.zeros(1, config.length))
    outputs = ("answers", "types", "attention")
    return as_onnx(ReplyPart(network, temperature).eval(), example, ("tokens", "ids", "padding"), outputs)


def run_graphs(image: Graph, question: Graph, vocabulary: Vocabulary, length: int, asked: QuestionSet) -> Tensor:
    """Probabilities (question, answer) as in use."""
    read, results, owner, tokens = WordPieces(vocabulary.tokenizer_json, length), [], -1, np.zeros(0, np.float32)
    for n, one in asked.flat:
        if n != owner:
            owner, tokens = n, image({"image": asked.images[n : n + 1].float().numpy()})["tokens"]
        ids, padding = read.padded(read(one.texts[0]))
        results.append(torch.from_numpy(question({"tokens": tokens, "ids": ids, "padding": padding})["answers"]))
    return torch.cat(results)


# ── what is chosen on the validation split ──────────────────────────────────────────────────────────────────────────


def best_temperature(network: MF2MVQA, vocabulary: Vocabulary, asked: QuestionSet) -> float:
    """The one in 0.5 ... 4 under which the right answers are the most probable, as the graph computes them.

    Of the questions whose right answer is admitted; 1 where there is none. The logits that the types do not admit are
    left out at every temperature: log p / t of the others differs from theirs by a constant.
    """
    numbers = {answer: n for n, answer in enumerate(vocabulary.answers)}
    known = [(n, numbers[q.answer]) for n, (_, q) in enumerate(asked.flat) if q.answer in numbers]
    if not known:
        return 1.0
    rows, right = torch.tensor(known).unbind(dim=1)
    p = answers_of(network, vocabulary, asked)[0][rows]  # of temperature 1
    can = p.gather(1, right[:, None])[:, 0] > 0
    if not can.any():
        return 1.0
    log_p, right = p[can].log(), right[can]  # -inf where p is 0, and at every temperature
    candidates = [float(t) for t in np.geomspace(0.5, 4.0, 31)]
    costs = [float(F.cross_entropy(log_p / t, right)) for t in candidates]
    return round(candidates[int(np.argmin(costs))], 4)


def _right(probabilities: Tensor, vocabulary: Vocabulary, asked: QuestionSet) -> tuple[Tensor, Tensor]:
    """Confidence (question,), and whether the answer is right (question,)."""
    said = [vocabulary.answers[n] for n in probabilities.argmax(dim=1).tolist()]
    return probabilities.amax(dim=1), torch.tensor([s == q.answer for s, (_, q) in zip(said, asked.flat, strict=True)])


def best_threshold(confidence: Tensor, is_right: Tensor, parts: Sequence[str]) -> tuple[float, dict[str, Any]]:
    """The smallest threshold at which, in every part of the data, RIGHT_WHEN_TOLD of the answers told are right.

    Easy generated questions would otherwise vouch for hard ones. Where there is no such threshold: the one at which the
    worst part is best. `parts`: of each question. Also what the threshold does to each part.
    """
    of = {part: torch.tensor([one == part for one in parts]) for part in dict.fromkeys(parts)}

    def row(threshold: float) -> dict[str, dict[str, float]]:
        return {
            part: {"told": round(float(told.float().mean()), 4), "right_when_told": round(_mean(right[told]), 4)}
            for part, there in of.items()
            for told, right in [(confidence[there] >= threshold, is_right[there])]
        }

    def worst(threshold: float) -> float:
        return min(figures["right_when_told"] for figures in row(threshold).values())

    candidates = [n / 20 for n in range(20) if (confidence >= n / 20).any()]
    good = [threshold for threshold in candidates if worst(threshold) >= RIGHT_WHEN_TOLD]
    chosen = good[0] if good else max(candidates, key=worst)
    return chosen, row(chosen)


def _mean(right: Tensor) -> float:
    """Of what is not told, nothing is wrong."""
    return float(right.float().mean()) if right.numel() else 1.0


def _figures(probabilities: Tensor, vocabulary: Vocabulary, asked: QuestionSet) -> dict[str, float]:
    said = [vocabulary.answers[n] for n in probabilities.argmax(dim=1).tolist()]
    questions = [question for _, question in asked.flat]
    figures = answer_figures(said, [q.answer for q in questions], [q.is_closed for q in questions])
    return {name: round(value, 4) for name, value in figures.items()}


# ── the card ────────────────────────────────────────────────────────────────────────────────────────────────────────


def count_answer_gmacs(network: MF2MVQA, size_ji: tuple[int, int]) -> float:
    """Multiply-accumulates of one picture with its first question, in 10^9."""
    config = network.config
    ids = torch.zeros(1, config.length, dtype=torch.long)
    return counted_gmacs(
        network, torch.zeros(1, config.in_channels, *size_ji), ids, torch.zeros_like(ids, dtype=torch.bool)
    )
