"""From a run folder to a bundle; with `export_dynamic` the only writer of new cards."""

from __future__ import annotations

import copy
import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from leanseg.errors import LeanSegError, UnknownNameError
from leanseg.processing.postprocess import PostprocessingConfig
from leanseg.runtime.openvino_graph import OpenVINOGraph
from leanseg.segmentation import Segment
from leanseg.training.calibrate import (
    PredictedCase,
    Predictor,
    choose_postprocessing,
    figures_of,
    fit_temperature,
    predict_cases,
    probabilities_of,
)
from leanseg.training.counted_gmacs import counted_gmacs
from leanseg.training.data import select_cases
from leanseg.training.data.arrays import load_arrays
from leanseg.training.dynamic_graphs import EXPORTED
from leanseg.training.export_dynamic import export_dynamic
from leanseg.training.export_packed import completed, number_of_weights, pack, quantization_for, quantized
from leanseg.training.export_questions import export_questions
from leanseg.training.export_referring import export_referring
from leanseg.training.export_text import export_text
from leanseg.training.export_volumes import export_volumes
from leanseg.training.graphs import (
    CalibratedNetwork,
    DescribingNetwork,
    export_onnx,
    fold_batch_norm,
    quantize_int8,
    store_weights_as_fp16,
)
from leanseg.training.metrics import expected_calibration_error
from leanseg.training.recipe import NETWORKS_3D
from leanseg.training.run_card import card_of_run
from leanseg.training.trainer import load_run
from leanseg.weights.bundle import Bundle, write_bundle

SLICEWISE = ("agln", "attention_unet")
"""2-D networks of one logit."""
ONLY_CONVOLUTIONS = ("agln",)
"""Those whose INT8 graph keeps what is not a convolution in float32: attention over whole maps."""
CALIBRATION_IMAGES = 64
_LESION = Segment(
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


def export(run: Path, folder: Path, data: Path, settings: Sequence[str] = ()) -> Bundle:
    """Export a run as the bundle `folder`, whose name is the model's id; needs the data it was trained on.

    INT8 ranges are read from training images. Temperature and postprocessing are chosen on the validation split, the
    latter with the INT8 graph, which is what is used by default. The test split is not touched. Networks of brains go
    another way, `export_dynamic`, and what is told what to look for goes by `export_text`.

    A network that was trained with [quantization] becomes a packed bundle, and so does a float run with `settings` such
    as `quantization.bits=4`: then it is rounded as it is, its activations in ranges of training images.

    Raises:
        LeanSegError: no run, no data, a folder that cannot be written, or settings that do not fit.
    """
    recipe, network = load_run(run)
    quantization = quantization_for(recipe, settings)
    if settings and recipe.network not in SLICEWISE:
        raise LeanSegError(f"A {recipe.network} is not packed; {', '.join(SLICEWISE)} are. Leave --set away.")
    if recipe.fremae is not None:
        raise LeanSegError(f"{run} is a pre-training and segments nothing. Train on it first: --set init={run}.")
    if recipe.network in EXPORTED:
        return export_dynamic(recipe, network, run, folder, data)
    if recipe.network in NETWORKS_3D:
        return export_volumes(recipe, network, run, folder, data)
    if recipe.network == "mf2_mvqa":
        return export_questions(recipe, network, run, folder, data)
    if recipe.network == "cm_mask_sd":
        return export_referring(recipe, network, run, folder, data)
    if recipe.network == "text_bcs":
        return export_text(recipe, network, run, folder, data)
    if any(part.startswith("glas:") for part in recipe.data.train):
        raise LeanSegError(f"{run} outlines glands; bundles are of breast ultrasound. Train on busi or bus_bra.")
    if recipe.network not in SLICEWISE:
        raise UnknownNameError(
            "exporter for network", recipe.network, ("text_bcs", *SLICEWISE, *EXPORTED, *NETWORKS_3D)
        )
    train_arrays, val_arrays = (
        load_arrays(select_cases(parts, data, recipe.data.classes), recipe.preprocessing)
        for parts in (recipe.data.train, recipe.data.val)
    )
    chosen = torch.randperm(len(train_arrays), generator=torch.Generator().manual_seed(recipe.seed))
    images = train_arrays.images[chosen[:CALIBRATION_IMAGES]]
    predictors = {}
    if quantization is None:
        temperature = fit_temperature(network, val_arrays)
        graphs = running = _graphs(network, temperature, images, recipe.network in ONLY_CONVOLUTIONS)
        half = {key: v.half() if v.is_floating_point() else v for key, v in network.state_dict().items()}
        weights = safetensors.torch.save(half)
    else:
        before = network
        soft, network = quantized(run, recipe, quantization, images)
        temperature = fit_temperature(network, val_arrays)
        graphs, weights = pack(soft, temperature, images)
        running = completed(graphs, weights, folder.name)
        if recipe.quantization is None:
            predictors["float"] = probabilities_of(before, temperature)
    predictors |= {name: _predictor(graph) for name, graph in running.items()}
    val_cases = select_cases(recipe.data.val, data, recipe.data.classes)
    predicted = {name: predict_cases(predict, val_cases, recipe.preprocessing) for name, predict in predictors.items()}
    postprocessing = choose_postprocessing(predicted["int8"])
    card = card_of_run(
        recipe,
        network,
        run,
        folder.name,
        task="breast lesion segmentation",
        modality="US",
        gmacs=count_gmacs(network, train_arrays.images.shape[1], recipe.size_ji),
        inputs=("ultrasound",),
        labels=(_LESION,),
    )
    card = dataclasses.replace(
        card,
        postprocessing=dataclasses.asdict(postprocessing),
        parameters=number_of_weights(network),
        temperature=temperature,
        metrics={"validation": _validation(predicted, postprocessing, run, settings)},
        quantization=None if quantization is None else quantization.to_json(),
    )
    return write_bundle(card, graphs, weights, folder)


def _graphs(network: nn.Module, temperature: float, images: torch.Tensor, only_convolutions: bool) -> dict[str, bytes]:
    """Both graphs of a network; INT8 is calibrated on images (case, channel, height, width)."""
    describes = hasattr(network, "features")
    kind = DescribingNetwork if describes else CalibratedNetwork
    outputs = ("probabilities", "descriptor") if describes else ("probabilities",)
    folded = kind(fold_batch_norm(copy.deepcopy(network)), temperature).eval()
    fp32 = export_onnx(folded, images.shape[1], (images.shape[2], images.shape[3]), outputs)
    int8 = quantize_int8(fp32, images.numpy(), "probabilities" if only_convolutions else "")
    return {"fp32": store_weights_as_fp16(fp32).SerializeToString(), "int8": int8.SerializeToString()}


def count_gmacs(network: nn.Module, in_channels: int, size_ji: tuple[int, int]) -> float:
    """Multiply-accumulates of one image, in 10^9, as torch counts convolutions and products."""
    return counted_gmacs(network, torch.zeros(1, in_channels, *size_ji))


def _predictor(onnx: bytes) -> Predictor:
    graph = OpenVINOGraph(onnx)
    return lambda image: graph({"image": image})["probabilities"]


def _validation(
    predicted: dict[str, list[PredictedCase]], postprocessing: PostprocessingConfig, run: Path, settings: Sequence[str]
) -> dict[str, Any]:
    """Figures of each graph on the validation split, with the postprocessing that was chosen there; `float` is the
    network before it was rounded."""
    command = " ".join([f"leanseg export {run} -o BUNDLE", *(f"--set {shlex.quote(setting)}" for setting in settings)])
    result: dict[str, Any] = {"command": command, "n": len(predicted["int8"])}
    for precision, cases in predicted.items():
        p, truth = (
            torch.cat([torch.from_numpy(a).flatten() for a in arrays])
            for arrays in ([case.probabilities for case in cases], [case.truth for case in cases])
        )
        figures = figures_of(cases, postprocessing) | {"ece": expected_calibration_error(p.numpy(), truth.numpy())}
        result[precision] = {key: round(value, 4) for key, value in figures.items()}
    for name in predicted.keys() - {"int8"}:
        result[f"int8_minus_{name}_dice"] = round(result["int8"]["dice"] - result[name]["dice"], 4)
    return result
