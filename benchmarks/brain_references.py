"""3-D networks on Med-DANet V2's folds: `python benchmarks/brain_references.py RUNS --data DIR [--json R.json]`.

MONAI's SegResNet and TransBTS learn from the cases of three folds and are measured on those of the fourth, on their own
grid. They are the small networks of `volume_systems.py` (2 mm, windows of 48 voxels a side, the same patches, loss,
learning rate and seed for both), trained six times as long, with a longer warm-up, a slower mean of the weights, and
elastic deformations. No sequence is dropped while they learn. A cell is a way and a fold, and `--only trans_bts:0 ...`
trains these alone; what is finished in RUNS/<way>_f<fold> is not trained again, and what was begun is gone on with.

Beside them stands, paired by fold, what `benchmarks/results/brain_folds.json` says of `med_danet_v2` as it is used.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path

from cells import Cells, Summary, chosen, parser_of, show, shown, spread, write
from volume_systems import BASELINES, FIGURES, FOLDS, one

from leanseg.training.data.brats import REGIONS

COMMAND = "python benchmarks/brain_references.py RUNS --data DIR"
V2 = Path(__file__).parent / "results" / "brain_folds.json"
OWN = "med_danet_v2"
EPOCHS = 30


def longer(epochs: int) -> tuple[str, ...]:
    """What is changed in the recipes of `volume_systems.py`."""
    optimizer = ("optimizer.warmup_epochs=1.0", "optimizer.ema_decay=0.99", f"optimizer.epochs={epochs}")
    return (*optimizer, "augment.elastic=0.02")


def v2_by_fold() -> Cells:
    """`med_danet_v2:FOLD` to the mean Dice of each region, percent, of INT8 models that did not see the fold."""
    cases = json.loads(V2.read_text(encoding="utf-8"))["cases"]["as decided"]
    cells: Cells = {}
    for fold in FOLDS:
        of_fold = [case for case in cases if case["fold"] == fold]
        cells[f"{OWN}:{fold}"] = {name: 100 * statistics.mean(case[name] for case in of_fold) for name in FIGURES}
    return cells


def summary(cells: Cells) -> Summary:
    """By way; `... of V2` is V2's minus this way's, over the folds that the way has."""
    own = v2_by_fold()
    result: Summary = {}
    for way in BASELINES:
        of_way = {fold: cells[key] for fold in FOLDS if (key := f"{way}:{fold}") in cells}
        if not of_way:
            continue
        result[way] = {name: spread([values[name] for values in of_way.values()]) for name in FIGURES}
        for name in FIGURES:
            ahead = [own[f"{OWN}:{fold}"][name] - values[name] for fold, values in of_way.items()]
            result[way][f"{name} of V2"] = spread(ahead)
    return result


def for_page(result: Summary) -> dict[str, list[list[str]]]:
    """What docs/systems.md says of each."""
    page = {}
    for way, figures in result.items():
        n = f"n = {figures['dice']['n']} folds"
        values = " / ".join(shown(figures[f"dice_{name}"]) for name in REGIONS)
        ahead = " / ".join(shown(figures[f"dice_{name} of V2"]) for name in REGIONS)
        page[way] = [
            [f"brats, folds that it did not see, 2 mm, {EPOCHS} epochs: Dice WT / TC / ET, percent", f"{values}; {n}"],
            ["brats, the same folds: Dice of med_danet_v2 less that, WT / TC / ET", f"{ahead}; {n}"],
        ]
    return page


def main() -> None:
    parser = parser_of(__doc__, "WAY:FOLD")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="another number needs RUNS of its own")
    arguments = parser.parse_args()
    names = [f"{way}:{fold}" for fold in FOLDS for way in BASELINES]
    cells = chosen(arguments, names, lambda runs, data, name: one(runs, data, name, longer(arguments.epochs)))
    result = summary(cells)
    columns = (*FIGURES, *(f"{name} of V2" for name in FIGURES))
    show(result, columns)
    if arguments.json:
        write(arguments.json, COMMAND, for_page(result), result, cells)


if __name__ == "__main__":
    main()
