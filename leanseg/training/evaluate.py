"""`leanseg evaluate`: a bundle on a data set with ground truth, through the same path as in use."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from leanseg.api import Model, load_engine, segment
from leanseg.errors import LeanSegError, UnknownNameError
from leanseg.processing.brain import SEQUENCES
from leanseg.report import Stopwatch, run_report
from leanseg.request import Device, Precision, Progress, no_progress, step
from leanseg.training.data import DATASETS, brats
from leanseg.training.data.case import Case, read_pair
from leanseg.training.evaluate_brains import evaluate_brains
from leanseg.training.evaluate_text import evaluate_text
from leanseg.training.metrics import CaseMetrics, case_metrics, expected_calibration_error, summarize
from leanseg.volume import Volume
from leanseg.weights.bundle import read_bundle, rewrite_card
from leanseg.weights.store import find_bundle

_MEASURED_BY = {
    "question_answering": "python benchmarks/questions.py model {model} --data DIR --part vqa_rad:test",
    "referring": "python benchmarks/referring.py model {model} --data DIR --part busi:test",
}
"""Engine -> what measures its models, from a checkout; `DIR` holds the data sets."""


def evaluate(
    model_id: str,
    dataset: str,
    root: Path,
    *,
    split: str = "test",
    device: Device = "auto",
    precision: Precision = "auto",
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """The run report with per-case and mean metrics, on each image's own grid.

    `root` is the folder of this data set; `split` is one of its splits, or `all`. Of brats it may name the sequences
    that the model gets to see: `fold0:t1ce`, `fold0:flair+t2`. A text-guided model is asked as `evaluate_text` says.

    Raises:
        UnknownNameError: no such data set, split or model.
        UnreadableFileError: `root` does not hold the data set.
        LeanSegError: another command measures models of this kind.
    """
    engine = find_bundle(model_id).card.engine
    if engine in _MEASURED_BY:
        raise LeanSegError(f"{model_id} is measured by: {_MEASURED_BY[engine].format(model=model_id)}")
    if engine == "text_prompted":
        options: dict[str, Any] = {"device": device, "precision": precision, "progress": progress}
        return evaluate_text(model_id, dataset, root, split=split, **options)
    if dataset == "brats":
        return _evaluate_brats(model_id, root, split, device, precision, progress)
    chosen = _cases_of(dataset, root, split)
    watch = Stopwatch()
    model = load_engine(model_id, device, precision)
    watch.loaded()
    rows, measured, probabilities, truths, unit = [], [], [], [], "px"
    for n, case in enumerate(chosen):
        step(progress, n, len(chosen), case.id)
        image, mask = read_pair(case)
        unit = "mm" if image.geometry.is_calibrated else "px"  # a data set is of one kind
        metrics, p, truth = _evaluate_case(model, image, mask, watch)
        figures = {_with_unit(key, unit): value for key, value in dataclasses.asdict(metrics).items()}
        row = {"id": case.id, "class": case.lesion_class, "split": case.split, **figures}
        rows.append(row)
        measured.append(metrics)
        probabilities.append(p.ravel())
        truths.append(truth.ravel())
    step(progress, len(chosen), len(chosen), "done")
    mean = {_with_unit(key, unit): value for key, value in summarize(measured).items()}
    mean["ece"] = {
        "mean": expected_calibration_error(np.concatenate(probabilities), np.concatenate(truths)),
        "n": len(chosen),
    }
    return run_report(model, watch, rows, mean)


def _evaluate_brats(
    model_id: str, root: Path, part: str, device: Device, precision: Precision, progress: Progress
) -> dict[str, Any]:
    name, _, few = part.partition(":")
    sequences = few.split("+") if few else list(SEQUENCES)
    for sequence in sequences:
        if sequence not in SEQUENCES:
            raise UnknownNameError("sequence", sequence, SEQUENCES)
    chosen = brats.select(brats.read_cases(root), name)
    watch = Stopwatch()
    model = load_engine(model_id, device, precision)
    watch.loaded()
    figures = evaluate_brains(model, chosen, watch, progress, sequences)
    return run_report(model, watch, figures.rows, figures.mean, figures.gmacs)


def _cases_of(dataset: str, root: Path, split: str) -> list[Case]:
    if dataset not in DATASETS:
        raise UnknownNameError("data set", dataset, (*DATASETS, "brats"))
    cases = DATASETS[dataset](root)
    splits = {case.split for case in cases}
    if split != "all" and split not in splits:
        raise UnknownNameError(f"split of {dataset}", split, {*splits, "all"})
    return [case for case in cases if split in ("all", case.split)]


def _evaluate_case(
    model: Model, image: Volume, mask: Volume, watch: Stopwatch
) -> tuple[CaseMetrics, np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    truth = mask.array[0, 0] > 0
    watch.begin_image()
    segmentation = segment(image, model)
    watch.image_done(image.geometry.shape[0])
    metrics = case_metrics(segmentation.labelmap[0] > 0, truth, image.geometry.spacing_kji_mm[1:])
    return metrics, segmentation.probabilities.array[0, 0], truth


def _with_unit(key: str, unit: str) -> str:
    """Distances carry their unit in the key: millimeters, or pixels where the images state no spacing."""
    return f"{key}_{unit}" if key == "hd95" else key


def record(report: dict[str, Any], folder: Path, name: str, command: str) -> None:
    """Put the means of a report into the card of its bundle, beside the command that measured them.

    Raises:
        LeanSegError: the report belongs to another model.
    """
    bundle = read_bundle(folder)
    if bundle.card.id != report["model"]:
        raise LeanSegError(f"The report is of {report['model']!r}, the card of {bundle.card.id!r}; they must agree.")
    figures = {
        key: {"mean": round(value["mean"], 4), "n": value["n"]}
        for key, value in report["mean"].items()
        if value["n"] and np.isfinite(value["mean"])
    }
    measured = {"command": command, "precision": report["precision"], **figures}
    rewrite_card(bundle, dataclasses.replace(bundle.card, metrics=bundle.card.metrics | {name: measured}))
