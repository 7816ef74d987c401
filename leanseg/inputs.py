"""What a user names as INPUT: one file, or several as NAME=FILE, or files whose names say what they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from leanseg.errors import LeanSegError, UnknownNameError
from leanseg.files.sequence_names import sequence_of
from leanseg.weights.card import ModelCard

NamedPath = tuple[str, Path]
"""Name, empty where none is given, and file."""


def split_inputs(texts: Sequence[str]) -> list[NamedPath]:
    """`name=file` or `file`; a file that has an equals sign in its name is taken as it is."""
    inputs = []
    for text in texts:
        name, equals, file = text.partition("=")
        is_named = equals and name.isidentifier() and not Path(text).exists()
        inputs.append((name, Path(file)) if is_named else ("", Path(text)))
    return inputs


def inputs_for(card: ModelCard, inputs: Sequence[NamedPath]) -> dict[str, Path]:
    """The files by the names of the card's inputs; of a model of several any non-empty subset.

    Raises:
        UnknownNameError: a name that the model does not take.
        LeanSegError: several files for one input, or a file whose name does not say which input it is.
    """
    if len(card.inputs) == 1 and len(inputs) != 1:
        raise LeanSegError(f"{card.id} takes one image; got {len(inputs)}.")
    found: dict[str, Path] = {}
    for name, path in inputs:
        if name and name not in card.inputs:
            raise UnknownNameError(f"input of {card.id}", name, card.inputs)
        chosen = name or (card.inputs[0] if len(card.inputs) == 1 else sequence_of(path.name))
        if chosen is None or chosen not in card.inputs:
            raise LeanSegError(
                f"{path.name} does not say what it is. Write NAME={path}, NAME of {', '.join(card.inputs)}."
            )
        if chosen in found:
            raise LeanSegError(f"{found[chosen]} and {path} are both {chosen}. Keep one, or name them NAME=FILE.")
        found[chosen] = path
    return found


def check_options(card: ModelCard, prompt: str | None, for_brains: bool) -> None:
    """Whether the model takes what was asked for; before the work starts.

    Args:
        prompt: what to look for; None: nothing was said.
        for_brains: whether something was asked for that only sequences of a brain can have.

    Raises:
        LeanSegError: it does not.
    """
    if prompt is not None and card.engine not in ("text_prompted", "referring", "question_answering"):
        raise LeanSegError(f"{card.id} takes no text; leave --prompt away.")
    if for_brains and len(card.inputs) == 1:
        raise LeanSegError(f"{card.id} takes one image, no brain. Leave --align and --strip-skull away.")
