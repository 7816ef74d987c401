"""One training loop for every recipe: bf16 autocast, channels-last, EMA, cosine, validation, exact resume.

A run folder holds `recipe.json`, `log.csv`, `weights.safetensors` (running mean of the weights after the last
finished epoch) and `resume.safetensors` (everything needed to go on, in one file that is replaced at once). Every
random draw comes from a generator seeded by (seed, epoch), so a resumed run repeats the uninterrupted one exactly.

The last epoch is kept, not the best on the validation split: the best is mostly the luckiest
(docs/adr/0003-the-last-epoch.md).
"""

from __future__ import annotations

import copy
import csv
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.utils import convert_conv2d_weight_memory_format

from leanseg.errors import LeanSegError
from leanseg.networks import build_network, self_contained
from leanseg.quantization.layers import harden_, quantize_
from leanseg.training.augment import move, random_grid, random_intensity, random_sequences
from leanseg.training.data.arrays import TrainingArrays
from leanseg.training.metrics import dice_of_cases
from leanseg.training.objectives import Batch, Objective, PhasedObjective, decide
from leanseg.training.recipe import Recipe
from leanseg.training.start import keep_base_stages, start_at_base_, start_at_run_

Report = Callable[[int, int, str], object]
_WEIGHTS = "weights.safetensors"
_RESUME = "resume.safetensors"


def new_network(recipe: Recipe) -> nn.Module:
    """The recipe's network with weights drawn from its seed, or read from its `init` run, and then quantized."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        network = build_network(recipe.network, self_contained(recipe.config) if recipe.init else recipe.config)
    if recipe.base:
        return start_at_base_(network, recipe)
    if recipe.init:
        return start_at_run_(network, recipe, *load_run(Path(recipe.init), hard=False))
    return quantize_(network, recipe.quantization)


def load_run(folder: Path, hard: bool = True) -> tuple[Recipe, nn.Module]:
    """Recipe and network (eval mode) of a run; quantized weights are rounded, or if not `hard`, those it learned.

    Raises:
        LeanSegError: the folder holds no run, or a damaged one.
    """
    if not (folder / _WEIGHTS).is_file():
        raise LeanSegError(f"{folder} holds no trained run ({_WEIGHTS}). Train it first: leanseg train RECIPE.")
    try:
        recipe = _recipe_of(folder)
        with torch.random.fork_rng(devices=[]):  # the random weights are replaced at once
            network = quantize_(build_network(recipe.network, self_contained(recipe.config)), recipe.quantization)
        network.load_state_dict(load_file(folder / _WEIGHTS))
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise LeanSegError(f"The run {folder} is damaged ({reason}). Train it again.") from error
    return recipe, (harden_(network) if hard else network).eval()


def _recipe_of(folder: Path) -> Recipe:
    return Recipe.from_json(json.loads((folder / "recipe.json").read_text(encoding="utf-8")))


@dataclass
class Trainer:
    """Trains `recipe`'s network on arrays that are already preprocessed."""

    recipe: Recipe
    train: TrainingArrays
    val: TrainingArrays
    objective: Objective
    folder: Path
    report: Report = field(default=lambda done, total, what: None)

    def __post_init__(self) -> None:
        self.network = convert_conv2d_weight_memory_format(new_network(self.recipe), torch.channels_last)
        self.mean = copy.deepcopy(self.network).eval().requires_grad_(False)
        options = self.recipe.optimizer
        groups: list[dict[str, Any]] = [{"params": list(self.network.parameters()), "lr_factor": 1.0, "starts_at": 0.0}]
        if isinstance(self.objective, PhasedObjective):
            groups = self.objective.parameter_groups(self.network)
        self.optimizer = torch.optim.AdamW(groups, lr=options.learning_rate, weight_decay=options.weight_decay)
        self._parts: dict[str, nn.Module] = {"network": self.network, "mean": self.mean}
        self._parts |= {"objective": self.objective} if isinstance(self.objective, nn.Module) else {}  # if it learns
        self.epoch = 0
        self.log: list[dict[str, float]] = []

    @property
    def steps_per_epoch(self) -> int:
        return max(self.train.drawn(self.recipe.data.empty_fraction) // self.recipe.optimizer.batch_size, 1)

    def fit(self, resume: bool = False, stop_after: int | None = None) -> nn.Module:
        """Train to the last epoch, or for `stop_after` more epochs, or until `report` returns False.

        Returns the running mean of the network, which is what is exported.

        Raises:
            LeanSegError: a run is there already, nothing to resume, another recipe than before, or a loss that is
                not finite.
        """
        if resume:
            self._load()
        elif self.epoch == 0:
            self._begin()
        end = self.recipe.optimizer.epochs
        if stop_after is not None:
            end = min(end, self.epoch + stop_after)
        while self.epoch < end:
            started = time.perf_counter()
            with torch.random.fork_rng(devices=[]):
                trained = self._train_epoch()
            row = {"epoch": self.epoch + 1.0, **trained, **self.validate()}
            self.epoch += 1
            self.log.append(row | {"seconds": round(time.perf_counter() - started, 2)})
            self._save()
            what = "  ".join(f"{k.replace('_', ' ')} {v:.3f}" for k, v in row.items() if k == "loss" or "val_" in k)
            if self.report(self.epoch, self.recipe.optimizer.epochs, what) is False:
                break
        return self.mean

    def average(self, folders: Sequence[Path]) -> nn.Module:
        """In place of `fit`: the mean of the weights of other runs, batch-norm statistics among them.

        Raises:
            LeanSegError: a run is there already, or one of `folders` is of another network.
        """
        self._begin()
        states = []
        for folder in folders:
            recipe, network = load_run(folder)
            if (recipe.network, recipe.config) != (self.recipe.network, self.recipe.config):
                raise LeanSegError(f"{folder} is of another network than {self.recipe.id}. Give both the same config.")
            states.append(network.state_dict())
        mean = {
            key: torch.stack([state[key] for state in states]).mean(dim=0) if value.is_floating_point() else value
            for key, value in states[0].items()
        }
        self.mean.load_state_dict(mean)
        self.network.load_state_dict(mean)
        self.log.append({"epoch": 0.0, "loss": math.nan, **self.validate(), "seconds": 0.0})
        self._save()
        return self.mean

    def _begin(self) -> None:
        """Make the folder, with the recipe in it."""
        if (self.folder / _WEIGHTS).exists():
            raise LeanSegError(f"{self.folder} holds a run. Go on with --resume, or give another --out.")
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "recipe.json").write_text(json.dumps(self.recipe.to_json(), indent=1), encoding="utf-8")
        keep_base_stages(self.recipe, self.folder)

    def _learning_rate(self, step: int, starts_at: float = 0.0, restarts_at: Sequence[float] = ()) -> float:
        """Of a group whose warm-up begins at this fraction of all epochs, and again at others; before that it rests."""
        options = self.recipe.optimizer
        warm = options.warmup_epochs * self.steps_per_epoch
        borders = [round(at * options.epochs) * self.steps_per_epoch for at in (starts_at, *restarts_at, 1.0)]
        first = max((border for border in borders[:-1] if border <= step), default=borders[0])
        step, total = step - first, min((b for b in borders if b > first), default=first) - first
        if step < 0:
            return 0.0
        if step < warm:
            return options.learning_rate * (step + 1) / warm
        progress = (step - warm) / max(total - warm, 1)
        return options.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))

    def _batches(self) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(self.recipe.seed * 100_003 + self.epoch)
        order = self.train.order(self.recipe.data.empty_fraction, generator)
        size = self.recipe.optimizer.batch_size
        for n in range(self.steps_per_epoch):
            indices = order[n * size : (n + 1) * size]
            images, targets = self.train.images[indices].float(), self.train.targets[indices].float()
            height, width = images.shape[-2:]
            grid = random_grid(len(indices), height, width, self.recipe.augment, generator)
            yield Batch(
                self._changed(move(images, grid), generator).contiguous(memory_format=torch.channels_last),
                (move(targets, grid) >= 0.5).float(),
                self.train.classes[indices],
                indices,
                grid,
            )

    def _changed(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Images with other intensities."""
        if self.recipe.brain is None:
            return random_intensity(images, self.recipe.augment, generator)
        return random_sequences(images, self.recipe.sequences, generator)

    def _train_epoch(self) -> dict[str, float]:
        options = self.recipe.optimizer
        self.network.train()
        if isinstance(self.objective, PhasedObjective):
            self.objective.begin_epoch(self.network, self.epoch, options.epochs)
        sums: dict[str, float] = {}
        torch.manual_seed(self.recipe.seed * 100_003 + self.epoch)  # of dropout, which takes no generator
        for n, batch in enumerate(self._batches()):
            step = self.epoch * self.steps_per_epoch + n
            for group in self.optimizer.param_groups:
                rate = self._learning_rate(step, group["starts_at"], group.get("restarts_at", ()))
                group["lr"] = group["lr_factor"] * rate
            with torch.autocast("cpu", torch.bfloat16, enabled=options.bf16):
                loss, parts = self.objective(self.network, batch)
            if not torch.isfinite(loss):
                raise LeanSegError(f"The loss became {loss.item()} in epoch {self.epoch + 1}. Lower the learning rate.")
            self.optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_([p for group in self.optimizer.param_groups for p in group["params"]], 5.0)
            self.optimizer.step()
            self._update_mean(min(options.ema_decay, (step + 1) / (step + 10)))
            for key, value in {"loss": loss, **parts}.items():
                sums[key] = sums.get(key, 0.0) + float(value.detach())
        return {key: value / self.steps_per_epoch for key, value in sums.items()}

    def _update_mean(self, decay: float) -> None:
        mean = self.mean.state_dict()
        for key, value in self.network.state_dict().items():
            if value.is_floating_point():
                mean[key].lerp_(value, 1 - decay)
            else:
                mean[key].copy_(value)

    def validate(self) -> dict[str, float]:
        """Dice of each case with a lesion, all its slices together, and the fraction of images without lesion that
        are left empty; of several labels the mean. Decided by the larger probability (0.5)."""
        masks: list[Tensor] = []
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.optimizer.bf16):
            for images in torch.split(self.val.images, 32):
                images = images.float().contiguous(memory_format=torch.channels_last)
                masks.append(decide(self._logits(images)))
        predicted, truth = torch.cat(masks), self.val.targets > 0
        dice, has_lesion = dice_of_cases(predicted, truth, self.val.cases)
        normal = ~truth.flatten(1).any(dim=1)
        return {
            "val_dice": float(dice[has_lesion].mean()) if has_lesion.any() else math.nan,
            "val_empty": float((~predicted.flatten(1).any(dim=1))[normal].float().mean()) if normal.any() else math.nan,
        }

    def _logits(self, images: Tensor) -> Tensor:
        if isinstance(self.objective, PhasedObjective):
            return self.objective.logits(self.mean, images)
        logits: Tensor = self.mean(images)
        return logits

    def _save(self) -> None:
        tensors = {f"{name}/{k}": v for name, part in self._parts.items() for k, v in part.state_dict().items()}
        for number, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{number}/{key}": value for key, value in state.items()}
        keys = list(dict.fromkeys(key for row in self.log for key in row))
        with (self.folder / "log.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, keys)
            writer.writeheader()
            writer.writerows(self.log)
        _save(self.mean.state_dict(), self.folder / _WEIGHTS)
        # Last of all: whatever a kill cuts short above is written again by the resumed run.
        _save(tensors, self.folder / _RESUME, {"state": json.dumps({"epoch": self.epoch, "log": self.log})})

    def _load(self) -> None:
        path = self.folder / _RESUME
        if not path.is_file():
            raise LeanSegError(f"There is nothing to resume in {self.folder}. Start without --resume.")
        if _recipe_of(self.folder) != self.recipe:
            raise LeanSegError(f"{self.folder} was begun with another recipe. Give the same one, or another --out.")
        with safe_open(path, framework="pt") as file:
            state: dict[str, Any] = json.loads(file.metadata()["state"])
        tensors = load_file(path)
        for name, part in self._parts.items():
            part.load_state_dict(_section(tensors, f"{name}/"))
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in _section(tensors, "optimizer/").items():
            number, name = key.split("/")
            moments.setdefault(int(number), {})[name] = value
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": moments})
        self.epoch, self.log = state["epoch"], state["log"]


def _section(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _save(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    partial = path.with_name(path.name + ".partial")
    save_file({key: value.detach().contiguous() for key, value in tensors.items()}, partial, metadata)
    os.replace(partial, path)
