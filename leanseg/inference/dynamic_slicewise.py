"""The dynamic engine: decide for every slice, then run what was decided, slices of one decision together.

Papers: Med-DANet (arXiv 2206.06575) and Med-DANet V2 (arXiv 2310.18656). A skipped slice runs nothing but the decision
network. Crops are cut at whole pixels and pasted where they were cut.

Graphs run on batches of a fixed number of slices, the last one filled up with zeros: a runtime prepares itself for a
shape once, and a new batch size in every case would cost more than the filling. Cancel takes effect between batches.

Whatever bits the network asks for, a branch is one graph of one precision (docs/adr/0005-bits-are-accounting.md); they
count in `bit_weighted_gmacs`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from leanseg.errors import BundleError, LeanSegError
from leanseg.inference.decision_windows import predict_in_windows
from leanseg.inference.decisions import SKIP, DynamicConfig, SliceDecision, account, score
from leanseg.inference.slice_search import SliceSearch, is_cut
from leanseg.inference.uncertainty import flip_variance, nested_entropy
from leanseg.prediction import Prediction
from leanseg.processing.preprocess import ModelInput
from leanseg.request import Progress, UncertaintyKind, no_progress, step
from leanseg.runtime.graph import Graph, checked
from leanseg.volume import Volume

DECIDING_BATCH = 4
SEGMENTING_BATCH = 2
"""Slices; larger batches are no faster on two cores, and fill memory."""
DECISION, POSITION = "decision", "position"
Float32 = NDArray[np.float32]


def graph_shapes(
    config: DynamicConfig, channels: int, size_ji: tuple[int, int]
) -> dict[str, tuple[str, tuple[int, int, int, int]]]:
    """Which graphs the engine needs: name -> (part of the bundle, shape of its input)."""
    shapes = {branch.name: (branch.part, (SEGMENTING_BATCH, channels, *branch.size_ji)) for branch in config.branches}
    for name, macs in ((DECISION, config.decision_macs), (POSITION, config.position_macs)):
        if macs:
            shapes[name] = (name, (DECIDING_BATCH, channels, *size_ji))
    return shapes


class DynamicSlicewiseEngine:
    """Runs as many graphs as there are decisions; the probabilities are of nested regions, largest first."""

    def __init__(self, graphs: Mapping[str, Graph], config: DynamicConfig) -> None:
        """`graphs`: by the names of `graph_shapes`.

        Raises:
            BundleError: a graph is missing.
        """
        missing = [name for name in graph_shapes(config, 0, (0, 0)) if name not in graphs]
        if missing:
            raise BundleError(f"The bundle has no graph {', '.join(missing)}, as its card says. Restore the bundle.")
        self.graphs = dict(graphs)
        self.config = config

    @property
    def graph(self) -> Graph:
        """One of the graphs; all have the same runtime."""
        return self.graphs[self.config.branches[-1].name]

    def predict(
        self,
        model_input: ModelInput,
        progress: Progress = no_progress,
        uncertainty: UncertaintyKind = "entropy",
        *,
        overrides: Mapping[int, int] | None = None,
        cost_bias: float = 0.0,
    ) -> Prediction:
        """Probabilities of the regions, and one uncertainty a voxel; 0 in skipped slices.

        `flip_variance` also segments every slice mirrored left to right, at the place and with the decision of the
        first time, returns the mean probability of the two and the largest variance of a region.

        Args:
            overrides: slice of the model grid -> decision, whatever the network says.
            cost_bias: above 0 cheaper, below 0 more thorough decisions than trained; see `inference/decisions.py`.

        `notes` are those of `account` with the two arguments, `followed` (slices that were segmented, or segmented
        again, because tumor left what had been), `seconds` (`decide`, `position`, `segment`), and in `slice_decisions`
        also `center_ras_mm`, the middle of the slice in the patient.

        Raises:
            InferenceCancelled: `progress` returned False.
            BundleError: a graph does not do what the card says.
            LeanSegError: an override that does not exist, or any where windows decide.
        """
        if self.config.window_step:
            return self._in_windows(model_input, progress, uncertainty, overrides, cost_bias)
        run = _Run(self, model_input.volume, progress, uncertainty == "flip_variance")
        slices = run.decide(cost_bias, overrides)
        size = run.size_ji
        asked = {"cost_bias": cost_bias, "overrides": {int(k): int(d) for k, d in (overrides or {}).items()}}
        notes = account(slices, self.config, size) | asked | {"followed": run.followed, "seconds": run.seconds}
        if run.mirror:
            notes["gmacs"] = 2 * notes["gmacs"] - notes["deciding_gmacs"]
            notes["bit_weighted_gmacs"] = 2 * notes["bit_weighted_gmacs"] - notes["deciding_gmacs"]
        volume = model_input.volume
        middle = [[(size[1] - 1) / 2, (size[0] - 1) / 2, k] for k in range(len(slices))]
        for one, center in zip(notes["slice_decisions"], volume.geometry.ras_of(np.array(middle)), strict=True):
            one["center_ras_mm"] = [round(float(mm), 3) for mm in center]
        return Prediction(volume.with_array(run.probabilities), volume.with_array(run.spread), notes)

    def _in_windows(
        self,
        model_input: ModelInput,
        progress: Progress,
        uncertainty: UncertaintyKind,
        overrides: Mapping[int, int] | None,
        cost_bias: float,
    ) -> Prediction:
        if overrides:
            raise LeanSegError("Here windows decide, not slices: nothing can be overridden. Use a model without them.")
        inner, last = DynamicSlicewiseEngine(self.graphs, replace(self.config, window_step=0)), self.config.branches[-1]
        return predict_in_windows(
            lambda part: inner.predict(part, uncertainty=uncertainty, cost_bias=cost_bias),
            model_input,
            last.size_ji,
            self.config.window_step,
            self.config.names,
            progress,
        )


@dataclass
class _Run:
    """One call of `predict`: what came, and what has been found out so far."""

    engine: DynamicSlicewiseEngine
    volume: Volume
    progress: Progress
    mirror: bool

    def __post_init__(self) -> None:
        self.image = self.volume.array
        self.spacing_mm = self.volume.geometry.spacing_kji_mm[0]
        regions = len(self.engine.config.regions)
        self.probabilities: Float32 = np.zeros((regions, *self.image.shape[1:]), np.float32)
        self.spread: Float32 = np.zeros((1, *self.image.shape[1:]), np.float32)
        self.bits: dict[int, tuple[int, ...]] = {}
        self.seconds = {"decide": 0.0, "position": 0.0, "segment": 0.0}
        self.followed = 0
        self.cut: set[int] = set()
        """Slices with a crop whose edge cuts tumor."""
        self._done = 0

    @property
    def slices(self) -> int:
        return int(self.image.shape[1])

    @property
    def size_ji(self) -> tuple[int, int]:
        return self.image.shape[2], self.image.shape[3]

    def decide(self, cost_bias: float, overrides: Mapping[int, int] | None) -> list[SliceDecision]:
        """Decide for every slice, segment, and go on by what is found."""
        config = self.engine.config
        search = SliceSearch(self._scores(cost_bias), config, self.size_ji, self.spacing_mm, cost_bias, overrides)
        done = [SliceDecision(SKIP)] * self.slices
        chosen = search.first()
        while chosen.size:
            corners = self.corners(search.decisions, chosen, search.corners)
            self.segment(search.decisions, corners, chosen)
            for k in (int(k) for k in chosen):
                first = done[k] if done[k].decision else None
                corner, bits = (int(corners[k, 0]), int(corners[k, 1])), self.bits.get(k, ())
                done[k] = SliceDecision(int(search.decisions[k]), corner, bits, first, k in search.corners)
            chosen = search.following(self.probabilities[0] > 0.5, self.cut)
            self.cut = set()
        self.followed = search.followed
        step(self.progress, self.slices, self.slices, "done")
        return done

    def _scores(self, cost_bias: float) -> NDArray[np.float64]:
        """(slice, decision)"""
        config, choices = self.engine.config, len(self.engine.config.names)
        logits = np.zeros((self.slices, choices), np.float32)
        logits[:, -1] = 1.0  # without a decision network
        if config.decision_macs:
            for batch, outputs in self._batches(DECISION, np.arange(self.slices), None, "decide"):
                logits[batch] = checked(outputs, "decision_logits", (len(batch), choices))
        bias = cost_bias if config.decision_macs else 0.0
        return score(logits, config, self.size_ji, self.spacing_mm, bias)

    def corners(
        self, decisions: NDArray[np.int64], chosen: NDArray[np.intp], known: Mapping[int, tuple[int, int]]
    ) -> NDArray[np.int64]:
        """(slice, 2): first row and column of what the decision sees of these slices, in whole pixels."""
        config = self.engine.config
        corners = np.zeros((self.slices, 2), np.int64)
        is_crop = np.array([config.is_crop(n, self.size_ji) for n in range(len(config.names))])
        for k in known:
            corners[k] = known[k]
        cropped = np.array([k for k in chosen if is_crop[decisions[k]] and int(k) not in known], np.intp)
        crops = np.flatnonzero(is_crop)  # the decisions that crop, in the order of the network's positions
        for batch, outputs in self._batches(POSITION, cropped, None, "position"):
            a = checked(outputs, "position", (len(batch), len(crops), 2))
            for k, positions in zip(batch, a, strict=True):
                of_size = int(np.searchsorted(crops, decisions[k]))
                branch = config.branches[decisions[k] - 1]
                room = np.subtract(self.size_ji, branch.size_ji).astype(np.float32)
                corners[k] = np.rint(positions[of_size] * room)
        return corners

    def segment(self, decisions: NDArray[np.int64], corners: NDArray[np.int64], chosen: NDArray[np.intp]) -> None:
        """Fill probabilities, uncertainty and bits of some slices, none of which is skipped."""
        config = self.engine.config
        self._done = self.slices - len(chosen)
        for decision, branch in enumerate(config.branches, start=1):
            alike = chosen[decisions[chosen] == decision]
            if config.is_crop(decision, self.size_ji):
                self._fill_outside(alike)
            windows = {int(k): self._window(corners[k], branch.size_ji) for k in alike}
            for batch, outputs in self._batches(branch.name, alike, windows, "segment"):
                shape = (len(batch), len(config.regions), *branch.size_ji)
                p = checked(outputs, "probabilities", shape)
                mirrored = checked(outputs, "mirrored", shape) if self.mirror else None
                self._paste(batch, p, mirrored, windows)
                if branch.stage_macs:
                    bits = checked(outputs, "bits", (len(batch), len(branch.stage_macs)))
                    self.bits |= {int(k): tuple(int(b) for b in row) for k, row in zip(batch, bits, strict=True)}
                self._done += len(batch)

    def _window(self, corner: NDArray[np.int64], size_ji: tuple[int, int]) -> tuple[slice, slice]:
        row, column = (int(n) for n in corner)
        return slice(row, row + size_ji[0]), slice(column, column + size_ji[1])

    def _fill_outside(self, slices: NDArray[np.intp]) -> None:
        outside = np.array(self.engine.config.outside, np.float32)
        self.probabilities[:, slices] = outside[:, np.newaxis, np.newaxis, np.newaxis]
        if not self.mirror and len(slices):
            self.spread[:, slices] = nested_entropy(outside[:, np.newaxis])[0]

    def _paste(
        self,
        batch: NDArray[np.intp],
        p: Float32,
        mirrored: Float32 | None,
        windows: Mapping[int, tuple[slice, slice]],
    ) -> None:
        for n, k in enumerate(batch):
            j, i = windows[int(k)]
            one = p[n]
            if mirrored is None:
                self.spread[0, k, j, i] = nested_entropy(one)
            else:
                self.spread[0, k, j, i] = flip_variance(one, mirrored[n]).max(axis=0)
                one = 0.5 * (one + mirrored[n])
            self.probabilities[:, k, j, i] = one
            if is_cut(one[0] > 0.5, (j.start, i.start), self.size_ji):
                self.cut.add(int(k))

    def _batches(
        self,
        name: str,
        slices: NDArray[np.intp],
        windows: Mapping[int, tuple[slice, slice]] | None,
        what: str,
    ) -> Iterator[tuple[NDArray[np.intp], dict[str, NDArray[np.float32]]]]:
        """Run a graph on some slices, or on a window of each: (slices, outputs), batch by batch."""
        size = DECIDING_BATCH if windows is None else SEGMENTING_BATCH
        for start in range(0, len(slices), size):
            step(self.progress, self._done, self.slices, f"{what}: {name}")
            started = time.perf_counter()
            batch = slices[start : start + size]
            inputs = self._inputs(batch, size, windows)
            outputs = {key: array[: len(batch)] for key, array in self.engine.graphs[name]({"image": inputs}).items()}
            if self.mirror and windows is not None:
                again = self.engine.graphs[name]({"image": np.ascontiguousarray(inputs[..., ::-1])})
                outputs["mirrored"] = again["probabilities"][: len(batch), ..., ::-1]
            self.seconds[what] += time.perf_counter() - started
            yield batch, outputs

    def _inputs(self, batch: NDArray[np.intp], size: int, windows: Mapping[int, tuple[slice, slice]] | None) -> Float32:
        """(size, channel, j, i), zeros after the last slice."""
        whole = (slice(None), slice(None))
        places = [whole if windows is None else windows[int(k)] for k in batch]
        cuts = [self.image[:, k, j, i] for k, (j, i) in zip(batch, places, strict=True)]
        inputs = np.zeros((size, *cuts[0].shape), np.float32)
        for n, cut in enumerate(cuts):
            inputs[n] = cut
        return inputs
