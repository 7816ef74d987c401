"""From a run folder to a bundle, for 3-D networks: one graph of one window, in both precisions.

INT8 is the inputs and weights of the convolutions, as of the 2-D networks of brains; norms, attention and upsampling
stay in fp32. The temperature stays 1: these bundles are there to be compared with.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import nn

from leanseg.catalog import find_system
from leanseg.errors import LeanSegError
from leanseg.inference.sliding_window import SlidingWindowConfig
from leanseg.processing.postprocess import PostprocessingConfig
from leanseg.training.data.arrays import load_parts
from leanseg.training.data.patches import cut_patches
from leanseg.training.export_dynamic import LABELS, validation
from leanseg.training.graphs import export_onnx, quantize_int8, store_weights_as_fp16
from leanseg.training.provenance import data_licenses, stages_of, versions
from leanseg.training.recipe import Recipe
from leanseg.training.volumes import Regions, count_volume_gmacs
from leanseg.weights.bundle import Bundle, rewrite_card, write_bundle
from leanseg.weights.card import CARD_FORMAT, FileCard, ModelCard

CALIBRATION_PATCHES = 16


def export_volumes(recipe: Recipe, network: nn.Module, run: Path, folder: Path, data: Path) -> Bundle:
    """Export a run as the bundle `folder`; needs the data it was trained on.

    INT8 ranges are read from training patches, and the figures of both precisions on the validation part are written
    into the card.

    Raises:
        LeanSegError: no data, a run without patches, or a folder that cannot be written.
    """
    if recipe.patches is None or recipe.brain is None:
        raise LeanSegError(f"The run {run} has no [patches], so the windows are unknown. Train it with that section.")
    graphs = window_graphs(network, recipe.patches.size_kji, _calibration_patches(recipe, data))
    config = SlidingWindowConfig(recipe.patches.size_kji, recipe.patches.overlap)
    half = {key: v.half() if v.is_floating_point() else v for key, v in network.state_dict().items()}
    card = _card(recipe, network, run, folder.name, config)
    bundle = write_bundle(card, graphs, safetensors.torch.save(half), folder)
    card = dataclasses.replace(bundle.card, metrics={"validation": validation(recipe, bundle, run, data)})
    rewrite_card(bundle, card)
    return dataclasses.replace(bundle, card=card)


def window_graphs(network: nn.Module, size_kji: tuple[int, int, int], patches: NDArray[np.float32]) -> dict[str, bytes]:
    """`image` (1, channel, *size_kji) -> `probabilities` (1, region, *size_kji) by precision.

    `patches` (patch, channel, *size_kji), from which INT8 ranges are read.
    """
    fp32 = export_onnx(Regions(network).eval(), patches.shape[1], size_kji)
    int8 = quantize_int8(fp32, patches, only_convolutions_of="probabilities")
    return {"fp32": store_weights_as_fp16(fp32).SerializeToString(), "int8": int8.SerializeToString()}


def _calibration_patches(recipe: Recipe, data: Path) -> NDArray[np.float32]:
    assert recipe.patches is not None
    arrays = load_parts(recipe.data.train, data, recipe)
    volumes = torch.arange(CALIBRATION_PATCHES) % len(arrays)
    generator = torch.Generator().manual_seed(recipe.seed)
    patches, _ = cut_patches(arrays.images, arrays.targets, volumes, recipe.patches, generator)
    return np.asarray(patches.numpy())


def _card(recipe: Recipe, network: nn.Module, run: Path, model_id: str, config: SlidingWindowConfig) -> ModelCard:
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
        config=recipe.config,
        preprocessing=dataclasses.asdict(recipe.brain),
        postprocessing=dataclasses.asdict(PostprocessingConfig()),
        graphs={},
        weights=FileCard("", "", 0),
        parameters=sum(p.numel() for p in network.parameters()),
        gmacs=round(count_volume_gmacs(network, len(recipe.brain.sequences), config.window_kji), 3),
        temperature=1.0,
        training={"versions": versions(), "stages": stages},
        metrics={},
        license="Apache-2.0",
        data_licenses=data_licenses(stages),
        intended_use="Research only; not for clinical use.",
        format=CARD_FORMAT,
        engine_config=dataclasses.asdict(config),
    )
