"""From a run folder to a bundle, for networks of brains: both Med-DANets, and the static U-Net beside them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from leanseg.api import load_engine
from leanseg.errors import LeanSegError
from leanseg.inference.decision_windows import GRID_JI, WINDOW_JI
from leanseg.training.brain_card import brain_card
from leanseg.training.calibrate import fit_class_temperature
from leanseg.training.data.arrays import BRATS_FOLDER, TrainingArrays, load_parts
from leanseg.training.data.brats import read_cases, select
from leanseg.training.dynamic_graphs import branches_of, dynamic_config, dynamic_graphs
from leanseg.training.evaluate_brains import evaluate_brains
from leanseg.training.recipe import Recipe
from leanseg.weights.bundle import Bundle, write_bundle

CALIBRATION_SLICES = 64


def export_dynamic(recipe: Recipe, network: nn.Module, run: Path, folder: Path, data: Path) -> Bundle:
    """Export a run as the bundle `folder`; needs the data it was trained on.

    INT8 ranges are read from training slices with tumor, the temperature is fitted on the validation part to the branch
    that does the most, and the figures of both precisions there are written into the card.

    Raises:
        LeanSegError: no data, a network that has no graphs, or a folder that cannot be written.
    """
    if recipe.brain is None:
        raise LeanSegError(f"The run {run} has no [brain] section, so its images are unknown. Train it with one.")
    seen_ji = WINDOW_JI if recipe.deployment.windows else recipe.size_ji
    branches_of(network, seen_ji)  # refuses before the data are read
    train_arrays, val_arrays = (load_parts(parts, data, recipe) for parts in (recipe.data.train, recipe.data.val))
    temperature = fit_class_temperature(branches_of(network, recipe.size_ji)[-1].network, val_arrays)
    config = dynamic_config(network, seen_ji, temperature, recipe.deployment)
    slices = calibration_slices(train_arrays, recipe.seed)
    if recipe.deployment.windows:
        slices = middle_of(slices, seen_ji)
        recipe = dataclasses.replace(recipe, brain=dataclasses.replace(recipe.brain, size_ji=GRID_JI))
    graphs = dynamic_graphs(network, seen_ji, temperature, slices)
    most = max(config.macs_of(decision, seen_ji) for decision in range(len(config.names)))
    gmacs = (most + config.decision_macs) / 1e9
    card = brain_card(recipe, network, run, folder.name, config, gmacs, temperature)
    half = {key: v.half() if v.is_floating_point() else v for key, v in network.state_dict().items()}
    weights = safetensors.torch.save(half)
    bundle = write_bundle(card, graphs, weights, folder)
    card = dataclasses.replace(card, metrics={"validation": validation(recipe, bundle, run, data)})
    kept = graphs if recipe.deployment.keep_fp32 else _without_twins(graphs)
    return write_bundle(card, kept, weights, folder)


def _without_twins(graphs: dict[str, bytes]) -> dict[str, bytes]:
    """Without the fp32 graphs of what has an INT8 graph."""
    twins = {name.replace("_int8", "_fp32") for name in graphs if name.endswith("_int8")}
    return {name: data for name, data in graphs.items() if name not in twins}


def calibration_slices(arrays: TrainingArrays, seed: int) -> Tensor:
    """Some of the slices with tumor, which are those that are segmented; of all if there are none."""
    candidates = arrays.classes.nonzero().flatten() if arrays.classes.any() else torch.arange(len(arrays))
    order = torch.randperm(len(candidates), generator=torch.Generator().manual_seed(seed))
    return arrays.images[candidates[order[:CALIBRATION_SLICES]]].float()


def middle_of(slices: Tensor, size_ji: tuple[int, int]) -> Tensor:
    """(slice, channel, *size_ji): the middle of slices that are as large, or larger."""
    j, i = ((whole - part) // 2 for whole, part in zip(slices.shape[2:], size_ji, strict=True))
    return slices[:, :, j : j + size_ji[0], i : i + size_ji[1]]


def validation(recipe: Recipe, bundle: Bundle, run: Path, data: Path) -> dict[str, Any]:
    """Means of both precisions on the validation part, through the bundle as in use."""
    every = read_cases(data / BRATS_FOLDER)
    cases = [case for part in recipe.data.val for case in select(every, part.partition(":")[2])]
    result: dict[str, Any] = {"command": f"leanseg export {run} -o BUNDLE", "n": len(cases)}
    for precision in bundle.card.precisions:
        mean = evaluate_brains(load_engine(str(bundle.folder), precision=precision), cases).mean  # type: ignore[arg-type]
        result[precision] = {key: round(value["mean"], 4) for key, value in mean.items() if value["n"]}
    if {"int8", "fp32"} <= set(result):
        result["int8_minus_fp32_dice_WT"] = round(result["int8"]["dice_WT"] - result["fp32"]["dice_WT"], 4)
    return result
