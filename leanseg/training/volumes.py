"""Training of 3-D networks: the same loop on random patches of volumes, validated in windows as in use.

Of a patch, all slices are turned, scaled, shifted, bent and mirrored alike, exactly as a slice of the 2-D networks;
sequences are changed and left out for the whole patch. So that 2-D and 3-D networks differ in nothing else.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from leanseg.inference.sliding_window import SlidingWindowConfig, SlidingWindowEngine
from leanseg.losses.regions import REGION_NAMES, regions_of_classes
from leanseg.processing.preprocess import ModelInput
from leanseg.training.augment import move, random_grid
from leanseg.training.counted_gmacs import counted_gmacs
from leanseg.training.data.patches import PatchesConfig, cut_patches
from leanseg.training.metrics import dice_of_cases
from leanseg.training.objectives import Batch
from leanseg.training.trainer import Trainer
from leanseg.volume import Volume, VolumeGeometry


class Regions(nn.Module):
    """A 3-D network that ends with the probabilities (batch, region, k, j, i) of the nested regions."""

    def __init__(self, network: nn.Module, temperature: float = 1.0) -> None:
        super().__init__()
        self.network = network
        self.temperature = temperature

    def forward(self, image: Tensor) -> Tensor:
        p = torch.softmax(self.network(image).float() / self.temperature, dim=1)
        tall = regions_of_classes(p.flatten(2, 3))  # it sees no difference between a volume and a tall slice
        result: Tensor = tall.unflatten(2, p.shape[2:4])
        return result


def count_volume_gmacs(network: nn.Module, channels: int, size_kji: tuple[int, int, int]) -> float:
    """Multiply-accumulates of one window, in 10^9, as torch counts convolutions and products; nothing is computed."""
    return counted_gmacs(copy.deepcopy(network).to("meta"), torch.empty(1, channels, *size_kji, device="meta"))


@dataclass(frozen=True)
class WindowGraph:
    """A network as the sliding-window engine takes it."""

    network: Regions
    bf16: bool

    @property
    def runtime(self) -> str:
        return f"torch {torch.__version__}"

    def __call__(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[Any]]:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            return {"probabilities": self.network(torch.from_numpy(inputs["image"])).numpy()}


class VolumeTrainer(Trainer):
    """A `Trainer` whose arrays hold volumes (`load_brain_volumes`); the recipe has [patches]."""

    @property
    def patches(self) -> PatchesConfig:
        assert self.recipe.patches is not None
        return self.recipe.patches

    @property
    def steps_per_epoch(self) -> int:
        return max(len(self.train) * self.patches.per_volume // self.recipe.optimizer.batch_size, 1)

    def _batches(self) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(self.recipe.seed * 100_003 + self.epoch)
        order = torch.randperm(len(self.train) * self.patches.per_volume, generator=generator) % len(self.train)
        size = self.recipe.optimizer.batch_size
        for n in range(self.steps_per_epoch):
            volumes = order[n * size : (n + 1) * size]
            images, targets = cut_patches(self.train.images, self.train.targets, volumes, self.patches, generator)
            _, height, width = self.patches.size_kji
            grid = random_grid(len(volumes), height, width, self.recipe.augment, generator)
            images, targets = (move(each.flatten(1, 2), grid).view_as(each) for each in (images, targets))
            yield Batch(
                self._changed(images.flatten(2, 3), generator).view_as(images),
                (targets >= 0.5).float(),
                self.train.classes[volumes],
                volumes,
                grid,
            )

    def validate(self) -> dict[str, float]:
        """Dice of each volume, mean over the regions that it has, in windows that overlap as little as they can."""
        graph = WindowGraph(Regions(self.mean), self.recipe.optimizer.bf16)
        config = SlidingWindowConfig(self.patches.size_kji, overlap=0.0)
        engine = SlidingWindowEngine(graph, config, gmacs_per_window=0.0, labels=len(REGION_NAMES))
        depth, height, width = self.val.images.shape[2:]
        geometry = VolumeGeometry((depth, height, width), np.eye(4))
        masks = []
        for image in self.val.images:
            prediction = engine.predict(ModelInput(Volume(image.float().numpy(), geometry)))
            masks.append(torch.from_numpy(prediction.probabilities.array) >= 0.5)
        truth = self.val.targets > 0
        dice, has_region = dice_of_cases(torch.stack(masks).flatten(2, 3), truth.flatten(2, 3), self.val.cases)
        return {
            "val_dice": float(dice[has_region].mean()) if has_region.any() else math.nan,
            "val_empty": math.nan,  # every volume has a tumor
        }
