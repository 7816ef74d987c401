"""`leanseg demo`: every model on the built-in cases (and on real ones where LEANSEG_DATA is set), as one page."""

from __future__ import annotations

import dataclasses
import html
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leanseg.api import Model, list_models, load_engine, measure, segment
from leanseg.beside import written_beside
from leanseg.demo_brains import brain_section
from leanseg.demo_inputs import inputs_section
from leanseg.demo_references import referring_section
from leanseg.demo_texts import text_section
from leanseg.errors import LeanSegError, OutputError
from leanseg.files.seg_nrrd import write_segmentation, write_volume
from leanseg.phantom import ultrasound_phantom
from leanseg.pictures import case_pictures, write_png
from leanseg.processing.measure import LesionMeasurement
from leanseg.report import Stopwatch, run_report, write_json
from leanseg.request import Progress, step
from leanseg.segmentation import Segmentation
from leanseg.volume import Volume

_CLIP_FRAMES = 12
_REAL_PARTS = ("busi:test", "bus_bra:external_test163")
_SCREENSHOTS = Path(__file__).parents[1] / "Resources" / "Screenshots"
"""Made by docs/screenshots.py; beside the package in a checkout."""
_SCREENS = {
    "ultrasound_kd_proposal.png": "Proposal: the outline that the model offers, and where it is unsure",
    "ultrasound_kd_corrected.png": "Accepted and corrected with the Segment Editor; measurements below",
    "ultrasound_kd_environment.png": "The environment panel where the runtime is missing",
    "ultrasound_kd_next_case.png": "Which case next? A folder of images, ranked by what outlining them would teach",
    "ultrasound_kd_quantize.png": "Quantize and look: two precisions of one model, and the pixels where they differ",
    "dynamic_brain_seg_decisions.png": "A brain, and what was decided for each of its slices",
    "text_guided_seg_proposal.png": "Two tumors, and the one that the sentence names",
    "text_guided_seg_question.png": "The next question: is this place tumor?",
    "text_guided_seg_sentence.png": "Of several lesions, the one that a sentence names, and what its words point at",
    "text_guided_seg_ask.png": "Ask about this view: an answer, how sure it is, and where the network looked",
}
_SECTIONS = {
    "dynamic_slicewise": brain_section,
    "text_prompted": text_section,
    "referring": referring_section,
}
"""By engine: (model, watch, folder) -> part of the page, and report."""


@dataclass(frozen=True)
class DemoCase:
    """An image with its truth, simulated or of a patient."""

    name: str
    image: Volume
    """(c, k, j, i)"""
    truth: NDArray[np.bool_]
    """(k, j, i)"""


@dataclass(frozen=True)
class _Result:
    """One case through one model."""

    case: DemoCase
    segmentation: Segmentation
    mask: NDArray[np.bool_]
    """(k, j, i) of the model's first label"""
    measurements: list[LesionMeasurement]
    seconds: float

    @property
    def dice(self) -> float | None:
        """Over all frames; None where the truth and the mask are both empty."""
        size = int(self.mask.sum() + self.case.truth.sum())
        return 2 * int((self.mask & self.case.truth).sum()) / size if size else None

    def report(self) -> dict[str, Any]:
        measurements = [dataclasses.asdict(m) for m in self.measurements]
        return {"id": self.case.name, "dice": self.dice, "measurements": measurements}


def run_demo(folder: Path, progress: Progress) -> Path:
    """Write `index.html`, pictures, `.seg.nrrd` files and `report.json` into `folder`; returns the page.

    Raises:
        LeanSegError: there is no model, or LEANSEG_DATA names no folder.
        OutputError: the folder cannot be written.
    """
    cards = [card for card in list_models() if card.inputs == ("ultrasound",) and card.engine not in _SECTIONS]
    if not cards:
        raise LeanSegError("There is no ultrasound model to show. Put one into Resources/Models or set LEANSEG_MODELS.")
    try:
        (folder / "pictures").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror}. Choose another folder with -o.") from error
    cases = [*_built_in_cases(), *_real_cases()]
    others = [card for card in list_models() if card.engine in _SECTIONS]
    total, done, sections, reports = len(cards) * len(cases) + len(others), 0, [], []
    for card in cards:
        watch = Stopwatch()
        model = load_engine(card.id)
        watch.loaded()
        results = []
        for case in cases:
            step(progress, done, total, f"{card.id}: {case.name}")
            results.append(_run(case, model, watch, folder))
            done += 1
        reports.append(run_report(model, watch, [result.report() for result in results]))
        sections.append(_section(model, results, watch, folder))
    for card in others:
        step(progress, done, total, card.id)
        watch = Stopwatch()
        model = load_engine(card.id)
        watch.loaded()
        section, report = _SECTIONS[card.engine](model, watch, folder)
        sections.append(section)
        reports.append(report)
        done += 1
    sections += [inputs_section([*cards, *others], folder), _screens(folder)]
    step(progress, total, total, "done")
    write_json(reports, folder / "report.json")
    page = folder / "index.html"
    with written_beside(page) as temporary:
        temporary.write_text(_PAGE.format(sections="\n".join(sections)), encoding="utf-8")
    return page


def _screens(folder: Path) -> str:
    """The modules in Slicer, as pictures; empty where the package was installed without them."""
    figures = []
    for name, caption in _SCREENS.items():
        if (_SCREENSHOTS / name).is_file():
            shutil.copyfile(_SCREENSHOTS / name, folder / "pictures" / name)
            figures.append(f'<img src="pictures/{name}" alt="{caption}"><p>{caption}.</p>')
    if not figures:
        return ""
    about = (
        "The modules <i>Breast ultrasound segmentation</i>, <i>Brain tumor segmentation</i> and <i>Text-guided tumor "
        "segmentation</i> on simulated images. "
        "Models, scene and drawing are real; the window is that of the test host, plainer than Slicer's."
    )
    return f'<h2>In 3D Slicer</h2>\n<p>{about}</p>\n<div class="screens">{"".join(figures)}</div>'


def _built_in_cases() -> list[DemoCase]:
    phantoms = [ultrasound_phantom(kind, seed=1) for kind in ("benign", "malignant", "normal")]
    cases = [DemoCase(p.name, p.image, p.truth) for p in phantoms]
    clip = ultrasound_phantom("benign", seed=2, frames=_CLIP_FRAMES)
    return [*cases, DemoCase(f"{clip.name}, clip of {_CLIP_FRAMES} frames", clip.image, clip.truth)]


def _real_cases() -> list[DemoCase]:
    """The first test case of each class of each data set below LEANSEG_DATA; nothing where it is not set."""
    if "LEANSEG_DATA" not in os.environ:
        return []
    from leanseg.training.data import data_root, select_cases  # torch-free, unlike the rest of training
    from leanseg.training.data.case import LESION_CLASSES, read_pair

    root, found = data_root(), []
    if not root.is_dir():
        raise LeanSegError(f"LEANSEG_DATA names {root}, which is no folder. Correct it, or unset it.")
    for part in _REAL_PARTS:
        if not (root / part.partition(":")[0]).is_dir():
            continue
        cases = select_cases([part], root, LESION_CLASSES)
        for lesion_class in LESION_CLASSES:
            for case in [c for c in cases if c.lesion_class == lesion_class][:1]:
                image, mask = read_pair(case)
                found.append(DemoCase(f"{case.dataset} {case.id}", image, mask.array[0] > 0))
    return found


def _run(case: DemoCase, model: Model, watch: Stopwatch, folder: Path) -> _Result:
    watch.begin_image()
    started = time.perf_counter()
    segmentation = segment(case.image, model)
    seconds = time.perf_counter() - started
    watch.image_done(case.truth.shape[0])
    stem = _stem(model, case)
    write_segmentation(segmentation, folder / f"{stem}.seg.nrrd")
    write_volume(segmentation.uncertainty, folder / f"{stem}.uncertainty.nrrd")
    label = segmentation.segments[0].id
    return _Result(case, segmentation, segmentation.mask(label), measure(segmentation, label), seconds)


def _stem(model: Model, case: DemoCase) -> str:
    words = "".join(c if c.isalnum() else " " for c in case.name).split()
    return "_".join([model.card.id, *words])


def _section(model: Model, results: list[_Result], watch: Stopwatch, folder: Path) -> str:
    card, seconds = model.card, watch.seconds()
    facts = (
        f"{card.parameters / 1e6:.2f} M parameters, {card.gmacs:.2f} GMAC a slice, {model.precision}, "
        f"{html.escape(model.engine.graph.runtime)}. Loaded in {seconds['load']:.2f} s; "
        f"{1000 * seconds['per_slice']:.0f} ms a slice from voxels to mask."
    )
    rows = "\n".join(_row(model, result, folder) for result in results)
    return f"<h2>{html.escape(card.id)}: {html.escape(card.title)}</h2>\n<p>{facts}</p>\n{rows}"


def _row(model: Model, result: _Result, folder: Path) -> str:
    case, mask = result.case, result.mask
    k = int(np.argmax((mask | case.truth).sum(axis=(1, 2))))
    gray = _to_8_bit(case.image.array[0, k])
    uncertainty = result.segmentation.uncertainty.array[0, k].astype(np.float32)
    pictures = case_pictures(gray, mask[k], uncertainty, case.truth[k])
    figures = []
    for title, picture in pictures.items():
        name = f"pictures/{_stem(model, case)}_{title}.png"
        write_png(picture, folder / name)
        figures.append(f'<figure><img src="{name}" alt="{title}"><figcaption>{title}</figcaption></figure>')
    file = f"{_stem(model, case)}.seg.nrrd"
    return (
        f"<section><h3>{html.escape(case.name)}</h3>{''.join(figures)}"
        f'<p>{_words(result, k)} <a href="{file}">{file}</a></p></section>'
    )


def _words(result: _Result, k: int) -> str:
    frames = result.case.truth.shape[0]
    time_text = f"{1000 * result.seconds / frames:.0f} ms{' a frame' if frames > 1 else ''}."
    if result.dice is None:
        return f"No lesion there, none drawn. {time_text}"
    if not result.case.truth.any():
        return f"No lesion there, but one was drawn. {time_text}"
    lesions = [m for m in result.measurements if m.slice == k]
    return f"{_lesion_words(lesions)} Dice {100 * result.dice:.1f} %. {time_text}"


def _lesion_words(lesions: list[LesionMeasurement]) -> str:
    """Of the lesions of one slice, largest first."""
    if not lesions:
        return "Nothing drawn."
    m = lesions[0]
    area = "Area" if len(lesions) == 1 else f"{len(lesions)} lesions; largest: area"
    return (
        f"{area} {m.area:.0f} {m.unit}², axes {m.long_axis:.1f} × {m.short_axis:.1f} {m.unit}, "
        f"depth/width {m.depth_width_ratio:.2f}."
    )


def _to_8_bit(array: NDArray[Any]) -> NDArray[np.uint8]:
    low, high = float(array.min()), float(array.max())
    return np.asarray(255 * (array.astype(np.float64) - low) / max(high - low, 1e-9), dtype=np.uint8)


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>LeanSeg demo</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem;
  background: #14171b; color: #e6e8ea; }}
a {{ color: #7fb8ff; }}
section {{ border-top: 1px solid #343a40; padding: .5rem 0 1rem; }}
figure {{ display: inline-block; margin: 0 .75rem .5rem 0; width: 22%; min-width: 12rem; vertical-align: top; }}
figure img {{ width: 100%; }}
figcaption, .screens p {{ color: #9aa3ab; }}
.screens img {{ width: 100%; }}
pre {{ background: #0e1013; padding: .75rem; white-space: pre-wrap; }}
</style></head><body>
<h1>LeanSeg demo</h1>
<p>Research only; not for clinical use. The phantoms are simulated, so their figures say that the way works from
image to mask, not how accurate a model is on patients; accuracy is measured by <code>leanseg evaluate</code>.
The green outline is the model's, the orange one the truth; of brains the whole tumor is yellow, its core red, what
enhances blue. Uncertainty runs from black (sure) to yellow (unsure). Crosses are answers: blue, tumor; red, none.
The <code>.seg.nrrd</code> files open in 3D Slicer. Real cases, where there are any, are the first test images of each
class; px stands where a file states no pixel size.</p>
{sections}
</body></html>
"""
