"""The card of a brain model as it is before its graphs are written: what all engines for brains have in common."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from torch import nn

from leanseg.catalog import find_system
from leanseg.inference.decisions import DynamicConfig
from leanseg.inference.sliding_window import SlidingWindowConfig
from leanseg.networks import self_contained
from leanseg.processing.postprocess import PostprocessingConfig
from leanseg.segmentation import Segment
from leanseg.training.provenance import data_licenses, stages_of, versions
from leanseg.training.recipe import Recipe
from leanseg.weights.card import CARD_FORMAT, FileCard, ModelCard

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
    system, stages = find_system(recipe.system), stages_of(run)
    return ModelCard(
        id=model_id,
        system=recipe.system,
        title=system.title,
        task="brain tumor segmentation",
        modality="MR",
        inputs=recipe.brain.sequences,
        labels=LABELS,
        engine=system.engine,
        network=recipe.network,
        config=self_contained(recipe.config),
        preprocessing=dataclasses.asdict(recipe.brain),
        postprocessing=dataclasses.asdict(PostprocessingConfig()),
        graphs={},
        weights=FileCard("", "", 0),
        parameters=sum(p.numel() for p in network.parameters()),
        gmacs=round(gmacs, 3),
        temperature=temperature,
        training={"versions": versions(), "stages": stages},
        metrics={},
        license="Apache-2.0",
        data_licenses=data_licenses(stages),
        intended_use="Research only; not for clinical use.",
        format=CARD_FORMAT,
        engine_config=dataclasses.asdict(config),
    )
