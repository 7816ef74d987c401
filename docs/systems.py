"""The page of all systems: `python docs/systems.py` rewrites docs/systems.md from the catalog, cards and results.

What a paper reports is in leanseg/published.py. Our figures come from the cards of the bundles (`leanseg evaluate
--record` and `leanseg export` write them), and from every benchmarks/results/*.json that has a `command` and, under
`systems`, what it says of one: {"<id>": [["what", "value"], ...]}. Nothing is typed here.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from leanseg.catalog import SYSTEMS, System
from leanseg.published import SOURCES

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "systems.md"
SHOWN = (
    *("dice", "dice_WT", "dice_TC", "dice_ET", "dice_generic", "named_share", "dice_5_clicks"),
    *("accuracy", "object_dice", "f1", "iou", "normal_empty", "gmacs"),
)
"""Of the metrics in a card, those that the page shows, in this order."""
PERCENT = 100.0
NOTHING = "not trained here yet"


class Ours(NamedTuple):
    what: str
    value: str
    command: str


def of_cards(system: System, models: Path) -> Iterator[Ours]:
    """One row for each test that the card of a shipped model tells of; of two precisions, INT8."""
    for model in system.models:
        path = models / model / "card.json"
        if not path.is_file():
            continue
        metrics: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["metrics"]
        for name, figures in metrics.items():
            if name.endswith(":fp32") and name.replace(":fp32", ":int8") in metrics:
                continue
            measured = {key: figures[key] for key in SHOWN if isinstance(figures.get(key), dict)}
            if measured and "command" in figures:
                yield Ours(f"{model}, {name}: {_names(measured)}", _values(measured), figures["command"])


def _names(measured: dict[str, dict[str, float]]) -> str:
    return " / ".join(name.replace("_", " ") for name in measured)


def _values(measured: dict[str, dict[str, float]]) -> str:
    """Means as percent, but for costs; n of each, once if it is the same for all."""
    means = [f"{m['mean']:.1f}" if name == "gmacs" else f"{PERCENT * m['mean']:.1f} %" for name, m in measured.items()]
    counts = [str(m["n"]) for m in measured.values()]
    return f"{' / '.join(means)}; n = {' / '.join(counts if len(set(counts)) > 1 else counts[:1])}"


def of_results(system: System, results: Path) -> Iterator[Ours]:
    """What the results of benchmarks say of a system."""
    for path in sorted(results.glob("*.json")):
        values = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(values, dict):
            for what, value in values.get("systems", {}).get(system.id, ()):
                yield Ours(what, value, values["command"])


def section(system: System, ours: list[Ours]) -> str:
    """A system: where it is, both kinds of figures, and what differs."""
    facts = [
        ("paper", system.paper),
        ("home", _code(system.home)),
        ("tests", _code(system.tests) or "none yet"),
        ("recipes", _code(system.recipes) or "none yet"),
        ("bundle", _code(system.models) or system.bundle),
        ("modules", system.module),
        ("state", system.state),
    ]
    lines = [f"## {system.title}", "", f"Id `{system.id}`.", ""]
    lines += [f"- {name}: {value}" for name, value in facts]
    lines += ["", "| | figure | value | how it is known |", "|---|---|---|---|"]
    published = [(f.what, f.value, f.source) for f in system.published.figures] or [("", "could not be read", "")]
    rows = [("paper", *figure) for figure in published]
    rows += [("here", row.what, row.value, f"`{row.command}`") for row in ours] or [("here", "", NOTHING, "")]
    lines += [f"| {' | '.join(cell.replace('|', '∣') for cell in row)} |" for row in rows]
    return "\n".join([*lines, "", f"Differs: {system.published.differs}", ""])


def _code(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def page(root: Path = ROOT) -> str:
    """The whole page as Markdown."""
    head = [
        "# Published systems",
        "",
        "`leanseg systems --json` gives it as data, but for the rows *here*: they come from benchmarks/results and",
        "from the cards of models, which are no part of the package. This page is written by `python docs/systems.py`.",
        "",
        "Papers and we do not measure the same: other cases, other splits, often hidden labels. Two figures side by",
        "side say what to expect, not which is better. How a published figure is known:",
        "",
        *(f"- *{name}*: {meaning}" for name, meaning in SOURCES.items()),
        "",
        "| system | state | home | bundle |",
        "|---|---|---|---|",
    ]
    for system in SYSTEMS:
        bundle = _code(system.models) or system.bundle
        head.append(f"| {system.title} | {system.state} | `{system.home[0]}` | {bundle} |")
    sections = []
    for system in SYSTEMS:
        ours = [
            *of_cards(system, root / "Resources" / "Models"),
            *of_results(system, root / "benchmarks" / "results"),
        ]
        sections.append(section(system, ours))
    return "\n".join([*head, "", *sections])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
