"""From a run folder to a bundle, for CM-MaskSD: one graph of picture and sentence, the tokenizer, and the card.

    referring     image (1, 1, j, i), ids (1, piece), padding (1, piece: 1 = none)
                  -> probability (1, 1, j, i), existence (1,), correlation (1, 1 + piece, row, column),
                     and objects (1, 1, j, i) if the network finds them

The correlation is the cosine of each patch with the sentence, and then with each of its pieces. Temperature and both
thresholds are chosen on pairs of the validation split; the test split is not touched. The graph stays in float32,
its weights stored as float16; INT8 has not been tried.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from leanseg.inference.referring import ENGINE, REFERRING, ReferringConfig, ReferringEngine
from leanseg.networks.blocks.dual_encoders import SmallDualEncoder
from leanseg.networks.cm_mask_sd import CMMaskSD
from leanseg.prompts.word_pieces import WordPieces
from leanseg.runtime.openvino_graph import OpenVINOGraph
from leanseg.segmentation import Segment
from leanseg.training.counted_gmacs import counted_gmacs
from leanseg.training.data.referring_pairs import ReferringPair
from leanseg.training.data.referring_set import fixed_pairs, load_referring_set
from leanseg.training.evaluate_references import answers_in_use, replies_of, with_thresholds
from leanseg.training.graphs import as_onnx, fold_batch_norm, store_weights_as_fp16
from leanseg.training.recipe import Recipe
from leanseg.training.referring import TOKENIZER, checked, images_of, masks_of
from leanseg.training.referring_metrics import by_kind, referring_figures
from leanseg.training.run_card import card_of_run
from leanseg.weights.bundle import Bundle, file_card, write_bundle

PAIRS = 150
"""Of each part of the validation data; others than those of training."""
PAIRS_SEED = 2_000_003
INTENDED_USE = (
    "Research only; not for clinical use. It reads sentences of one grammar (size, brightness, place, order, relation "
    "to another object) about one picture, and was trained on scenes most of which were composed: lesions were copied "
    "from other pictures. It learned from ultrasound of the breast, MRI of the brain (FLAIR and contrast-enhanced T1) "
    "and histology, and has not been measured on other images, e.g. MRI of the breast. See the figures in the metrics."
)
_OBJECT = Segment(
    id="object",
    name="The object",
    value=1,
    color_rgb=(0.565, 0.933, 0.565),
    terminology=(
        "Segmentation category and type - DICOM master list"
        "~SCT^49755003^Morphologically Altered Structure~SCT^4147007^Mass~^^~~^^~^^"
    ),
)


class ReferringGraph(nn.Module):
    """The main branch, with the types that all graphs of a bundle take."""

    def __init__(self, network: CMMaskSD, temperature: float) -> None:
        super().__init__()
        self.network = network
        self.temperature = temperature

    def forward(self, image: Tensor, ids: Tensor, padding: Tensor) -> tuple[Tensor, ...]:
        is_none = padding > 0.5
        seen = self.network.encoder(image, ids.long(), is_none)
        main = self.network.answer(seen, is_none, list(image.shape[2:]))
        exists = main.existence.sigmoid()
        probability = (main.logits / self.temperature).sigmoid() * exists[:, None, None, None]
        said = F.normalize(torch.cat([seen.sentence[:, None], seen.words], dim=1), dim=2, eps=1e-6)
        patches = F.normalize(seen.patches, dim=3, eps=1e-6)
        agreement = (said @ patches.flatten(1, 2).transpose(1, 2)).unflatten(2, patches.shape[1:3])
        objects = () if main.objects is None else (main.objects.sigmoid(),)
        return probability, exists, agreement, *objects


def export_referring(recipe: Recipe, network: nn.Module, run: Path, folder: Path, data: Path) -> Bundle:
    """Export a run as the bundle `folder`; needs the data it was trained on.

    Raises:
        LeanSegError: no data, another network, or a folder that cannot be written.
    """
    cm_mask_sd = checked(network).eval()
    assert recipe.referring is not None
    tokenizer = (run / TOKENIZER).read_bytes()
    read = WordPieces(tokenizer.decode("utf-8"), cm_mask_sd.config.length)
    val, options = load_referring_set(recipe.data.val, data, recipe), recipe.referring
    pairs = fixed_pairs(val, PAIRS, PAIRS_SEED, options)
    targets, logits = masks_of(pairs)[:, 0], logits_of(cm_mask_sd, read, pairs)
    temperature = best_temperature(logits, targets)
    graph = store_weights_as_fp16(referring_graph(cm_mask_sd, recipe.size_ji, temperature))
    stride = cm_mask_sd.encoder.stride
    config = ReferringConfig(
        file_card(TOKENIZER, tokenizer),
        cm_mask_sd.config.length,
        grid_ji=(recipe.size_ji[0] // stride, recipe.size_ji[1] // stride),
        finds_objects=cm_mask_sd.config.finds_objects,
    )
    running = OpenVINOGraph(graph.SerializeToString())
    replies = replies_of(ReferringEngine({REFERRING: running}, config, tokenizer.decode("utf-8")), pairs)
    config = with_thresholds(config, replies)
    answers = answers_in_use(replies, config)
    validation = {
        "command": f"leanseg export {run} -o BUNDLE",
        "n": len(pairs),
        "fp32": rounded(referring_figures(answers, pairs)),
        "by_part": {
            part: rounded(referring_figures(answers[n * PAIRS :][:PAIRS], pairs[n * PAIRS :][:PAIRS]))
            for n, part in enumerate(val.ids)
        },
        "by_kind": {kind: rounded(figures) for kind, figures in by_kind(answers, pairs).items()},
    }
    card = card_of_run(
        recipe,
        cm_mask_sd,
        run,
        folder.name,
        task="referring segmentation",
        modality="US, MR",
        gmacs=count_referring_gmacs(cm_mask_sd, recipe.size_ji),
        engine=ENGINE,
        labels=(_OBJECT,),
        engine_config=config,
        intended_use=INTENDED_USE,
    )
    card = dataclasses.replace(card, temperature=temperature, metrics={"validation": validation})
    half = {key: v.half() if v.is_floating_point() else v for key, v in network.state_dict().items()}
    return write_bundle(
        card, {f"{REFERRING}_fp32": graph.SerializeToString()}, safetensors.torch.save(half), folder, tokenizer
    )


# ── the graph ───────────────────────────────────────────────────────────────────────────────────────────────────────


def referring_graph(network: CMMaskSD, size_ji: tuple[int, int], temperature: float) -> onnx.ModelProto:
    """As described above."""
    folded = ReferringGraph(copy.deepcopy(network), temperature).eval()
    if isinstance(folded.network.encoder, SmallDualEncoder):
        fold_batch_norm(folded.network.encoder.backbone)
    config = network.config
    example = (
        torch.zeros(1, config.in_channels, *size_ji),
        torch.full((1, config.length), 2.0),
        torch.zeros(1, config.length),
    )
    outputs = ("probability", "existence", "correlation", *(("objects",) if config.finds_objects else ()))
    return as_onnx(folded, example, ("image", "ids", "padding"), outputs)


# ── what is chosen on the validation split ──────────────────────────────────────────────────────────────────────────


def logits_of(network: CMMaskSD, read: WordPieces, pairs: Sequence[ReferringPair]) -> Tensor:
    """(pair, j, i)"""
    results = []
    with torch.no_grad():
        for n in range(0, len(pairs), 32):
            some = pairs[n : n + 32]
            ids, padding = (
                torch.from_numpy(np.concatenate(rows))
                for rows in zip(*(read.padded(read(pair.text)) for pair in some), strict=True)
            )
            output = network(images_of(some), ids.long(), padding > 0.5)
            results.append(output.logits[:, 0])
    return torch.cat(results)


def best_temperature(logits: Tensor, targets: Tensor) -> float:
    """The one in 0.5 ... 4 under which the pixels of what there is are the most probable; 1 where there is nothing."""
    there = targets.flatten(1).any(dim=1)
    if not there.any():
        return 1.0
    candidates = [float(t) for t in np.geomspace(0.5, 4.0, 31)]
    costs = [float(F.binary_cross_entropy_with_logits(logits[there] / t, targets[there])) for t in candidates]
    return round(candidates[int(np.argmin(costs))], 4)


def rounded(figures: dict[str, float]) -> dict[str, float | None]:
    return {name: None if np.isnan(value) else round(value, 4) for name, value in figures.items()}


# ── the card ────────────────────────────────────────────────────────────────────────────────────────────────────────


def count_referring_gmacs(network: CMMaskSD, size_ji: tuple[int, int]) -> float:
    """Multiply-accumulates of one picture and sentence, in 10^9."""
    config = network.config
    ids = torch.zeros(1, config.length, dtype=torch.long)
    return counted_gmacs(
        network, torch.zeros(1, config.in_channels, *size_ji), ids, torch.zeros_like(ids, dtype=torch.bool)
    )
