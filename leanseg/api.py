"""The facade: wires reading, preprocessing, engine and postprocessing; no mathematics here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from leanseg.errors import BundleError, IncompatibleInputError, LeanSegError, MissingDependencyError
from leanseg.files.images import read_image
from leanseg.inference.decisions import DynamicConfig
from leanseg.inference.dynamic_slicewise import DynamicSlicewiseEngine, graph_shapes
from leanseg.inference.question_answering import QuestionAnsweringEngine, question_engine
from leanseg.inference.referring import ReferringEngine, referring_engine
from leanseg.inference.slicewise import SlicewiseEngine
from leanseg.inference.sliding_window import SlidingWindowConfig, SlidingWindowEngine
from leanseg.inference.text_prompted import PARTS, TEXT, TextPromptedConfig, TextPromptedEngine
from leanseg.processing.brain import BrainInput, BrainPreprocessingConfig, preprocess_brain
from leanseg.processing.measure import LesionMeasurement, measure_slice, volume_ml
from leanseg.processing.postprocess import PostprocessingConfig, restore
from leanseg.processing.preprocess import ModelInput, PreprocessingConfig, preprocess
from leanseg.prompts.encoder import SmallTextEncoder
from leanseg.referring_session import segment_by_reference
from leanseg.request import Device, Precision, Progress, UncertaintyKind, no_progress
from leanseg.runtime.graph import Graph
from leanseg.runtime.packed_graph import complete_graph, complete_graphs
from leanseg.segmentation import Segmentation
from leanseg.text_session import segment_by_text
from leanseg.volume import Volume
from leanseg.weights.bundle import Bundle
from leanseg.weights.card import ModelCard, parse_section
from leanseg.weights.store import find_bundle, list_bundles

Sequences = Mapping[str, Path | Volume]
"""Images of one patient by the names of `ModelCard.inputs`."""


@dataclass(frozen=True)
class Model:
    """A bundle with the engine that runs it. The caller holds it; nothing is cached behind its back."""

    bundle: Bundle
    engine: (
        SlicewiseEngine
        | DynamicSlicewiseEngine
        | SlidingWindowEngine
        | TextPromptedEngine
        | ReferringEngine
        | QuestionAnsweringEngine
    )
    device: str
    precision: str
    preprocessing: PreprocessingConfig | BrainPreprocessingConfig
    postprocessing: PostprocessingConfig

    @property
    def card(self) -> ModelCard:
        return self.bundle.card

    @property
    def checksum(self) -> str:
        """SHA-256 of the file that runs: the graph (of several, one for all), or on CUDA the weights."""
        return self.card.weights.sha256 if self.device == "cuda" else self.card.checksum(self.precision)


def list_models() -> list[ModelCard]:
    """Cards of every bundle that can be found, offline."""
    return [bundle.card for bundle in list_bundles()]


def load_engine(model: str, device: Device = "auto", precision: Precision = "auto") -> Model:
    """Find a bundle by id or folder and make it ready to run.

    `auto` is the CPU and, where the bundle has it, INT8.

    Raises:
        UnknownNameError: no such model.
        BundleError: damaged, newer, or without this precision.
        MissingDependencyError: no runtime for this device.
        LeanSegError: INT8, or a model of several graphs, on CUDA.
    """
    bundle = find_bundle(model)
    card = bundle.card
    build = _ENGINES.get(card.engine)
    if build is None:
        raise BundleError(f"The model {card.id} needs the engine {card.engine!r}, which is not here. Update LeanSeg.")
    if device == "cuda" and precision == "int8":
        raise LeanSegError("INT8 runs on the CPU only. Use --device cpu, or --precision fp32 for cuda.")
    chosen = precision if precision != "auto" else "int8" if "int8" in card.precisions and device != "cuda" else "fp32"
    engine, preprocessing = build(bundle, device, chosen)
    postprocessing = parse_section(PostprocessingConfig, card.postprocessing, card.id, "card.postprocessing")
    if isinstance(engine, ReferringEngine):
        postprocessing = replace(postprocessing, threshold=engine.config.threshold)
    return Model(bundle, engine, "cuda" if device == "cuda" else "cpu", chosen, preprocessing, postprocessing)


def _slicewise(bundle: Bundle, device: Device, precision: str) -> tuple[Any, Any]:
    """Engine and preprocessing of a model that does the same with every slice."""
    card = bundle.card
    graph = _torch_graph(bundle) if device == "cuda" else _cpu_graph(complete_graph(bundle, precision))
    config = parse_section(PreprocessingConfig, card.preprocessing, card.id, "card.preprocessing")
    return SlicewiseEngine(graph, card.gmacs, len(card.labels)), config


def _dynamic(bundle: Bundle, device: Device, precision: str) -> tuple[Any, Any]:
    """Engine and preprocessing of a model that decides for each slice; its graphs are compiled side by side."""
    card = bundle.card
    if device == "cuda":
        raise LeanSegError(f"{card.id} decides for each slice, which runs on the CPU only. Use --device cpu.")
    preprocessing = parse_section(BrainPreprocessingConfig, card.preprocessing, card.id, "card.preprocessing")
    config = parse_section(DynamicConfig, card.engine_config, card.id, "card.engine_config")
    if len(config.regions) != len(card.labels):
        raise BundleError(
            f"The card of {card.id} has {len(card.labels)} labels for {config.regions}. Restore the bundle."
        )
    parts = complete_graphs(bundle, precision)
    seen_ji = config.branches[-1].size_ji if config.window_step else preprocessing.size_ji
    shapes = graph_shapes(config, len(preprocessing.sequences), seen_ji)
    wanted = {name: (parts[part], shape) for name, (part, shape) in shapes.items() if part in parts}
    with ThreadPoolExecutor() as pool:
        graphs = list(pool.map(lambda one: _cpu_graph(*one), wanted.values()))
    return DynamicSlicewiseEngine(dict(zip(wanted, graphs, strict=True)), config), preprocessing


def _sliding_window(bundle: Bundle, device: Device, precision: str) -> tuple[Any, Any]:
    """Engine and preprocessing of a 3-D network of brains."""
    card = bundle.card
    if device == "cuda":
        raise LeanSegError(f"{card.id} sees windows of a volume, which runs on the CPU only. Use --device cpu.")
    preprocessing = parse_section(BrainPreprocessingConfig, card.preprocessing, card.id, "card.preprocessing")
    config = parse_section(SlidingWindowConfig, card.engine_config, card.id, "card.engine_config")
    graph = _cpu_graph(complete_graph(bundle, precision))
    return SlidingWindowEngine(graph, config, card.gmacs, len(card.labels)), preprocessing


def _text_prompted(bundle: Bundle, device: Device, precision: str) -> tuple[Any, Any]:
    """Engine and preprocessing of a model that is told what to look for."""
    card = bundle.card
    if device == "cuda":
        raise LeanSegError(f"{card.id} answers prompts, which runs on the CPU only. Use --device cpu.")
    preprocessing = parse_section(PreprocessingConfig, card.preprocessing, card.id, "card.preprocessing")
    config = parse_section(TextPromptedConfig, card.engine_config, card.id, "card.engine_config")
    parts = complete_graphs(bundle, precision)
    if missing := [part for part in PARTS if part not in parts]:
        raise BundleError(f"The bundle of {card.id} has no graph {', '.join(missing)}. Restore the bundle.")
    with ThreadPoolExecutor() as pool:
        graphs = dict(zip(PARTS, pool.map(lambda part: _cpu_graph(parts[part]), PARTS), strict=True))
    tokenizer = bundle.read(config.tokenizer).decode("utf-8", "replace")
    encoder = SmallTextEncoder(graphs[TEXT], tokenizer, config.text_length, config.text_width)
    return TextPromptedEngine(graphs, config, encoder), preprocessing


_ENGINES: dict[str, Callable[[Bundle, Device, str], tuple[Any, Any]]] = {
    "slicewise": _slicewise,
    "dynamic_slicewise": _dynamic,
    "sliding_window": _sliding_window,
    "text_prompted": _text_prompted,
    "referring": lambda bundle, device, precision: referring_engine(bundle, device, precision, _cpu_graph),
    "question_answering": lambda bundle, device, precision: question_engine(bundle, device, precision, _cpu_graph),
}


def _torch_graph(bundle: Bundle) -> Graph:
    try:
        from leanseg.runtime.torch_graph import TorchGraph
    except ImportError as error:
        raise MissingDependencyError(
            "--device cuda needs torch. Install the `train` extra, or use the CPU, which needs no torch."
        ) from error
    return TorchGraph(bundle, "cuda")


def _cpu_graph(onnx: bytes, shape: tuple[int, ...] | None = None) -> Graph:
    from leanseg.runtime.openvino_graph import OpenVINOGraph

    try:
        return OpenVINOGraph(onnx, shape=shape)
    except MissingDependencyError as no_openvino:
        from leanseg.runtime.onnxruntime_graph import ONNXRuntimeGraph

        try:
            return ONNXRuntimeGraph(onnx)
        except MissingDependencyError:
            raise no_openvino from None


def segment(
    image: Path | Volume | Sequences,
    model: Model | str,
    *,
    postprocessing: PostprocessingConfig | None = None,
    uncertainty: UncertaintyKind = "entropy",
    progress: Progress = no_progress,
    overrides: Mapping[int, int] | None = None,
    cost_bias: float = 0.0,
    prompt: str | None = None,
) -> Segmentation:
    """An image or volume, or sequences by name, -> segmentation on its own grid.

    Args:
        image: for a model of several inputs a mapping; any non-empty subset of them will do.
        postprocessing: replaces the card's.
        overrides: for models that decide: slice of the model grid (from 0, `notes["slice_decisions"]`) -> decision.
        cost_bias: for models that decide: above 0 faster, below 0 more thorough; see `inference/decisions.py`.
        prompt: for models that are told what to look for; None: any tumor. See `text_session.segment_by_text`; of
            models for sentences about one of several objects, `referring_session.segment_by_reference`.

    Raises:
        UnreadableFileError: a file cannot be read.
        IncompatibleInputError: the image does not fit the model.
        InferenceCancelled: `progress` returned False.
        LeanSegError: an override that does not exist, or what this model does not take: overrides, cost bias, prompt,
            another kind of uncertainty; or a sentence that it does not read.
    """
    if isinstance(model, str):
        model = load_engine(model)
    engine = model.engine
    if isinstance(engine, QuestionAnsweringEngine):
        raise LeanSegError(f"{model.card.id} answers questions and outlines nothing. Use leanseg.answer.")
    if (overrides or cost_bias) and not isinstance(engine, DynamicSlicewiseEngine):
        raise LeanSegError(f"{model.card.id} does the same with every slice. Leave overrides and cost bias away.")
    if isinstance(engine, TextPromptedEngine | ReferringEngine):
        return _segment_by_text(image, model, prompt or "", postprocessing, uncertainty, progress)
    if prompt is not None:
        raise LeanSegError(f"{model.card.id} takes no text; leave the prompt away.")
    model_input = _model_input(image, model)
    del image  # where the caller keeps no copy, its memory is free for the result
    if isinstance(engine, DynamicSlicewiseEngine):
        prediction = engine.predict(model_input, progress, uncertainty, overrides=overrides, cost_bias=cost_bias)
    else:
        prediction = engine.predict(model_input, progress, uncertainty)
    if isinstance(model_input, BrainInput):
        missing = [name for name, there in zip(model.card.inputs, model_input.presence, strict=True) if not there]
        notes = {**prediction.notes, "missing": missing, "brain_ml": round(model_input.brain_ml, 1)}
        prediction = replace(prediction, notes=notes)
    trace = model_input.trace
    del model_input  # 70 MB of a brain, while the result is brought back
    return restore(prediction, trace, model.card.labels, postprocessing or model.postprocessing)


def _segment_by_text(
    image: Path | Volume | Sequences,
    model: Model,
    prompt: str,
    postprocessing: PostprocessingConfig | None,
    uncertainty: UncertaintyKind,
    progress: Progress,
) -> Segmentation:
    if isinstance(image, Mapping):
        raise IncompatibleInputError(f"{model.card.id} takes one image; got {', '.join(image)}. Give it alone.")
    if uncertainty != "entropy":
        raise LeanSegError(f"{model.card.id} says itself how uncertain it is. Leave {uncertainty} away.")
    by_text = segment_by_reference if isinstance(model.engine, ReferringEngine) else segment_by_text
    if postprocessing is not None:
        model = replace(model, postprocessing=postprocessing)
    result = by_text(model, _volume(image), model.card.labels, prompt, progress)
    return replace(result, notes={**result.notes, "gmacs": model.card.gmacs * result.notes["slices"]})


def _model_input(image: Path | Volume | Sequences, model: Model) -> ModelInput:
    names = model.card.inputs
    if isinstance(model.preprocessing, PreprocessingConfig):
        if isinstance(image, Mapping):
            raise IncompatibleInputError(f"{model.card.id} takes one image; got {', '.join(image)}. Give it alone.")
        return preprocess(_volume(image), model.preprocessing)
    if not isinstance(image, Mapping):
        raise IncompatibleInputError(f"{model.card.id} takes sequences by name. Give some of {', '.join(names)}.")
    return preprocess_brain({name: _volume(one) for name, one in image.items()}, model.preprocessing)


def _volume(image: Path | Volume) -> Volume:
    return image if isinstance(image, Volume) else read_image(image)


def measure(segmentation: Segmentation, segment_id: str) -> list[LesionMeasurement]:
    """Area, axes and depth/width ratio of every component of a segment, slice by slice, largest first in each."""
    mask = segmentation.mask(segment_id)
    _, dj, di = segmentation.geometry.spacing_kji_mm
    unit = "mm" if segmentation.geometry.is_calibrated else "px"
    spacing = (dj, di) if unit == "mm" else (1.0, 1.0)
    return [m for k, one in enumerate(mask) for m in measure_slice(one, spacing, k, unit)]


def measure_regions(segmentation: Segmentation, model: Model) -> dict[str, float]:
    """Volume in ml of each nested region of a model that has such, e.g. WT, TC, ET.

    Raises:
        LeanSegError: the model's labels are not nested regions.
    """
    if not isinstance(model.preprocessing, BrainPreprocessingConfig):
        raise LeanSegError(f"The labels of {model.card.id} are not nested regions. Use `measure`.")
    engine = model.engine
    regions = engine.config.regions if isinstance(engine, DynamicSlicewiseEngine) else ("WT", "TC", "ET")
    masks = segmentation.nested_masks()
    if len(masks) != len(regions):
        raise LeanSegError(f"{model.card.id} has {len(masks)} labels; {', '.join(regions)} are needed. Use `measure`.")
    return {name: volume_ml(mask, segmentation.geometry) for name, mask in zip(regions, masks, strict=True)}
