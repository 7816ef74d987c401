"""Which 3-D network learns brains best, briefly? `python benchmarks/volume_systems.py RUNS --data DIR [--json R.json]`.

A cell is a way and a fold, and `--only trans_bts:0 ...` trains these alone. Ways: `segresnet` (MONAI's), `trans_bts`,
`trans_bts_v2`, `cga_unet` and `med_tuning`, all reduced to roughly as many multiply-accumulates. Med-Tuning has a
frozen backbone of random weights, because weights of natural images are not shipped and our own frozen networks have
seen every case: what it shows is the adapters and the decoder alone.

All see the same patches of the same cases for the same number of steps, with the same loss of logits and the same
learning rate, and start from the same seed; CGA U-Net adds the two losses that make it one. Brains are resampled to
2 mm. What is finished in RUNS/<way>_f<fold> is not trained again, and what was begun is gone on with.

Dice of WT, TC and ET is measured on the cases of the fold that was left out, on their own grid. Folds are the
replicates: mean and sample standard deviation over them, of differences between two ways paired by fold. The networks
are small and trained briefly: quote the differences, not the Dice.
"""

from __future__ import annotations

import statistics
from pathlib import Path

import torch
from cells import Cells, Summary, arguments_of, cell, chosen, show, shown, spread, write

from leanseg.inference.sliding_window import SlidingWindowConfig, SlidingWindowEngine
from leanseg.processing.brain import preprocess_brain
from leanseg.processing.postprocess import PostprocessingConfig, restore
from leanseg.training.brain_card import LABELS
from leanseg.training.data.arrays import BRATS_FOLDER
from leanseg.training.data.brats import REGIONS, read_cases, read_regions, read_sequences, select
from leanseg.training.metrics import dice_of_masks
from leanseg.training.recipe import Recipe, load_recipe
from leanseg.training.trainer import load_run
from leanseg.training.volumes import Regions, WindowGraph, count_volume_gmacs

COMMAND = "python benchmarks/volume_systems.py RUNS --data DIR"
FOLDS = (0, 1, 2, 3)
BASELINES = ("segresnet", "trans_bts")
SIZE = [48, 48, 48]
EPOCHS = 5
SHARED = (
    *("brain.size_ji=[96,80]", "brain.spacing_ji_mm=[2.0,2.0]", "brain.spacing_k_mm=2.0"),
    *(f"patches.size_kji={SIZE}", "patches.per_volume=8", "patches.overlap=0.25"),
    *(f"optimizer.epochs={EPOCHS}", "optimizer.batch_size=2", "optimizer.learning_rate=2e-3"),
    *("optimizer.warmup_epochs=0.5", "optimizer.ema_decay=0.98"),
    *("augment.elastic=0.0", "sequences.drop_probability=0.0"),
)
"""What is changed in the recipe of TransBTS, for all."""
_TRANSFORMER = f"dim=128,mlp_dim=512,grid_kji={SIZE},channel_dropout=0.0,dropout=0.0"
_SWIN = "random_backbone=true,window=3,width=48,depth=48,depths=[2,2,2],heads=[3,6,12]"
CONFIGS = {
    "segresnet": "{init_filters=8,dropout=0.0}",
    "trans_bts": f"{{width=8,{_TRANSFORMER}}}",
    "trans_bts_v2": f"{{width=8,{_TRANSFORMER}}}",
    "cga_unet": "{width=8,channel_dropout=0.0}",
    "med_tuning": f"{{{_SWIN}}}",
}


def recipe_of(way: str, fold: int, more: tuple[str, ...] = ()) -> Recipe:
    """Of a way on all folds but one; `more` is set last."""
    own = (f"id={way}", f"system={way}", f"network={way}", f"config={CONFIGS[way]}")
    guided = ("cga={distance_from=0.2}",) if way == "cga_unet" else ()
    parts = (f'data.train=["brats:without_fold{fold}"]', f'data.val=["brats:fold{fold}"]')
    return load_recipe("trans_bts", (*SHARED, *own, *guided, *parts, *more))


def measure(run: Path, fold: int, data: Path) -> dict[str, float]:
    """Of a run: mean Dice of each region over the cases of a fold, in percent, and what the network costs."""
    recipe, network = load_run(run)
    assert recipe.brain is not None and recipe.patches is not None
    config = SlidingWindowConfig(recipe.patches.size_kji, recipe.patches.overlap)
    gmacs = count_volume_gmacs(network, len(recipe.brain.sequences), recipe.patches.size_kji)
    engine = SlidingWindowEngine(WindowGraph(Regions(network), recipe.optimizer.bf16), config, gmacs, len(REGIONS))
    rows = []
    for case in select(read_cases(data / BRATS_FOLDER), f"fold{fold}"):
        brain = preprocess_brain(read_sequences(case), recipe.brain)
        segmentation = restore(engine.predict(brain), brain.trace, LABELS, PostprocessingConfig())
        truth = torch.from_numpy(read_regions(case).array > 0)
        masks = torch.stack([torch.from_numpy(mask) for mask in segmentation.nested_masks()])
        rows.append(100 * dice_of_masks(masks, truth))
    mean = torch.stack(rows).mean(dim=0).tolist()
    figures = {f"dice_{name}": value for name, value in zip(REGIONS, mean, strict=True)}
    tuned = sum(p.numel() for p in network.parameters() if p.requires_grad)
    return {**figures, "dice": statistics.mean(mean), "n": len(rows), "gmacs": gmacs, "tuned_parameters": tuned}


FIGURES = (*(f"dice_{name}" for name in REGIONS), "dice")


def summary(cells: Cells) -> Summary:
    """By way; `... from W` is the paired difference from a baseline W, over the folds that both have."""
    result: Summary = {}
    for way in CONFIGS:
        of_way = {fold: cells[key] for fold in FOLDS if (key := f"{way}:{fold}") in cells}
        if not of_way:
            continue
        figures = {name: spread([values[name] for values in of_way.values()]) for name in FIGURES}
        for baseline in BASELINES:
            pairs = [(of_way[f], cells[k]) for f in of_way if (k := f"{baseline}:{f}") in cells]
            if way != baseline and pairs:
                for name in FIGURES:
                    figures[f"{name} from {baseline}"] = spread([a[name] - b[name] for a, b in pairs])
        result[way] = figures
    return result


def for_page(result: Summary) -> dict[str, list[list[str]]]:
    """What docs/systems.md says of each."""
    page: dict[str, list[list[str]]] = {}
    for way, figures in result.items():
        values = " / ".join(shown(figures[f"dice_{name}"]) for name in REGIONS)
        what = "Dice of WT / TC / ET, percent, small and trained briefly; folds are replicates"
        if way == "med_tuning":
            what += "; its frozen backbone is random"
        rows = [[what, f"{values}; n = {figures['dice']['n']} folds"]]
        for baseline in BASELINES:
            if change := figures.get(f"dice from {baseline}"):
                rows.append([f"mean Dice, change from {baseline}", f"{shown(change)}; n = {change['n']} folds"])
        page[way] = rows
    return page


def one(runs: Path, data: Path, name: str, more: tuple[str, ...] = ()) -> dict[str, float]:
    """The cell of this name; `more` as of `recipe_of`."""
    way, fold = name.split(":")
    folder = runs / f"{way}_f{fold}"
    return cell(folder, recipe_of(way, int(fold), more), data, lambda: measure(folder, int(fold), data))


def main() -> None:
    arguments = arguments_of(__doc__, "WAY:FOLD")
    cells = chosen(arguments, [f"{way}:{fold}" for fold in FOLDS for way in CONFIGS], one)
    result = summary(cells)
    columns = (*FIGURES, *(f"dice from {baseline}" for baseline in BASELINES))
    show(result, columns)
    if arguments.json:
        write(arguments.json, COMMAND, for_page(result), result, cells)


if __name__ == "__main__":
    main()
