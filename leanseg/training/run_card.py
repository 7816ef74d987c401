"""The card of a run before its files, temperature and figures are known: what the recipe and its stages say."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from torch import nn

from leanseg.catalog import find_system
from leanseg.processing.postprocess import PostprocessingConfig
from leanseg.segmentation import Segment
from leanseg.training.provenance import data_licenses, stages_of, versions
from leanseg.training.recipe import Recipe
from leanseg.weights.card import CARD_FORMAT, FileCard, ModelCard

RESEARCH_ONLY = "Research only; not for clinical use."


def card_of_run(
    recipe: Recipe,
    network: nn.Module,
    run: Path,
    model_id: str,
    *,
    task: str,
    modality: str,
    gmacs: float,
    engine: str = "",
    inputs: tuple[str, ...] = ("image",),
    labels: tuple[Segment, ...] = (),
    engine_config: Any = None,
    intended_use: str = RESEARCH_ONLY,
) -> ModelCard:
    """`engine`: that of the system if empty; `engine_config`: a dataclass, or None; `gmacs` of one call."""
    system, stages = find_system(recipe.system), stages_of(run)
    return ModelCard(
        id=model_id,
        system=recipe.system,
        title=system.title,
        task=task,
        modality=modality,
        inputs=inputs,
        labels=labels,
        engine=engine or system.engine,
        network=recipe.network,
        config=recipe.config,
        preprocessing=dataclasses.asdict(recipe.preprocessing),
        postprocessing=dataclasses.asdict(PostprocessingConfig()),
        graphs={},
        weights=FileCard("", "", 0),
        parameters=sum(p.numel() for p in network.parameters()),
        gmacs=round(gmacs, 3),
        temperature=1.0,
        training={"versions": versions(), "stages": stages},
        metrics={},
        license="Apache-2.0",
        data_licenses=data_licenses(stages),
        intended_use=intended_use,
        format=CARD_FORMAT,
        engine_config={} if engine_config is None else _listed(dataclasses.asdict(engine_config)),
    )


def _listed(values: dict[str, Any]) -> dict[str, Any]:
    """With lists for tuples, as the card is read again."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
