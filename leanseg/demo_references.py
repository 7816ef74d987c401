"""The part of the demo page about sentences that tell one of several objects apart: what each outlines."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import numpy as np

from leanseg.api import Model
from leanseg.pictures import outlines, uncertainty_colors, write_png
from leanseg.prompts.directions import PictureFrame
from leanseg.prompts.referring import NO_OBJECT, read_scene, referent
from leanseg.prompts.referring_read import read_reference
from leanseg.referring_session import ReferringSession
from leanseg.report import Stopwatch, run_report
from leanseg.text_phantom import TextPhantom, text_phantom

SEED, LESIONS = 48, 3
"""A simulated ultrasound; each of SENTENCES has one answer there."""
SENTENCES = (
    "the leftmost lesion",
    "the second lesion from the left",
    "the largest lesion",
    "the lesion to the right of the largest one",
    "the fourth lesion from the left",
)
_GREEN, _ORANGE = (60, 220, 90), (255, 160, 60)


def scene() -> tuple[TextPhantom, int]:
    """The phantom, and the slice that is asked about."""
    return text_phantom("ultrasound", seed=SEED, lesions=LESIONS, slices=1), 0


def meant(text: str, frame: PictureFrame) -> int:
    """The number of the lesion of `scene` that a sentence refers to, or NO_OBJECT; found from the lesions alone."""
    phantom, k = scene()
    expression = read_reference(text, frame).expression
    assert expression is not None, text
    return referent(expression, read_scene(phantom.lesions[k], phantom.image.array[0, k]))


def referring_section(model: Model, watch: Stopwatch, folder: Path) -> tuple[str, dict[str, Any]]:
    """Say the sentences; pictures into `folder`. HTML, and the report of the run."""
    phantom, k = scene()
    gray = phantom.image.array[0, k].astype(np.float64)
    gray_8 = (255 * (gray - gray.min()) / max(float(np.ptp(gray)), 1e-9)).astype(np.uint8)
    watch.begin_image()
    session = ReferringSession(model, phantom.image, "ultrasound")
    parts, rows = [], []
    for number, text in enumerate(SENTENCES):
        found, label = session.refer(text, k), meant(text, session.frame)
        if not number:
            watch.image_done(1)
        truth = (phantom.lesions[k] == label) & (label != NO_OBJECT)
        size = int(found.mask.sum() + truth.sum())
        dice = 2 * int((found.mask & truth).sum()) / size if size else None
        row = {"id": text, "existence": round(found.existence, 4), "milliseconds": round(1000 * found.seconds)}
        rows.append({**row, "dice": None if dice is None else round(dice, 4)})
        said = found.reason if dice is None else f"Dice {100 * dice:.0f} %" + (" (none is there)" * (not truth.any()))
        pictures = {
            f"“{text}”: {said}": outlines(gray_8, [truth, found.mask], [_ORANGE, _GREEN]),
            "what the words point at": uncertainty_colors(found.heat_map()),
        }
        for shown, (title, picture) in enumerate(pictures.items()):
            name = f"pictures/{model.card.id}_sentence_{number}_{shown}.png"
            write_png(picture, folder / name)
            caption = html.escape(title)
            parts.append(f'<figure><img src="{name}" alt="{caption}"><figcaption>{caption}</figcaption></figure>')
    seconds = watch.seconds()
    about = (
        f"<h2>{html.escape(model.card.id)}: {html.escape(model.card.title)}</h2>\n"
        f"<p>{model.card.parameters / 1e6:.2f} M parameters, {model.precision}. Loaded in {seconds['load']:.2f} s; the "
        f"first answer in {1000 * seconds['first']:.0f} ms.</p>\n"
        "<section><h3>simulated breast ultrasound with three lesions; left is that of the picture</h3>"
    )
    return f"{about}{''.join(parts)}</section>", run_report(model, watch, rows)
