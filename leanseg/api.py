"""The facade: wires reading, preprocessing, engine and postprocessing; no mathematics here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from leanseg.errors import BundleError, LeanSegError, MissingDependencyError
from leanseg.files.images import read_image
from leanseg.inference.slicewise import SlicewiseEngine
from leanseg.processing.measure import LesionMeasurement, measure_slice
from leanseg.processing.postprocess import PostprocessingConfig, restore
from leanseg.processing.preprocess import PreprocessingConfig, preprocess
from leanseg.request import Device, Precision, Progress, UncertaintyKind, no_progress
from leanseg.runtime.graph import Graph
from leanseg.segmentation import Segmentation
from leanseg.volume import Volume
from leanseg.weights.bundle import Bundle
from leanseg.weights.card import ModelCard, parse_section
from leanseg.weights.store import find_bundle, list_bundles


@dataclass(frozen=True)
class Model:
    """A bundle with the engine that runs it. The caller holds it; nothing is cached behind its back."""

    bundle: Bundle
    engine: SlicewiseEngine
    device: str
    precision: str
    preprocessing: PreprocessingConfig
    postprocessing: PostprocessingConfig

    @property
    def card(self) -> ModelCard:
        return self.bundle.card

    @property
    def checksum(self) -> str:
        """SHA-256 of the file that runs: the graph, or on CUDA the weights."""
        return (self.card.weights if self.device == "cuda" else self.card.graphs[self.precision]).sha256


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
        LeanSegError: INT8 on CUDA.
    """
    bundle = find_bundle(model)
    card = bundle.card
    if card.engine != "slicewise":
        raise BundleError(f"The model {card.id} needs the engine {card.engine!r}, which is not here. Update LeanSeg.")
    if device == "cuda" and precision == "int8":
        raise LeanSegError("INT8 runs on the CPU only. Use --device cpu, or --precision fp32 for cuda.")
    chosen = precision if precision != "auto" else "int8" if "int8" in card.graphs and device != "cuda" else "fp32"
    return Model(
        bundle,
        SlicewiseEngine(_build_graph(bundle, device, chosen), card.gmacs, len(card.labels)),
        "cuda" if device == "cuda" else "cpu",
        chosen,
        parse_section(PreprocessingConfig, card.preprocessing, card.id, "card.preprocessing"),
        parse_section(PostprocessingConfig, card.postprocessing, card.id, "card.postprocessing"),
    )


def _build_graph(bundle: Bundle, device: Device, precision: str) -> Graph:
    if device == "cuda":
        try:
            from leanseg.runtime.torch_graph import TorchGraph
        except ImportError as error:
            raise MissingDependencyError(
                "--device cuda needs torch. Install the `train` extra, or use the CPU, which needs no torch."
            ) from error
        return TorchGraph(bundle, "cuda")
    from leanseg.runtime.openvino_graph import OpenVINOGraph

    onnx = bundle.graph(precision)
    try:
        return OpenVINOGraph(onnx)
    except MissingDependencyError as no_openvino:
        from leanseg.runtime.onnxruntime_graph import ONNXRuntimeGraph

        try:
            return ONNXRuntimeGraph(onnx)
        except MissingDependencyError:
            raise no_openvino from None


def segment(
    image: Path | Volume,
    model: Model | str,
    *,
    postprocessing: PostprocessingConfig | None = None,
    uncertainty: UncertaintyKind = "entropy",
    progress: Progress = no_progress,
) -> Segmentation:
    """An image or volume -> segmentation on its own grid.

    `postprocessing` replaces the card's.

    Raises:
        UnreadableFileError: the file cannot be read.
        IncompatibleInputError: the image does not fit the model.
        InferenceCancelled: `progress` returned False.
    """
    if isinstance(model, str):
        model = load_engine(model)
    volume = image if isinstance(image, Volume) else read_image(image)
    model_input = preprocess(volume, model.preprocessing)
    prediction = model.engine.predict(model_input, progress, uncertainty)
    return restore(prediction, model_input.trace, model.card.labels, postprocessing or model.postprocessing)


def measure(segmentation: Segmentation, segment_id: str) -> list[LesionMeasurement]:
    """Area, axes and depth/width ratio of every component of a segment, slice by slice, largest first in each."""
    mask = segmentation.mask(segment_id)
    _, dj, di = segmentation.geometry.spacing_kji_mm
    unit = "mm" if segmentation.geometry.is_calibrated else "px"
    spacing = (dj, di) if unit == "mm" else (1.0, 1.0)
    return [m for k, one in enumerate(mask) for m in measure_slice(one, spacing, k, unit)]
