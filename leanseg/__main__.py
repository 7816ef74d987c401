"""The command line: `leanseg VERB ...`. Exit 0 on success, 2 on wrong usage, 1 with one line on any other error."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from leanseg import __version__
from leanseg.errors import LeanSegError
from leanseg.request import ALIGNMENTS, DEVICES, PRECISIONS, UNCERTAINTY_KINDS

if TYPE_CHECKING:
    _Verbs = argparse._SubParsersAction[argparse.ArgumentParser]

_AFTERMATH = {
    "train": "What finished epochs left in the run folder goes on with --resume.",
    "export": "Export again.",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; what it needs is imported only then."""
    parsed = _parse(arguments)
    aftermath = _AFTERMATH.get(parsed.verb, "Nothing half-written was left.")
    try:
        from leanseg import commands

        run = getattr(commands, parsed.verb)
        run(parsed)
        sys.stdout.flush()
        return 0
    except LeanSegError as error:
        reason = str(error)
    except KeyboardInterrupt:
        reason = f"Interrupted. {aftermath}"
    except BrokenPipeError:  # of `| head`: nobody reads on, and Python must not complain when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        reason = f"{type(error).__name__}: {error}. {aftermath}"
    except MemoryError:
        reason = "There is not enough memory. Close other programs, or use a smaller image."
    print("leanseg:", *reason.split("\n"), file=sys.stderr)
    return 1


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Exits with 2 on wrong usage."""
    parser = build_parser()
    parsed = parser.parse_args(arguments)
    if parsed.verb == "segment" and parsed.uncertainty_kind is not None and parsed.uncertainty is None:
        parser.error("--uncertainty-kind needs --uncertainty U.nrrd, the file to write; give both or neither")
    return parsed


def build_parser() -> argparse.ArgumentParser:
    """Every verb and option; README, "Use from the command line", shows them at work."""
    parser = argparse.ArgumentParser(
        prog="leanseg", description="Fast tumor segmentation without a GPU. Research only; not for clinical use."
    )
    parser.add_argument("--version", action="version", version=f"leanseg {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    models = verbs.add_parser("models", help="list the models that can be used here")
    models.add_argument("--json", action="store_true", help="machine-readable")
    systems = verbs.add_parser("systems", help="list every published system, and what works")
    systems.add_argument("--json", action="store_true", help="machine-readable")

    _add_segment(verbs)
    _add_make_floor(verbs)
    bench = verbs.add_parser("bench", help="how fast the models are on this computer, on the built-in cases")
    bench.add_argument("models", metavar="MODEL", nargs="*", help="model id or bundle folder; default: all")
    bench.add_argument(
        "--rounds", metavar="N", type=_count, default=10, help="timed runs of each precision (default: 10)"
    )
    bench.add_argument("--json", metavar="R.json", type=Path, help="also write the reports here")
    demo = verbs.add_parser("demo", help="segment the built-in cases and write a page with pictures")
    demo.add_argument("-o", "--output", metavar="DIR", type=Path, default=Path("demo-output"))
    verbs.add_parser("doctor", help="say what is installed and what is missing")
    return parser


def _add_segment(verbs: _Verbs) -> None:
    segment = verbs.add_parser("segment", help="image -> .seg.nrrd")
    segment.add_argument("model", metavar="MODEL", help="model id (see `leanseg models`) or bundle folder")
    segment.add_argument("input", metavar="INPUT", nargs="+", help="image file; NAME=FILE for several sequences")
    segment.add_argument("-o", "--output", metavar="OUT.seg.nrrd", type=Path, required=True)
    segment.add_argument(
        "--prompt", metavar="TEXT", help='of a text-guided model: what to look for, e.g. "small round mass, upper left"'
    )
    segment.add_argument("--uncertainty", metavar="U.nrrd", type=Path, help="also write the uncertainty, 0 to 1")
    segment.add_argument(
        "--uncertainty-kind",
        choices=UNCERTAINTY_KINDS,
        help="of --uncertainty: predictive entropy (default), or disagreement with the mirrored image, "
        "which takes twice the time and makes the mask that of the mean of the two passes",
    )
    segment.add_argument("--threshold", type=_fraction, metavar="P", help="a probability; default: the card's")
    segment.add_argument(
        "--cost-bias",
        type=_finite,
        default=0.0,
        metavar="B",
        help="of a model that decides for each slice: above 0 faster, below 0 more thorough than trained, e.g. -2 or 2",
    )
    segment.add_argument(
        "--align",
        choices=ALIGNMENTS,
        help="of several sequences: put them on the grid of the first INPUT as their headers say (resample, default), "
        "or correct movements between them too (rigid)",
    )
    segment.add_argument(
        "--strip-skull",
        action="store_true",
        help="of several sequences: set all but the brain to 0; rough, better use a tool made for it",
    )
    segment.add_argument("--largest-component", action="store_true", help="keep only the largest lesion of each slice")
    _add_runtime(segment)
    segment.add_argument("--report", metavar="R.json", type=Path, help="also write figures of the run")


def _add_make_floor(verbs: _Verbs) -> None:
    evaluate = verbs.add_parser("evaluate", help="measure a model on a data set with ground truth")
    evaluate.add_argument("model", metavar="MODEL")
    evaluate.add_argument(
        "--dataset",
        required=True,
        metavar="NAME",
        help="busi, bus_bra, glas, brats; for models that are guided by text also breastdm, text_phantom",
    )
    evaluate.add_argument("--root", required=True, metavar="DIR", type=Path, help="folder of the data set")
    evaluate.add_argument(
        "--split",
        default="test",
        metavar="NAME|all",
        help="of brats also fold0 to fold3, and with few sequences fold0:flair+t1ce",
    )
    _add_runtime(evaluate)
    evaluate.add_argument("--json", metavar="R.json", type=Path, help="also write per-case figures")
    evaluate.add_argument("--record", action="store_true", help="write the means into the card of the bundle")

    train = verbs.add_parser("train", help="train a recipe")
    train.add_argument("recipe", metavar="RECIPE", help="name of a shipped recipe, or a .toml file")
    train.add_argument("--data", metavar="DIR", type=Path, help="folder of the data sets; default: LEANSEG_DATA")
    train.add_argument("--out", metavar="DIR", type=Path, help="run folder; default: runs/<recipe id>")
    train.add_argument("--resume", action="store_true", help="go on where the run folder stopped")
    train.add_argument("--set", metavar="key=value", action="append", default=[], help="change a value of the recipe")

    export = verbs.add_parser("export", help="run folder -> bundle")
    export.add_argument("run", metavar="RUN", type=Path)
    export.add_argument("-o", "--output", metavar="BUNDLE", type=Path, required=True)
    export.add_argument("--data", metavar="DIR", type=Path, help="folder of the data sets; default: LEANSEG_DATA")
    export.add_argument(
        "--set", metavar="key=value", action="append", default=[], help="round a float run, e.g. quantization.bits=4"
    )


def _add_runtime(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", choices=DEVICES, default="auto", help="auto is the CPU; cuda needs torch")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto", help="auto is int8 where the model has it")


def _fraction(text: str) -> float:
    with suppress(ValueError):
        if 0 < float(text) < 1:
            return float(text)
    raise argparse.ArgumentTypeError(f"a probability above 0 and below 1 is needed; got {text!r}")


def _count(text: str) -> int:
    with suppress(ValueError):
        if (number := int(text)) >= 1:
            return number
    raise argparse.ArgumentTypeError(f"a whole number of 1 or more is needed; got {text!r}")


def _finite(text: str) -> float:
    with suppress(ValueError):
        if math.isfinite(number := float(text)):
            return number
    raise argparse.ArgumentTypeError(f"a number is needed, 0 as trained; got {text!r}")


if __name__ == "__main__":
    sys.exit(main())
