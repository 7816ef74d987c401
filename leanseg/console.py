"""What the command line shows in a terminal: a bar while it works, a table at the end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from leanseg.request import Progress


@contextmanager
def progress_bar(title: str, shown: bool = True) -> Iterator[Progress]:
    """A rich progress bar on standard error; nothing where nobody watches."""
    if not shown or not sys.stderr.isatty():
        yield lambda done, total, what: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    detail = TextColumn("{task.fields[what]}", markup=False)  # a file name may hold [brackets]
    with Progress(*columns, detail, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None, what="")
        yield lambda done, total, what: bar.update(task, completed=done, total=total, what=what)


def print_table(columns: tuple[str, ...], rows: list[list[str]]) -> None:
    """A line for each row; cells are shown as they are."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    # As plain text: markup would swallow the [train] of an extra.
    Console(width=None if sys.stdout.isatty() else 160, markup=False, emoji=False, highlight=False).print(table)
