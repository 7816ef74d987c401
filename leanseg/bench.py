"""`leanseg bench`: how fast the models are on this computer, on the built-in cases.

The precisions of a model take turns, so that what else the computer does meets all alike: a ratio is of one round.
Figures for a page are made by the scripts in `benchmarks/`, which hold the models against others.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from leanseg.answers import answer
from leanseg.api import Model, list_models, load_engine, segment
from leanseg.built_in import built_in
from leanseg.errors import LeanSegError
from leanseg.report import Stopwatch, run_report
from leanseg.request import Precision, Progress, no_progress, step
from leanseg.volume import Volume
from leanseg.weights.store import find_bundle

ROUNDS = 10


@dataclass(frozen=True, eq=False)
class Contender:
    """A model in one precision, and what runs it on its case."""

    model: Model
    watch: Stopwatch
    run: Callable[[], int]
    """-> slices"""
    case: str


def bench(models: Sequence[str] = (), rounds: int = ROUNDS, progress: Progress = no_progress) -> list[dict[str, Any]]:
    """The run report of every precision of these models, or of all that have a case.

    The case of a report has `slices`, the `seconds` of each round, and where a model has several precisions how many
    `times_as_fast` as the first each round was.

    Raises:
        LeanSegError: an unknown model, one that cannot be loaded, or one without a built-in case.
        ValueError: no rounds.
        InferenceCancelled: `progress` returned False.
    """
    if rounds < 1:
        raise ValueError(f"rounds must be 1 or more; got {rounds}.")
    names = list(dict.fromkeys(models)) or [card.id for card in list_models() if built_in(card) is not None]
    cards = [find_bundle(name).card for name in names]
    total, done, reports = len(cards) * (rounds + 1), 0, []
    for name, card in zip(names, cards, strict=True):
        step(progress, done, total, f"{card.id}: load")
        contenders = [_contender(name, precision) for precision in card.precisions]
        rows: list[list[float]] = [[] for _ in contenders]
        slices = [_first(contender) for contender in contenders]
        done += 1
        for _ in range(rounds):
            step(progress, done, total, card.id)
            for contender, seconds in zip(contenders, rows, strict=True):
                started = time.perf_counter()
                contender.run()
                seconds.append(time.perf_counter() - started)
            done += 1
        reports += [
            _report(contender, number, seconds, rows[0] if len(rows) > 1 else None)
            for contender, number, seconds in zip(contenders, slices, rows, strict=True)
        ]
    step(progress, total, total, "done")
    return reports


def _contender(name: str, precision: str) -> Contender:
    watch = Stopwatch()
    model = load_engine(name, precision=cast("Precision", precision))
    watch.loaded()
    case = built_in(model.card)
    if case is None:
        inputs = ", ".join(model.card.inputs)
        raise LeanSegError(f"There is no built-in case for {name}, which takes {inputs}. Time it on yours: --report.")

    def run() -> int:
        if model.card.engine == "question_answering":
            assert isinstance(case.image, Volume) and case.said is not None
            answer(case.image, case.said, model)
            return 1
        return int(segment(case.image, model, prompt=case.said).notes["slices"])

    return Contender(model, watch, run, case.name)


def _first(contender: Contender) -> int:
    contender.watch.begin_image()
    slices = contender.run()
    contender.watch.image_done(slices)
    return slices


def _report(contender: Contender, slices: int, seconds: list[float], base: list[float] | None) -> dict[str, Any]:
    """`per_slice` is the median of the rounds, not the first run."""
    case: dict[str, Any] = {"id": contender.case, "slices": slices, "seconds": [round(s, 5) for s in seconds]}
    if base is not None:
        case["times_as_fast"] = [round(b / s, 3) for b, s in zip(base, seconds, strict=True)]
    report = run_report(contender.model, contender.watch, [case])
    report["seconds"]["per_slice"] = round(statistics.median(seconds) / max(slices, 1), 5)
    return report


COLUMNS = ("model", "precision", "load", "first", "then, median [least, most]", "a slice", "times as fast")


def table_rows(reports: list[dict[str, Any]]) -> list[list[str]]:
    """Of a table with COLUMNS."""
    table = []
    for report in reports:
        case, of_run = report["cases"][0], report["seconds"]
        ratios = case.get("times_as_fast")
        table.append([
            report["model"], report["precision"], f"{of_run['load']:.2f} s", f"{1000 * of_run['first']:.0f} ms",
            _spread([1000 * s for s in case["seconds"]], "{:.0f}") + " ms", f"{1000 * of_run['per_slice']:.1f} ms",
            "" if ratios is None else _spread(ratios, "{:.1f}"),
        ])  # fmt: skip
    return table


def _spread(values: Sequence[float], form: str) -> str:
    middle, least, most = (form.format(f(values)) for f in (statistics.median, min, max))
    return f"{middle} [{least}, {most}]"
