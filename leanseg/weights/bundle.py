"""A bundle: a folder with `card.json`, exported graphs and weights, each with its SHA-256 in the card."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from leanseg.beside import written_beside
from leanseg.errors import BundleError, OutputError
from leanseg.weights.card import FileCard, ModelCard

CARD_FILE = "card.json"


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk whose card was read; files are checked when they are asked for."""

    folder: Path
    card: ModelCard

    def graph(self, name: str) -> bytes:
        """An ONNX graph by its name in the card: a precision, or `<part>_<precision>`.

        Raises:
            BundleError: no such graph, or the file is missing or damaged.
        """
        if name not in self.card.graphs:
            have = ", ".join(sorted(self.card.graphs))
            raise BundleError(f"The model {self.card.id} has no {name} graph. Choose one of: {have}.")
        return self.read(self.card.graphs[name])

    def graphs(self, precision: str) -> dict[str, bytes]:
        """The graphs that run in a precision, by part.

        Raises:
            BundleError: no such precision, or a file is missing or damaged.
        """
        return {part: self.read(file) for part, file in self.card.files(precision).items()}

    def weights(self) -> bytes:
        """The safetensors or packed weights; raises like `graph`."""
        return self.read(self.card.weights)

    def check(self) -> None:
        """Read all that is needed to run, in every precision; raises like `graph`."""
        entries = {
            entry.file: entry for precision in self.card.precisions for entry in self.card.running_files(precision)
        }
        for entry in entries.values():
            self.read(entry)

    def read(self, entry: FileCard) -> bytes:
        """Any file that the card names; raises BundleError where it is missing or damaged."""
        try:
            data = (self.folder / entry.file).read_bytes()
        except OSError as error:
            raise BundleError(
                f"The bundle {self.folder} lacks {entry.file} ({error.strerror}). Restore the bundle."
            ) from error
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            raise BundleError(f"{self.folder / entry.file} is damaged: its SHA-256 differs. Restore the bundle.")
        return data


def read_bundle(folder: Path) -> Bundle:
    """Read the card of a bundle.

    Raises:
        BundleError: no card, or a card that this LeanSeg cannot read.
    """
    path = folder / CARD_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise BundleError(f"{folder} is not a bundle: {CARD_FILE}: {reason}. Give a folder with a card.") from error
    return Bundle(folder, ModelCard.from_json(text, folder.name))


def write_bundle(
    card: ModelCard, graphs: Mapping[str, bytes], weights: bytes, folder: Path, tokenizer: bytes | None = None
) -> Bundle:
    """Write a new bundle; the card's entries of graphs and weights are filled in here. `weights` are safetensors, or of
    a card with `quantization` packed; `tokenizer` is what the card's entry of that name vouches for (`file_card`).

    A bundle that is there is replaced, with the files that only its card names; other files are left alone.

    Raises:
        OutputError: the folder cannot be written; what was there stays. (Should the machine stop between two of the
            final renames, the checksums refuse the mixture.)
    """
    files = {f"{card.id}_{name}.onnx": data for name, data in graphs.items()}
    entries = {name: file_card(f"{card.id}_{name}.onnx", data) for name, data in graphs.items()}
    weights_file = f"{card.id}.{'safetensors' if card.quantization is None else 'lsq'}"
    card = replace(card, graphs=entries, weights=file_card(weights_file, weights))
    files |= {weights_file: weights, CARD_FILE: card.to_json().encode()}
    if tokenizer is not None and card.tokenizer is not None:
        files[card.tokenizer.file] = tokenizer
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as beside:
            for name, data in files.items():
                (Path(beside) / name).write_bytes(data)
            folder.mkdir(exist_ok=True)
            outdated = _files_of(folder) - files.keys()
            for name in sorted(files, key=lambda name: name == CARD_FILE):  # the card last: it vouches for the rest
                os.replace(Path(beside) / name, folder / name)
            for name in outdated:
                (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"The bundle {folder} cannot be written: {error.strerror}. Choose another folder.") from error
    return read_bundle(folder)


def rewrite_card(bundle: Bundle, card: ModelCard) -> None:
    """Replace the card of a bundle; its files stay.

    Raises:
        OutputError: the card cannot be written; the old one stays.
    """
    with written_beside(bundle.folder / CARD_FILE) as partial:
        partial.write_text(card.to_json(), encoding="utf-8")


def _files_of(folder: Path) -> set[str]:
    """Names of the files that the card in a folder vouches for; none where there is no card that can be read."""
    try:
        card = read_bundle(folder).card
    except BundleError:
        return set()
    named = (*card.graphs.values(), card.weights, card.tokenizer)
    return {Path(entry.file).name for entry in named if entry is not None}


def file_card(file: str, data: bytes) -> FileCard:
    """The entry of a card that vouches for a file."""
    return FileCard(file, hashlib.sha256(data).hexdigest(), len(data))
