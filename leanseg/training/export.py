"""From a run folder to a bundle: the only writer of cards."""

from __future__ import annotations

import copy
import csv
import dataclasses
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from leanseg.catalog import find_system
from leanseg.errors import UnknownNameError
from leanseg.runtime.graph import Graph
from leanseg.runtime.openvino_graph import OpenVINOGraph
from leanseg.training.calibrate import ValidationCase, choose_postprocessing, fit_temperature, predict_cases
from leanseg.training.data import select_cases
from leanseg.training.data.arrays import load_arrays
from leanseg.training.graphs import (
    CalibratedNetwork,
    export_onnx,
    fold_batch_norm,
    quantize_int8,
    store_weights_as_fp16,
)
from leanseg.training.metrics import expected_calibration_error
from leanseg.training.recipe import Recipe
from leanseg.training.trainer import load_run
from leanseg.weights.bundle import Bundle, write_bundle
from leanseg.weights.card import GraphCard, LabelCard, ModelCard, PostprocessingCard

CALIBRATION_IMAGES = 64
_LESION = LabelCard(
    id="lesion",
    name="Breast lesion",
    value=1,
    color_rgb=(0.565, 0.933, 0.565),
    terminology=(
        "Segmentation category and type - DICOM master list"
        "~SCT^49755003^Morphologically Altered Structure~SCT^4147007^Mass~^^"
        "~Anatomic codes - DICOM master list~SCT^76752008^Breast~^^"
    ),
)
_DATA_LICENSES = {
    "busi": "BUSI: Al-Dhabyani et al., Data in Brief 2020 (CC BY 4.0 article)",
    "bus_bra": "BUS-BRA: Gomez-Flores et al., Medical Physics 2023 (own license, citation required)",
}


def export(run: Path, folder: Path, data: Path, model_id: str = "") -> Bundle:
    """Export a run as a bundle; needs the data sets it was trained on, to calibrate.

    The temperature and the postprocessing are chosen on the validation split. INT8 ranges are read from
    training images. The test split is not touched.

    Raises:
        LeanSegError: no run, no data, or a folder that cannot be written.
    """
    recipe, network = load_run(run)
    if recipe.network != "attention_unet":
        raise UnknownNameError("exporter for network", recipe.network, ("attention_unet",))
    half = {key: v.half() if v.is_floating_point() else v for key, v in network.state_dict().items()}
    network.load_state_dict(half)  # what is stored is what is measured
    train_arrays, val_arrays = (
        load_arrays(select_cases(parts, data, recipe.data.classes), recipe.preprocessing)
        for parts in (recipe.data.train, recipe.data.val)
    )
    temperature = fit_temperature(network, val_arrays)
    val_cases = select_cases(recipe.data.val, data, recipe.data.classes)
    predicted = predict_cases(network, val_cases, recipe.preprocessing, temperature)
    postprocessing, figures = choose_postprocessing(predicted)

    size = recipe.preprocessing.size_ji
    folded = CalibratedNetwork(fold_batch_norm(copy.deepcopy(network)), temperature).eval()
    fp32 = export_onnx(folded, train_arrays.images.shape[1], size)
    chosen = torch.randperm(len(train_arrays), generator=torch.Generator().manual_seed(recipe.seed))
    int8 = quantize_int8(fp32, train_arrays.images[chosen[:CALIBRATION_IMAGES]].numpy())
    graphs = {"fp32": store_weights_as_fp16(fp32).SerializeToString(), "int8": int8.SerializeToString()}
    system = find_system(recipe.system)
    card = ModelCard(
        id=model_id or folder.name,
        system=recipe.system,
        title=system.title,
        task="breast lesion segmentation",
        modality="US",
        inputs=("ultrasound",),
        labels=(_LESION,),
        engine=system.engine,
        network=recipe.network,
        config=recipe.config,
        preprocessing=dataclasses.asdict(recipe.preprocessing),
        postprocessing=PostprocessingCard(**dataclasses.asdict(postprocessing)),
        graphs={},
        weights=GraphCard("", "", 0),
        parameters=sum(p.numel() for p in network.parameters()),
        gmacs=round(count_gmacs(network, train_arrays.images.shape[1], size), 3),
        temperature=temperature,
        training=_training(recipe, run),
        metrics={"validation": _validation(predicted, figures, graphs, val_arrays.images.numpy(), recipe)},
        data_licenses=tuple(text for name, text in _DATA_LICENSES.items() if any(name in p for p in recipe.data.train)),
    )
    return write_bundle(card, graphs, safetensors.torch.save(half), folder)


def count_gmacs(network: nn.Module, in_channels: int, size_ji: tuple[int, int]) -> float:
    """Multiply-accumulates of one image, in 10^9, as torch counts convolutions and products."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, in_channels, *size_ji))
    return float(counter.get_total_flops()) / 2e9


def _training(recipe: Recipe, run: Path) -> dict[str, Any]:
    """Recipe, versions and a summary of the log."""
    with (run / "log.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    packages = {name: version(name) for name in ("torch", "onnx", "onnxruntime", "openvino", "numpy", "SimpleITK")}
    return {
        "recipe": recipe.to_json(),
        "versions": {"python": platform.python_version(), **packages},
        "log": {
            "epochs": len(rows),
            "hours": round(sum(float(row["seconds"]) for row in rows) / 3600, 2),
            "last_loss": round(float(rows[-1]["loss"]), 4),
            "last_val_dice": round(float(rows[-1]["val_dice"]), 4),
        },
    }


def _validation(
    predicted: list[ValidationCase],
    figures: dict[str, float],
    graphs: dict[str, bytes],
    images: np.ndarray[Any, np.dtype[np.float32]],
    recipe: Recipe,
) -> dict[str, Any]:
    """Figures of the validation split; how far INT8 moves the probabilities there."""
    p = np.concatenate([case.probabilities.ravel() for case in predicted])
    truth = np.concatenate([case.truth.ravel() for case in predicted])
    runs: list[Graph] = [OpenVINOGraph(graphs["fp32"]), OpenVINOGraph(graphs["int8"])]
    differences = []
    for image in images:
        fp32, int8 = (run({"image": image[np.newaxis]})["probabilities"] for run in runs)
        differences.append(float(np.abs(fp32 - int8).mean()))
    return {
        "command": "leanseg export RUN -o BUNDLE",
        "parts": list(recipe.data.val),
        "n": len(predicted),
        **{key: round(value, 4) for key, value in figures.items()},
        "ece": round(expected_calibration_error(p, truth), 4),
        "int8_mean_abs_difference": round(float(np.mean(differences)), 5),
    }
