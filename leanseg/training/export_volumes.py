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

from leanseg.errors import LeanSegError
from leanseg.inference.sliding_window import SlidingWindowConfig
from leanseg.training.brain_card import brain_card
from leanseg.training.data.arrays import load_parts
from leanseg.training.data.patches import cut_patches
from leanseg.training.export_dynamic import validation
from leanseg.training.graphs import export_onnx, quantize_int8, store_weights_as_fp16
from leanseg.training.recipe import Recipe
from leanseg.training.volumes import Regions, count_volume_gmacs
from leanseg.training.window_cost import window_cost
from leanseg.weights.bundle import Bundle, rewrite_card, write_bundle

CALIBRATION_PATCHES = 16


def export_volumes(recipe: Recipe, network: nn.Module, run: Path, folder: Path, data: Path) -> Bundle:
    """Export a run as the bundle `folder`; needs the data it was trained on.

    INT8 ranges are read from training patches. The figures of both precisions on the validation part are written into
    the card, and what a window costs.

    Raises:
        LeanSegError: no data, a run without patches, or a folder that cannot be written.
    """
    if recipe.patches is None or recipe.brain is None:
        raise LeanSegError(f"The run {run} has no [patches], so the windows are unknown. Train it with that section.")
    graphs = window_graphs(network, recipe.patches.size_kji, _calibration_patches(recipe, data))
    config = SlidingWindowConfig(recipe.patches.size_kji, recipe.patches.overlap)
    half = {key: v.half() if v.is_floating_point() else v for key, v in network.state_dict().items()}
    gmacs = count_volume_gmacs(network, len(recipe.brain.sequences), config.window_kji)
    card = brain_card(recipe, network, run, folder.name, config, gmacs, temperature=1.0)
    bundle = write_bundle(card, graphs, safetensors.torch.save(half), folder)
    metrics = {"validation": validation(recipe, bundle, run, data), "window": window_cost(bundle)}
    card = dataclasses.replace(bundle.card, metrics=metrics)
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
