"""`leanseg bench`: how fast the models are on this computer, on the built-in cases.

The precisions of a model take turns, so that what else the computer does meets all alike: a ratio is of one round.
Figures for a page are made by the scripts in `benchmarks/`, which hold the models against others.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from leanseg.answers import answer
from leanseg.api import Model, list_models, load_engine, segment
from leanseg.built_in import BuiltIn, built_in
from leanseg.errors import LeanSegError
from leanseg.report import Stopwatch, run_report
from leanseg.request import Precision, Progress, no_progress, step
from leanseg.volume import Volume
from leanseg.weights.bundle import Bundle
from leanseg.weights.store import find_bundle

ROUNDS = 10
COLUMNS = ("model", "precision", "case", "load", "first", "then, median [least, most]", "a slice", "times as fast")
EXPLAINED = (
    "A run is a whole case, from voxels to mask or answer. Times as fast: as the model's first row, in each round."
)


@dataclass(frozen=True, eq=False)
class _Contender:
    """A model in one precision, and its case."""

    asked: str
    """The model, as it was named"""
    model: Model
    case: BuiltIn
    watch: Stopwatch

    def run(self) -> tuple[int, float]:
        """Slices, and 10^9 multiply-accumulates of all."""
        card = self.model.card
        if card.engine == "question_answering":
            assert isinstance(self.case.image, Volume) and self.case.said is not None
            answer(self.case.image, self.case.said, self.model)
            return 1, card.gmacs
        notes = segment(self.case.image, self.model, prompt=self.case.said).notes
        return int(notes["slices"]), float(notes["gmacs"])


def bench(models: Sequence[str] = (), rounds: int = ROUNDS, progress: Progress = no_progress) -> list[dict[str, Any]]:
    """The run report of every precision of these models, or of all that have a case.

    In `seconds`, `per_slice` is the median of the rounds, and `total` is of this precision alone; `peak_rss_mb` is
    None, because all run in one process. A case has `asked` (the model as it was named), `slices`, the `seconds` of
    each round, and where a model has several precisions how many `times_as_fast` as the first each round was.

    Raises:
        LeanSegError: an unknown or damaged model, or one without a built-in case; before anything runs.
        ValueError: no rounds.
        InferenceCancelled: `progress` returned False.
    """
    if rounds < 1:
        raise ValueError(f"rounds must be 1 or more; got {rounds}.")
    chosen = _chosen(models)
    total, done, reports = len(chosen) * (rounds + 1), 0, []
    for name, (bundle, case) in chosen.items():
        step(progress, done, total, f"{name}: load")
        contenders = [_contender(name, case, precision) for precision in bundle.card.precisions]
        sizes = [_first(contender) for contender in contenders]
        times: list[list[float]] = [[] for _ in contenders]
        done += 1
        for _ in range(rounds):
            step(progress, done, total, name)
            for contender, seconds in zip(contenders, times, strict=True):
                started = time.perf_counter()
                contender.run()
                seconds.append(time.perf_counter() - started)
            done += 1
        base = times[0] if len(times) > 1 else None
        reports += [_report(*one, base) for one in zip(contenders, sizes, times, strict=True)]
    step(progress, total, total, "done")
    return reports


def _chosen(models: Sequence[str]) -> dict[str, tuple[Bundle, BuiltIn]]:
    """By the name that was typed; checked."""
    chosen = {}
    for name in dict.fromkeys(models) or [card.id for card in list_models()]:
        bundle = find_bundle(name)
        case = built_in(bundle.card)
        if case is not None:
            bundle.check()
            chosen[name] = (bundle, case)
        elif models:
            inputs = ", ".join(bundle.card.inputs)
            raise LeanSegError(f"There is no built-in case for {name}, which takes {inputs}. Time it with --report.")
    return chosen


def _contender(name: str, case: BuiltIn, precision: str) -> _Contender:
    watch = Stopwatch()
    model = load_engine(name, precision=cast("Precision", precision))
    watch.loaded()
    return _Contender(name, model, case, watch)


def _first(contender: _Contender) -> tuple[int, float]:
    contender.watch.begin_image()
    slices, gmacs = contender.run()
    contender.watch.image_done(slices)
    return slices, gmacs


def _report(
    contender: _Contender, size: tuple[int, float], seconds: list[float], base: list[float] | None
) -> dict[str, Any]:
    slices, gmacs = size
    case: dict[str, Any] = {"id": contender.case.name, "asked": contender.asked, "slices": slices}
    case["seconds"] = [round(s, 5) for s in seconds]
    if base is not None:
        case["times_as_fast"] = [round(b / s, 3) for b, s in zip(base, seconds, strict=True)]
    watch = contender.watch
    report = run_report(contender.model, watch, [case], gmacs=gmacs)
    report["seconds"]["per_slice"] = round(statistics.median(seconds) / max(slices, 1), 5)
    report["seconds"]["total"] = round(watch.load + watch.first + sum(seconds), 4)
    return report | {"peak_rss_mb": None}


def table_rows(reports: list[dict[str, Any]]) -> list[list[str]]:
    """Of a table with COLUMNS."""
    table = []
    for report in reports:
        case, of_run = report["cases"][0], report["seconds"]
        ratios = case.get("times_as_fast")
        table.append([
            case["asked"], report["precision"], case["id"], f"{of_run['load']:.2f} s",
            f"{1000 * of_run['first']:.0f} ms", _spread([1000 * s for s in case["seconds"]], "{:.0f}") + " ms",
            f"{1000 * of_run['per_slice']:.1f} ms", "" if ratios is None else _spread(ratios, "{:.1f}"),
        ])  # fmt: skip
    return table


def _spread(values: Sequence[float], form: str) -> str:
    middle, least, most = (form.format(f(values)) for f in (statistics.median, min, max))
    return f"{middle} [{least}, {most}]"
