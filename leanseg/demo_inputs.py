"""The built-in cases as files to try the command line with, and the part of the demo page that says what to type."""

from __future__ import annotations

import html
import sys
from collections.abc import Iterable
from pathlib import Path

from leanseg.built_in import BuiltIn, built_in
from leanseg.errors import OutputError
from leanseg.files.seg_nrrd import write_volume
from leanseg.weights.card import ModelCard

FOLDER = "inputs"


def inputs_section(cards: Iterable[ModelCard], folder: Path) -> str:
    """Write the cases of these models into `folder`/inputs. HTML: a command for each model that outlines something.

    Raises:
        OutputError: the folder or a file cannot be written.
    """
    try:
        (folder / FOLDER).mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder / FOLDER} cannot be made: {error.strerror}. Choose another folder.") from error
    lines, written = [], set()
    for card in cards:
        case = built_in(card)
        if case is None or card.engine == "question_answering":  # which has no verb; README shows Python
            continue
        files = _files(case)
        for name, volume in case.volumes.items():
            if files[name] not in written:
                write_volume(volume, folder / files[name])
                written.add(files[name])
        given = " ".join(file if name == "image" else f"{name}={file}" for name, file in files.items())
        said = "" if case.said is None else f' --prompt "{case.said}"'
        lines.append(f'"{sys.executable}" -m leanseg segment {card.id} {given}{said} -o {card.id}.seg.nrrd')
    shown = "\n".join(html.escape(line) for line in lines)
    return (
        f"<h2>Try it yourself</h2>\n<p>The simulated cases lie in <code>{FOLDER}</code>. "
        f"In a terminal, from the folder of this page:</p>\n<pre>{shown}</pre>"
    )


def _files(case: BuiltIn) -> dict[str, str]:
    """By sequence, from the folder of the page."""
    if "image" in case.volumes:
        return {"image": f"{FOLDER}/{case.name}.nrrd"}
    return {name: f"{FOLDER}/{case.name}_{name}.nii.gz" for name in case.volumes}
