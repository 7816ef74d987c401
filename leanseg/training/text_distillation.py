"""Distills a pretrained text encoder into the small one that a bundle ships.

    python -m leanseg.training.text_distillation --data DATA --out RUN --teacher FOLDER

A run folder holds recipe.json, tokenizer.json, weights.safetensors, log.csv, resume.safetensors and, so that the
teacher reads every text only once, its vectors in teacher.safetensors. Each piece of a text is to have the teacher's
vector, and each text the teacher's mean: loss = squared error over the teacher's variance, plus 1 - cosine, of both.
Both are compared in units of the teacher's standard deviation of each dimension, from its mean over all pieces: a part
that all pieces share says nothing about any of them, and yet most of a cosine would come from it. Sizes and weights are
ours.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from leanseg.errors import LeanSegError
from leanseg.networks.text_encoder import SmallTextNetwork, TextEncoderConfig
from leanseg.training.text_corpus import common_words, reduced_tokenizer, training_texts
from leanseg.training.text_encoder import TOKENIZER, WEIGHTS, TextEncoderRecipe, recipe_of
from leanseg.training.text_lessons import Lessons, Teacher, lessons_of
from leanseg.training.text_teacher import TransformersEncoder

Report = Callable[[int, int, str], object]
_RESUME = "resume.safetensors"
_WINDOW = 16
"""Batches that are sorted by length among themselves."""


def distillation_loss(student: Tensor, teacher: Tensor, padding: Tensor, recipe: TextEncoderRecipe) -> Tensor:
    """Of vectors (text, piece, width) where `padding` (text, piece) is False: of all pieces, plus of the texts' means.

    The squared error is in units of the teacher's variance over the batch, so that 1 is what a constant would get.
    """
    kept = ~padding
    count = kept.sum(dim=1, keepdim=True)
    of_pieces = _difference(student[kept], teacher[kept], recipe.cosine_weight)
    means = [(vectors * kept[:, :, None]).sum(dim=1) / count for vectors in (student, teacher)]
    return of_pieces + recipe.mean_weight * _difference(means[0], means[1], recipe.cosine_weight)


def _difference(student: Tensor, teacher: Tensor, cosine_weight: float) -> Tensor:
    variance = (teacher - teacher.mean(dim=0)).square().mean().clamp(min=1e-6)
    cosine = F.cosine_similarity(student, teacher, dim=-1).mean()
    return F.mse_loss(student, teacher) / variance + cosine_weight * (1 - cosine)


@dataclass
class Distillation:
    """Trains the recipe's network on lessons; the same seed and the same lessons give the same weights."""

    recipe: TextEncoderRecipe
    lessons: Lessons
    folder: Path
    report: Report = field(default=lambda done, total, what: None)

    def __post_init__(self) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.recipe.seed)
            self.network = SmallTextNetwork(self.recipe.network)
        self.network.piece.weight.data.copy_(self.lessons.starting_vectors(self.recipe.network.width))
        self.mean, self.deviation = self.lessons.statistics()
        self.network.out.bias.data.copy_(self.mean)
        self.network.out.weight.data.mul_(self.deviation[:, None])
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=self.recipe.learning_rate, weight_decay=self.recipe.weight_decay
        )
        self.epoch = 0
        self.log: list[dict[str, float]] = []

    def fit(self, resume: bool = False, stop_after: int | None = None) -> SmallTextNetwork:
        """Train to the last epoch, or for `stop_after` more, or until `report` returns False.

        Raises:
            LeanSegError: a run is there already, nothing to resume, another recipe or other texts than before, or a
                loss that is not finite.
        """
        if resume:
            self._load()
        elif self.epoch == 0:
            self._begin()
        end = self.recipe.epochs if stop_after is None else min(self.recipe.epochs, self.epoch + stop_after)
        while self.epoch < end:
            started = time.perf_counter()
            with torch.random.fork_rng(devices=[]):
                loss = self._train_epoch()
            self.epoch += 1
            self.log.append({"epoch": self.epoch, "loss": loss, "seconds": round(time.perf_counter() - started, 2)})
            self._save()
            if self.report(self.epoch, self.recipe.epochs, f"loss {loss:.4f}") is False:
                break
        return self.network.eval()

    def _train_epoch(self) -> float:
        self.network.train()
        torch.manual_seed(self.recipe.seed * 100_003 + self.epoch)  # of dropout, which takes no generator
        losses = []
        for n, (ids, padding, teacher) in enumerate(self._batches()):
            for group in self.optimizer.param_groups:
                group["lr"] = self._learning_rate(self.epoch * self.steps_per_epoch + n)
            student, target = ((v - self.mean) / self.deviation for v in (self.network(ids, padding), teacher))
            loss = distillation_loss(student, target, padding, self.recipe)
            if not torch.isfinite(loss):
                raise LeanSegError(f"The loss became {loss.item()} in epoch {self.epoch + 1}. Lower the learning rate.")
            self.optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
            self.optimizer.step()
            losses.append(float(loss.detach()))
        return sum(losses) / len(losses)

    @property
    def steps_per_epoch(self) -> int:
        return max(len(self.lessons) // self.recipe.batch_size, 1)

    def _batches(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """In random order; texts of like length come together, which saves half the padding."""
        generator = torch.Generator().manual_seed(self.recipe.seed * 100_003 + self.epoch)
        size, steps = self.recipe.batch_size, self.steps_per_epoch
        order = torch.randperm(len(self.lessons), generator=generator)[: size * steps]
        windows = [part[self.lessons.counts[part].argsort(stable=True)] for part in order.split(_WINDOW * size)]
        batches = torch.cat(windows).split(size)
        for n in torch.randperm(len(batches), generator=generator).tolist():
            yield self.lessons.batch(batches[n])

    def _learning_rate(self, step: int) -> float:
        """Linear warm-up, then a cosine to 1 %."""
        warm, total = (round(n * self.steps_per_epoch) for n in (self.recipe.warmup_epochs, self.recipe.epochs))
        if step < warm:
            return self.recipe.learning_rate * (step + 1) / warm
        progress = (step - warm) / max(total - warm, 1)
        return self.recipe.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))

    def _begin(self) -> None:
        if (self.folder / WEIGHTS).exists():
            raise LeanSegError(f"{self.folder} holds a run. Go on with --resume, or give another --out.")
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "recipe.json").write_text(json.dumps(self.recipe.to_json(), indent=1), encoding="utf-8")
        (self.folder / TOKENIZER).write_text(self.lessons.tokenizer_json, encoding="utf-8")

    def _save(self) -> None:
        weights = self.network.state_dict()
        tensors: dict[str, Tensor] = {f"network/{key}": value for key, value in weights.items()}
        for number, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{number}/{key}": value for key, value in state.items()}
        with (self.folder / "log.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(self.log[0]))
            writer.writeheader()
            writer.writerows(self.log)
        _write(weights, self.folder / WEIGHTS)
        # Last of all: whatever a kill cuts short above is written again by the resumed run.
        state = {"epoch": self.epoch, "log": self.log, "lessons": self.lessons.checksum}
        _write(tensors, self.folder / _RESUME, {"state": json.dumps(state)})

    def _load(self) -> None:
        path = self.folder / _RESUME
        if not path.is_file():
            raise LeanSegError(f"There is nothing to resume in {self.folder}. Start without --resume.")
        with safe_open(path, framework="pt") as file:
            state: dict[str, Any] = json.loads(file.metadata()["state"])
        if recipe_of(self.folder) != self.recipe or state["lessons"] != self.lessons.checksum:
            raise LeanSegError(f"{self.folder} was begun with another recipe or other texts. Give another --out.")
        tensors = load_file(path)
        self.network.load_state_dict({key: tensors[f"network/{key}"] for key in self.network.state_dict()})
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith("optimizer/"):
                _, number, name = key.split("/")
                moments.setdefault(int(number), {})[name] = value
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": moments})
        self.epoch, self.log = state["epoch"], state["log"]


def _write(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    partial = path.with_name(path.name + ".partial")
    save_file({key: value.detach().contiguous() for key, value in tensors.items()}, partial, metadata)
    os.replace(partial, path)


def train_text_encoder(
    recipe: TextEncoderRecipe, teacher: Teacher, data: Path, folder: Path, resume: bool, report: Report
) -> SmallTextNetwork:
    """Distill `teacher` on the texts below `data` into `folder`.

    Raises:
        LeanSegError: as `training_texts`, `reduced_tokenizer` and `Distillation.fit`.
    """
    if recipe.network.out_width != teacher.width or recipe.network.length != teacher.length:
        raise LeanSegError(
            f"The teacher gives {teacher.length} x {teacher.width} values; the recipe has {recipe.network.length} x "
            f"{recipe.network.out_width}. Set network.length and network.out_width."
        )
    words = common_words(teacher.tokenizer_json, recipe.common_words)
    texts = training_texts(data, recipe.texts, recipe.seed, words)
    tokenizer_json, numbers = reduced_tokenizer(teacher.tokenizer_json, texts, recipe.network.vocabulary)
    lessons = lessons_of(texts, tokenizer_json, numbers, teacher, folder / "teacher.safetensors")
    return Distillation(recipe, lessons, folder, report).fit(resume)


def main() -> int:
    """The command of this module."""
    parser = argparse.ArgumentParser(prog="python -m leanseg.training.text_distillation", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets brats18 and busi")
    parser.add_argument("--out", type=Path, required=True, help="run folder to write")
    parser.add_argument("--teacher", required=True, help="folder or id of an uncased BERT or MiniLM")
    parser.add_argument("--resume", action="store_true")
    for name in ("seed", "texts", "epochs"):
        parser.add_argument(f"--{name}", type=int, default=getattr(TextEncoderRecipe, name))
    arguments = parser.parse_args()
    try:
        teacher = TransformersEncoder(arguments.teacher)
        network = TextEncoderConfig(vocabulary=2048, out_width=teacher.width)
        options = {name: getattr(arguments, name) for name in ("seed", "texts", "epochs")}
        recipe = TextEncoderRecipe(teacher=teacher.id, network=network, **options)
        train_text_encoder(recipe, teacher, arguments.data, arguments.out, arguments.resume, _show)
    except LeanSegError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _show(done: int, total: int, what: str) -> None:
    sys.stderr.write(f"{done}/{total}  {what}\n")


if __name__ == "__main__":
    sys.exit(main())
