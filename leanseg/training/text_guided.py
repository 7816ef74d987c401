"""Trains a network that is told and shown what to look for: a simulated person speaks, looks, and clicks.

Loss of TextBCS (arXiv 2603.11206): Dice + integrated cross-entropy + KL, + alignment of what was seen and said.
Departures: what Dice is computed on (`TextConfig.dice_of`), cross-entropy of the existence output, the loss of places,
and prompts, clicks, boxes and earlier masks as below. Without evidence (`evidential = false`): Dice + cross-entropy of
the softmax.

One batch: the image is encoded once. The person says something (training/prompting.py); then 0 to 3 times the network
answers without gradient, and the person clicks where it is most wrong (training/simulated_user.py); the last answer is
trained. All draws come from (seed, epoch), so that a resumed run repeats the uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from leanseg.errors import LeanSegError
from leanseg.inference.hints import hint_channels
from leanseg.inference.prompt_heard import ANY_TUMOR
from leanseg.losses.evidential import EvidentialLoss, dice_loss, dirichlet
from leanseg.losses.places import places_loss
from leanseg.losses.text_alignment import StageAlignmentLoss
from leanseg.networks.blocks.vision_language import TokenScale
from leanseg.networks.text_bcs import TextBCS, TextBCSOutput
from leanseg.training.augment import move
from leanseg.training.data.text_pairs import TextPairs
from leanseg.training.objectives import Batch
from leanseg.training.prompting import Person, Said, Seen
from leanseg.training.simulated_user import next_clicks
from leanseg.training.start import start_at_encoder_
from leanseg.training.text_reading import Reader, learn_scale
from leanseg.training.text_recipe import TextConfig


class Shown:
    """Clicks, boxes and earlier masks of a batch, as the network sees them."""

    def __init__(self, batch: int, size_ji: tuple[int, int], radius_px: float) -> None:
        self._points: list[tuple[list[Any], list[Any]]] = [([], []) for _ in range(batch)]
        self._radius_px = radius_px
        self.channels = torch.zeros(batch, 4, *size_ji)

    def click(self, n: int, place: tuple[int, int], is_positive: bool) -> None:
        """On image n, at (j, i)."""
        points = self._points[n][0 if is_positive else 1]
        points.append(place)
        size_ji = (self.channels.shape[2], self.channels.shape[3])
        drawn = hint_channels(points, [], None, None, size_ji, self._radius_px)[0]
        self.channels[n, 0 if is_positive else 1] = torch.from_numpy(drawn)


class TextGuided:
    """The objective; a `PhasedObjective` for the sake of its epochs."""

    def __init__(self, pairs: TextPairs, config: TextConfig, reader: Reader | None, seed: int) -> None:
        self.pairs = pairs
        self.config = config
        self.reader = reader
        self.seed = seed
        self.evidential = EvidentialLoss(kl_weight=config.kl_weight, ramp_epochs=config.kl_ramp_epochs)
        self.alignment = StageAlignmentLoss()
        self.begin_epoch(nn.Identity(), 0, 1)

    def start(self, network: nn.Module, new: bool) -> None:
        """What a network is given before it is trained: a trained encoder, and, if `new`, how tokens are scaled.

        Raises:
            LeanSegError: as `start_at_encoder_`.
        """
        text_bcs = checked(network)
        if self.config.start:
            start_at_encoder_(text_bcs.encoder, self.config.start, "text.start", "config.widths")
        if new and self.reader is not None and isinstance(text_bcs.token_scale, TokenScale):
            learn_scale(text_bcs.token_scale, self.reader)

    def begin_epoch(self, network: nn.Module, epoch: int, epochs: int) -> None:
        """Seeds every draw of this epoch."""
        self.epoch = epoch
        self.person = Person(self.config, np.random.default_rng([self.seed, epoch]))
        self.generator = torch.Generator().manual_seed(self.seed * 100_003 + epoch + 7)

    def parameter_groups(self, network: nn.Module) -> list[dict[str, Any]]:
        """All alike, from the beginning."""
        return [{"params": list(network.parameters()), "lr_factor": 1.0, "starts_at": 0.0}]

    def logits(self, network: nn.Module, images: Tensor) -> Tensor:
        """(batch, 1, height, width), above 0 where tumor is more probable: what is validated, with nothing said."""
        heard = (None, None) if self.reader is None else self.reader([ANY_TUMOR] * len(images))
        output: TextBCSOutput = checked(network)(images, *heard)
        logits = output.logits.float()
        return logits[:, 1:] - logits[:, :1]

    def __call__(self, network: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        text_bcs = checked(network)
        said = self.say(batch)
        rounds = self._rounds(text_bcs)
        targets = self.targets(batch, said, insists=rounds > 0)
        heard: tuple[Tensor | None, Tensor | None] = (None, None)
        if self.reader is not None:
            heard = self.reader([one.text for one in said])
        features = text_bcs.encode(batch.images) if text_bcs.config.feeds == "skips" else None

        def answer(hints: Tensor | None, frozen: bool) -> TextBCSOutput:
            with torch.set_grad_enabled(not frozen):
                if features is None:
                    output: TextBCSOutput = text_bcs(batch.images, *heard, hints)
                    return output
                used = [f.detach() for f in features] if frozen else features
                return text_bcs.decode(used, *heard, hints)

        hints = self._show(answer, targets, rounds) if text_bcs.config.hints else None
        return self._loss(text_bcs, answer(hints, frozen=False), targets, said)

    # ── what is said ────────────────────────────────────────────────────────────────────────────────────────────────

    def say(self, batch: Batch) -> list[Said]:
        side = self.config.describe_px
        masks = F.interpolate(batch.targets, (side, side), mode="area") >= 0.5
        organs = move(self.pairs.organs[batch.indices].float(), batch.grid)
        organs = F.interpolate(organs, (side, side), mode="nearest") >= 0.5
        middle = batch.grid[:, batch.grid.shape[1] // 2]
        flipped = middle[:, -1, 0] < middle[:, 0, 0]
        return [
            self.person.say(
                Seen(
                    masks[n, 0].numpy(),
                    organs[n, 0].numpy(),
                    self.pairs.modalities[index],
                    self.pairs.reports[index],
                    bool(flipped[n]),
                )
            )
            for n, index in enumerate(batch.indices.tolist())
        ]

    def targets(self, batch: Batch, said: list[Said], insists: bool) -> Tensor:
        """(batch, 1, height, width): what was meant; all lesions where a person will click in spite of the words."""
        targets = batch.targets.clone()
        for n, one in enumerate(said):
            if one.kind in ("generic", "described", "report"):
                continue
            if one.kind in ("wrong", "absent"):
                if not (insists and self.person.rng.random() < self.config.insist):
                    targets[n] = 0
            else:  # the small mask says which component is meant, not where it ends
                meant = torch.from_numpy(one.meaning)[None, None].float()
                near = F.max_pool2d(F.interpolate(meant, targets.shape[2:], mode="nearest"), 5, 1, 2)
                targets[n] *= near[0]
        return targets

    # ── what is shown ───────────────────────────────────────────────────────────────────────────────────────────────

    def _rounds(self, network: TextBCS) -> int:
        if not network.config.hints:
            return 0
        return int(self.person.rng.choice(len(self.config.click_rounds), p=self.config.click_rounds))

    def _show(self, answer: Any, targets: Tensor, rounds: int) -> Tensor:
        """(batch, 4, height, width)"""
        shown = Shown(len(targets), (targets.shape[2], targets.shape[3]), self.config.hint_radius_px)
        self._draw_boxes(shown, targets)
        for _ in range(rounds):
            output: TextBCSOutput = answer(shown.channels, frozen=True)
            beliefs = dirichlet(output.logits)
            mask = beliefs.probability[:, 1:] > 0.5
            clicks = next_clicks(mask, targets > 0, beliefs.vacuity, self.generator)
            keeps = self.person.rng.random(len(targets)) < self.config.earlier
            for n in clicks.is_made.nonzero().flatten().tolist():
                j, i = clicks.places[n].tolist()
                shown.click(n, (j, i), bool(clicks.is_positive[n]))
                shown.channels[n, 3] = mask[n, 0].float() if keeps[n] else 0.0
        return shown.channels

    def _draw_boxes(self, shown: Shown, targets: Tensor) -> None:
        """Around some targets, each edge a little off."""
        rng = self.person.rng
        for n in np.flatnonzero(rng.random(len(targets)) < self.config.box).tolist():
            places = targets[n, 0].nonzero()
            if not len(places):
                continue
            low, high = places.min(dim=0).values.float(), places.max(dim=0).values.float()
            slack = (0.1 * (high - low) + 2).numpy()
            box = [low.numpy() - slack * rng.uniform(-0.5, 1, 2), high.numpy() + slack * rng.uniform(-0.5, 1, 2)]
            size_ji = (targets.shape[2], targets.shape[3])
            drawn = hint_channels([], [], np.concatenate(box), None, size_ji, self.config.hint_radius_px)[2]
            shown.channels[n, 2] = torch.from_numpy(drawn)

    # ── the loss ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _loss(
        self, network: TextBCS, output: TextBCSOutput, targets: Tensor, said: list[Said]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        segmenting = self._segmentation_loss(network, output.logits.float(), targets)
        total, parts = segmenting, {"seg": segmenting}
        if output.existence is not None:
            exists = targets.flatten(1).any(dim=1).float()
            parts["exist"] = F.binary_cross_entropy_with_logits(output.existence.float(), exists)
            total = total + self.config.existence_weight * parts["exist"]
        if output.vision:
            numbers: dict[Hashable, int] = {}
            prompts = torch.tensor([numbers.setdefault(one.key, len(numbers)) for one in said])
            parts["align"] = self.alignment(output.vision, output.language, prompts)
            total = total + self.config.alignment_weight * parts["align"]
        if output.places:
            parts["place"] = places_loss(output.places, targets)
            total = total + self.config.place_weight * parts["place"]
        return total, parts

    def _segmentation_loss(self, network: TextBCS, logits: Tensor, targets: Tensor) -> Tensor:
        if network.config.evidential:
            loss = self.evidential.of_images(logits, targets, float(self.epoch))
            if self.config.dice_of != "probability":
                beliefs = dirichlet(logits)
                other = torch.softmax(logits, dim=1) if self.config.dice_of == "softmax" else beliefs.belief
                loss = loss - dice_loss(beliefs.probability[:, 1:], targets) + dice_loss(other[:, 1:], targets)
            return loss.mean()
        entropy = F.cross_entropy(logits, targets[:, 0].long())
        return entropy + dice_loss(torch.softmax(logits, dim=1)[:, 1:], targets).mean()


def checked(network: nn.Module) -> TextBCS:
    """Raises LeanSegError for any other network."""
    if not isinstance(network, TextBCS):
        raise LeanSegError(f"Training with text needs a text_bcs; got {type(network).__name__}.")
    return network
