"""The verbs of the command line: one function each, called with the parsed arguments."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leanseg.console import print_table, progress_bar
from leanseg.errors import MissingDependencyError, OutputError
from leanseg.request import Alignment

if TYPE_CHECKING:
    from leanseg.api import Model
    from leanseg.processing.postprocess import PostprocessingConfig
    from leanseg.segmentation import Segmentation
    from leanseg.volume import Volume
    from leanseg.weights.card import ModelCard


def models(arguments: argparse.Namespace) -> None:
    """List the models on the search path."""
    from leanseg.api import list_models

    rows = [_model_row(card) for card in list_models()]
    if arguments.json:
        print(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    if not rows:
        print("There is no model. Put bundles into Resources/Models or set LEANSEG_MODELS to their folder.")
        return
    columns = ("id", "task", "precisions", "size", "license")
    sizes = (
        {**row, "precisions": ", ".join(row["precisions"]), "size": f"{row['bytes'] / 1e6:.1f} MB"} for row in rows
    )
    print_table(columns, [[str(row[column]) for column in columns] for row in sizes])


def _model_row(card: ModelCard) -> dict[str, Any]:
    from leanseg.catalog import SYSTEMS

    sizes = {p: card.bytes_of(p) for p in card.precisions}
    smallest = min(sizes, key=lambda precision: sizes[precision])
    return {
        "id": card.id,
        "system": card.system,
        "module": next((system.module for system in SYSTEMS if system.id == card.system), ""),
        "task": card.task,
        "inputs": list(card.inputs),
        "labels": [label.name for label in card.labels],
        "precisions": list(card.precisions),
        "bytes": sizes[smallest],
        "sha256": card.checksum(smallest),
        "license": card.license,
    }


def systems(arguments: argparse.Namespace) -> None:
    """List the catalog."""
    from leanseg.catalog import SYSTEMS

    if arguments.json:
        print(json.dumps([system.to_json() for system in SYSTEMS], indent=1, ensure_ascii=False))
        return
    rows = [[s.id, s.state, s.bundle, s.title, s.home[0]] for s in SYSTEMS]
    print_table(("id", "state", "bundle", "title", "home"), rows)


def segment(arguments: argparse.Namespace) -> None:
    """Image file(s) -> .seg.nrrd, optionally uncertainty and report."""
    from leanseg.api import load_engine
    from leanseg.api import segment as run_segment
    from leanseg.files.images import read_image
    from leanseg.files.seg_nrrd import write_segmentation, write_volume
    from leanseg.inputs import check_options, inputs_for, split_inputs
    from leanseg.processing.prepare_brain import prepare_brain
    from leanseg.report import Stopwatch, run_report, write_json

    inputs = split_inputs(arguments.input)
    _check_outputs(arguments, [path for _, path in inputs])
    watch = Stopwatch()
    model = load_engine(arguments.model, arguments.device, arguments.precision)
    paths = inputs_for(model.card, inputs)
    takes_sequences = len(model.card.inputs) > 1
    check_options(model.card, arguments.prompt, arguments.align is not None or arguments.strip_skull)
    watch.loaded()
    volumes = {name: read_image(path) for name, path in paths.items()}
    reference, first = next(iter(volumes.items()))
    remarks: list[str] = []
    with progress_bar("segment", shown=first.geometry.shape[0] > 1) as progress:
        given: list[Volume | Mapping[str, Volume]] = [first]
        if takes_sequences:
            align: Alignment = arguments.align or "resample"
            brain = prepare_brain(volumes, reference, align, arguments.strip_skull, progress)
            given, remarks = [brain.sequences], [*brain.warnings, *brain.notes]
            del brain
        del volumes, first
        result = run_segment(
            given.pop(),  # nobody else holds it, so that its 70 MB are free while the result is made
            model,
            postprocessing=_changed(model.postprocessing, arguments),
            uncertainty=arguments.uncertainty_kind or "entropy",
            progress=progress,
            cost_bias=arguments.cost_bias,
            prompt=arguments.prompt,
        )
    watch.image_done(result.notes["slices"])
    figures, text, warnings = _findings(result, model, paths, arguments.output)
    if arguments.uncertainty is not None:
        write_volume(result.uncertainty, arguments.uncertainty)
    if arguments.report is not None:
        case = {"id": next(iter(paths.values())).name, **figures}
        write_json(run_report(model, watch, [case], gmacs=result.notes["gmacs"]), arguments.report)
    write_segmentation(result, arguments.output)
    print(text)
    for warning in [*remarks, *warnings]:
        print(f"leanseg: note: {warning}", file=sys.stderr)


def _findings(
    result: Segmentation, model: Model, paths: Mapping[str, Path], output: Path
) -> tuple[dict[str, Any], str, list[str]]:
    """Figures of a case for the report, what is printed, and what should be known before trusting it."""
    from leanseg.api import measure, measure_regions
    from leanseg.summaries import brain_warnings, lesion_summary, region_summary

    card = model.card
    if "missing" in result.notes:  # of a brain
        volumes = measure_regions(result, model)
        figures = {"volumes_ml": volumes, **result.notes}
        return figures, region_summary(volumes, result.notes, output), brain_warnings(result.notes, card)
    measurements = measure(result, result.segments[0].id)
    figures = {"measurements": [dataclasses.asdict(m) for m in measurements]}
    if "prompt" in result.notes:
        return {**figures, **result.notes}, lesion_summary(measurements, output), list(result.notes["warnings"])
    warnings = []
    if result.geometry.shape[0] > 1:
        warnings.append(
            f"{card.id} was trained on {card.inputs[0]} images and cannot tell whether "
            f"{next(iter(paths.values())).name} is one; it outlines something in other images too."
        )
    return figures, lesion_summary(measurements, output), warnings


def _check_outputs(arguments: argparse.Namespace, images: Sequence[Path]) -> None:
    """Before the work starts: every output can be written, and none is an input."""
    from leanseg.files.seg_nrrd import SEGMENTATION_SUFFIXES, VOLUME_SUFFIXES, check_output

    outputs = {
        arguments.output: SEGMENTATION_SUFFIXES,
        arguments.uncertainty: VOLUME_SUFFIXES,
        arguments.report: (".json",),
    }
    for path, suffixes in outputs.items():
        if path is not None:
            if any(path.resolve() == image.resolve() for image in images):
                raise OutputError(f"{path} is the input; it would be overwritten. Choose another name.")
            check_output(path, suffixes)


def _changed(card: PostprocessingConfig, arguments: argparse.Namespace) -> PostprocessingConfig:
    """The card's postprocessing with what the arguments change."""
    return dataclasses.replace(
        card,
        threshold=card.threshold if arguments.threshold is None else arguments.threshold,
        largest_component=card.largest_component or arguments.largest_component,
    )


def evaluate(arguments: argparse.Namespace) -> None:
    """Print and write metrics on a data set."""
    from leanseg.files.seg_nrrd import check_output
    from leanseg.report import write_json

    with _make_floor("evaluate"):
        from leanseg.training.evaluate import evaluate as run_evaluate
        from leanseg.training.evaluate import record
    from leanseg.weights.store import find_bundle

    if arguments.json is not None:
        check_output(arguments.json, (".json",))
    with progress_bar(f"evaluate {arguments.dataset}") as progress:
        report = run_evaluate(
            arguments.model,
            arguments.dataset,
            arguments.root,
            split=arguments.split,
            device=arguments.device,
            precision=arguments.precision,
            progress=progress,
        )
    if arguments.json is not None:
        write_json(report, arguments.json)
    mean = report["mean"]
    print_table(("metric", "mean", "n"), [[k, f"{v['mean']:.4f}", str(v["n"])] for k, v in mean.items()])
    load, per_slice = report["seconds"]["load"], report["seconds"]["per_slice"]
    print(f"{report['model']} {report['precision']}: {1000 * per_slice:.1f} ms a slice, load {load:.2f} s")
    if arguments.record:
        command = f"leanseg evaluate {shlex.quote(arguments.model)} --dataset {arguments.dataset}"
        command += f' --root "$LEANSEG_DATA/{arguments.root.resolve().name}" --split {arguments.split}'
        command += f" --precision {report['precision']} --device {report['device']}"
        name = f"{arguments.dataset}:{arguments.split}:{report['precision']}"
        record(report, find_bundle(arguments.model).folder, name, command)


def train(arguments: argparse.Namespace) -> None:
    """Train a recipe into a run folder."""
    with _make_floor("train"):
        from leanseg.training.data import data_root
        from leanseg.training.recipe import load_recipe
        from leanseg.training.run import train as run_train

    recipe = load_recipe(arguments.recipe, arguments.set)
    folder = arguments.out or Path("runs") / recipe.id
    with progress_bar(f"train {recipe.id}") as progress:
        run_train(recipe, data_root(arguments.data), folder, arguments.resume, progress)
    print(f"Trained: {folder}. Next: leanseg export {shlex.quote(str(folder))} -o BUNDLE")


def export(arguments: argparse.Namespace) -> None:
    """Run folder -> bundle."""
    with _make_floor("export"):
        from leanseg.training.data import data_root
        from leanseg.training.export import export as run_export

    bundle = run_export(arguments.run, arguments.output, data_root(arguments.data), arguments.set)
    for name, file in sorted({**bundle.card.graphs, "weights": bundle.card.weights}.items()):
        print(f"{name}: {file.file}, {file.bytes / 1e6:.2f} MB")
    print(f"Bundle: {bundle.folder}")


def bench(arguments: argparse.Namespace) -> None:
    """Time the models on this computer."""
    from leanseg.bench import COLUMNS, EXPLAINED, table_rows
    from leanseg.bench import bench as run_bench
    from leanseg.files.seg_nrrd import check_output
    from leanseg.report import write_json

    if arguments.json is not None:
        check_output(arguments.json, (".json",))
    with progress_bar("bench") as progress:
        reports = run_bench(arguments.models, arguments.rounds, progress)
    if arguments.json is not None:
        write_json(reports, arguments.json)
    print_table(COLUMNS, table_rows(reports))
    print(EXPLAINED)


def demo(arguments: argparse.Namespace) -> None:
    """Segment the built-in cases with every model; write a page with pictures."""
    from leanseg.demo import run_demo

    with progress_bar("demo") as progress:
        page = run_demo(arguments.output, progress)
    print(f"Open {page} in a browser.")


def doctor(arguments: argparse.Namespace) -> None:
    """Say what is installed, what is missing, and what to do."""
    from leanseg.doctor import examine

    print_table(("what", "state", "what to do"), examine())


@contextmanager
def _make_floor(verb: str) -> Iterator[None]:
    """Imports of the MAKE floor: a missing package becomes one clear line."""
    try:
        yield
    except ImportError as error:
        if error.name is None or error.name.partition(".")[0] == "leanseg":
            raise
        raise MissingDependencyError(
            f"`leanseg {verb}` needs {error.name}, which is not installed. "
            'In a checkout of LeanSeg, run: pip install -e ".[train]"'
        ) from error
