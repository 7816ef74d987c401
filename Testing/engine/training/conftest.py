"""Synthetic ultrasound, small enough to train on in seconds."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from leanseg.processing.preprocess import PreprocessingConfig
from leanseg.training.augment import AugmentConfig
from leanseg.training.data.arrays import BRATS_FOLDER, TrainingArrays
from leanseg.training.data.case import LESION_CLASSES
from leanseg.training.recipe import OptimizerConfig, Recipe
from Testing.engine.training.test_brats import write_case

SIDE = 32


def synthetic_ultrasound(number: int, seed: int = 0, classes: tuple[str, ...] = LESION_CLASSES) -> TrainingArrays:
    """Dark lesions in bright speckle: smooth ellipses are benign, spiculated ones malignant."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    images, targets, labels = [], [], []
    for n in range(number):
        name = classes[n % len(classes)]
        row, column = generator.uniform(10, SIDE - 10, size=2)
        angle = np.arctan2(y - row, x - column)
        radius = generator.uniform(4, 7) * (1 + 0.2 * np.cos(2 * angle))
        if name == "malignant":
            radius = radius * (1 + 0.35 * np.cos(7 * angle + generator.uniform(0, 6)))
        lesion = (np.hypot(y - row, x - column) < radius) & (name != "normal")
        tissue = 0.6 + 0.1 * np.sin(y / 3 + generator.uniform(0, 6))
        speckle = generator.rayleigh(1 / math.sqrt(math.pi / 2), size=(SIDE, SIDE))
        image = np.clip(np.where(lesion, 0.25, tissue) * (0.6 + 0.4 * speckle), 0, 1)
        images.append(torch.from_numpy(image.astype(np.float32))[None])
        targets.append(torch.from_numpy(lesion.astype(np.uint8))[None])
        labels.append(LESION_CLASSES.index(name))
    return TrainingArrays(
        torch.stack(images),
        torch.stack(targets),
        torch.tensor(labels),
        torch.arange(number),
        tuple(f"{seed}-{n}" for n in range(number)),
    )


@pytest.fixture(scope="session")
def ultrasound() -> Callable[..., TrainingArrays]:
    return synthetic_ultrasound


@pytest.fixture(scope="session")
def sixteen_images() -> TrainingArrays:
    return synthetic_ultrasound(16)


@pytest.fixture(scope="session")
def eight_others() -> TrainingArrays:
    return synthetic_ultrasound(8, seed=1)


NO_AUGMENTATION = AugmentConfig(*(0.0 for _ in AugmentConfig.__dataclass_fields__))


@pytest.fixture
def no_augmentation() -> AugmentConfig:
    return NO_AUGMENTATION


@pytest.fixture
def small_recipe() -> Recipe:
    """Four epochs of four steps of a network of two levels."""
    return Recipe(
        id="small",
        system="t2kd_attention_unet",
        network="attention_unet",
        config={"widths": [4, 8]},
        preprocessing=PreprocessingConfig(size_ji=(SIDE, SIDE)),
        optimizer=OptimizerConfig(learning_rate=1e-2, epochs=4, batch_size=4, bf16=False),
    )


@pytest.fixture(scope="module")
def brains(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of data sets with two small cases of brats, `a` and `b`."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("a", "b"):
        write_case(folder / BRATS_FOLDER / name)
    return folder
