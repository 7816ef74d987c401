"""Suggestive annotation as an experiment: annotate what an ensemble suggests, train, and see what it was worth.

Papers: as in `inference/suggestive_annotation.py`, which chooses. Each round:

    bootstrap     every member of the ensemble is trained on as many annotated images as there are, drawn with
                  replacement: about 63 % of them (1 - 1/e) are among them
    suggest       k of the images that are not annotated (policies `suggestive`, `suggestive_quantized`), or k at random
    learn         a network trained on all annotated images, whose Dice on other images is the point of the curve

`suggestive_quantized` is QSA: each member is trained half of its steps, then INQ rounds its weights (7 bits unless the
config says otherwise) in the other half.

Departures: members have a number of steps in the place of the paper's ten minutes; the network is that of the recipe.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from leanseg.errors import LeanSegError, UnknownNameError
from leanseg.inference.suggestive_annotation import (
    CANDIDATES,
    SUGGESTIONS,
    image_uncertainty,
    pairwise_disagreement,
    picture_descriptor,
    suggest,
)
from leanseg.quantization.config import QuantizationConfig
from leanseg.training.data.arrays import TrainingArrays
from leanseg.training.metrics import dice_of_masks
from leanseg.training.objectives import Objective, Supervised, build_loss
from leanseg.training.quantized import QuantizationAware
from leanseg.training.recipe import Recipe
from leanseg.training.trainer import Trainer, load_run

POLICIES = ("random", "suggestive", "suggestive_quantized")
EPOCHS = 4
"""Of each training: one for each portion of INQ."""
_VALIDATED = 4
"""Images: the trainer wants some, and nothing here is chosen by them."""


@dataclass(frozen=True)
class SuggestiveConfig:
    """An experiment of active learning; k and K are the papers', as far as known."""

    members: int = 4
    """Of the ensemble."""
    start: int = SUGGESTIONS
    """Images annotated at random before the first round."""
    k: int = SUGGESTIONS
    candidates: int = CANDIDATES
    rounds: int = 3
    steps: int = 60
    """Batches that a member is trained on."""
    final_steps: int = 160
    """Batches that the network of a round is trained on."""
    bits: int = 7

    def __post_init__(self) -> None:
        if self.members < 2 or min(self.start, self.k, self.rounds) < 1 or self.candidates < self.k:
            raise ValueError(f"members must be 2 or more, start, k and rounds 1, candidates at least k; got {self}.")
        if min(self.steps, self.final_steps) < 2 * EPOCHS:
            raise ValueError(f"steps and final_steps must be {2 * EPOCHS} or more; got {self}.")


@dataclass(frozen=True)
class Round:
    """A point of a learning curve, and what is annotated next."""

    annotated: tuple[int, ...]
    """Indices of the pool."""
    dice: float
    """Mean over the images that are held out."""
    suggested: tuple[int, ...]
    """Empty after the last round."""
    disagreement: float | None
    """Mean over pairs of members of their mean |p_a - p_b| on what is not annotated; None without members."""


def bootstrap(indices: Sequence[int], generator: torch.Generator) -> list[int]:
    """As many, drawn with replacement."""
    return [indices[int(n)] for n in torch.randint(len(indices), (len(indices),), generator=generator)]


def part_of(arrays: TrainingArrays, indices: Sequence[int]) -> TrainingArrays:
    """Some of the images, in this order; one that is named twice is there twice."""
    chosen = torch.tensor(indices, dtype=torch.long)
    ids = tuple(arrays.ids[int(arrays.cases[n])] for n in indices)
    return TrainingArrays(
        arrays.images[chosen], arrays.targets[chosen], arrays.classes[chosen], torch.arange(len(indices)), ids
    )


def trained(
    recipe: Recipe, arrays: TrainingArrays, indices: Sequence[int], steps: int, seed: int, run: Path | None = None
) -> nn.Module:
    """A network of the recipe after so many batches of these images, in eval mode; `run` keeps its folder."""
    if run is not None:
        return _trained(recipe, arrays, indices, steps, seed, run)
    with tempfile.TemporaryDirectory() as folder:
        return _trained(recipe, arrays, indices, steps, seed, Path(folder))


def trained_quantized(
    recipe: Recipe, arrays: TrainingArrays, indices: Sequence[int], steps: int, seed: int, bits: int
) -> nn.Module:
    """Likewise, with half of the steps in INQ; its weights are powers of two."""
    with tempfile.TemporaryDirectory() as folder:
        start = Path(folder, "float")
        _trained(recipe, arrays, indices, steps - steps // 2, seed, start)
        return trained_on(start, arrays, indices, steps // 2, bits)


def trained_on(run: Path, arrays: TrainingArrays, indices: Sequence[int], steps: int, bits: int | None) -> nn.Module:
    """The network of a run after so many more batches of these images, in which INQ makes it powers of two.

    `bits` None: they are float batches, to compare with.
    """
    recipe, _ = load_run(run)
    quantization = None if bits is None else QuantizationConfig(method="inq", bits=bits)
    recipe = dataclasses.replace(recipe, init=str(run), quantization=quantization)
    with tempfile.TemporaryDirectory() as folder:
        return _trained(recipe, arrays, indices, steps, recipe.seed, Path(folder))


def _trained(
    recipe: Recipe, arrays: TrainingArrays, indices: Sequence[int], steps: int, seed: int, folder: Path
) -> nn.Module:
    """An epoch is as many images as its batches need, all of `indices` equally often."""
    batch = recipe.optimizer.batch_size
    each_epoch = max(steps // EPOCHS, 1) * batch
    repeated = [indices[n % len(indices)] for n in range(each_epoch)]
    optimizer = dataclasses.replace(recipe.optimizer, epochs=EPOCHS, warmup_epochs=min(0.5, EPOCHS / steps * 5))
    recipe = dataclasses.replace(recipe, optimizer=optimizer, seed=seed)
    objective: Objective = Supervised(build_loss(recipe.loss))
    if recipe.quantization is not None:
        objective = QuantizationAware(objective, recipe.quantization, EPOCHS)
    Trainer(recipe, part_of(arrays, repeated), part_of(arrays, indices[:_VALIDATED]), objective, folder).fit()
    return load_run(folder)[1]


def probabilities_and_descriptors(network: Any, images: Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(image, label, height, width), and (image, d): the mean of the deepest features, or else a small picture."""
    maps, descriptors = [], []
    with torch.no_grad():
        for part in images.float().split(32):
            if hasattr(network, "features"):
                features = network.features(part)
                logits, described = features.logits, features.bottleneck.mean(dim=(2, 3))
            else:
                logits = network(part)
                described = torch.from_numpy(np.stack([picture_descriptor(image[0].numpy()) for image in part]))
            maps.append(torch.sigmoid(logits).numpy())
            descriptors.append(described.numpy())
    return np.concatenate(maps), np.concatenate(descriptors)


def mean_dice(network: nn.Module, arrays: TrainingArrays) -> float:
    """Mean over images, decided at 0.5."""
    maps, _ = probabilities_and_descriptors(network, arrays.images)
    return float(dice_of_masks(torch.from_numpy(maps >= 0.5), arrays.targets > 0).mean())


def learning_curve(
    policy: str,
    recipe: Recipe,
    config: SuggestiveConfig,
    pool: TrainingArrays,
    held_out: TrainingArrays,
    seed: int,
    done: Sequence[Round] = (),
) -> Iterator[Round]:
    """The rounds of one policy, one after another; those `done` are not repeated.

    The images annotated at the start, and so the first point, are the same for every policy of a seed.

    Raises:
        UnknownNameError: no such policy.
        LeanSegError: the pool is too small for all rounds.
    """
    if policy not in POLICIES:
        raise UnknownNameError("policy", policy, POLICIES)
    needed = config.start + config.rounds * config.k
    if len(pool) < needed:
        raise LeanSegError(f"The pool has {len(pool)} images; {needed} are needed. Take fewer rounds, or a smaller k.")
    annotated = torch.randperm(len(pool), generator=_generator(seed, 0, 0))[: config.start].tolist()
    if done:
        annotated = [*done[-1].annotated, *done[-1].suggested]
    for n in range(len(done), config.rounds + 1):
        network = trained(recipe, pool, annotated, config.final_steps, _seed(seed, n, 99))
        suggested: list[int] = []
        disagreement = None
        if n < config.rounds:
            suggested, disagreement = _next(policy, recipe, config, pool, annotated, seed, n)
        yield Round(tuple(annotated), mean_dice(network, held_out), tuple(suggested), disagreement)
        annotated = [*annotated, *suggested]


def _next(
    policy: str,
    recipe: Recipe,
    config: SuggestiveConfig,
    pool: TrainingArrays,
    annotated: Sequence[int],
    seed: int,
    number: int,
) -> tuple[list[int], float | None]:
    rest = sorted(set(range(len(pool))) - set(annotated))
    if policy == "random":
        order = torch.randperm(len(rest), generator=_generator(seed, number, 1))
        return [rest[int(n)] for n in order[: config.k]], None
    members = [_member(policy, recipe, config, pool, annotated, _seed(seed, number, m)) for m in range(config.members)]
    seen = [probabilities_and_descriptors(member, pool.images[rest]) for member in members]
    maps = np.stack([one for one, _ in seen])
    uncertainty = [image_uncertainty(maps[:, n]) for n in range(len(rest))]
    ranking = suggest(uncertainty, np.mean([one for _, one in seen], axis=0), config.k, config.candidates)
    return [rest[choice.index] for choice in ranking.chosen], pairwise_disagreement(maps)


def _member(
    policy: str,
    recipe: Recipe,
    config: SuggestiveConfig,
    pool: TrainingArrays,
    annotated: Sequence[int],
    seed: int,
) -> nn.Module:
    drawn = bootstrap(annotated, torch.Generator().manual_seed(seed))
    if policy == "suggestive":
        return trained(recipe, pool, drawn, config.steps, seed)
    return trained_quantized(recipe, pool, drawn, config.steps, seed, config.bits)


def annotations_for(curve: Sequence[Round], dice: float) -> float | None:
    """How many annotated images reach a Dice, between two rounds linearly; None: not reached."""
    before: Round | None = None
    for one in curve:
        if one.dice >= dice:
            if before is None:
                return float(len(one.annotated))
            part = (dice - before.dice) / (one.dice - before.dice)
            return len(before.annotated) + part * (len(one.annotated) - len(before.annotated))
        before = one
    return None


def _seed(seed: int, number: int, member: int) -> int:
    return (seed * 1009 + number) * 101 + member


def _generator(seed: int, number: int, what: int) -> torch.Generator:
    return torch.Generator().manual_seed(_seed(seed, number, what))


def round_from_json(values: dict[str, Any]) -> Round:
    """What `dataclasses.asdict` and JSON made of it."""
    return Round(tuple(values["annotated"]), float(values["dice"]), tuple(values["suggested"]), values["disagreement"])
