"""From a run folder to a bundle, for TextBCS: graphs of text, image and prompt, the tokenizer, and the card.

Validation asks three things of each picture: any tumor; where there is one, what describes it; and what describes it
mirrored, where that is wrong, which is to be answered with nothing. Temperature, threshold of the existence, and which
parts run in INT8 are chosen on that. The test split is not touched.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from leanseg.errors import LeanSegError
from leanseg.inference.prompt_heard import ANY_TUMOR
from leanseg.inference.text_prompted import IMAGE, PROMPT, TEXT, TextPromptedConfig
from leanseg.losses.evidential import dirichlet
from leanseg.networks.text_bcs import TextBCS
from leanseg.prompts.describe import describe, fits
from leanseg.prompts.directions import mirrored
from leanseg.prompts.render import render
from leanseg.runtime.openvino_graph import OpenVINOGraph
from leanseg.segmentation import Segment
from leanseg.training.counted_gmacs import counted_gmacs
from leanseg.training.data.text_pairs import TextPairs, load_text_pairs
from leanseg.training.recipe import Recipe
from leanseg.training.run_card import card_of_run
from leanseg.training.simulated_user import next_clicks
from leanseg.training.text_encoder import TOKENIZER, load_text_encoder, recipe_of, text_graph
from leanseg.training.text_graphs import TextSamples, check_exportable, prompted_graphs, run_graphs
from leanseg.training.text_guided import Shown
from leanseg.training.text_reading import load_reader
from leanseg.weights.bundle import Bundle, file_card, write_bundle
from leanseg.weights.card import ModelCard

CALIBRATION_PICTURES, VALIDATION_PICTURES = 24, 96
ENGINE = "text_prompted"
SMALL_LOSS = 0.005
"""Of Dice: with more, a part does not run in INT8."""
INTENDED_USE = (
    "Research only; not for clinical use. No public breast MRI with free text was used for training: of breast MRI the "
    "model has seen simulated images only."
)
_TUMOR = Segment(
    id="tumor",
    name="Tumor",
    value=1,
    color_rgb=(0.565, 0.933, 0.565),
    terminology=(
        "Segmentation category and type - DICOM master list"
        "~SCT^49755003^Morphologically Altered Structure~SCT^4147007^Mass~^^~~^^~^^"
    ),
)


def export_text(recipe: Recipe, network: nn.Module, run: Path, folder: Path, data: Path) -> Bundle:
    """Export a run as the bundle `folder`; needs the data it was trained on and its text encoder.

    Raises:
        LeanSegError: no data or text encoder, a network that has no graphs, or a folder that cannot be written.
    """
    text_bcs = check_exportable(network)
    if recipe.text is None or recipe.text.encoder_kind != "small":
        raise LeanSegError("A bundle holds the small text encoder; this run has another. Train it with that one.")
    encoder, tokenizer_json = load_text_encoder(Path(recipe.text.encoder))
    calibration = asked(load_text_pairs(recipe.data.train, data, recipe), recipe, CALIBRATION_PICTURES, shows=True)
    validation = asked(load_text_pairs(recipe.data.val, data, recipe), recipe, VALIDATION_PICTURES, shows=False)
    logits, existence = _outputs(text_bcs, validation)
    temperature = best_temperature(logits, validation.targets)
    threshold = best_threshold(existence, validation.targets.flatten(1).any(dim=1))
    every = prompted_graphs(text_bcs, temperature, calibration)
    graphs, figures = without_costly_int8(every, validation, threshold)
    if not recipe.deployment.keep_fp32:
        graphs = {k: v for k, v in graphs.items() if k.endswith("_int8") or k.replace("_fp32", "_int8") not in graphs}
    graphs[f"{TEXT}_fp32"] = text_graph(encoder).SerializeToString()
    tokenizer = tokenizer_json.encode()
    config = TextPromptedConfig(
        file_card(TOKENIZER, tokenizer),
        encoder.config.length,
        encoder.config.out_width,
        recipe.text.hint_radius_px,
        threshold,
    )
    figures = {"command": f"leanseg export {run} -o BUNDLE", "n": len(validation), **figures}
    card = _card(recipe, text_bcs, run, folder.name, config)
    parameters = card.parameters + sum(p.numel() for p in encoder.parameters())
    card = dataclasses.replace(card, temperature=temperature, parameters=parameters, metrics={"validation": figures})
    half = {key: v.half() if v.is_floating_point() else v for key, v in network.state_dict().items()}
    return write_bundle(card, graphs, safetensors.torch.save(half), folder, tokenizer)


# ── what is asked ───────────────────────────────────────────────────────────────────────────────────────────────────


def asked(pairs: TextPairs, recipe: Recipe, number: int, shows: bool) -> TextSamples:
    """Questions about so many pictures, evenly spread over all; `shows`: also with a click and an earlier mask.

    Raises:
        LeanSegError: the recipe names no text encoder.
    """
    assert recipe.text is not None
    reader = load_reader(recipe.text)
    if reader is None:
        raise LeanSegError(f"The recipe {recipe.id} names no text encoder. Set text.encoder.")
    chosen = np.unique(np.linspace(0, len(pairs) - 1, number).round().astype(int)).tolist()
    texts: list[str] = []
    pictures: list[int] = []
    targets: list[Tensor] = []
    for n in chosen:
        for text, is_there in questions(pairs, n, recipe.text.describe_px):
            texts.append(text)
            pictures.append(n)
            targets.append((pairs.targets[n] > 0) & is_there)
    target = torch.stack(targets)
    hints = torch.zeros(len(texts), 4, *target.shape[2:])
    if shows:
        hints[::2] = _clicked(target, recipe.text.hint_radius_px)[::2]
    return TextSamples(pairs.images[pictures].float(), *reader(texts), hints, target)


def questions(pairs: TextPairs, n: int, side: int) -> list[tuple[str, bool]]:
    """What is asked about picture n, each with whether it is there; masks are described on `side` x `side` pixels."""
    mask, organ = (
        F.interpolate(part[n : n + 1].float(), (side, side), mode="area")[0, 0].numpy() >= 0.5
        for part in (pairs.targets, pairs.organs)
    )
    has_tumor = bool((pairs.targets[n] > 0).any())
    result = [(ANY_TUMOR, has_tumor)]
    prompt = describe(mask, organ, pairs.modalities[n])
    if prompt.number != "no":
        result.append((render(prompt), True))
        elsewhere = mirrored(prompt, horizontally=True, vertically=True)
        if not fits(mask, elsewhere, organ):
            result.append((render(elsewhere), False))
    return result


def _clicked(targets: Tensor, radius_px: float) -> Tensor:
    """(sample, 4, j, i): a click where there is a target, after an earlier mask that missed it."""
    size_ji = (targets.shape[2], targets.shape[3])
    shown = Shown(len(targets), size_ji, radius_px)
    clicks = next_clicks(torch.zeros_like(targets), targets, torch.zeros(targets.shape))
    for n in clicks.is_made.nonzero().flatten().tolist():
        j, i = clicks.places[n].tolist()
        shown.click(n, (j, i), bool(clicks.is_positive[n]))
        shown.channels[n, 3, j:, i:] = targets[n, 0, j:, i:].float()
    return shown.channels


# ── what is chosen on the validation split ──────────────────────────────────────────────────────────────────────────


def _outputs(network: TextBCS, samples: TextSamples) -> tuple[Tensor, Tensor]:
    """Logits (sample, 2, j, i), and the probability of existence (sample,)."""
    logits, existence = [], []
    parts = (samples.images, samples.tokens, samples.padding, samples.hints)
    with torch.no_grad():
        for batch in zip(*(part.split(8) for part in parts), strict=True):
            output = network.eval()(*batch)
            assert output.existence is not None
            logits.append(output.logits)
            existence.append(torch.sigmoid(output.existence))
    return torch.cat(logits), torch.cat(existence)


def best_temperature(logits: Tensor, targets: Tensor) -> float:
    """The one in 0.25 ... 4 with the smallest cross-entropy of the expected probability; it divides the logits."""
    candidates = [float(t) for t in np.geomspace(0.25, 4.0, 41)]
    truth = targets.float()
    costs = [
        sum(
            float(F.binary_cross_entropy(dirichlet(some / t).probability[:, 1:], y, reduction="sum"))
            for some, y in zip(logits.split(16), truth.split(16), strict=True)
        )
        for t in candidates
    ]
    return round(candidates[int(np.argmin(costs))], 4)


def best_threshold(existence: Tensor, is_there: Tensor) -> float:
    """The threshold nearest to 0.5 that divides, within a point, as well as the best: the mean of both rates."""
    if bool(is_there.all()) or not bool(is_there.any()):
        return 0.5
    candidates = [n / 20 for n in range(1, 20)]
    rates = [
        float(((existence >= t) == is_there)[is_there].float().mean() + (existence < t)[~is_there].float().mean()) / 2
        for t in candidates
    ]
    good = [t for t, rate in zip(candidates, rates, strict=True) if rate >= max(rates) - 0.01]
    return float(min(good, key=lambda t: abs(t - 0.5)))


def without_costly_int8(
    graphs: dict[str, bytes], samples: TextSamples, threshold: float
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The graphs but for those in INT8 that cost more than SMALL_LOSS of Dice, and figures of both precisions."""
    expected = figures_of(graphs[f"{IMAGE}_fp32"], graphs[f"{PROMPT}_fp32"], samples, threshold)
    for parts in ((IMAGE, PROMPT), (PROMPT,), (IMAGE,)):
        image, prompt = (graphs[f"{name}_{'int8' if name in parts else 'fp32'}"] for name in (IMAGE, PROMPT))
        found = figures_of(image, prompt, samples, threshold)
        loss = expected["dice"] - found["dice"]
        if loss <= SMALL_LOSS:
            kept = {k: v for k, v in graphs.items() if k.endswith("_fp32") or k.removesuffix("_int8") in parts}
            return kept, {"fp32": expected, "int8": found, "int8_minus_fp32_dice": round(-loss, 4)}
    return {k: v for k, v in graphs.items() if k.endswith("_fp32")}, {"fp32": expected}


def figures_of(image: bytes, prompt: bytes, samples: TextSamples, threshold: float) -> dict[str, float]:
    """Mean Dice where there is what was asked for, and the fraction left empty where there is not."""
    graphs = OpenVINOGraph(image), OpenVINOGraph(prompt)
    dice, empty = [], []
    for inputs, target in zip(samples.inputs(), samples.targets, strict=True):
        outputs = run_graphs(*graphs, inputs)
        mask = torch.from_numpy(outputs["probabilities"][0] > 0.5) & bool(outputs["existence"][0, 0] >= threshold)
        if target.any():
            dice.append(float(2 * (mask & target).sum() / (mask.sum() + target.sum())))
        else:
            empty.append(float(not mask.any()))
    figures = {"dice": dice, "absent_empty": empty}
    return {name: round(float(np.mean(values)), 4) for name, values in figures.items() if values}


# ── the card ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _card(recipe: Recipe, network: TextBCS, run: Path, model_id: str, config: TextPromptedConfig) -> ModelCard:
    """Before temperature and figures."""
    card = card_of_run(
        recipe,
        network,
        run,
        model_id,
        task="tumor segmentation by a prompt",
        modality="US, MR",
        gmacs=count_prompted_gmacs(network, recipe.size_ji),
        engine=ENGINE,
        labels=(_TUMOR,),
        engine_config=config,
        intended_use=INTENDED_USE,
    )
    encoder = recipe_of(Path(recipe.text.encoder)).to_json() if recipe.text else {}
    return dataclasses.replace(card, training={**card.training, "text_encoder": encoder})


def count_prompted_gmacs(network: TextBCS, size_ji: tuple[int, int]) -> float:
    """Multiply-accumulates of one image with its first prompt and hints, in 10^9, without the text encoder."""
    config = network.config
    tokens = torch.zeros(1, config.text_length, config.text_width)
    padding = torch.zeros(1, config.text_length, dtype=torch.bool)
    return counted_gmacs(
        network, torch.zeros(1, config.in_channels, *size_ji), tokens, padding, torch.zeros(1, config.hints, *size_ji)
    )
