"""The card of a brain model as it is before its graphs are written: what all engines for brains have in common."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from torch import nn

from leanseg.inference.decisions import DynamicConfig
from leanseg.inference.sliding_window import SlidingWindowConfig
from leanseg.networks import self_contained
from leanseg.segmentation import Segment
from leanseg.training.recipe import Recipe
from leanseg.training.run_card import card_of_run
from leanseg.weights.card import ModelCard

_CATEGORY = "Segmentation category and type - DICOM master list~SCT^49755003^Morphologically Altered Structure"
_BRAIN = "~^^~Anatomic codes - DICOM master list~SCT^12738006^Brain~^^"


def _label(name: str, meaning: str, value: int, color: tuple[float, float, float], code: str) -> Segment:
    return Segment(name, f"{meaning} ({name})", value, color, f"{_CATEGORY}~{code}{_BRAIN}")


LABELS = (
    _label("ED", "Edema", 2, (0.96, 0.84, 0.29), "SCT^79654002^Edema"),
    _label("NCR", "Necrosis and non-enhancing tumor", 1, (0.85, 0.33, 0.31), "SCT^6574001^Necrosis"),
    _label("ET", "Enhancing tumor", 3, (0.38, 0.62, 0.94), "NCIt^C113842^Enhancing Lesion"),
)
"""What is left of WT, TC and ET without the next smaller region; values as in BraTS 2023, codes of DICOM CID 7168."""


def brain_card(
    recipe: Recipe,
    network: nn.Module,
    run: Path,
    model_id: str,
    config: DynamicConfig | SlidingWindowConfig,
    gmacs: float,
    temperature: float,
) -> ModelCard:
    """`config` becomes the card's `engine_config`; `gmacs` are those of the dearest slice, or of one window."""
    assert recipe.brain is not None
    card = card_of_run(
        recipe,
        network,
        run,
        model_id,
        task="brain tumor segmentation",
        modality="MR",
        gmacs=gmacs,
        inputs=recipe.brain.sequences,
        labels=LABELS,
        engine_config=config,
    )
    preprocessing = dataclasses.asdict(recipe.brain)
    return dataclasses.replace(
        card, config=self_contained(recipe.config), preprocessing=preprocessing, temperature=temperature
    )
