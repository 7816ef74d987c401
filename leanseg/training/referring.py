"""How CM-MaskSD learns: scenes composed anew in each epoch, sentences about them, in the same loop as all else.

Loss: losses/masked_distillation.py. A scene is moved and its gray values are changed before anything is said about it,
so that every sentence is true of what the network sees: mirroring needs no rewriting of words. Each scene is spoken of
several times in a batch, so that only the words tell the targets apart.

Departures from CM-MaskSD (arXiv 2305.11481), all options of the recipe and all ours: the lesson of the correlation
(`correlation_weight`), that of all objects (`objects_weight`), simple sentences first (`simple_until`), and masked
branches that begin late (`masked_from`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from leanseg.errors import LeanSegError
from leanseg.losses.masked_distillation import MaskedDistillationLoss
from leanseg.losses.overlap import DiceBCELoss
from leanseg.networks.blocks.dual_encoders import SmallDualEncoder
from leanseg.networks.cm_mask_sd import CMMaskSD, CMMaskSDOutput
from leanseg.prompts.referring_words import grammar_words
from leanseg.prompts.word_pieces import WordPieces
from leanseg.training.augment import move, random_grid, random_intensity
from leanseg.training.data.referring_pairs import Picture, ReferringPair, draw_pair
from leanseg.training.data.referring_set import ReferringSet, fixed_pairs, load_referring_set
from leanseg.training.objectives import Batch
from leanseg.training.question_vocabulary import SPECIAL, padded, tokenizer_json
from leanseg.training.recipe import Recipe
from leanseg.training.referring_metrics import referring_figures
from leanseg.training.referring_recipe import COMPOUND, ReferringTrainingConfig
from leanseg.training.start import start_at_encoder_
from leanseg.training.trainer import Report, Trainer

TOKENIZER = "tokenizer.json"
VAL_SEED = 1_000_003
_UNKNOWN = 1  # number of the piece [UNK]
_FIRST_WORD = len(SPECIAL)
PIECES = (*SPECIAL, *grammar_words())
"""What the network reads: every word of the grammar. Any other is unknown."""


@dataclass(frozen=True)
class ReferringBatch(Batch):
    """Several sentences for each image; `indices` is the image of each sentence."""

    ids: Tensor
    """(sentence, piece)"""
    padding: Tensor
    """(sentence, piece), True where there is none"""
    objects: Tensor
    """(sentence, 1, j, i): all objects of its scene"""


class Referring:
    """The objective; a `PhasedObjective` for the sake of its learning rates and of what it hides."""

    def __init__(self, config: ReferringTrainingConfig, seed: int) -> None:
        self.config = config
        self.seed = seed
        self.loss = MaskedDistillationLoss(
            config.masked_weight,
            config.distillation_weight,
            config.temperature,
            config.existence_weight,
            config.correlation_weight,
        )
        self._generator = torch.Generator()
        self._hides = True

    def start(self, network: nn.Module) -> None:
        """Give a new network the encoder that the recipe names.

        Raises:
            LeanSegError: as `start_at_encoder_`, or the network has another kind of encoder.
        """
        if not self.config.start:
            return
        encoder = checked(network).encoder
        if not isinstance(encoder, SmallDualEncoder):
            raise LeanSegError("referring.start is for the small dual encoder. Leave it out.")
        start_at_encoder_(encoder.backbone.encoder, self.config.start, "referring.start", "config.encoder_widths")

    def begin_epoch(self, network: nn.Module, epoch: int, epochs: int) -> None:
        """What is hidden is drawn anew, or nothing is hidden yet."""
        self._generator.manual_seed(self.seed * 100_003 + epoch)
        self._hides = epoch >= round(self.config.masked_from * epochs)

    def parameter_groups(self, network: nn.Module) -> list[dict[str, Any]]:
        """An encoder that begins with what it knows learns more slowly."""
        factor = self.config.encoder_lr_factor if self.config.start else 1.0
        parts: tuple[list[nn.Parameter], list[nn.Parameter]] = ([], [])
        for name, parameter in checked(network).named_parameters():
            parts[name.startswith("encoder.backbone.")].append(parameter)
        return [
            {"params": some, "lr_factor": f, "starts_at": 0.0} for some, f in zip(parts, (1.0, factor), strict=True)
        ]

    def logits(self, network: nn.Module, images: Tensor) -> Tensor:
        """There are none of pictures alone; `ReferringTrainer` validates with sentences.

        Raises:
            TypeError: always.
        """
        raise TypeError("Pictures alone have no logits: CM-MaskSD needs a sentence for each.")

    def __call__(self, network: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        assert isinstance(batch, ReferringBatch)
        told = (batch.ids, batch.padding)
        output: CMMaskSDOutput = network(batch.images, *told, self._generator, batch.indices, self._hides)
        total = self.loss(output.logits, output.masked, batch.targets, output.existence, output.correlation)
        if output.objects is not None:
            total = total + self.config.objects_weight * DiceBCELoss()(output.objects.float(), batch.objects)
        return total, {}


def checked(network: nn.Module) -> CMMaskSD:
    """Raises LeanSegError for any other network."""
    if not isinstance(network, CMMaskSD):
        raise LeanSegError(f"A {type(network).__name__} does not read sentences. Use the network cm_mask_sd.")
    return network


def prepared(recipe: Recipe) -> Recipe:
    """The recipe with the number of words that its network reads."""
    return replace(recipe, config={**recipe.config, "vocabulary": len(PIECES)})


class ReferringTrainer(Trainer):
    """A `Trainer` whose arrays are `ReferringSet`s and whose objective is `Referring`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        assert isinstance(self.objective, Referring) and self.recipe.referring is not None
        assert isinstance(self.train, ReferringSet) and isinstance(self.val, ReferringSet)
        self.options, self.pictures = self.recipe.referring, self.train
        self.read = WordPieces(tokenizer_json(PIECES), checked(self.network).config.length)
        self.val_pairs = fixed_pairs(self.val, self.options.val_pairs, VAL_SEED, self.options)
        if not self.recipe.init:
            for network in (self.network, self.mean):
                self.objective.start(network)

    @property
    def steps_per_epoch(self) -> int:
        assert isinstance(self.train, ReferringSet) and self.recipe.referring is not None
        scenes = sum(min(len(some), self.recipe.referring.per_part) for some in self.train.members)
        return max(scenes // self._scenes, 1)

    @property
    def _scenes(self) -> int:
        """Of a batch."""
        assert self.recipe.referring is not None
        return max(self.recipe.optimizer.batch_size // self.recipe.referring.per_picture, 1)

    @property
    def _kinds(self) -> tuple[str, ...]:
        """Of what is said in this epoch."""
        is_simple = self.epoch < round(self.options.simple_until * self.recipe.optimizer.epochs)
        return tuple(kind for kind in self.options.kinds if not (is_simple and kind in COMPOUND))

    def _order(self, generator: torch.Generator) -> list[int]:
        """Pictures of an epoch: of each part `per_part`."""
        chosen: list[int] = []
        for members in self.pictures.members:
            order = torch.randperm(len(members), generator=generator)[: self.options.per_part]
            chosen += [members[n] for n in order.tolist()]
        return [chosen[n] for n in torch.randperm(len(chosen), generator=generator).tolist()]

    def _batches(self) -> Iterator[Batch]:
        seed = self.recipe.seed * 100_003 + self.epoch
        generator, rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
        order, size, kinds = self._order(generator), self._scenes, self._kinds
        for n in range(self.steps_per_epoch):
            chosen = order[n * size : (n + 1) * size]
            images, scenes, grid = self._moved_scenes(chosen, generator, rng)
            pairs, owners = [], []
            for owner, scene in enumerate(scenes):
                for _ in range(self.options.per_picture):
                    pair = draw_pair(scene, rng, self.options.absent_fraction, kinds)
                    if pair is not None:
                        pairs.append(pair)
                        owners.append(owner)
            if pairs:
                targets = masks_of(pairs)
                ids, padding = padded([self._heard(pair.text, generator) for pair in pairs])
                there = targets.flatten(1).any(dim=1).long()
                indices = torch.tensor(owners)
                objects = torch.from_numpy(np.stack([scene.labels > 0 for scene in scenes]))[indices, None].float()
                yield ReferringBatch(images, targets, there, indices, grid, ids, padding, objects)

    def _moved_scenes(
        self, chosen: list[int], generator: torch.Generator, rng: np.random.Generator
    ) -> tuple[Tensor, list[Picture], Tensor]:
        """Scenes with other geometry and other gray values, and the grid of the former."""
        composed = [self.pictures.scene(n, rng, self.options.most_objects, self.options.alone) for n in chosen]
        images, labels = (
            torch.from_numpy(np.stack(some)[:, np.newaxis]).float()
            for some in ([one.image for one in composed], [one.labels for one in composed])
        )
        grid = random_grid(len(chosen), *self.recipe.size_ji, self.recipe.augment, generator)
        images = random_intensity(move(images, grid), self.recipe.augment, generator)
        labels = move(labels, grid, mode="nearest").to(torch.uint8)
        scenes = [Picture(image[0].numpy(), own[0].numpy()) for image, own in zip(images, labels, strict=True)]
        return images.contiguous(memory_format=torch.channels_last), scenes, grid

    def _heard(self, text: str, generator: torch.Generator) -> tuple[int, ...]:
        return with_unknown(self.read(text), self.options.drop_word, generator)

    def validate(self) -> dict[str, float]:
        """Figures of the validation pairs."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.optimizer.bf16):
            probability, _ = answers_of(checked(self.mean), self.read, self.val_pairs)
        figures = referring_figures(probability > 0.5, self.val_pairs)
        return {f"val_{name}": value for name, value in figures.items()}

    def _begin(self) -> None:
        super()._begin()
        (self.folder / TOKENIZER).write_text(tokenizer_json(PIECES), encoding="utf-8")


def with_unknown(pieces: Sequence[int], probability: float, generator: torch.Generator) -> tuple[int, ...]:
    """Some words made unknown."""
    dropped = (torch.rand(len(pieces), generator=generator) < probability).tolist()
    return tuple(
        _UNKNOWN if drop and piece >= _FIRST_WORD else piece for piece, drop in zip(pieces, dropped, strict=True)
    )


def images_of(pairs: Sequence[ReferringPair]) -> Tensor:
    """(pair, 1, j, i)"""
    images = torch.from_numpy(np.stack([pair.image for pair in pairs]))[:, None]
    return images.contiguous(memory_format=torch.channels_last)


def masks_of(pairs: Sequence[ReferringPair]) -> Tensor:
    """(pair, 1, j, i)"""
    return torch.from_numpy(np.stack([pair.mask for pair in pairs]))[:, None].float()


def answers_of(
    network: CMMaskSD, read: WordPieces, pairs: Sequence[ReferringPair], drop_word: float = 0.0, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Probability (pair, j, i) and existence (pair,), float32; `drop_word` of the words are made unknown."""
    generator, results = torch.Generator().manual_seed(seed), []
    with torch.no_grad():
        for n in range(0, len(pairs), 32):
            some = pairs[n : n + 32]
            ids, padding = padded([with_unknown(read(pair.text), drop_word, generator) for pair in some])
            output: CMMaskSDOutput = network.eval()(images_of(some), ids, padding)
            results.append((output.probabilities()[:, 0], output.existence.float().sigmoid()))
    probability, existence = (torch.cat(some) for some in zip(*results, strict=True))
    return probability, existence


def train_referring(recipe: Recipe, data: Path, folder: Path, resume: bool, report: Report) -> None:
    """Train a recipe with [referring] on the data sets below `data` into `folder`.

    Raises:
        LeanSegError: the recipe names data, files or sizes that do not exist or do not fit.
    """
    train, val = (load_referring_set(parts, data, recipe) for parts in (recipe.data.train, recipe.data.val))
    assert recipe.referring is not None
    try:
        objective = Referring(recipe.referring, recipe.seed)
        ReferringTrainer(prepared(recipe), train, val, objective, folder, report).fit(resume)
    except ValueError as error:  # a config that the network or the loss refuses
        raise LeanSegError(f"The recipe {recipe.id} cannot be trained: {error}") from error
