"""How MF2-MVQA learns: batches of pictures, each with several questions, in the same loop as everything else.

Loss: cross-entropy with label smoothing over the answers that the true type admits, plus `type_weight` times that of
the type (spec of the paper's loss inferred). A picture is looked at once for all its questions of a batch. It is
mirrored only where no question or answer of the batch about it says left, right or side.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from leanseg.errors import LeanSegError
from leanseg.networks.mf2_mvqa import MF2MVQA, AnswerOutput, masked
from leanseg.prompts.word_pieces import WordPieces
from leanseg.training.answer_metrics import answer_figures
from leanseg.training.augment import move, random_grid, random_intensity
from leanseg.training.data.question_parts import QuestionSet, load_question_set
from leanseg.training.data.questions import Question
from leanseg.training.objectives import Batch
from leanseg.training.question_recipe import QuestionsConfig
from leanseg.training.question_vocabulary import Vocabulary, padded, starting_vectors, vocabulary_of
from leanseg.training.recipe import Recipe
from leanseg.training.start import start_at_encoder_
from leanseg.training.trainer import Report, Trainer

_UNKNOWN = 1  # number of the piece [UNK]
_FIRST_WORD = 4


@dataclass(frozen=True)
class QuestionBatch(Batch):
    """`targets` are the numbers of the answers, `classes` of the types, `indices` the image of each question."""

    ids: Tensor
    """(question, piece)"""
    padding: Tensor
    """(question, piece), True where there is none"""


class QuestionAnswering:
    """The objective; a `PhasedObjective` for the sake of its learning rates."""

    def __init__(self, vocabulary: Vocabulary, config: QuestionsConfig) -> None:
        self.vocabulary = vocabulary
        self.config = config

    def start(self, network: nn.Module, new: bool) -> None:
        """What a network is given before it is trained: which answers are admitted, and, if `new`, words and backbone.

        Raises:
            LeanSegError: as `start_at_encoder_`.
        """
        mvqa = checked(network)
        mvqa.get_buffer("admissible").copy_(self.vocabulary.admissible)
        if not new:
            return
        if self.config.words:
            vectors = starting_vectors(self.vocabulary, self.config.words, mvqa.config.width)
            mvqa.piece.weight.data.copy_(vectors)
        if self.config.start:
            encoder = mvqa.backbone.get_submodule("encoder")
            start_at_encoder_(encoder, self.config.start, "questions.start", "config.stage_widths")

    def begin_epoch(self, network: nn.Module, epoch: int, epochs: int) -> None:
        """Nothing changes."""

    def parameter_groups(self, network: nn.Module) -> list[dict[str, Any]]:
        """Backbone and words learn more slowly: they begin with what they know."""
        mvqa = checked(network)
        slow = {
            "backbone.": self.config.backbone_lr_factor if self.config.start else 1.0,
            "piece.": self.config.word_lr_factor if self.config.words else 1.0,
        }
        groups: dict[float, list[nn.Parameter]] = {}
        for name, parameter in mvqa.named_parameters():
            factor = next((f for prefix, f in slow.items() if name.startswith(prefix)), 1.0)
            groups.setdefault(factor, []).append(parameter)
        return [{"params": some, "lr_factor": factor, "starts_at": 0.0} for factor, some in groups.items()]

    def logits(self, network: nn.Module, images: Tensor) -> Tensor:
        """There are none of pictures alone; `QuestionTrainer` validates by answers.

        Raises:
            TypeError: always.
        """
        raise TypeError("Pictures alone have no logits: MF2-MVQA answers questions about them.")

    def __call__(self, network: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        assert isinstance(batch, QuestionBatch)
        output: AnswerOutput = network(batch.images, batch.ids, batch.padding, batch.indices)
        return self.loss(checked(network), output, batch.targets, batch.classes)

    def loss(
        self, network: MF2MVQA, output: AnswerOutput, answers: Tensor, types: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """`answers` and `types` by number."""
        admitted = network.get_buffer("admissible")[types] > 0
        log_p = masked(output.logits.float(), admitted).log_softmax(dim=1)
        right = -log_p.gather(1, answers[:, None])[:, 0]
        spread = -(log_p * admitted).sum(dim=1) / admitted.sum(dim=1)
        smoothing = self.config.label_smoothing
        answer = ((1 - smoothing) * right + smoothing * spread).mean()
        kind = F.cross_entropy(output.types.float(), types)
        return answer + self.config.type_weight * kind, {"answer": answer, "type": kind}


def checked(network: nn.Module) -> MF2MVQA:
    """Raises LeanSegError for any other network."""
    if not isinstance(network, MF2MVQA):
        raise LeanSegError(f"A {type(network).__name__} answers no questions. Use the network mf2_mvqa.")
    return network


def prepared(recipe: Recipe, questions: QuestionSet) -> tuple[Recipe, Vocabulary]:
    """The vocabulary of the training questions, and the recipe with the sizes that the network has with it."""
    assert recipe.questions is not None
    options = recipe.questions
    vocabulary = vocabulary_of([question for _, question in questions.flat], options.words, options.common_words)
    sizes = {
        "vocabulary": len(vocabulary.pieces),
        "answers": len(vocabulary.answers),
        "types": len(vocabulary.types),
    }
    return replace(recipe, config={**recipe.config, **sizes}), vocabulary


class QuestionTrainer(Trainer):
    """A `Trainer` whose arrays are `QuestionSet`s and whose objective is `QuestionAnswering`."""

    def __post_init__(self) -> None:
        assert isinstance(self.objective, QuestionAnswering) and self.recipe.questions is not None
        init = self.recipe.init
        if init and Vocabulary.load(Path(init)) != self.objective.vocabulary:
            raise LeanSegError(
                f"{init} was trained with another vocabulary than {self.recipe.id}. Give both the same questions."
            )
        super().__post_init__()
        assert isinstance(self.train, QuestionSet) and isinstance(self.val, QuestionSet)
        self.options = self.recipe.questions
        self.vocabulary = self.objective.vocabulary
        self.asked, self.asked_val = self.train, self.val
        self._read = WordPieces(self.vocabulary.tokenizer_json, checked(self.network).config.length)
        self._answers = {answer: n for n, answer in enumerate(self.vocabulary.answers)}
        for network in (self.network, self.mean):
            self.objective.start(network, new=not init)

    @property
    def steps_per_epoch(self) -> int:
        return max(self._drawn() // self.recipe.optimizer.batch_size, 1)

    def _drawn(self) -> int:
        assert isinstance(self.train, QuestionSet) and self.recipe.questions is not None
        sizes = [self.train.parts.count(part) for part in dict.fromkeys(self.train.parts)]
        return sum(min(size, self.recipe.questions.per_part) for size in sizes)

    def _order(self, generator: torch.Generator) -> Tensor:
        """Pictures of an epoch: of each part `per_part`."""
        order = torch.randperm(len(self.asked), generator=generator).tolist()
        left = dict.fromkeys(self.asked.parts, self.options.per_part)
        chosen = []
        for n in order:
            left[self.asked.parts[n]] -= 1
            if left[self.asked.parts[n]] >= 0:
                chosen.append(n)
        return torch.tensor(chosen)

    def _batches(self) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(self.recipe.seed * 100_003 + self.epoch)
        order, size = self._order(generator), self.recipe.optimizer.batch_size
        for n in range(self.steps_per_epoch):
            chosen = order[n * size : (n + 1) * size]
            drawn = [self._drawn_questions(int(one), generator) for one in chosen]
            images = self._mirrored(self.asked.images[chosen].float(), drawn, generator)
            grid = random_grid(len(chosen), images.shape[2], images.shape[3], self._geometry, generator)
            images = random_intensity(move(images, grid), self.recipe.augment, generator)
            owners = torch.tensor([place for place, some in enumerate(drawn) for _ in some])
            questions = [one for some in drawn for one in some]
            ids, padding = padded([self._wording(one, generator) for one in questions])
            yield QuestionBatch(
                images.contiguous(memory_format=torch.channels_last),
                torch.tensor([self._answers[one.answer] for one in questions]),
                torch.tensor([self.vocabulary.types.index(one.type) for one in questions]),
                owners,
                grid,
                ids,
                padding,
            )

    @property
    def _geometry(self) -> Any:
        """Without mirroring, which depends on what is asked."""
        return replace(self.recipe.augment, flip_probability=0.0)

    def _drawn_questions(self, image: int, generator: torch.Generator) -> list[Question]:
        questions = self.asked.asked[image]
        order = torch.randperm(len(questions), generator=generator)[: self.options.per_picture]
        return [questions[n] for n in order.tolist()]

    def _mirrored(self, images: Tensor, drawn: list[list[Question]], generator: torch.Generator) -> Tensor:
        """Some pictures mirrored, where no question about them knows sides."""
        wanted = torch.rand(len(images), generator=generator) < self.recipe.augment.flip_probability
        allowed = torch.tensor([not any(question.has_sides for question in some) for some in drawn])
        return torch.where((wanted & allowed)[:, None, None, None], images.flip(3), images)

    def _wording(self, question: Question, generator: torch.Generator) -> list[int]:
        """One of its wordings as pieces, some words of which are made unknown."""
        chosen = int(torch.randint(len(question.texts), (1,), generator=generator))
        pieces = self._read(question.texts[chosen])
        dropped = torch.rand(len(pieces), generator=generator) < self.options.drop_word
        return [
            _UNKNOWN if drop and piece >= _FIRST_WORD else piece for piece, drop in zip(pieces, dropped, strict=True)
        ]

    def validate(self) -> dict[str, float]:
        """Accuracy on the validation questions."""
        figures = figures_of(checked(self.mean), self.vocabulary, self.asked_val)
        return {f"val_{name}": figures.get(name, math.nan) for name in ("open", "closed", "overall")}

    def _begin(self) -> None:
        super()._begin()
        self.vocabulary.save(self.folder)


def answers_of(network: MF2MVQA, vocabulary: Vocabulary, asked: QuestionSet) -> tuple[Tensor, Tensor]:
    """Probabilities (question, answer) and number of the most probable type (question,), of the first wordings."""
    read = WordPieces(vocabulary.tokenizer_json, network.config.length)
    flat = asked.flat
    ids, padding = padded([read(question.texts[0]) for _, question in flat])
    owners = torch.tensor([image for image, _ in flat])
    results, types = [], []
    with torch.no_grad():
        visual = torch.cat([network.eval().look(images.float()) for images in asked.images.split(64)])
        for part in torch.arange(len(flat)).split(256):
            output = network.reply(visual[owners[part]], ids[part], padding[part])
            results.append(network.probabilities(output))
            types.append(output.types.argmax(dim=1))
    return torch.cat(results), torch.cat(types)


def figures_of(network: MF2MVQA, vocabulary: Vocabulary, asked: QuestionSet) -> dict[str, float]:
    """Accuracy and BLEU-1 on questions."""
    probabilities, _ = answers_of(network, vocabulary, asked)
    said = [vocabulary.answers[n] for n in probabilities.argmax(dim=1).tolist()]
    questions = [question for _, question in asked.flat]
    return answer_figures(said, [q.answer for q in questions], [q.is_closed for q in questions])


def train_questions(recipe: Recipe, data: Path, folder: Path, resume: bool, report: Report) -> None:
    """Train a recipe with [questions] on the data sets below `data` into `folder`.

    Raises:
        LeanSegError: the recipe names data, files or sizes that do not exist or do not fit.
    """
    train, val = (load_question_set(parts, data, recipe) for parts in (recipe.data.train, recipe.data.val))
    assert recipe.questions is not None
    filled, vocabulary = prepared(recipe, train)
    try:
        objective = QuestionAnswering(vocabulary, recipe.questions)
        QuestionTrainer(filled, train, val, objective, folder, report).fit(resume)
    except ValueError as error:  # a config that the network refuses
        raise LeanSegError(f"The recipe {recipe.id} cannot be trained: {error}") from error
