"""What came out of one brain, and what each slice of it cost. No Slicer, no Qt: made in any thread."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from DynamicBrainSegLib.thorough import Undecided, isThorough, undecided

if TYPE_CHECKING:
    from DynamicBrainSegLib.inputs import BrainImages
    from leanseg.api import Model
    from leanseg.inference.decisions import DynamicConfig
    from leanseg.prediction import Prediction
    from leanseg.processing.brain import BrainInput
    from leanseg.request import UncertaintyKind
    from leanseg.segmentation import Segmentation

NESTED, EXCLUSIVE = "nested", "exclusive"  # schemes of segments: WT, TC, ET or ED, NCR, ET
SKIP = 0  # decision; as leanseg.inference.decisions has it


@dataclass(frozen=True)
class BrainOptions:
    """What a person chose for one run."""

    model: str = "med_danet_v2"
    precision: str = "auto"
    costBias: float = 0.0
    """Above 0 faster, below 0 more thorough than trained."""
    alignment: str = "resample"
    """`resample`, or `rigid`: also turned and shifted onto the reference"""
    stripSkull: bool = False
    uncertainty: UncertaintyKind = "entropy"


@dataclass(frozen=True, eq=False)
class PreparedImages:
    """What the model sees, and what a person should know about it."""

    modelInput: BrainInput
    warnings: tuple[str, ...]
    """One line each: what speaks against these images"""
    notes: tuple[str, ...]
    """One line each: what was resampled or moved onto the reference"""


@dataclass(frozen=True)
class DecidedSlice:
    """What was done with one slice of the model grid, which has its slices from foot to head."""

    index: int
    """From 0, on the model grid; overrides are by it"""
    decision: int
    """0 is skip; of `BrainResult.decisionNames`"""
    name: str
    """`skip`, `crop_64`, ..., `whole`"""
    bits: tuple[int, ...]
    """That the network asks for in each encoder stage; empty where it chooses none"""
    first: str
    """Name of a smaller crop that was tried before and cut the tumor; empty where none was"""
    gmacs: float
    """With what deciding, and a crop tried first, cost"""
    centerRasMm: tuple[float, float, float]
    """World position of the middle of the slice"""
    maxUncertainty: float
    """0 to 1; 0 where skipped"""
    uncertainMm2: float
    """Area in which the model is not certain"""
    tumorMm2: float
    """Area of the whole tumor"""


@dataclass(frozen=True, eq=False)
class BrainRun:
    """What is needed to compute single slices anew."""

    images: BrainImages
    options: BrainOptions
    model: Model
    prepared: PreparedImages
    prediction: Prediction
    """On the model grid"""

    @property
    def config(self) -> DynamicConfig | Undecided:
        return undecided(self.prediction) if isThorough(self.model.card) else self.model.engine.config

    @property
    def sizeJi(self) -> tuple[int, int]:
        """Height and width of the model grid."""
        _depth, height, width = self.prediction.probabilities.geometry.shape
        return height, width

    @cached_property
    def fullDecision(self) -> int:
        """The number of the dearest decision: `compute this slice fully`."""
        return int(np.argmax([self.config.macs_of(number, self.sizeJi) for number in range(len(self.config.names))]))


@dataclass(frozen=True, eq=False)
class BrainResult:
    """A segmentation on the reference's voxels, and what it took."""

    run: BrainRun
    segmentation: Segmentation
    """Labels, probabilities, uncertainty: (k, j, i) of the reference volume, geometry in the world"""
    decisions: tuple[DecidedSlice, ...]
    totalGmacs: float
    """All that was computed so far, slices that were computed anew and the deciding included"""
    wholeGmacs: float
    """What the dearest decision for every slice would have cost, deciding included"""
    seconds: float
    """All that was spent so far, without loading the model"""

    @property
    def images(self) -> BrainImages:
        return self.run.images

    @property
    def options(self) -> BrainOptions:
        return self.run.options

    @property
    def warnings(self) -> tuple[str, ...]:
        """One line each: what speaks against these images."""
        return self.run.prepared.warnings

    @property
    def notes(self) -> tuple[str, ...]:
        """One line each: what was resampled or moved onto the reference."""
        return self.run.prepared.notes

    @property
    def decisionNames(self) -> tuple[str, ...]:
        """By number: skip first, then as the card has them."""
        return self.run.config.names

    @property
    def fullDecision(self) -> int:
        """The number of the dearest decision: `compute this slice fully`."""
        return self.run.fullDecision

    @property
    def canOverrule(self) -> bool:
        """Whether single slices can be computed in another way."""
        return not isThorough(self.run.model.card)

    @property
    def precision(self) -> str:
        """In which everything was computed, whatever bits a slice asks for (docs/adr/0005-bits-are-accounting.md)."""
        return self.run.model.precision

    @property
    def sequences(self) -> tuple[str, ...]:
        """That the model has seen; one that was missing or constant is not among them."""
        there = zip(self.run.model.card.inputs, self.run.prepared.modelInput.presence, strict=True)
        return tuple(name for name, isThere in there if isThere)

    @cached_property
    def volumesMl(self) -> dict[str, float]:
        """WT, TC, ET, ED, NCR; as computed, whatever somebody does to the segments."""
        from leanseg.processing.measure import volume_ml

        masks = self.masks(EXCLUSIVE) | self.masks(NESTED)
        return {name: volume_ml(mask, self.segmentation.geometry) for name, mask in masks.items()}

    def masks(self, scheme: str) -> dict[str, np.ndarray]:
        """(k, j, i) bool by region, on the reference's voxels: WT, TC, ET where nested, else ED, NCR, ET."""
        if scheme == NESTED:
            return dict(zip(self.run.config.regions, self.segmentation.nested_masks(), strict=True))
        return {segment.id: self.segmentation.mask(segment.id) for segment in self.segmentation.segments}

    def reach(self, slices: Iterable[int]) -> np.ndarray:
        """(k, j, i) bool on the reference's voxels: what these slices of the model grid have any part in."""
        grid = self.run.prediction.uncertainty
        chosen = np.zeros_like(grid.array)
        chosen[:, list(slices)] = 1
        restored: np.ndarray = self.run.prepared.modelInput.trace.restore(grid.with_array(chosen)).array[0]
        return restored > 0


def brainResult(run: BrainRun, gmacs: float, started: float) -> BrainResult:
    """Bring a prediction back to the reference's voxels.

    :param gmacs: all that was computed for it.
    :param started: `time.perf_counter()` at the start, or as much earlier as was spent before.
    """
    from leanseg.processing.postprocess import restore

    model, prediction = run.model, run.prediction
    trace = run.prepared.modelInput.trace
    segmentation = restore(prediction, trace, model.card.labels, model.postprocessing)
    decisions = decidedSlices(run)
    isTwice = run.options.uncertainty == "flip_variance" and not isThorough(model.card)  # there it is counted already
    times = 2 if isTwice else 1
    whole = times * run.config.macs_of(run.fullDecision, run.sizeJi) + run.config.decision_macs
    return BrainResult(run, segmentation, decisions, gmacs, len(decisions) * whole / 1e9, time.perf_counter() - started)


def decidedSlices(run: BrainRun) -> tuple[DecidedSlice, ...]:
    """The engine's notes on each slice, with what can be read from its uncertainty and probabilities."""
    from leanseg.slicer_bridge.overlay import CERTAIN

    prediction, names = run.prediction, run.config.names
    pixelMm2 = float(np.prod(prediction.uncertainty.geometry.spacing_kji_mm[1:]))
    uncertainty, tumor = prediction.uncertainty.array[0], prediction.probabilities.array[0]
    slices = []
    for k, one in enumerate(prediction.notes["slice_decisions"]):
        isRun = one["decision"] != names[0]  # a skipped slice holds zeros only
        slices.append(
            DecidedSlice(
                index=k,
                decision=names.index(one["decision"]),
                name=one["decision"],
                bits=tuple(one["bits"]),
                first=one["first"],
                gmacs=one["gmacs"],
                centerRasMm=tuple(one["center_ras_mm"]),
                maxUncertainty=float(uncertainty[k].max()) if isRun else 0.0,
                uncertainMm2=np.count_nonzero(uncertainty[k] >= CERTAIN) * pixelMm2 if isRun else 0.0,
                tumorMm2=np.count_nonzero(tumor[k] >= run.model.postprocessing.threshold) * pixelMm2 if isRun else 0.0,
            )
        )
    return tuple(slices)
