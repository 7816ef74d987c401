"""How good is Med-DANet V2 on brains that it never saw? `python benchmarks/brain_folds.py MODELS --root DIR`.

MODELS holds bundles that were exported from runs of a cross-validation (trained on brats:without_foldN; which fold that
leaves is read from the card):

    leanseg train med_danet_v2 --set 'data.train=["brats:without_foldN"]' --set 'data.val=["brats:foldN"]' --out RUN
    leanseg export RUN -o MODELS/foldN

Every case is segmented by the model that did not see it, as the model decides, with every slice computed whole (the
static network), without what corrects the decisions (inference/decisions.py), and with some sequences only. Bundles of
other networks of the same folds (`leanseg train segresnet`, `trans_bts`) may lie beside them and are compared as they
are. Figures are means and standard deviations over the cases; differences are paired.

`--card BUNDLE` writes them into the card of the model that is trained on all cases, in place of the figures of its
export, which are of cases that it was trained on.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import math
import statistics
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from leanseg.api import Model, load_engine
from leanseg.errors import LeanSegError
from leanseg.inference.dynamic_slicewise import DynamicSlicewiseEngine
from leanseg.processing.brain import SEQUENCES
from leanseg.report import write_json
from leanseg.training.data.brats import FOLDS, read_cases, select
from leanseg.training.evaluate_brains import THOROUGH, evaluate_brains
from leanseg.weights.bundle import read_bundle, rewrite_card


@dataclasses.dataclass(frozen=True)
class Way:
    """One way to use a model."""

    sequences: tuple[str, ...] | None = None
    """Of the case; None: all."""
    cost_bias: float = 0.0
    deciding: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Changes of the card's `engine_config`."""


AS_DECIDED = "as decided"
ALONE = {"neighbor_mm": 0.0, "skip_bias": 0.0, "probe_mm": 0.0, "follow": False}
WAYS = {
    AS_DECIDED: Way(),
    "all whole": Way(cost_bias=THOROUGH),
    "nothing waits": Way(deciding={"probe_mm": 0.0}),
    "nothing followed": Way(deciding={"probe_mm": 0.0, "follow": False}),
    "each slice alone": Way(deciding=ALONE),
    **{" ".join(some): Way(some) for n in (3, 2, 1) for some in itertools.combinations(SEQUENCES, n)},
}
COMMAND = "python benchmarks/brain_folds.py MODELS --root BRATS"
PERCENT = 100.0
SHOWN = ("dice_WT", "dice_TC", "dice_ET", "tumor_skipped", "empty_skipped", "gmacs")


def held_out(model: Model) -> int:
    """The fold that no stage of a model's training saw.

    Raises:
        LeanSegError: it saw all, or another stage left another one out.
    """
    seen = {part for stage in model.card.training["stages"] for part in stage["recipe"]["data"]["train"]}
    for fold in range(FOLDS):
        if seen == {f"brats:without_fold{fold}"}:
            return fold
    raise LeanSegError(f"{model.card.id} was trained on {', '.join(sorted(seen))}; brats:without_foldN is needed.")


def measure(models: list[Path], root: Path, precision: str) -> dict[str, list[dict[str, Any]]]:
    """By way: one row for each case of the folds that the models left out."""
    cases = read_cases(root)
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in WAYS}
    for folder in models:
        model = load_engine(str(folder), precision=precision)  # type: ignore[arg-type]
        fold = held_out(model)
        ways = WAYS if isinstance(model.engine, DynamicSlicewiseEngine) else {model.card.system: Way()}
        epochs = model.card.training["stages"][-1]["recipe"]["optimizer"]["epochs"]
        if any(row["fold"] == fold for row in rows.setdefault(next(iter(ways)), [])):
            raise LeanSegError(
                f"{folder} is a second {model.card.id} that left fold {fold} out. Keep one of each fold."
            )
        for name, way in ways.items():
            figures = evaluate_brains(
                _changed(model, way.deciding),
                select(cases, f"fold{fold}"),
                sequences=way.sequences,
                cost_bias=way.cost_bias,
            )
            rows[name] += [{"fold": fold, "epochs": epochs, **row} for row in figures.rows]
    return rows


def _changed(model: Model, deciding: dict[str, Any]) -> Model:
    engine = model.engine
    if not isinstance(engine, DynamicSlicewiseEngine):
        return model
    return dataclasses.replace(
        model, engine=DynamicSlicewiseEngine(engine.graphs, dataclasses.replace(engine.config, **deciding))
    )


def spread(values: list[float]) -> dict[str, float]:
    """Mean, standard deviation over the cases and their number, of what is defined."""
    defined = [value for value in values if not math.isnan(value)]
    mean = statistics.fmean(defined) if defined else math.nan
    deviation = statistics.stdev(defined) if len(defined) > 1 else math.nan
    return {"mean": round(mean, 4), "sd": round(deviation, 4), "n": len(defined)}


def summary(rows: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, dict[str, float]]]:
    """By way and figure; `... change` is the paired difference from what the model decides with all sequences."""
    base = {row["id"]: row for row in rows[AS_DECIDED]}
    result = {}
    for way, its in rows.items():
        result[way] = {name: spread([row.get(name, math.nan) for row in its]) for name in SHOWN}
        for name in SHOWN[:3]:
            pairs = [(row, base[row["id"]]) for row in its if row["id"] in base]
            result[way][f"{name} change"] = spread([row[name] - one[name] for row, one in pairs])
    return result


def for_page(rows: dict[str, list[dict[str, Any]]], precision: str) -> dict[str, list[list[str]]]:
    """What docs/systems.md says of the networks that are compared; the card says it of one that decides."""
    page = {}
    for system, its in rows.items():
        if system in WAYS:
            continue
        folds, epochs = (", ".join(map(str, sorted({row[key] for row in its}))) for key in ("fold", "epochs"))
        dice = [spread([row[name] for row in its]) for name in SHOWN[:3]]
        what = f"brats, cases of fold {folds} by models that did not see them, {epochs} epochs, {precision}: "
        value = " / ".join(f"{PERCENT * one['mean']:.1f} ± {PERCENT * one['sd']:.1f}" for one in dice)
        page[system] = [[what + "Dice WT / TC / ET, percent", f"{value}; n = {dice[0]['n']}"]]
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", type=Path, help="folder of bundles, one a fold")
    parser.add_argument("--root", type=Path, required=True, help="folder of the BraTS cases")
    parser.add_argument("--precision", choices=("int8", "fp32"), default="int8")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--card", type=Path, help="bundle whose card gets the figures")
    arguments = parser.parse_args()
    folders = sorted(card.parent for card in arguments.models.glob("*/card.json"))
    if not folders:
        raise SystemExit(
            f"{arguments.models} holds no bundle (MODEL/card.json). Export the models of the folds into it."
        )
    try:
        rows = measure(folders, arguments.root, arguments.precision)
    except LeanSegError as error:
        raise SystemExit(str(error)) from error
    result = summary(rows)
    folds = sorted({row["fold"] for row in rows[AS_DECIDED]})
    table = Table(f"folds {', '.join(map(str, folds))}; n = {len(rows[AS_DECIDED])}", *SHOWN)
    for way, figures in result.items():
        cells = (f"{figures[name]['mean']:.3f} ± {figures[name]['sd']:.3f}" for name in SHOWN)
        table.add_row(f"{way}, n = {figures[SHOWN[0]]['n']}", *cells)
    Console(width=140).print(table)
    if arguments.json is not None:
        about = {"command": COMMAND, "systems": for_page(rows, arguments.precision)}
        write_json({**about, "folds": folds, "summary": result, "cases": rows}, arguments.json)
    if arguments.card is not None:
        bundle = read_bundle(arguments.card)
        rewrite_card(bundle, dataclasses.replace(bundle.card, metrics=_for_card(result, folds, arguments.precision)))


def _for_card(result: dict[str, dict[str, dict[str, float]]], folds: list[int], precision: str) -> dict[str, Any]:
    """`cross_validation`, and under `sequences` the mean Dice by what was given, which the module shows."""
    about = {
        "command": COMMAND,
        "what": "cases of folds that were not trained on, by models like this one; this one has seen them all",
        "folds": folds,
        "precision": precision,
    }
    given = {
        " ".join(SEQUENCES): result[AS_DECIDED],
        **{name: result[name] for name, way in WAYS.items() if way.sequences},
    }
    dice = {key: {name: figures[name]["mean"] for name in SHOWN[:3]} for key, figures in given.items()}
    decided = {name: result[AS_DECIDED][name] for name in SHOWN}
    return {"cross_validation": about | decided, "sequences": dice}


if __name__ == "__main__":
    main()
