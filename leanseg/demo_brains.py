"""The brain part of the demo page: a simulated brain through a model that decides for each slice."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leanseg.api import Model, measure_regions, segment
from leanseg.brain_phantom import BrainPhantom, brain_phantom
from leanseg.files.seg_nrrd import write_segmentation
from leanseg.pictures import Picture, outlines, uncertainty_colors, write_png
from leanseg.processing.measure import volume_ml
from leanseg.report import Stopwatch, run_report
from leanseg.segmentation import Segmentation

_REGION_COLORS = ((255, 220, 90), (230, 90, 80), (110, 170, 255))
"""Of nested regions, the largest first."""
_CAPTIONS = {
    "work in each slice": "work in each slice, feet left; full height: computed whole; nothing but a line: skipped"
}
_BAR = 6
_STRIP_HEIGHT = 48


def brain_section(model: Model, watch: Stopwatch, folder: Path) -> tuple[str, dict[str, Any]]:
    """Segment the phantom; write pictures and a `.seg.nrrd` into `folder`. HTML, and the report of the run."""
    phantom = brain_phantom()
    watch.begin_image()
    segmentation = segment(phantom.volumes, model)
    watch.image_done(segmentation.notes["slices"])
    file = f"{model.card.id}_brain.seg.nrrd"
    write_segmentation(segmentation, folder / file)
    figures = []
    for title, picture in _pictures(phantom, segmentation, model).items():
        name = f"pictures/{model.card.id}_brain_{title.replace(' ', '_')}.png"
        write_png(picture, folder / name)
        caption = _CAPTIONS.get(title, title)
        figures.append(f'<figure><img src="{name}" alt="{caption}"><figcaption>{caption}</figcaption></figure>')
    volumes = measure_regions(segmentation, model)
    report = run_report(
        model, watch, [{"id": "brain", "volumes_ml": volumes, **segmentation.notes}], gmacs=segmentation.notes["gmacs"]
    )
    section = (
        f"<h2>{html.escape(model.card.id)}: {html.escape(model.card.title)}</h2>\n<p>{_facts(model, watch)}</p>\n"
        f"<section><h3>simulated brain</h3>{''.join(figures)}"
        f'<p>{_words(phantom, segmentation, volumes)} <a href="{file}">{file}</a></p></section>'
    )
    return section, report


def _facts(model: Model, watch: Stopwatch) -> str:
    seconds = watch.seconds()
    return (
        f"{model.card.parameters / 1e6:.2f} M parameters, {model.precision}, "
        f"{html.escape(model.engine.graph.runtime)}. Loaded in {seconds['load']:.2f} s; a brain in "
        f"{seconds['first']:.2f} s."
    )


def _pictures(phantom: BrainPhantom, segmentation: Segmentation, model: Model) -> dict[str, Picture]:
    """The slice with most tumor, and what was decided for all slices."""
    masks, truth = segmentation.nested_masks(), list(phantom.truth.values())
    k = int(np.argmax((masks[0] | truth[0]).sum(axis=(1, 2))))
    volume = next(iter(phantom.volumes.values())).array[0, k].astype(np.float64)
    gray = (255 * volume / max(volume.max(), 1)).astype(np.uint8)
    return {
        "image": np.repeat(gray[..., np.newaxis], 3, axis=2),
        "regions": outlines(gray, [mask[k] for mask in masks], _REGION_COLORS),
        "truth": outlines(gray, [mask[k] for mask in truth], _REGION_COLORS),
        "uncertainty": uncertainty_colors(segmentation.uncertainty.array[0, k].astype(np.float32)),
        "work in each slice": _strip(segmentation.notes, model.card.gmacs),
    }


def _strip(notes: Mapping[str, Any], whole_slice_gmacs: float) -> Picture:
    """One bar for each slice, feet left; full height: what a whole slice costs, or more."""
    costs = [one["gmacs"] for one in notes["slice_decisions"]]
    strip = np.full((_STRIP_HEIGHT, _BAR * len(costs), 3), 30, np.uint8)
    for n, gmacs in enumerate(costs):
        height = int(np.clip(round(_STRIP_HEIGHT * gmacs / whole_slice_gmacs), 1, _STRIP_HEIGHT))
        strip[_STRIP_HEIGHT - height :, _BAR * n : _BAR * (n + 1) - 1] = _REGION_COLORS[2]
    return strip


def _words(phantom: BrainPhantom, segmentation: Segmentation, volumes: dict[str, float]) -> str:
    true = {name: volume_ml(mask, segmentation.geometry) for name, mask in phantom.truth.items()}
    found = ", ".join(f"{name} {ml:.1f} ml (true {true[name]:.1f})" for name, ml in volumes.items())
    dices = zip(volumes, segmentation.nested_masks(), phantom.truth.values(), strict=True)
    dice = ", ".join(f"{name} {100 * _dice(mask, truth):.0f} %" for name, mask, truth in dices)
    notes = segmentation.notes
    decided = ", ".join(f"{number} {name}" for name, number in notes["decisions"].items())
    return f"{found}. Dice {dice}. {notes['slices']} slices: {decided}; {notes['gmacs']:.1f} GMACs."


def _dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    size = int(a.sum() + b.sum())
    return 2 * int((a & b).sum()) / size if size else 1.0
